"""Runs: what they write, refuse, repeat and resume; SIGKILL at any moment."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from genlab import checkpoint, data, densities, diagnosis, gan, machine, plot, runs, train, vae
from genlab.runs import base, judging
from genlab.runs import gan as gan_runs
from genlab.runs.gan import GANSettings
from genlab.runs.settings import SETS, Settings, Shape
from genlab.runs.vae import VAESettings

NEEDED = ("loss_d", "loss_g", "d_real", "d_fake", "accuracy")
VITALS = ("spread", "distance", "move", "low", "high", "data_low", "data_high", "mode_gap", "d_test")
SMALL: dict[str, dict[str, Any]] = {
    "vae": {"z_dim": 2, "width": 4},
    "vqvae": {"codes": 4, "d": 2, "width": 4},
    "gan": {"z_dim": 4, "width": 4},
    "ar": {"width": 8},
    "flow": {"width": 4, "couplings": 2},
    "diffusion": {"width": 8, "draws": 2},
    "classifier": {"d": 4, "width": 4},
}


def settings(family: str, out: Path, **options: Any) -> Any:
    given = {"out": str(out), "steps": 4, "batch_size": 8, "save_every": 2, **SMALL[family], **options}
    return runs.family(family).settings(**given)


def fit(family: str, out: Path, **options: Any) -> Path:
    return runs.family(family).fit(settings(family, out, **options))


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def same(a: Path, b: Path) -> bool:
    return (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


# ------------------------------------------------------------------------------------------------------------- kills


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize(("mode", "least"), [("writes", 30), ("moments", 10)])
def test_a_killed_run_ends_as_if_it_had_never_been_killed(tmp_path: Path, mode: str, least: int) -> None:
    """Weights, averages, optimisers, generators, order, history and pictures: the files are equal to the byte."""
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", script, tmp_path, mode, "0"],
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] >= least
    if mode == "writes":
        within_saving = {
            f"{when} step-00000004.{end}"
            for when, end in [
                ("within save_file", "partial"),
                ("before replace", "safetensors"),
                ("after replace", "safetensors"),
            ]
        }
        assert within_saving <= set(report["at"])
    else:
        assert len(set(report["at"])) > 1, "the run never got on between two kills"


# ---------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize("family", runs.FAMILIES)
def test_every_number_in_the_settings_has_its_limits(family: str) -> None:
    kind = runs.family(family).settings
    hints, numbers = get_type_hints(kind), (int, float, int | None, float | None)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        assert (hint in numbers) == bool(field.metadata.get("limit")), field.name
        assert hint in (bool, str, *numbers) or get_origin(hint) is Literal
        assert f"        {field.name}: " in (kind.__doc__ or "") + (Settings.__doc__ or ""), field.name
    free = {field.name for field in dataclasses.fields(kind) if field.metadata.get("free")}
    assert free == {"out", "download", "device", "resume", "save_every", "tensorboard", "flops"}


def test_the_sets_of_the_settings_are_those_of_the_package() -> None:
    """They are named twice, since the package's list comes with torch."""
    assert set(SETS) == set(data.SETS)


IMPOSSIBLE = [
    ("vae", "steps", 0, "steps must be at least 1, but is 0"),
    ("vae", "z_dim", -1, "z_dim must be at least 1, but is -1"),
    ("vae", "lr", math.nan, "lr must be greater than 0 and less than 1, but is nan"),
    ("vae", "beta", math.inf, "beta must be at least 0, but is inf"),
    ("vae", "clip", 0.0, "clip must be greater than 0, but is 0.0"),
    ("vae", "net", "cnn", "net must be one of conv, mlp, but is 'cnn'"),
    ("vae", "seed", 2**32, "Seed must be between 0 and"),
    ("vae", "k", 5, 'k goes with "iwae", "stl" and "dreg"'),
    ("vae", "batch_size", 4001, "batch_size=4001 must lie between 1 and the 4000 images"),
    ("vae", "data", "mnist", "MNIST is not on this machine"),
    ("gan", "average", 1.0, "average must be at least 0 and less than 1, but is 1.0"),
    ("gan", "width_d", 0, "width_d must be at least 1, but is 0"),
    ("vqvae", "codes", 0, "codes must be at least 1, but is 0"),
    ("classifier", "label_smoothing", -0.1, "label_smoothing must be at least 0"),
    ("ar", "width", 0, "width must be at least 1, but is 0"),
    ("ar", "net", "transformer", "net must be one of made, pixelcnn, but is 'transformer'"),
    ("flow", "couplings", 1, "couplings must be at least 2, but is 1"),
    ("diffusion", "guidance", 2.0, r"guidance=2.0 needs a conditional model: conditional=True"),
    ("diffusion", "guidance", -1.0, "guidance must be at least 0, but is -1.0"),
    ("diffusion", "drop", 1.0, "drop must be at least 0 and less than 1, but is 1.0"),
    ("diffusion", "draws", 0, "draws must be at least 1, but is 0"),
    ("diffusion", "width", 12, "width=12 must be a multiple of 8"),
    ("diffusion", "path", "vp_linear", "the velocity of vp_linear is infinite at the data; choose target v"),
]


