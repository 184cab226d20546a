"""What a check leaves as it was: arguments, constants of tests, random numbers, settings, torch itself."""

import builtins
import contextlib
import gc
import io
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.exercises import Wrong, authoring, engine, shelf
from genlab.exercises.engine import RIGHT, WRONG, judge
from tests.small import KL, NETWORK, PROBED, ROWS, SMOOTH, Net, matrices, network, rows, task

# ------------------------------------------------------------------------------------- fresh arguments, every time


CONSTANT = torch.tensor([3.0, 1.0, 2.0])
ARRAY = np.array([3.0, 1.0, 2.0])
NET = Net()
SHARED = task(
    lambda x: x - x.max(),
    lambda g: (torch.randn(3, generator=g),),
    probes={"at a constant": lambda f: f(CONSTANT), "at an array": lambda f: f(torch.as_tensor(ARRAY).float())},
)


def test_an_answer_that_works_in_place_spoils_nothing_for_later() -> None:
    def in_place(x: torch.Tensor) -> torch.Tensor:
        x -= x.max()
        return x

    for _ in range(2):
        assert "changed x in place" in judge(SHARED, in_place).meaning
        assert CONSTANT.tolist() == ARRAY.tolist() == [3, 1, 2]
    assert judge(SHARED, lambda x: x - x.max()).state == RIGHT
    assert judge(SHARED, lambda x: x - 3.0).state == WRONG


def test_inputs_may_hand_out_constants_and_probes_networks() -> None:
    shared = task(lambda net, x: net(x).detach(), lambda g: (NET, CONSTANT.repeat(3)[None]))
    probed = task(NETWORK.solution, network, probes={"a constant": lambda f: f(NET, torch.ones(2, 9))})

    def ruinous(net: Net, x: torch.Tensor) -> torch.Tensor:
        result = net(x)
        result.sum().backward()
        with torch.no_grad():
            net.layer.weight.zero_()
            x.zero_()
        net.eval().requires_grad_(False)
        return result.detach()

    weight = NET.layer.weight.detach().clone()
    for exercise in (shared, probed):
        assert judge(exercise, ruinous).state == WRONG and judge(exercise, exercise.solution).state == RIGHT
    assert torch.equal(NET.layer.weight, weight) and NET.layer.weight.grad is None
    assert NET.training and NET.layer.weight.requires_grad and CONSTANT.tolist() == [3, 1, 2]


class Double:
    """Stands for a network, and notes what it gets."""

    def __init__(self) -> None:
        self.got: list[torch.Tensor] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.got.append(x.detach())
        return 2 * x


def test_doubles_may_note_what_they_get_and_answers_may_call_them_less() -> None:
    exercise = task(
        lambda net, x: net(x).sum(1), lambda g: (Double(), torch.randn(3, 2, generator=g)), probes={"calls": notes}
    )
    assert judge(exercise, lambda net, x: torch.stack([net(row).sum() for row in x])).state == RIGHT
    assert judge(exercise, lambda net, x: 2 * x.sum(1)).tested == "calls"

    def meddling(net: Double, x: torch.Tensor) -> torch.Tensor:
        net.extra = 1  # type: ignore[attr-defined]
        return net(x).sum(1)

    assert judge(task(lambda net, x: 2 * x.sum(1), exercise.inputs), meddling).came == "changed: net, net.got"


def notes(f: Callable[..., Any]) -> bool:
    net = Double()
    f(net, torch.ones(2, 2))
    return len(net.got) > 0


def halve(x):  # type: ignore[no-untyped-def]
    """x ← x / 2, in place."""
    x.div_(2)


def double(x: torch.Tensor) -> None:
    x.mul_(2)


def halve_by_a_product(x: torch.Tensor) -> None:
    x.mul_(0.5)


def test_arguments_that_the_task_lets_change_are_compared_afterwards() -> None:
    exercise = task(
        halve,
        lambda g: (torch.randn(3, generator=g),),
        wrong=(Wrong("doubled", "This doubles x.", double),),
        mutates=True,
        probes={"in place": lambda f: (x := torch.ones(2), f(x))[0]},
    )
    assert judge(exercise, halve).state == judge(exercise, halve_by_a_product).state == RIGHT
    assert judge(exercise, double).meaning == "This doubles x."
    untouched = judge(exercise, lambda x: None)
    assert untouched.state == WRONG and untouched.tested == "the arguments after the call"


def test_a_solution_that_fails_is_a_fault_of_the_exercise() -> None:
    for exercise in (
        task(lambda x: x.nothing, matrices),
        task(rows, lambda g: (1 / 0,)),
        task(rows, matrices, probes={"a probe": lambda f: f(torch.ones(2, 2)).nothing}),
        task(rows, matrices, gradient=("x",), probes={}, look=lambda y: y.nothing),
    ):
        with pytest.raises(engine.BrokenExercise, match=r"exercise 99\.1 is broken"):
            judge(exercise, rows)


# ------------------------------------------------------------------------------- what a check changes in the session


