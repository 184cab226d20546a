"""How answers are judged: fairly whatever form they have, and never with a traceback."""

import asyncio
import builtins
import decimal
import enum
import fractions
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from torch import nn

from genlab.exercises import Exercise, Wrong, engine, show
from genlab.exercises.engine import RIGHT, UNTOUCHED, WRONG, judge
from tests.small import BOTH, KL, PAIR, PROBED, ROWS, SMOOTH, TOTAL, WORD, both, by, ends, matrices, raising, rows, task

# ------------------------------------------------------------------------------------------------ named mistakes


def test_an_error_names_a_mistake_only_with_the_same_message() -> None:
    def strict(x):  # type: ignore[no-untyped-def]
        """Sum by row."""
        return x.sum(1)

    def flat(x: torch.Tensor) -> Any:
        raise ValueError(f"wants rows, but got {(x.numel(),)}")

    def upright(x: torch.Tensor) -> Any:
        raise ValueError(f"wants rows, but got {(9, len(x))}")

    exercise = task(strict, matrices, wrong=(Wrong("flat", "The rows are flat.", flat),))
    assert judge(exercise, lambda x: flat(x)).meaning == "The rows are flat."
    assert "raised this error" in judge(exercise, upright).meaning


def test_a_named_mistake_that_leaves_its_arguments_alone_is_not_an_answer_that_changes_them() -> None:
    exercise = task(rows, matrices, wrong=(Wrong("mean", "A mean.", lambda x: x.mean(1)),))
    assert judge(exercise, lambda x: x.sum(1) / 9).meaning == "A mean."
    assert judge(exercise, lambda x: x.div_(9).sum(1)).meaning != "A mean."


# ------------------------------------------------------------------------------------------- right in other forms


word = WORD.solution


class Agreeing(torch.Tensor):
    """Says yes to whatever torch asks."""

    @classmethod
    def __torch_function__(cls, *arguments: Any, **options: Any) -> Any:
        return True


class Kind(str, enum.Enum):
    ROW, COLUMN = "row", "column"


RIGHT_FORMS: dict[str, tuple[Exercise, Callable[..., Any]]] = {
    "numpy": (ROWS, lambda x: x.numpy().sum(1)),
    "numpy, reversed strides": (ROWS, lambda x: x.numpy()[:, ::-1].sum(1)[::-1][::-1]),
    "numpy, long double": (ROWS, lambda x: x.numpy().astype(np.longdouble).sum(1)),
    "an array of objects": (ROWS, lambda x: np.array([fractions.Fraction(float(v)) for v in x.sum(1)], dtype=object)),
    "a list of numbers": (ROWS, lambda x: [float(r.sum()) for r in x]),
    "a tuple of tensors": (ROWS, lambda x: tuple(r.sum() for r in x)),
    "float64": (ROWS, lambda x: x.double().sum(1)),
    "sparse": (ROWS, lambda x: x.sum(1).to_sparse()),
    "a parameter": (ROWS, lambda x: nn.Parameter(x.sum(1))),
    "a Fraction": (TOTAL, lambda x: fractions.Fraction(float(x.exp().sum()))),
    "a Decimal": (TOTAL, lambda x: decimal.Decimal(float(x.exp().sum()))),
    "a number of sympy": (TOTAL, lambda x: sum(sympy.exp(sympy.Float(float(v))) for v in x.flatten())),
    "a number of NumPy": (TOTAL, lambda x: np.exp(x.numpy()).sum()),
    "a Python number": (TOTAL, lambda x: float(x.exp().sum())),
    "a list for a tuple": (BOTH, lambda x: list(both(x))),
    "arrays for tensors": (BOTH, lambda x: tuple(v.numpy() for v in both(x))),
    "stacked rows": (task(lambda x: (x[0], x[1]), matrices), lambda x: x[:2]),
    "stacked columns": (task(lambda x: (x[:, 0], x[:, 1]), matrices), lambda x: x[:, :2].numpy()),
    "parts of a stack": (task(lambda x: x[:2], matrices), lambda x: (x[0], x[1])),
    "parts of a stack of columns": (task(lambda x: x[:, :2], matrices), lambda x: [x[:, 0], x[:, 1]]),
    "a text of NumPy": (WORD, lambda x: np.str_(WORD.solution(x))),
    "an enum of texts": (WORD, lambda x: Kind(WORD.solution(x))),
    "three kinds": (
        task(ends, matrices),
        lambda x: [x.sum(), np.str_(ends(x)[1]), x.numpy()[0, 0] > 0],
    ),
    "truth values as numbers": (task(lambda x: x > 0, matrices), lambda x: (x > 0).int()),
    "a text in an array without dimensions": (WORD, lambda x: np.select([len(x) > 3], ["row"], "column")),
    "a text among objects": (WORD, lambda x: np.array(WORD.solution(x), dtype=object)),
    "texts in an array": (task(lambda x: [WORD.solution(x), "end"], matrices), lambda x: np.array([word(x), "end"])),
    "a truth value in an array": (task(lambda x: bool(x[0, 0] > 0), matrices), lambda x: np.array(bool(x[0, 0] > 0))),
    "tensors of another class": (SMOOTH, lambda x: x.sum(1).as_subclass(Agreeing)),
    "two precisions in a list": (ROWS, lambda x: [r.sum() if i else r.double().sum() for i, r in enumerate(x)]),
}