@pytest.mark.parametrize(("family", "name", "value", "message"), IMPOSSIBLE)
def test_what_is_impossible_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, name: str, value: Any, message: str
) -> None:
    if name == "data":
        monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "empty"))
    with pytest.raises(ValueError, match=message):
        fit(family, tmp_path / "run", **{name: value})
    assert not (tmp_path / "run").exists()


def test_compiled_networks_with_gradient_penalties_are_refused(tmp_path: Path) -> None:
    for penalty in ("gp", "r1", "r2"):
        with pytest.raises(ValueError, match="compile does not go with gp, r1 and r2"):
            settings("gan", tmp_path, compile=True, **{penalty: 1.0})


def test_the_reason_is_that_torch_cannot_differentiate_twice_through_compiled_networks() -> None:
    """When this fails, torch has learnt it, and the settings may allow it."""
    D = torch.compile(torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0)), backend="aot_eager")
    with pytest.raises(RuntimeError, match="double backward"):
        gan.r1_penalty(D, torch.ones(3, 2)).mean().backward()


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused_before_anything_is_written(tmp_path: Path, device: str) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine may have it")
    with pytest.raises(ValueError, match=rf"device '{device}' .*\bcpu\b"):
        fit("vae", tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_bf16_where_it_is_slow_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for fast, precision, warned in ((False, "bf16", True), (True, "bf16", False), (False, "no", False)):
        monkeypatch.setattr(machine, "fast_bf16", lambda device, fast=fast: fast)
        fit("vae", tmp_path / f"{fast}{precision}", steps=1, precision=precision)
        said = capsys.readouterr().err
        assert ("bfloat16" in said and "--precision no" in said) == warned


@pytest.mark.parametrize("name", ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "ACCELERATE_MIXED_PRECISION"])
def test_what_the_launcher_sets_changes_nothing_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Gradients that it would divide again are refused, before anything is written; its precision does not count."""
    monkeypatch.setenv(name, "4" if "STEPS" in name else "bf16")
    if "STEPS" in name:
        with pytest.raises(ValueError, match="unset ACCELERATE_GRADIENT_ACCUMULATION_STEPS"):
            fit("vae", tmp_path / "run")
        assert not (tmp_path / "run").exists()
    else:
        run = fit("vae", tmp_path / "run")
        monkeypatch.delenv(name)
        assert same(run, fit("vae", tmp_path / "plain"))


# ------------------------------------------------------------------------------------- what a run leaves as it was


def test_the_callers_accelerator_and_the_next_run_have_their_own_precision_and_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Accelerator(cpu=True)
    module, optimizer = mine.prepare(layer := torch.nn.Linear(2, 1), torch.optim.SGD(layer.parameters(), 0.1))
    before = {key: str(value) for key, value in vars(mine.state).items()}
    shared = mine.state._shared_state
    for precision in ("bf16", "no"):
        with base.Run("vae", settings("vae", tmp_path / "never", precision=precision), pixels="unit") as run:
            assert run.accelerator.mixed_precision == precision and run.accelerator.state is not mine.state
        fit("vae", tmp_path / precision, steps=1, precision=precision)
    assert {key: str(value) for key, value in vars(mine.state).items()} == before
    assert (mine.mixed_precision, mine.device.type, mine.num_processes) == ("no", "cpu", 1)
    assert Accelerator(cpu=True).state._shared_state is shared
    mine.backward(module(torch.ones(3, 2)).mean())
    optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())

    monkeypatch.setattr(base.Run, "_read", lambda self: None)
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")  # as if this machine had got another device
    with base.Run("vae", settings("vae", tmp_path / "never"), pixels="unit") as run:
        assert run.accelerator.device.type == "meta"
    assert mine.device.type == "cpu"


def test_cudnn_repeats_itself_within_a_run_and_does_as_before_afterwards(tmp_path: Path) -> None:
    flags: Any = torch.backends.cudnn
    names = ("enabled", "benchmark", "deterministic", "allow_tf32")

    def now() -> tuple[bool, ...]:
        return tuple(getattr(flags, name) for name in names)

    standing = now()
    try:
        flags.benchmark, flags.deterministic = True, False
        before = now()
        with base.Run("vae", settings("vae", tmp_path), pixels="unit"):
            within = now()
        assert now() == before
        with pytest.raises(ValueError, match="between 1 and the 4000 images"):
            fit("vae", tmp_path / "run", batch_size=4001)
        assert now() == before
        assert within == (before[0], False, True, before[3])
    finally:
        flags.benchmark, flags.deterministic = standing[1:3]


def test_what_is_refused_within_a_run_leaves_accelerate_as_it_was(tmp_path: Path) -> None:
    mine = Accelerator(cpu=True)
    shared = mine.state._shared_state
    with pytest.raises(ValueError, match="between 1 and the 4000 images"):
        fit("vae", tmp_path / "run", batch_size=4001)
    assert Accelerator(cpu=True).state._shared_state is shared and mine.mixed_precision == "no"


# ----------------------------------------------------------------------------------------- what a run leaves behind


@pytest.mark.parametrize("family", runs.FAMILIES)
def test_a_run_leaves_all_that_is_promised(tmp_path: Path, family: str) -> None:
    folder = fit(family, tmp_path / "a/b", save_every=3)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    steps = ("00000003", "00000004")  # every third, and the last
    assert names == sorted(
        [f"{family}.json", "images.json", "history.jsonl", "curves.png", "model.safetensors"]
        + [f"samples-{step}.png" for step in steps]
        + [f"checkpoints/step-{step}.safetensors" for step in steps]
    )
    written = json.loads((folder / f"{family}.json").read_text(encoding="utf-8"))
    assert runs.family(family).settings(**written) == settings(family, tmp_path / "a/b", save_every=3)
    assert json.loads((folder / "images.json").read_text(encoding="utf-8")) == {
        "channels": 1,
        "size": 28,
        "classes": 10,
    }
    rows = history(folder)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    named = {"vae": {"VAE"}, "vqvae": {"VQVAE"}, "gan": {"D", "G", *NEEDED, *VITALS}, "ar": {"AR"}}
    named |= {name: {name} for name in ("flow", "diffusion", "classifier")}
    assert {name for row in rows for name in row} == {"step"} | named[family]
    for name in names:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert min(picture.size) > 100
                shades = len(set(picture.convert("L").tobytes()))
                assert shades > 2 or (family == "ar" and shades == 2)  # which draws black and white
    model, known, used, shape, _ = runs.open_run(folder)
    assert known == family and vars(used) == written and shape == Shape(1, 28, 10) and not model.training
    assert all(not p.requires_grad for p in model.parameters())
    if family in ("gan", "ar", "flow", "diffusion"):  # the result is the average, and not the weights of the last step
        tensors, of = load_file(folder / "checkpoints/step-00000004.safetensors"), "G" if family == "gan" else "model"
        for key, value in model.state_dict().items():
            assert torch.equal(value, tensors[f"parts/average/{key}"])
        names = model.state_dict()
        assert any(not torch.equal(tensors[f"parts/average/{key}"], tensors[f"parts/{of}/{key}"]) for key in names)


def test_the_same_settings_repeat_the_run_and_another_seed_does_not(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n_critic": 2, "gp": 1.0, "augmentation": True, "instance_noise": 0.1, "steps": 3}
    a, b, c = (fit("gan", tmp_path / name, seed=seed, **options) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert same(a, b) and history(a) == history(b)
    assert not same(a, c) and history(a) != history(c)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("vae", {"net": "mlp", "conditional": True, "accumulate": 2, "clip": 1.0}),
    ("vae", {"estimator": "iwae", "k": 3, "likelihood": "gaussian", "schedule": "cosine"}),
    ("vae", {"estimator": "autoencoder", "schedule": "constant"}),
    ("vae", {"likelihood": "logistic", "free_bits": 0.1, "warmup": 3, "precision": "bf16"}),
    ("gan", {"net": "mlp", "objective": "wasserstein", "clip_d": 0.01, "n_critic": 2, "lr_d": 1e-4}),
    ("gan", {"net": "residual", "objective": "relativistic", "r1": 1.0, "r2": 1.0, "conditional": True}),
    ("gan", {"objective": "hinge", "spectral_norm": True, "consistency": 1.0, "precision": "bf16"}),
    ("gan", {"net": "mlp", "augmentation": True, "smooth": 0.1, "width_d": 8, "every": 2, "r1": 1.0}),
    ("ar", {"conditional": True, "depth": 2, "precision": "bf16"}),
    ("ar", {"net": "pixelcnn", "depth": 1, "conditional": True, "clip": 1.0, "save_every": 4}),
    ("flow", {"precision": "bf16", "schedule": "cosine"}),
    ("diffusion", {"conditional": True, "guidance": 2.0, "drop": 0.5, "precision": "bf16"}),
    ("diffusion", {"path": "vp_linear", "target": "noise", "times": "stratified"}),
    ("diffusion", {"path": "cosine", "target": "data", "accumulate": 2}),
]


@pytest.mark.parametrize(("family", "options"), VARIANTS)
def test_options_train_and_change_the_result(tmp_path: Path, family: str, options: dict[str, Any]) -> None:
    folder = fit(family, tmp_path / "run", steps=2, **options)
    assert all(math.isfinite(value) for row in history(folder) for value in row.values())
    net = {"net": options["net"]} if "net" in options else {}
    assert not same(folder, fit(family, tmp_path / "plain", steps=2, **net))
    assert all(v.dtype != torch.bfloat16 for v in load_file(folder / "model.safetensors").values())


# torch.compile's own optimiser takes half a minute; "eager" captures the same graphs and runs them as they are.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's capture looks there
@pytest.mark.parametrize(("family", "options"), [("vae", {}), ("gan", {"net": "mlp"})])
def test_compiled_networks_train_alike_and_leave_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, options: dict[str, Any]
) -> None:
    plain = load_file(fit(family, tmp_path / "plain", steps=2, **options) / "model.safetensors")
    calls = []
    compile = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda module: calls.append(module) or compile(module))
    compiled = load_file(fit(family, tmp_path / "compiled", steps=2, compile=True, **options) / "model.safetensors")
    assert len(calls) == (2 if family == "gan" else 1) and plain.keys() == compiled.keys()
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, atol=1e-5, rtol=1e-5)


def test_the_learning_rate_falls_over_the_whole_run_for_each_player(tmp_path: Path) -> None:
    """A critic that moves five times a step must not be five times as early at zero."""
    for schedule, expected in {
        "constant": [1.0] * 5,
        "linear": [1, 1, 1, 0.5, 0],
        "cosine": [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(5)],
    }.items():
        with base.Run("gan", settings("gan", tmp_path / "never", schedule=schedule), pixels="unit") as run:
            made = {
                moves: run.prepare("D", torch.nn.Conv2d(1, 1, 1), torch.optim.SGD, moves=moves, lr=1.0)
                for moves in (1, 5)
            }
        for moves, (_, optimizer, rate) in made.items():
            found = []
            for _step in range(5):
                found.append(optimizer.param_groups[0]["lr"])
                for _ in range(moves):
                    optimizer.step()
                    rate.step()
            assert found == pytest.approx(expected), (schedule, moves)
    assert not (tmp_path / "never").exists()


def test_the_critic_of_a_run_has_its_own_count_of_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rate is half after three moves of four steps, and nothing at the end."""
    rates: list[float] = []
    clip = gan.clip_weights

    def after_a_move(D: torch.nn.Module, c: float) -> None:
        rates.append(critic[0].param_groups[0]["lr"])
        clip(D, c)

    whole, critic = gan.players, []

    def players(G: Any, D: Any, opt_g: Any, opt_d: Any, **options: Any) -> list[train.Player]:
        critic.append(opt_d)
        return whole(G, D, opt_g, opt_d, **options)

    monkeypatch.setattr(gan, "clip_weights", after_a_move)
    monkeypatch.setattr(gan, "players", players)
    fit("gan", tmp_path / "run", net="mlp", n_critic=3, lr=1e-3, lr_d=1e-4, clip_d=0.1)
    assert rates == pytest.approx([1e-4 * min(1, 2 * (1 - move / 12)) for move in range(1, 13)])