@contextlib.contextmanager
def default(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def meddlesome(x: torch.Tensor) -> torch.Tensor:
    """A right answer that leaves its traces wherever it can."""
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(3)
    torch.use_deterministic_algorithms(True)
    torch.autograd.set_detect_anomaly(True)
    np.seterr(all="ignore")
    warnings.simplefilter("error")
    sys.stdout = io.StringIO()
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(os.sep)
    os.environ["GENLAB_TRACE"] = os.environ.pop("HOME", "")
    sys.path.append("nowhere")
    sys.modules["json"] = None  # type: ignore[assignment]
    sys.setprofile(lambda *_: None)
    sys.displayhook = sys.excepthook = print  # type: ignore[assignment]
    gc.disable()
    torch.set_printoptions(precision=1)
    np.set_printoptions(precision=1)
    torch.set_float32_matmul_precision("medium")
    torch.set_default_device("meta")
    result = x.to("cpu").sum(1)
    sys.setrecursionlimit(depth() + 200)  # Python counts calls in C as well
    return result


def depth() -> int:
    """How many calls are under way."""
    frame, n = sys._getframe(), 0
    while (frame := frame.f_back) is not None:  # type: ignore[assignment]
        n += 1
    return n


def state() -> list[Any]:
    tracker = getattr(torch.cuda, "_lazy_seed_tracker", None)
    return [
        random.getstate(),
        str(np.random.get_state()),
        torch.get_rng_state().tolist(),
        tracker and list(vars(tracker).values()),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        np.geterr(),
        list(warnings.filters),
        (sys.stdout, sys.stderr, sys.gettrace()),
        signal.getsignal(signal.SIGALRM),
        signal.getsignal(signal.SIGINT),
        (os.getcwd(), dict(os.environ), list(sys.path), sys.modules["json"]),
        (sys.getprofile(), sys.displayhook, sys.excepthook, sys.getrecursionlimit(), gc.isenabled()),
        (dict(vars(torch._tensor_str.PRINT_OPTS)), str(np.get_printoptions()), torch.get_float32_matmul_precision()),
    ]


def test_a_check_changes_nothing_in_the_session() -> None:
    for exercise in (ROWS, SMOOTH, PROBED, KL):
        before = state()
        judge(exercise, exercise.solution)
        assert state() == before
        judge(exercise, meddlesome)
        assert state() == before
    with default(torch.float64), torch.no_grad():
        before = state()
        judge(SMOOTH, meddlesome)
        assert state() == before


def test_right_answers_pass_whatever_the_sessions_settings() -> None:
    for exercise in (SMOOTH, PROBED, KL, shelf.find("A1.2"), shelf.find("08.3")):
        with default(torch.float64):
            assert judge(exercise, exercise.solution).state == RIGHT
        with torch.no_grad(), torch.inference_mode():
            assert judge(exercise, exercise.solution).state == RIGHT
            assert not torch.is_grad_enabled() and torch.is_inference_mode_enabled()
    assert judge(ROWS, meddlesome).state == RIGHT
    torch.set_default_device("meta")
    try:
        assert judge(PROBED, PROBED.solution).state == RIGHT and torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


def test_what_judges_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    always = lambda *a, **k: True  # noqa: E731
    probes = {"near": lambda f: torch.allclose(f(torch.ones(2, 2)), torch.full((2,), 2.0))}
    exercise = task(rows, matrices, probes=probes)
    kept_here = (torch.allclose, torch.equal, torch.isclose, np.allclose, builtins.sum, torch.Tensor.__dict__.keys())

    def poisoning(x: torch.Tensor) -> torch.Tensor:
        torch.allclose = torch.equal = torch.isclose = np.allclose = always  # type: ignore[assignment,method-assign]
        torch.Tensor.sum = lambda *a, **k: torch.zeros(2)  # type: ignore[method-assign]
        torch.Tensor.__eq__ = always  # type: ignore[method-assign,assignment]
        builtins.sum = max  # type: ignore[assignment]
        return torch.zeros(len(x))

    keys = set(vars(torch.Tensor))
    assert judge(exercise, poisoning).state == WRONG
    assert kept_here[:5] == (torch.allclose, torch.equal, torch.isclose, np.allclose, builtins.sum)
    assert set(vars(torch.Tensor)) == keys
    assert judge(exercise, lambda x: torch.zeros(len(x))).state == WRONG
    assert judge(exercise, exercise.solution).state == RIGHT
    monkeypatch.setattr(torch, "allclose", always)  # before the check: the reader's own, and left to him
    assert judge(exercise, lambda x: torch.zeros(len(x)) if x.shape[1] == 2 else x.sum(1)).state == WRONG
    assert torch.allclose is always


def test_an_answers_prints_come_once(capsys: pytest.CaptureFixture[str]) -> None:
    def talking(x: torch.Tensor) -> torch.Tensor:
        print("shape", tuple(x.shape))
        print("aside", file=sys.stderr)
        return x.sum(1)

    assert judge(SMOOTH, talking).state == RIGHT
    said = capsys.readouterr()
    assert said.out.count("shape") == said.err.count("aside") == 1


NEEDED = ("isinstance", "len", "getattr", "setattr", "vars", "next", "dict", "type", "issubclass", "hasattr", "super")


def test_an_answer_that_replaces_what_python_itself_needs_replaces_it_for_itself_alone() -> None:
    names = vars(builtins)
    before = dict(names)

    def ruinous(x: torch.Tensor) -> torch.Tensor:
        result = x.sum(1)
        for name in NEEDED:
            names[name] = lambda *a, **k: True
        del names["print"]
        return result

    for exercise in (SMOOTH, PROBED):
        try:
            state = judge(exercise, ruinous).state
            found = dict(names)
        finally:
            names.update(before)
        assert state == RIGHT and {name: found.get(name) for name in before} == before


def test_a_folder_that_was_deleted_keeps_nothing_else_from_being_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def ruinous(x: torch.Tensor) -> torch.Tensor:
        os.chdir(tmp_path)
        with contextlib.suppress(OSError):
            os.rmdir(tmp_path / "here")
        torch.set_default_dtype(torch.float64)
        np.seterr(all="raise")
        sys.path.append("nowhere")
        return x.sum(1)

    settings = np.geterr(), list(sys.path)
    assert judge(ROWS, ruinous).state == RIGHT
    assert torch.get_default_dtype() == torch.float32 and (np.geterr(), list(sys.path)) == settings


def test_files_of_exercises_are_loaded_under_torchs_own_settings(tmp_path: Path) -> None:
    path = tmp_path / "e01_constant.py"
    end = "CONSTANT = torch.ones(2, requires_grad=True) * 2\nrandom.seed(3)\n"
    source = (
        shelf.file("05.1").read_text(encoding="utf-8").replace("\nimport torch\n", "\nimport random\n\nimport torch\n")
    )
    path.write_text(f"{source}\n{end}EXERCISE.inputs.__globals__['HELD'] = CONSTANT\n", encoding="utf-8")
    module = shelf.find("11.4").solution.__module__
    shelf._load.cache_clear()
    del sys.modules[module]
    drawn = random.getstate()
    with default(torch.float64), torch.no_grad():
        held = authoring.read(path).inputs.__globals__["HELD"]
        assert judge(shelf.find("11.4"), shelf.find("11.4").solution).state == RIGHT
        assert torch.get_default_dtype() == torch.float64 and not torch.is_grad_enabled()
    torch.set_default_device("meta")
    try:
        elsewhere = authoring.read(path).inputs.__globals__["HELD"]
    finally:
        torch.set_default_device(None)
    for constant in (held, elsewhere):
        assert (constant.dtype, constant.device.type, constant.requires_grad) == (torch.float32, "cpu", True)
    assert random.getstate() == drawn


RUINS: dict[str, Callable[[Any], Any]] = {
    "a part deleted": lambda net: delattr(net, "layer"),
    "a part replaced": lambda net: setattr(net, "layer", torch.nn.Linear(9, 1)),
    "weights replaced": lambda net: setattr(net.layer, "weight", torch.nn.Parameter(torch.zeros(1, 9))),
    "all attributes deleted": lambda net: vars(net).clear(),
    "weights unknown": lambda net: vars(net).pop("_parameters"),
    "the mode deleted": lambda net: vars(net).pop("training"),
    "another norm": lambda net: torch.nn.utils.parametrizations.spectral_norm(net.layer),
    "another forward": lambda net: setattr(net, "forward", lambda x: x.sum(1)),
    "another precision": lambda net: net.double(),
    "another weight": lambda net: net.register_parameter("scale", torch.nn.Parameter(torch.ones(2))),
    "a hook": lambda net: net.layer.register_forward_hook(lambda m, i, o: 2 * o),
    "another class": lambda net: setattr(net, "__class__", torch.nn.Linear),
}


@pytest.mark.parametrize("name", RUINS)
def test_a_network_that_a_test_keeps_is_put_back_whatever_an_answer_does_to_it(name: str) -> None:
    before, ones = NET(torch.ones(2, 9)).detach(), torch.ones(2, 9)
    exercise = task(NETWORK.solution, network, probes={"a constant": lambda f: f(NET, ones)})

    def ruinous(net: Net, x: torch.Tensor) -> torch.Tensor:
        result = net(x).detach()
        RUINS[name](net)
        return result

    told = judge(exercise, ruinous)
    assert told.state == (RIGHT if name in ("a hook", "another class") else WRONG)
    assert told.state == RIGHT or "changed net" in told.meaning
    assert type(NET) is Net and torch.equal(NET(ones), before) and NET.training and len(list(NET.parameters())) == 2
    assert judge(exercise, exercise.solution).state == RIGHT


def test_a_set_that_changed_has_changed() -> None:
    held = {torch.ones(2), torch.zeros(2)}
    exercise = task(lambda s: len(s), lambda g: (held,), probes={"kept": lambda f: f(Keeper.held)})
    assert judge(exercise, lambda s: (len(s), s.clear())[0]).came == "changed: s"
    assert judge(exercise, len).state == RIGHT


class Keeper:
    held = frozenset((1, 2))
