"""Runs and recipes: what they write, refuse, repeat and resume; SIGKILL at any moment."""

import dataclasses
import functools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from genlab import data, gan, plot, recipes, runs, train, vae, zoo
from genlab.settings import FREE, LIMITS, SETTINGS, GANSettings, Settings, VAESettings

SMALL: dict[str, dict[str, Any]] = {
    "vae": {"z_dim": 2, "width": 4},
    "vqvae": {"codes": 4, "d": 2, "width": 4},
    "gan": {"z_dim": 4, "width": 4},
    "classifier": {"d": 4, "width": 4},
}


def settings(recipe: str, out: Path, **options: Any) -> Any:
    return SETTINGS[recipe](
        **{"out": str(out), "steps": 4, "batch_size": 8, "save_every": 2, **SMALL[recipe], **options}
    )


def fit(recipe: str, out: Path, **options: Any) -> Path:
    return recipes.RECIPES[recipe].fit(settings(recipe, out, **options))


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def same(a: Path, b: Path) -> bool:
    return (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


# ------------------------------------------------------------------------------------------------------------- kills


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize(("mode", "least"), [("writes", 30), ("moments", 10)])
def test_a_killed_run_ends_as_if_it_had_never_been_killed(tmp_path: Path, mode: str, least: int) -> None:
    """Weights, averages, optimisers, generators, order, history and pictures: the files are equal to the byte."""
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", script, tmp_path, mode, "0"], capture_output=True, text=True, timeout=300
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


def test_every_number_in_the_settings_has_its_limits() -> None:
    for kind in SETTINGS.values():
        hints = get_type_hints(kind)
        numbers = {name for name, hint in hints.items() if hint in (int, float, int | None, float | None)}
        for name in numbers:
            assert sum(name in names for _, _, names in LIMITS) == 1, name
        kinds = {bool, str, *(hints[name] for name in numbers)}
        assert all(hint in kinds or get_origin(hint) is Literal for hint in hints.values())
        assert {field.name for field in dataclasses.fields(kind)} >= FREE
        for name in hints:
            assert f"        {name}: " in (kind.__doc__ or "") + (Settings.__doc__ or ""), f"{name} is not explained"


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
]


@pytest.mark.parametrize(("recipe", "name", "value", "message"), IMPOSSIBLE)
def test_what_is_impossible_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, name: str, value: Any, message: str
) -> None:
    if name == "data":
        monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "empty"))
    with pytest.raises(ValueError, match=message):
        fit(recipe, tmp_path / "run", **{name: value})
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


# ----------------------------------------------------------------------------------------- what a run leaves behind


@pytest.mark.parametrize("recipe", list(SETTINGS))
def test_a_run_leaves_all_that_is_promised(tmp_path: Path, recipe: str) -> None:
    folder = fit(recipe, tmp_path / "a/b", save_every=3)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    steps = ("00000003", "00000004")  # every third, and the last
    assert names == sorted(
        [f"{recipe}.json", "history.jsonl", "curves.png", "model.safetensors"]
        + [f"samples-{step}.png" for step in steps]
        + [f"checkpoints/step-{step}.safetensors" for step in steps]
    )
    written = json.loads((folder / f"{recipe}.json").read_text())
    assert SETTINGS[recipe](**written) == settings(recipe, tmp_path / "a/b", save_every=3)
    rows = history(folder)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    losses = {name for row in rows for name in row if name != "step"}
    assert losses == {"vae": {"VAE"}, "vqvae": {"VQVAE"}, "gan": {"D", "G"}, "classifier": {"classifier"}}[recipe]
    for name in names:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert min(picture.size) > 100 and len(set(picture.convert("L").tobytes())) > 2
    model, known, used = zoo.load_run(folder)
    assert known == recipe and used == written and not model.training
    assert all(not p.requires_grad for p in model.parameters())
    if recipe == "gan":  # the result is the average, and not the generator of the last step
        tensors = load_file(folder / "checkpoints/step-00000004.safetensors")
        for key, value in model.state_dict().items():
            assert torch.equal(value, tensors[f"average.{key}"])
        assert any(not torch.equal(tensors[f"average.{key}"], tensors[f"G.{key}"]) for key in model.state_dict())


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
]


@pytest.mark.parametrize(("recipe", "options"), VARIANTS)
def test_options_train_and_change_the_result(tmp_path: Path, recipe: str, options: dict[str, Any]) -> None:
    folder = fit(recipe, tmp_path / "run", steps=2, **options)
    assert all(math.isfinite(value) for row in history(folder) for value in row.values())
    net = {"net": options["net"]} if "net" in options else {}
    assert not same(folder, fit(recipe, tmp_path / "plain", steps=2, **net))
    assert all(v.dtype != torch.bfloat16 for v in load_file(folder / "model.safetensors").values())


# torch.compile's own optimiser takes half a minute; "eager" captures the same graphs and runs them as they are.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's capture looks there
@pytest.mark.parametrize(("recipe", "options"), [("vae", {}), ("gan", {"net": "mlp"})])
def test_compiled_networks_train_alike_and_leave_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, options: dict[str, Any]
) -> None:
    plain = load_file(fit(recipe, tmp_path / "plain", steps=2, **options) / "model.safetensors")
    calls = []
    compile = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda module: calls.append(module) or compile(module))
    compiled = load_file(fit(recipe, tmp_path / "compiled", steps=2, compile=True, **options) / "model.safetensors")
    assert len(calls) == (2 if recipe == "gan" else 1) and plain.keys() == compiled.keys()
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, atol=1e-5, rtol=1e-5)