@pytest.mark.parametrize("name", RIGHT_FORMS)
def test_right_answers_pass_whatever_type_holds_them(name: str) -> None:
    exercise, answer = RIGHT_FORMS[name]
    verdict = judge(exercise, answer)
    assert verdict.state == RIGHT, show.told(verdict)
    assert judge(exercise, lambda *a: broken(answer(*a))).state == WRONG


def broken(value: Any) -> Any:
    """The same form with another content."""
    if isinstance(value, list | tuple):
        return type(value)(map(broken, value))
    if isinstance(value, Agreeing):
        return torch.zeros(2).as_subclass(Agreeing)
    if isinstance(value, np.ndarray) and value.dtype.kind in "UO" and (not value.ndim or isinstance(value[0], str)):
        return np.array("!")
    if isinstance(value, np.ndarray) and value.dtype.kind == "b":
        return ~value
    if isinstance(value, str):
        return value + "!"
    if isinstance(value, bool | np.bool_) or (isinstance(value, torch.Tensor) and not value.is_floating_point()):
        return 1 - int(value) if not isinstance(value, torch.Tensor) else 1 - value
    return value.detach() * 2 if isinstance(value, torch.Tensor) else value * 2


@pytest.mark.parametrize("form", [lambda y: y.numpy(), lambda y: y.tolist(), lambda y: y.double()])
def test_probes_get_results_in_the_form_of_the_solutions(form: Callable[..., Any]) -> None:
    probes = {
        "the largest": lambda f: f(torch.ones(3, 2)).max().item(),
        "beside a tensor": lambda f: torch.allclose(f(torch.ones(3, 2)), torch.full((3,), 2.0)),
    }
    exercise = task(rows, matrices, probes=probes)
    verdict = judge(exercise, by(form))
    assert verdict.state == RIGHT, show.told(verdict)
    assert judge(exercise, lambda x: form(x.sum(1)) if x.shape[1] > 2 else form(x.sum(1) + 1)).state == WRONG


def test_a_gradient_is_demanded_where_the_exercise_says_so_and_by_what_it_names() -> None:
    numbers = by(lambda y: y.detach().numpy())
    assert judge(ROWS, numbers).state == RIGHT and judge(SMOOTH, numbers).state == WRONG
    pair = {"solution": lambda x, y: x * y, "inputs": PAIR.inputs}
    cut = lambda x, y: x * y.detach()  # noqa: E731
    assert judge(task(**pair, gradient=("x",)), cut).state == RIGHT
    for demand in (True, ("y",), ("x", "y")):
        verdict = judge(task(**pair, gradient=demand), cut)
        assert verdict.state == WRONG and verdict.tested == "the gradient with respect to y"
    with pytest.raises(ValueError, match="gradient names z, no argument of"):
        task(**pair, gradient=("z",))


# ------------------------------------------------------------------------------------ words, and never a traceback


class Mute:
    """Raises when it is shown, compared or converted."""

    def __repr__(self) -> str:
        raise SystemExit

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        raise ZeroDivisionError


class Silent(Exception):
    def __str__(self) -> str:
        raise ValueError


class Leaving(Exception):
    def __str__(self) -> str:
        raise SystemExit


class Untraced(Exception):
    @property
    def __traceback__(self) -> Any:
        raise ValueError


class Nameless(type):
    @property
    def __name__(cls) -> str:
        raise ValueError


class Someone(metaclass=Nameless):
    pass


class Masked:
    """Fails when it is asked for its type."""

    @property
    def __class__(self) -> Any:
        raise ValueError


class Posing:
    __class__ = torch.Tensor


class Quitting:
    def __float__(self) -> float:
        raise SystemExit


class Endless(list):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise ValueError


class Plain(BaseException):
    pass


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def branches(depth: int = 60) -> list[Any]:
    return [branch := branches(depth - 1), branch] if depth else [1.0]


def escaped() -> torch.Tensor:
    found: list[torch.Tensor] = []
    torch.vmap(lambda row: (found.append(row), row.sum())[1])(torch.ones(2, 3))
    return found[0]


