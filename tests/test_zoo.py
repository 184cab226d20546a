"""The zoo: entries are whole and small, damage is seen, metrics are recomputed, cards say what the records say."""

import dataclasses
import hashlib
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from genlab import __main__ as command_line
from genlab import data, densities, metrics, runs, zoo
from genlab.runs import base, judging
from genlab.runs.settings import Shape
from tests.test_runs import fit

NAMES = zoo.names()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the zoo that a test may damage."""
    folder = tmp_path / "zoo"
    shutil.copytree(zoo.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(zoo, "FOLDER", folder)
    return folder


def change(folder: Path, name: str, **fields: Any) -> None:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ the entries


def test_there_is_nothing_but_entries() -> None:
    files = {path.name for path in zoo.FOLDER.iterdir() if path.name != "__pycache__"}
    assert "classifier" in NAMES
    assert files == {"__init__.py"} | {f"{name}.{end}" for name in NAMES for end in ("json", "md", "safetensors")}


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_whole_small_and_described(name: str) -> None:
    record, path = zoo.entry(name), zoo.FOLDER / f"{name}.safetensors"
    assert path.stat().st_size <= zoo.LIMIT == 2_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == record["sha256"]
    assert (zoo.FOLDER / f"{name}.md").read_text(encoding="utf-8") == zoo.card(name, record)
    assert all(value.dtype in (torch.float16, torch.int64) for value in load_file(path).values())
    assert record["command"].startswith(f"genlab {record['family']}") and record["seconds"] > 0
    assert len(record["limits"].split()) > 5 and record["settings"]["seed"] >= 0
    assert record["metrics"] and all(math.isfinite(m["value"]) and m["n"] for m in record["metrics"].values())
    assert not {"out", "resume", "download"} & record["settings"].keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_command_on_the_card_gives_the_settings_of_the_record(name: str) -> None:
    record = zoo.entry(name)
    options = command_line._arranged(shlex.split(record["command"])[1:])[1:]
    given = command_line._run_parser(record["family"]).parse_args(options).as_dict()
    for key, value in record["settings"].items():
        assert given[key] == value, key


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_loads_ready_for_use(name: str) -> None:
    model = zoo.load(name)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    for key, value in model.state_dict().items():
        # The table of a flow's ranks is computed with in float64.
        assert value.dtype in (torch.float32, torch.int64) or (value.dtype == torch.float64 and key.endswith(".P"))
        assert value.device.type == "cpu"
    assert all(bool(v.isfinite().all()) for v in model.state_dict().values())
    images = runs.samples(zoo.trained(name), 3)
    if images is not None:
        assert images.shape == (3, 1, 28, 28) and images.min() >= 0 and images.max() <= 1


def test_the_classifier_is_what_its_metric_says() -> None:
    """Counted here without `metrics.accuracy` and without `evaluate`."""
    net, test = zoo.load("classifier"), data.digits().test
    with torch.no_grad():
        right = (net(test.x.float() / 255).argmax(1) == test.y).float().mean().item()
    recorded = zoo.entry("classifier")["metrics"]["accuracy"]
    assert abs(right - recorded["value"]) <= recorded["tolerance"] and right > 0.97


def test_loading_needs_no_network_and_no_pickle() -> None:
    program = (
        "import pickle, socket\n"
        "def refuse(*a, **k): raise OSError('refused')\n"
        "from genlab import zoo\n"
        "socket.socket.connect = pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "print(*[type(zoo.load(name)).__name__ for name in zoo.names()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(NAMES)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=rf"the zoo has no 'gaan'; it has {', '.join(NAMES)}"):
        zoo.load("gaan")
    with pytest.raises(ValueError, match=r"the zoo has no '\.\./zoo/classifier'"):
        zoo.load("../zoo/classifier")


# ----------------------------------------------------------------------------------------------------------- audits


# The bounds of a VAE and the samples of a diffusion model take minutes; `genlab zoo audit` computes those, too.
@pytest.mark.parametrize("name", [name for name in NAMES if zoo.entry(name)["family"] not in ("vae", "diffusion")])
def test_an_audit_passes_on_what_is_there(name: str) -> None:
    assert zoo.audit(name) == []


def test_a_changed_weight_is_seen(copy: Path) -> None:
    path = copy / "classifier.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"classifier\.safetensors is damaged: its checksum is not the recorded one"):
        zoo.load("classifier")
    (line,) = zoo.audit("classifier")
    assert "damaged" in line
    change(copy, "classifier", sha256=hashlib.sha256(content).hexdigest())
    assert zoo.audit("classifier") == ["classifier: the card does not say what the record says"]


def test_worse_weights_are_seen_even_when_checksum_and_card_were_made_to_fit(copy: Path) -> None:
    path = copy / "classifier.safetensors"
    tensors = load_file(path)
    key = max(tensors, key=lambda k: tensors[k].numel())
    save_file(tensors | {key: torch.zeros_like(tensors[key])}, path)
    change(copy, "classifier", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    (copy / "classifier.md").write_text(zoo.card("classifier", zoo.entry("classifier")), encoding="utf-8")
    (line,) = zoo.audit("classifier")
    assert re.match(r"classifier: test accuracy is 0\.\d+, but 0\.99 ± 0\.0021 is recorded", line)


@pytest.mark.parametrize("wrong", [0.95, math.nan])
def test_a_changed_metric_is_seen(copy: Path, wrong: float) -> None:
    recorded = zoo.entry("classifier")["metrics"]
    change(copy, "classifier", metrics={"accuracy": recorded["accuracy"] | {"value": wrong}})
    lines = zoo.audit("classifier")
    assert len(lines) == 2 and f"but {wrong:.6g} ± 0.0021 is recorded" in lines[0] and "the card" in lines[1]
    change(copy, "classifier", metrics={})
    assert zoo.audit("classifier")[0] == "classifier: accuracy is not both computed and recorded"


# ------------------------------------------------------------------------------------------------- adding an entry


def test_a_run_becomes_an_entry_that_passes_its_audit(copy: Path, tmp_path: Path) -> None:
    run = fit("gan", tmp_path / "run", net="mlp", conditional=True)
    path = zoo.add(run, "tiny-gan", command="genlab gan --steps 4", seconds=1.4, limits="None known.", folder=copy)
    assert path == copy / "tiny-gan.safetensors" and "tiny-gan" in zoo.names() and zoo.audit("tiny-gan") == []
    record = zoo.entry("tiny-gan")
    assert record["seconds"] == 1
    assert set(record["metrics"]) == {"fcd", "precision", "recall", "novelty", "labels"}
    card = (copy / "tiny-gan.md").read_text(encoding="utf-8")
    assert all(
        text in card for text in ("# tiny-gan", "`genlab gan --steps 4`", "seed 0", "None known.", record["sha256"])
    )
    assert all(f"| {m['what']} | {m['value']:.4g} | {m['n']} |" in card for m in record["metrics"].values())
    whole = runs.open_run(run).model
    for key, value in zoo.load("tiny-gan").state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[key], atol=1e-3, rtol=1e-3)  # float16 keeps 11 bits


def test_an_entry_is_overwritten_only_when_asked(copy: Path, tmp_path: Path) -> None:
    first, second = (fit("vqvae", tmp_path / str(seed), seed=seed) for seed in (1, 2))
    about: dict[str, Any] = {"command": "c", "seconds": 1, "limits": "l", "folder": copy}
    zoo.add(first, "tiny", **about)
    before = {path.name: path.read_bytes() for path in copy.glob("tiny.*")}
    with pytest.raises(ValueError, match=r"an entry 'tiny'; choose another name, or replace it by overwrite"):
        zoo.add(second, "tiny", **about)
    assert before == {path.name: path.read_bytes() for path in copy.glob("tiny.*")}
    zoo.add(second / "model.safetensors", "tiny", overwrite=True, **about)
    assert zoo.audit("tiny") == [] and zoo.entry("tiny")["settings"]["seed"] == 2


def test_a_card_names_the_data_that_the_run_was_made_on(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8), torch.arange(50) % 7
    split = data.Split(data.Images(x[:40], y[:40]), data.Images(x[40:], y[40:]))
    for where in (base, zoo):
        monkeypatch.setattr(where, "read_images", lambda settings: split)
    run = fit("gan", tmp_path / "run", net="mlp", data="folder:photographs")
    zoo.add(run, "photos", command="c", seconds=1, limits="l", folder=copy)
    card = (copy / "photos.md").read_text(encoding="utf-8")
    assert "Data: folder:photographs, 40 images to train and 10 to test, 3 × 16 × 16." in card
    assert "digits" not in card and "| none | | |" in card and zoo.audit("photos") == []
    command_line.main(["zoo", "list"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["photos"].split() == ["photos", "no", "metrics"] and set(lines) == {*NAMES, "photos"}


@pytest.mark.parametrize("name", NAMES)
def test_three_lines_of_the_card_load_the_weights_in_plain_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (zoo.FOLDER / f"{name}.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(program.split("\n\n")[1].splitlines()) + 1 == 3 and "genlab" not in program
    made = zoo.trained(name)
    fresh = runs.family(made.family).build(made.settings, made.shape)[made.part]
    assert f"`{type(fresh).__name__}`" in card
    monkeypatch.chdir(zoo.FOLDER)
    exec(compile(program, "card", "exec"), {"model": fresh})
    for key, value in made.model.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[key]), key


def test_what_cannot_be_an_entry_is_refused_and_leaves_nothing(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(copy.iterdir())
    about: dict[str, Any] = {"command": "c", "seconds": 1, "limits": "l", "folder": copy}
    with pytest.raises(ValueError, match=r"holds no finished run: it needs model\.safetensors"):
        zoo.add(tmp_path, "empty", **about)
    run = fit("gan", tmp_path / "run", net="mlp")
    with pytest.raises(ValueError, match="use letters, digits, _ and -"):
        zoo.add(run, "../gan", **about)
    monkeypatch.setattr(zoo, "LIMIT", 1000)
    with pytest.raises(ValueError, match=r"gan would take [\d,]+ bytes, but an entry may take 1,000"):
        zoo.add(run, "gan", **about)
    monkeypatch.undo()
    tensors = load_file(run / "model.safetensors")
    key = next(iter(tensors))
    save_file(tensors | {key: tensors[key] + 1e6}, run / "model.safetensors")
    with pytest.raises(ValueError, match=rf"{re.escape(key)} of .* do not fit float16"):
        zoo.add(run, "gan", **about)
    assert sorted(copy.iterdir()) == before


def test_weights_of_other_networks_are_refused(tmp_path: Path) -> None:
    made = runs.open_run(fit("gan", tmp_path / "run", net="mlp"))
    tensors = load_file(tmp_path / "run/model.safetensors")
    for wrong in ({"width": 5}, {"net": "dcgan"}):
        with pytest.raises(ValueError, match="the weights do not fit the networks that the gan's settings describe"):
            runs.assemble("gan", dataclasses.replace(made.settings, **wrong), made.shape, tensors)
    for shape in (Shape(3, 28, 10), Shape(1, 32, 10)):
        with pytest.raises(ValueError, match="do not fit"):
            runs.assemble("gan", made.settings, shape, tensors)
    with pytest.raises(ValueError, match="do not fit"):
        runs.assemble("gan", made.settings, made.shape, tensors | {"more": torch.zeros(1)})
    later = runs.settings_of("gan", vars(made.settings) | {"later_option": 1})
    assert later == made.settings and runs.assemble("gan", later, made.shape, tensors).part == "G"


# ------------------------------------------------------------------------------------------------------- evaluation


def untrained(family: str, **options: Any) -> runs.Trained:
    """The networks of a family for digits as they start, in evaluation mode."""
    torch.manual_seed(0)
    s = runs.family(family).settings(**options)
    part, model = next(iter(runs.family(family).build(s, Shape(1, 28, 10)).items()))
    return runs.Trained(model.eval(), family, s, Shape(1, 28, 10), part)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> data.Split:
    """Fewer images for evaluation, since IWAE's bound takes 100 samples of each."""
    split = data.digits()
    split = data.Split(*(data.Images(part.x[:n], part.labels[:n]) for part, n in zip(split, (500, 100), strict=True)))
    monkeypatch.setattr(base, "read_images", lambda settings: split)
    return split