def test_images_in_a_second_count_every_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    watch = plot.watch

    def watched(*arguments: Any, **options: Any) -> Any:
        sizes.append(options["batch_size"])
        return watch(*arguments, **options)

    monkeypatch.setattr(plot, "watch", watched)
    fit("gan", tmp_path / "run", net="mlp", n_critic=3, accumulate=2, steps=1)
    assert sizes == [8 * 3 * 2]


def test_the_progress_bar_shows_losses_and_images_per_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENLAB_LIVE", "1")
    whole = plot.watch
    monkeypatch.setattr(plot, "watch", partial(whole, every=0.0))
    fit("gan", tmp_path / "run", net="mlp")
    shown = capsys.readouterr().err
    assert all(text in shown for text in ("4/4", "D=", "G=", "images/s="))


def test_tensorboard_gets_the_losses_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = fit("gan", tmp_path / "run", net="mlp", tensorboard=True)
    (file,) = folder.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file.parent))
    events.Reload()
    for name in ("D", "G"):
        logged = [(event.step, event.value) for event in events.Scalars(name)]
        assert logged == [(row["step"], pytest.approx(row[name])) for row in history(folder)]
    assert not list(fit("gan", tmp_path / "without", net="mlp").rglob("events.*"))
    monkeypatch.setattr(base, "is_tensorboard_available", lambda: False)
    with pytest.raises(ValueError, match="install it with: pip install tensorboard"):
        fit("gan", tmp_path / "missing", net="mlp", tensorboard=True)
    assert not (tmp_path / "missing").exists()