def test_the_learning_rate_falls_over_the_whole_run_for_each_player(tmp_path: Path) -> None:
    """A critic that moves five times a step must not be five times as early at zero."""
    for schedule, expected in {
        "constant": [1.0] * 5,
        "linear": [1, 1, 1, 0.5, 0],
        "cosine": [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(5)],
    }.items():
        run = runs.Run("gan", settings("gan", tmp_path / "never", schedule=schedule), pixels="unit")
        for moves in (1, 5):
            module = torch.nn.Conv2d(1, 1, 1)
            _, optimizer, rate = run.prepare("D", module, torch.optim.SGD, moves=moves, lr=1.0)
            found = []
            for _step in range(5):
                found.append(optimizer.param_groups[0]["lr"])
                for _ in range(moves):
                    optimizer.step()
                    rate.step()
            assert found == pytest.approx(expected), (schedule, moves)
    assert not (tmp_path / "never").exists()


def test_the_critic_of_a_recipe_has_its_own_count_of_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(train, "ema", lambda *_: rates.append(schedules[0].get_last_lr()[0]))
    schedules: list[Any] = []
    whole = gan.players

    def players(*arguments: Any, **options: Any) -> list[train.Player]:
        schedules.extend(options["schedules"])
        return whole(*arguments, **options)

    monkeypatch.setattr(gan, "players", players)
    fit("gan", tmp_path / "run", net="mlp", n_critic=3, lr=1e-3, lr_d=1e-4)
    assert rates == pytest.approx([1e-4, 1e-4, 0.5e-4, 0])


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
    monkeypatch.setattr(plot, "watch", functools.partial(whole, every=0.0))
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
    monkeypatch.setattr(runs, "is_tensorboard_available", lambda: False)
    with pytest.raises(ValueError, match="install it with: pip install tensorboard"):
        fit("gan", tmp_path / "missing", net="mlp", tensorboard=True)
    assert not (tmp_path / "missing").exists()


# ------------------------------------------------------------------------------------------------ folders, resuming


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work")
    file = tmp_path / "file"
    file.write_text("")
    for out in (taken, file):
        for resume in (False, True):
            with pytest.raises(ValueError, match="exists and holds no run of this kind; choose another out"):
                fit("vae", out, resume=resume)
    with pytest.raises(NotADirectoryError):
        fit("vae", file / "below")
    run = fit("vae", tmp_path / "run", steps=1)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"already holds a run; go on with it by resume \(--resume true\)"):
        fit("vae", run, steps=1)
    with pytest.raises(ValueError, match="holds no run of this kind"):
        fit("vqvae", run, steps=1)
    with pytest.raises(ValueError, match=r"other settings: steps was 1 and is 4; lr was 0\.002 and is 0\.1$"):
        fit("vae", run, lr=0.1, resume=True)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (tmp_path / "empty").mkdir()
    fit("vae", tmp_path / "empty", steps=1)


def test_a_finished_run_resumes_to_itself_and_free_settings_may_change(tmp_path: Path) -> None:
    run = fit("vae", tmp_path / "run")
    before = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").unlink()  # as after a kill between the last checkpoint and the result
    fit("vae", run, resume=True, save_every=7, device="cpu")
    assert (run / "model.safetensors").read_bytes() == before and len(history(run)) == 4
    written = json.loads((run / "vae.json").read_text())
    assert written["save_every"] == 7 and not written["resume"]


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
    with pytest.raises(train.Diverged, match=r"average\..* NaN or infinite at step 2; there is no checkpoint yet"):
        fit("gan", tmp_path / "run", net="mlp")


# ---------------------------------------------------------------------------------------------------------- recipes


def test_a_recipe_is_the_loop_of_the_notebooks(tmp_path: Path) -> None:
    """`fit_vae` against the same few lines written out: equal to the bit."""
    folder = fit("vae", tmp_path / "run", schedule="constant", beta=0.5)
    train.seed_everything(0)
    model = recipes.build_vae(VAESettings(z_dim=2, width=4))["model"].to(memory_format=torch.channels_last)
    player = vae.player(
        model, torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01), noise=train.Noise(0), z_dim=2, beta=0.5
    )
    batches = data.Batches(data.digits().train, 8, pixels="binary", seed=0)
    rows = [{"step": step} | losses for step, losses in train.train([player], batches, 4)]
    assert rows == history(folder)
    for key, value in load_file(folder / "model.safetensors").items():
        assert torch.equal(value, model.state_dict()[key.removeprefix("model.")])


@pytest.mark.parametrize("size", ["digits", "cifar10"])
def test_networks_fit_the_images_of_every_set(size: str) -> None:
    channels, side = recipes.SHAPES[size]
    x = torch.rand(2, channels, side, side)
    for net in get_args(get_type_hints(VAESettings)["net"]):
        for likelihood in vae.LIKELIHOODS:
            s = VAESettings(data=size, net=net, likelihood=likelihood, z_dim=2, width=4)  # type: ignore[arg-type]
            out = recipes.build_vae(s)["model"](x, eps=torch.zeros(2, 2)).out
            assert vae.LIKELIHOODS[likelihood].log_prob(x, out).shape == (2,)
    for net in get_args(get_type_hints(GANSettings)["net"]):
        game = recipes.build_gan(GANSettings(data=size, net=net, z_dim=3, width=4, conditional=True))  # type: ignore[arg-type]
        y = torch.tensor([3, 4])
        fake = game["G"](torch.randn(2, 3), y)
        assert fake.shape == x.shape and fake.abs().max() <= 1 and game["D"](fake, y).shape == (2,)