def test_the_bounds_of_a_vae_are_those_computed_by_hand(few: data.Split) -> None:
    made = untrained("vae", z_dim=2, width=4)
    found = runs.evaluate(made, zoo.judge_for(made))
    x = data.to_float(few.test.x, "binary", generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mu, logvar = made.model.encoder(x)
    kl = 0.5 * (mu.double().square() + logvar.double().exp() - 1 - logvar.double()).sum(1).mean().item()
    assert found["kl"]["value"] == pytest.approx(kl, rel=1e-4)
    assert found["elbo"]["value"] < found["iwae"]["value"] < 0
    assert found["elbo"]["n"] == "100 test images" and "labels" not in found and "fcd" in found
    assert found == runs.evaluate(made, zoo.judge_for(made)), "fixed seeds"


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("conditional", [False, True])
def test_what_does_not_generate_is_measured_by_its_reconstructions(conditional: bool) -> None:
    vq = untrained("vqvae", codes=4, d=2, width=4)
    plain = untrained("vae", estimator="autoencoder", conditional=conditional, width=4)
    for made in (vq, plain):
        found = runs.evaluate(made, zoo.judge_for(made))
        assert set(found) == ({"log_px", "codes"} if made is vq else {"log_px"})
        assert found["log_px"]["value"] < 0 and found.get("codes", {"value": 1})["value"] <= 4
        assert runs.samples(made, 2) is None


@pytest.mark.usefixtures("few")
def test_other_images_get_no_distances_in_the_features_of_digits() -> None:
    made = untrained("vae", data="fashion_mnist", z_dim=2, width=4, conditional=True)
    found = runs.evaluate(made, zoo.judge_for(made))
    assert set(found) == {"elbo", "iwae", "kl"} and "given the label" in found["elbo"]["what"]
    digits = untrained("gan", net="mlp", width=4)
    assert zoo.judge_for(digits) is not None
    for other in (Shape(3, 28, 10), Shape(1, 32, 10)):
        assert zoo.judge_for(digits._replace(shape=other)) is None


def test_copies_of_the_training_images_have_no_novelty() -> None:
    split, net = data.digits(), zoo.load("classifier")
    found = judging.scores(data.to_float(split.train.x[:1000]), split, net)
    assert found["novelty"]["value"] == 0 and found["precision"]["value"] > 0.8 and "labels" not in found
    real, made = (metrics.features(net, data.to_float(x)) for x in (split.test.x, split.train.x[:1000]))
    assert found["fcd"]["value"] == pytest.approx(metrics.frechet_distance(real, made))


def test_samples_come_from_fixed_noise_with_the_labels_asked_for() -> None:
    made = untrained("gan", net="mlp", z_dim=3, width=4, conditional=True)
    found = runs.samples(made, 503, seed=7)
    z = torch.randn(503, 3, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        expected = (made.model(z, torch.arange(503) % 10) + 1) / 2
        z = torch.randn(4, 3, generator=torch.Generator().manual_seed(7))
        threes = (made.model(z, torch.full((4,), 3)) + 1) / 2
    assert found is not None and torch.allclose(found, expected, atol=1e-6)
    given = runs.samples(made, 4, seed=7, label=3)
    assert given is not None and torch.allclose(given, threes, atol=1e-6)


@pytest.mark.parametrize("likelihood", densities.LIKELIHOODS)
def test_samples_of_a_vae_are_means_of_its_likelihood_within_the_range_of_pixels(likelihood: str) -> None:
    made = untrained("vae", z_dim=2, width=4, likelihood=likelihood)
    with torch.no_grad():
        made.model.decoder.convs[-1].weight.mul_(30)  # so that a Gaussian's means leave [0, 1]
        z = torch.randn(2, 2, generator=torch.Generator().manual_seed(7))
        means = densities.LIKELIHOODS[likelihood].mean(made.model.decoder(z))
    found = runs.samples(made, 2, seed=7)
    assert found is not None and torch.equal(found, means.clamp(0, 1)) and 0 < found.mean() < 1
    if likelihood == "gaussian":
        assert means.min() < -0.1 or means.max() > 1.1, "nothing had to be clamped"


def test_the_table_of_part_5_says_what_is_recorded() -> None:
    text = (Path(__file__).parents[1] / "notebooks/pages/part5.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "(`" in line]
    assert len(rows) == 9
    columns = {"nats": 2, "bits": 3, "fcd": 4, "precision": 5, "recall": 6, "labels": 7}
    for cells in rows:
        name, end = cells[0].split("`")[1], "_w1" if "w = 1" in cells[0] else ""
        record = zoo.entry(name)
        known = {key: m["value"] for key, m in record["metrics"].items()}
        known["nats"] = known.get("iwae", known.get("log_px") if name == "made" else None)
        for key, place in columns.items():
            said = cells[place].lstrip("≥≤ ").replace("−", "-")
            value = known.get(key + end if key in ("fcd", "precision", "recall", "labels") else key)
            value = None if (key == "bits" and name != "flow") or (key == "nats" and name == "flow") else value
            assert said == ("" if value is None else f"{value:.{len(said.partition('.')[2])}f}"), (cells[0], key)
        assert cells[8] in (str(record["seconds"]), "")