ODD: dict[str, tuple[Callable[..., Any], str]] = {
    "cannot be shown": (lambda x: Mute(), "a Mute that cannot be shown"),
    "ragged objects": (lambda x: np.array([1, "a", None], dtype=object), "ndarray"),
    "an error without text": (raising(Silent()), "Silent: its text cannot be shown"),
    "an unusual error": (raising(Plain()), "Plain, raised by: raise error"),
    "a cancelled task": (raising(asyncio.CancelledError()), "CancelledError"),
    "an interrupt by hand": (raising(KeyboardInterrupt()), "KeyboardInterrupt"),
    "the end of a generator": (raising(GeneratorExit()), "GeneratorExit"),
    "too few arguments": (lambda: 0, "TypeError"),
    "meta": (lambda x: x.sum(1).to("meta"), "meta device"),
    "a module": (lambda x: nn.Linear(1, 1), "Linear"),
    "a mapping": (lambda x: {"a": x}, "dict"),
    "itself": (lambda x: builtins, "module"),
    "an iterator": (lambda x: map(float, x.sum(1)), "map"),
    "recursion": (lambda x: deep(x), "RecursionError"),
    "an error that ends the program when it is shown": (raising(Leaving()), "Leaving: its text cannot be shown"),
    "an error without a trace": (raising(Untraced()), "Untraced, raised by: raise error"),
    "half a character": (raising(ValueError("\ud800")), "ValueError: ?"),
    "no name": (lambda x: Someone(), "Someone <"),
    "no type": (lambda x: Masked(), "a Masked that cannot be shown"),
    "another type than it says": (lambda x: Posing(), "Posing <"),
    "no number": (lambda x: Quitting(), "Quitting <"),
    "a list that cannot be read": (lambda x: Endless([1, 2]), "(int 1; int 2)"),
    "a list in itself": (lambda x: circle(), "(((((…)))))"),
    "the same list again and again": (lambda x: branches(), "…"),
    "a list too long": (lambda x: [1.0] * 10**6, "…"),
    "texts too many": (lambda x: ["a"] * 10**5, "str 'a'; …)"),
    "a tensor too large": (lambda x: torch.zeros(1).expand(10**6, 10**6), "shape (1000000, 1000000): 0, "),
    "an array too large": (lambda x: np.broadcast_to(0.0, (10**6, 10**6)), "shape (1000000, 1000000): 0, "),
    "a sparse tensor too large": (lambda x: torch.eye(2).to_sparse().sparse_resize_((10**6, 10**6), 2, 0), "too large"),
    "a tensor of a vmap that has ended": (lambda x: escaped(), "a Tensor that cannot be shown"),
}


def deep(x: Any) -> Any:
    return deep(x)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_told_what_came(name: str) -> None:
    answer, came = ODD[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for exercise in (ROWS, SMOOTH, BOTH, WORD, PROBED):
            verdict = judge(exercise, answer)
            assert verdict.state == WRONG and show.card(verdict), show.told(verdict)
            assert came in verdict.came and len(verdict.came) < 600
            assert ("raised this error" in verdict.meaning) is ("raised by" in verdict.came or "Error" in verdict.came)
            show.told(verdict).encode()


def test_the_line_that_is_shown_is_the_answers_own() -> None:
    def double(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("wants rows")

    exercise = task(lambda D, x: x, lambda g: (double, torch.ones(2)))
    assert judge(exercise, lambda D, x: D(x)).came.startswith("ValueError: wants rows, raised by: ")
    assert "{}['missing']" in judge(ROWS, lambda x: {}["missing"]).came.replace('"', "'")


def test_a_long_line_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "answer.py"
    space: dict[str, Any] = {}
    path.write_text(f"def answer(x):\n    return x.missing  # {'so it goes ' * 99}\n", encoding="utf-8")
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), space)
    came = judge(ROWS, space["answer"]).came
    assert "raised by: return x.missing  # so it".replace("  ", " ") in came and came.endswith("…") and len(came) < 300


def test_an_interrupt_by_the_reader_passes_through() -> None:
    def answer(x: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return x

    old = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            judge(ROWS, answer)
    finally:
        signal.signal(signal.SIGINT, old)


def test_a_stub_is_not_attempted_and_called_once() -> None:
    calls: list[int] = []

    def stub(x: Any) -> Any:
        calls.append(1)
        return NotImplemented

    assert judge(SMOOTH, stub).state == UNTOUCHED and len(calls) == 1
    assert judge(SMOOTH, lambda x: ...).state == UNTOUCHED


def test_an_exercise_that_is_not_whole_is_refused() -> None:
    fields = {name: getattr(KL, name) for name in Exercise.__dataclass_fields__}
    for name, value in (("number", "5.1"), ("difficulty", 4), ("hints", ("a", "b")), ("wrong", ())):
        with pytest.raises(ValueError, match=r"must look like|needs a difficulty"):
            Exercise(**fields | {name: value})


def test_a_callable_that_fails_when_it_is_asked_is_called_all_the_same() -> None:
    class Shy:
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(1)

        def __getattr__(self, name: str) -> Any:
            raise ValueError(name)

    for exercise in (ROWS, SMOOTH, PROBED):
        assert judge(exercise, Shy()).state == RIGHT


def test_what_a_result_does_when_it_is_looked_at_counts_as_the_answers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __repr__(self) -> str:
            while True:
                pass

    monkeypatch.setattr(engine, "LIMIT", 0.2)
    assert judge(ROWS, lambda x: Slow()).came == "stopped after 0.2 s"