# ------------------------------------------------------------------------------------------------ folders, resuming


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work", encoding="utf-8")
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    for out in (taken, file):
        for resume in (False, True):
            with pytest.raises(ValueError, match="exists and holds no run of this kind; choose another out"):
                fit("vae", out, resume=resume)
    with pytest.raises(NotADirectoryError):
        fit("vae", file / "below")
    run = fit("vae", tmp_path / "run", steps=1)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"already holds a run; go on with it by resume \(--resume\)"):
        fit("vae", run, steps=1)
    with pytest.raises(ValueError, match="holds no run of this kind"):
        fit("vqvae", run, steps=1)
    with pytest.raises(ValueError, match=r"other settings: batch_size was 8 and is 9; lr was 0\.002 and is 0\.1$"):
        fit("vae", run, lr=0.1, batch_size=9, resume=True)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (tmp_path / "empty").mkdir()
    fit("vae", tmp_path / "empty", steps=1)


def test_a_finished_run_resumes_to_itself_and_free_settings_may_change(tmp_path: Path) -> None:
    run = fit("vae", tmp_path / "run")
    before = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").unlink()  # as after a kill between the last checkpoint and the result
    fit("vae", run, resume=True, save_every=7, device="cpu")
    assert (run / "model.safetensors").read_bytes() == before and len(history(run)) == 4
    written = json.loads((run / "vae.json").read_text(encoding="utf-8"))
    assert written["save_every"] == 7 and not written["resume"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Later(VAESettings):
    """The settings as a later version has them."""

    sharpness: int = 3


def test_a_setting_that_is_newer_than_the_run_is_unchanged_at_its_default(tmp_path: Path) -> None:
    run = fit("vae", tmp_path / "run")
    (run / "model.safetensors").unlink()
    later = {"out": str(run), "steps": 4, "batch_size": 8, "save_every": 2, "resume": True, **SMALL["vae"]}
    with pytest.raises(ValueError, match=r"other settings: sharpness was 3 and is 4$"):
        runs.family("vae").fit(Later(**later, sharpness=4))
    runs.family("vae").fit(Later(**later))
    assert (run / "model.safetensors").exists()
    written = json.loads((run / "vae.json").read_text(encoding="utf-8"))
    del written["z_dim"], written["beta"]  # as if these were the newer ones
    (run / "vae.json").write_text(json.dumps(written | {"z_dim": 2, "given_up": 1}), encoding="utf-8")
    fit("vae", run, resume=True)


@pytest.mark.parametrize("family", runs.FAMILIES)
def test_an_extended_run_equals_the_whole_one(tmp_path: Path, family: str) -> None:
    """Bit for bit with a constant learning rate; with the others the schedule stretches, and training goes on."""
    steady: dict[str, Any] = {"schedule": "constant", "save_every": 3}
    extended = fit(family, tmp_path / "run", steps=3, **steady)
    fit(family, extended, steps=7, resume=True, **steady)
    whole = fit(family, tmp_path / "whole", steps=7, **steady)
    assert same(extended, whole) and history(extended) == history(whole)
    assert json.loads((extended / f"{family}.json").read_text(encoding="utf-8"))["steps"] == 7
    before = {path: path.read_bytes() for path in extended.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"other settings: steps was 7 and is 6$"):
        fit(family, extended, steps=6, resume=True, **steady)
    assert before == {path: path.read_bytes() for path in extended.rglob("*") if path.is_file()}


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_run_that_had_come_to_rest_wakes_when_it_is_extended(tmp_path: Path, schedule: str) -> None:
    rates = []

    def mean(module: torch.nn.Module, x: Any, step: int) -> Tensor:
        return module(x).mean()

    def each(step: int, losses: Any) -> None:
        rates.append(run.parts["D_optimizer"].param_groups[0]["lr"])

    for steps, resume in ((4, False), (8, True)):
        options = settings("gan", tmp_path / "run", steps=steps, resume=resume, schedule=schedule, lr=0.1)
        with base.Run("gan", options, pixels="unit") as run:
            module, optimizer, rate = run.prepare("D", torch.nn.Conv2d(1, 1, 1), torch.optim.SGD)
            player = train.Player("D", module, partial(mean, module), optimizer, schedule=rate)
            run.fit([player], result={"D": "D"}, picture=lambda: torch.rand(1, 1, 8, 8), each=each)
    share = [
        min(1.0, 2 * (1 - m / 8)) if schedule == "linear" else (1 + math.cos(math.pi * m / 8)) / 2 for m in range(9)
    ]
    assert rates[3] == 0 and rates[4:] == pytest.approx([0.1 * share[m] for m in range(5, 9)])
    assert run.parts["D_schedule"].last_epoch == 8


def test_the_first_rate_of_an_extended_run_is_that_of_its_place(tmp_path: Path) -> None:
    fit("vae", tmp_path / "run", steps=2)
    options = settings("vae", tmp_path / "run", steps=4, resume=True)
    with base.Run("vae", options, pixels="binary") as run:
        run.prepare("model", runs.family("vae").build(options, run.shape)["model"], torch.optim.AdamW)
        assert run._restore() == 2
        assert run.parts["model_optimizer"].param_groups[0]["lr"] == pytest.approx(2e-3)


def test_a_run_goes_back_to_the_newest_checkpoint_that_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit("gan", tmp_path / "run", net="mlp", steps=6)
    before = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").unlink()
    older, newest = checkpoint.found(run / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:1000])
    fit("gan", run, net="mlp", steps=6, resume=True)
    said = capsys.readouterr().err
    assert newest.name in said and f"going on from {older.name}" in said
    assert (run / "model.safetensors").read_bytes() == before and len(history(run)) == 6
    for path in checkpoint.found(run / "checkpoints"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 2 checkpoints in .* can be read; remove them to start anew"):
        fit("gan", run, net="mlp", steps=6, resume=True)
    assert len(history(run)) == 6 and older.exists()


@pytest.mark.parametrize("content", ['{"steps": 4, "lr"', "", "[]", "\x00\xff"])
def test_a_cut_settings_file_is_named(tmp_path: Path, content: str) -> None:
    run = fit("vae", tmp_path / "run", steps=1)
    for name in ("vae.json", "images.json"):
        whole = (run / name).read_bytes()
        (run / name).write_bytes(content.encode("latin-1"))
        with pytest.raises(ValueError, match=rf"{name} .*; write it again, or choose another folder"):
            fit("vae", run, steps=1, resume=True)
        with pytest.raises(ValueError, match=rf"{name} .*; write it again, or choose another folder"):
            runs.open_run(run)
        (run / name).write_bytes(whole)
    fit("vae", run, steps=1, resume=True)


def test_a_run_is_opened_by_its_folder_or_its_weights_and_damage_is_named(tmp_path: Path) -> None:
    run = fit("gan", tmp_path / "run", net="mlp", steps=1)
    one, other = runs.open_run(run), runs.open_run(str(run / "model.safetensors"))
    assert one.settings == other.settings and one[1:] == other[1:]
    for key, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[key])
    (run / "images.json").unlink()  # as in runs of earlier versions
    assert runs.open_run(run).shape == one.shape
    (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged .*; make it again by --resume"):
        runs.open_run(run)
    with pytest.raises(ValueError, match="holds no finished run"):
        runs.open_run(tmp_path)


def test_a_run_does_not_go_on_with_images_of_another_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit("vae", tmp_path / "run", steps=1)
    split = data.digits()
    first, second = (data.Images(part.x[..., :20, :20], part.y) for part in split)
    small = data.Split(first, second)
    monkeypatch.setattr(base, "read_images", lambda settings: small)
    with pytest.raises(ValueError, match=r"cannot resume .* with other images: they were .*28.* and are .*20"):
        fit("vae", run, steps=1, resume=True)
    with pytest.raises(ValueError, match=r"the network is for images of .*28.*, but digits now has .*20"):
        runs.evaluate(runs.open_run(run))


def test_order_and_noise_go_on_on_another_device(tmp_path: Path) -> None:
    """A device without values stands for a GPU: what is saved there is all that a processor needs."""

    def parts(device: str) -> dict[str, Any]:
        batches = data.Batches(data.digits().train, 8, labels=True, pixels="binary", device=device, seed=3)
        return {"batches": batches, "noise": train.Noise(3, device=device)}

    def draw(parts: dict[str, Any]) -> list[Any]:
        return [*(next(parts["batches"]) for _ in range(3)), parts["noise"].normal(4, 2), parts["noise"].uniform(4)]

    there, here, whole = parts("meta"), parts("cpu"), parts("cpu")
    assert all(x.device.type == "meta" for x in draw(there)[3:])
    draw(whole)
    checkpoint.save(tmp_path, 1, there)
    checkpoint.restore_newest(tmp_path, here)
    for (x, y), (x2, y2) in zip(draw(here)[:3], draw(whole)[:3], strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)
    assert torch.equal(here["noise"].normal(5), whole["noise"].normal(5))


def test_the_history_is_not_read_again_at_every_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    for name in ("read_text", "read_bytes", "open"):
        whole = getattr(Path, name)

        def counted(self: Path, *arguments: Any, whole: Any = whole, **options: Any) -> Any:
            if self.name == "history.jsonl" and "a" not in arguments and "w" not in arguments:
                reads.append(self)
            return whole(self, *arguments, **options)

        monkeypatch.setattr(Path, name, counted)
    fit("vae", tmp_path / "run", steps=6, save_every=1)
    assert reads == []
    fit("vae", tmp_path / "run", steps=12, save_every=1, resume=True)
    assert len({*reads}) == 1 and len(reads) <= 2  # read_text opens


def test_long_histories_are_thinned_alike_with_and_without_an_interruption() -> None:
    rows = [{"step": step, "D": float(step)} for step in range(1, 10_001)]

    def kept(start: int) -> base._History:
        with base._History(Path(), rows[:start], False) as history:
            for row in rows[start:]:
                history.add(int(row["step"]), {"D": row["D"]}, {})
        return history

    whole = kept(0)
    assert len(whole.rows) <= 2 * whole.LIMIT and whole.rows[-1]["step"] == 10_000
    for start in (3999, 4001, 7000):
        assert kept(start).rows == whole.rows


def test_resuming_without_a_run_starts_one(tmp_path: Path) -> None:
    assert same(fit("vae", tmp_path / "a", resume=True), fit("vae", tmp_path / "b"))


def test_a_run_that_diverges_names_step_player_and_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = 1
    objective = gan.OBJECTIVES["nonsaturating"]
    calls = 0

    def g(fake: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return objective.g(fake) * (math.nan if calls == bad else 1.0)

    monkeypatch.setitem(gan.OBJECTIVES, "nonsaturating", objective._replace(g=g))
    with pytest.raises(train.Diverged, match=r"the loss of G is nan at step 1; there is no checkpoint yet$"):
        fit("gan", tmp_path / "first", net="mlp")
    bad, calls = 4, 0
    last = tmp_path / "later/checkpoints/step-00000002.safetensors"
    with pytest.raises(train.Diverged, match=rf"the loss of G is nan at step 4; the last good checkpoint is {last}$"):
        fit("gan", tmp_path / "later", net="mlp")
    assert len(history(tmp_path / "later")) == 3 and not (tmp_path / "later/model.safetensors").exists()
    bad = 0
    resumed = fit("gan", tmp_path / "later", net="mlp", resume=True)
    assert same(resumed, fit("gan", tmp_path / "whole", net="mlp"))


def test_weights_that_diverge_unseen_are_found_when_they_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(average: torch.nn.Module, *_: Any) -> None:
        with torch.no_grad():
            next(average.parameters()).fill_(math.inf)

    monkeypatch.setattr(train, "ema", poison)
    with pytest.raises(train.Diverged, match=r"average/.* NaN or infinite at step 2; there is no checkpoint yet"):
        fit("gan", tmp_path / "run", net="mlp")


# --------------------------------------------------------------------------------------------------------- families


def test_a_run_is_the_loop_of_the_notebooks(tmp_path: Path) -> None:
    """The VAE's `fit` against the same few lines written out: equal to the bit."""
    folder = fit("vae", tmp_path / "run", schedule="constant", beta=0.5)
    train.seed_everything(0)
    model = (
        runs.family("vae")
        .build(VAESettings(z_dim=2, width=4), Shape(1, 28))["model"]
        .to(memory_format=torch.channels_last)
    )
    player = vae.player(
        model, torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01), noise=train.Noise(0), z_dim=2, beta=0.5
    )
    batches = data.Batches(data.digits().train, 8, pixels="binary", seed=0)
    rows = [{"step": step} | losses for step, losses in train.train([player], batches, 4)]
    assert rows == history(folder)
    for key, value in load_file(folder / "model.safetensors").items():
        assert torch.equal(value, model.state_dict()[key.removeprefix("model.")])


@pytest.mark.parametrize("shape", [Shape(1, 28, 10), Shape(3, 32, 10), Shape(3, 20, 7), Shape(1, 48, 2)])
def test_networks_fit_images_of_any_shape(shape: Shape) -> None:
    x, y = torch.rand(2, shape.channels, shape.size, shape.size), torch.tensor([0, 1])
    for net in get_args(get_type_hints(VAESettings)["net"]):
        for likelihood in densities.LIKELIHOODS:
            s = VAESettings(net=net, likelihood=likelihood, z_dim=2, width=4)  # type: ignore[arg-type]
            out = runs.family("vae").build(s, shape)["model"](x, eps=torch.zeros(2, 2)).out
            assert densities.LIKELIHOODS[likelihood].log_prob(x, out).shape == (2,)
    for net in get_args(get_type_hints(GANSettings)["net"]):
        game = runs.family("gan").build(GANSettings(net=net, z_dim=3, width=4, conditional=True), shape)
        fake = game["G"](torch.randn(2, 3), y)
        assert fake.shape == x.shape and fake.abs().max() <= 1 and game["D"](fake, y).shape == (2,)
    vq = runs.family("vqvae").build(settings("vqvae", Path()), shape)["model"]
    assert vq(x)[0].shape == x.shape
    classifier = runs.family("classifier").build(settings("classifier", Path()), shape)["model"]
    assert classifier(x).shape == (2, shape.classes)


# ------------------------------------------------------------------------------------------------- vital signs, samples


def test_a_gan_logs_vital_signs_which_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BatchNorm and spectral norm move with every pass in training mode: none of the run's numbers differs."""
    options: dict[str, Any] = {"steps": 90, "conditional": True, "spectral_norm": True, "save_every": 90}
    watched = fit("gan", tmp_path / "watched", **options)
    rows = diagnosis.read(watched / "history.jsonl")
    assert [row["step"] for row in rows] == list(range(2, 91, 2))
    found = diagnosis.diagnose(rows)
    assert found.name and found.evidence
    monkeypatch.setattr(gan_runs._Vitals, "check", lambda *_: None)
    unwatched = fit("gan", tmp_path / "unwatched", **options)
    assert same(watched, unwatched)
    one, other = (load_file(run / "checkpoints/step-00000090.safetensors") for run in (watched, unwatched))
    assert set(one) - set(other) == {"parts/vitals/last"}
    for name, value in other.items():
        assert torch.equal(value, one[name]), name


def test_vital_signs_say_what_a_hand_finds(tmp_path: Path) -> None:
    """Loss and answers of D are those of its last move; the loss is without penalties."""
    answers: list[tuple[Tensor, Tensor]] = []
    whole = gan_runs._Vitals.watch

    def watch(self: Any, real: Tensor, fake: Tensor) -> None:
        answers.append((real, fake))
        whole(self, real, fake)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_runs._Vitals, "watch", watch)
        run = fit("gan", tmp_path / "run", net="mlp", r1=50.0, n_critic=2, objective="hinge")
    rows = diagnosis.read(run / "history.jsonl")
    assert len(rows) == 4 and len(answers) == 8
    for row, (real, fake) in zip(rows, answers[1::2], strict=True):
        assert row["loss_d"] == pytest.approx((torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()).item())
        assert row["loss_d"] < row["D"] and row["loss_g"] == row["G"]
        assert row["accuracy"] == pytest.approx(((real > 0).sum() + (fake <= 0).sum()).item() / 16)
        assert row["d_real"] == pytest.approx(torch.sigmoid(real).mean().item())
        assert row["data_low"] == -1 and row["data_high"] == 1


def test_vital_signs_of_a_resumed_run_are_those_of_the_whole_one(tmp_path: Path) -> None:
    whole = fit("gan", tmp_path / "whole", net="mlp", steps=6, save_every=3)
    killed = fit("gan", tmp_path / "killed", net="mlp", steps=6, save_every=3)
    (killed / "model.safetensors").unlink()
    (killed / "checkpoints/step-00000006.safetensors").unlink()
    fit("gan", killed, net="mlp", steps=6, save_every=3, resume=True)
    assert (killed / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()
    assert history(whole)[3]["move"] > 0


def test_images_are_written_as_a_grid_as_files_or_as_an_array_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for channels in (1, 3):
        x = torch.rand(12, channels, 20, 20)
        places = {end: tmp_path / f"{channels}{end}" for end in (".npy", ".png", "")}
        for path in places.values():
            judging.write_images(x, path)
        stored = np.load(places[".npy"], allow_pickle=False)
        assert stored.dtype == np.float32 and torch.equal(torch.from_numpy(stored), x)
        files = sorted(places[""].iterdir())
        assert [file.name for file in files] == [f"{i:05d}.png" for i in range(12)]
        pixels = (255 * x).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for file, expected in zip(files, pixels, strict=True):
            with Image.open(file) as picture:
                assert np.array_equal(np.asarray(picture).reshape(20, 20, channels), expected)
        with Image.open(places[".png"]) as picture:  # ten columns, each pixel three times as wide
            grid = np.asarray(picture)[::3, ::3].reshape(41, 209, channels)
        assert np.array_equal(grid[:20, 21:41], pixels[1]) and np.array_equal(grid[21:, :20], pixels[10])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    for path in (tmp_path / "1.npy", tmp_path / "1.png"):
        with pytest.raises(OSError, match="no space left"):
            judging.write_images(x, path)
    assert before == {path: path.read_bytes() for path in before}
