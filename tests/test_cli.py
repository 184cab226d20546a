"""The command line: help, one-line errors with status 2 and nothing written, runs that repeat from their JSON."""

import ast
import dataclasses
import inspect
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genlab
from genlab import __main__ as command_line
from genlab import checkpoint, data, diagnosis, gan, runs, train, zoo
from genlab.exercises import teach
from genlab.runs import base
from genlab.runs.settings import Settings
from genlab.tools import doctor
from tests.test_runs import same

SMALL = ["--steps", "2", "--batch_size", "8", "--net", "mlp", "--width", "4", "--z_dim", "2"]
COMMANDS = [*runs.FAMILIES, *command_line.COMMANDS, "zoo"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder, with wide help."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def main(*arguments: Any) -> None:
    command_line.main([str(a) for a in arguments])


def status(*arguments: Any) -> Any:
    with pytest.raises(SystemExit) as error:
        main(*arguments)
    return error.value.code


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, encoding="utf-8")


# -------------------------------------------------------------------------------------------------------------- help


def test_help_lists_every_command_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--help") == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: genlab")
    for name in COMMANDS:
        assert re.search(rf"^ +{name} +\S", said, re.MULTILINE), name


@pytest.mark.parametrize("name", runs.FAMILIES)
def test_help_of_a_family_explains_every_option_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(name, "--help") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: genlab {name} [options]\n") and max(map(len, said.splitlines())) <= 100
    assert "Literal" not in said and "(type: )" not in said and len(said.splitlines()) < 100
    kind = runs.family(name).settings
    documents = (kind.__doc__ or "") + (Settings.__doc__ or "")
    for option, field in inspect.signature(kind).parameters.items():
        found = re.findall(rf"^  --{option} .*?(?=^  -|\Z)", said, re.MULTILINE | re.DOTALL)
        assert len(found) == 1, option
        text = " ".join(found[0].split())
        default = "null" if field.default is None else field.default
        explained = re.search(rf"^        {option}: (.{{10,}})$", documents, re.MULTILINE)
        assert explained and explained[1] in text and f"default: {default})" in text, text


@pytest.mark.parametrize(
    "arguments", [*([c] for c in command_line.COMMANDS), ["zoo"], *(["zoo", a] for a in command_line.ZOO)]
)
def test_help_of_the_other_commands_is_their_signature(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*arguments, "--help") == 0
    said = capsys.readouterr().out
    function = (command_line.COMMANDS | command_line.ZOO).get(arguments[-1])
    if function is not None:
        assert " ".join((function.__doc__ or "").splitlines()[0].split()) in " ".join(said.split())
        for name, parameter in inspect.signature(function).parameters.items():
            text = f"--{name} " if parameter.kind is parameter.KEYWORD_ONLY else f"  {name} "
            assert text in said


def test_help_and_errors_come_without_waiting_for_torch() -> None:
    """The time itself is not asserted, but what is loaded."""
    lines = ["--help", "zoo --help", "sample --help", "vae --steps -3", "gan --resume --nett mlp"]
    lines += [f"{name} {option}" for name in runs.FAMILIES for option in ("--help", "--stepz 3")]
    program = (
        "import sys; from genlab.__main__ import main\n"
        f"for a in {lines}:\n"
        "    try: main(a.split())\n"
        "    except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'accelerate', 'scipy'} & set(sys.modules)))"
    )
    done = python("-W", "error", "-c", program)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert len(done.stderr.splitlines()) == 2 + len(runs.FAMILIES)


def test_the_module_and_the_script_are_the_same_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert python("-m", "genlab", "--version").stdout == f"genlab {genlab.__version__}\n"
    assert status("--version") == 0 and capsys.readouterr().out == f"genlab {genlab.__version__}\n"
    script = Path(sys.executable).with_name("genlab")
    assert "genlab.__main__" in script.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------- errors

WRONG = {
    "no command": ([], r"expected \"command\" to be one of"),
    "unknown command": (["vea"], r"invalid choice: 'vea'"),
    "unknown option": (["vae", "--stepz", "3"], r"unrecognized arguments: --stepz 3"),
    "no number": (["vae", "--steps", "many"], r"steps.*many"),
    "negative": (["vae", "--steps", "-3"], r"steps must be at least 1, but is -3"),
    "no choice": (["gan", "--net", "resnet"], r"net.*dcgan.*resnet"),
    "no value": (["gan", "--gp"], r"--gp: expected one argument"),
    "not together": (["vae", "--k", "5"], r"k goes with"),
    "not with compile": (["gan", "--compile", "true", "--gp", "10"], r"compile does not go with gp"),
    "smooth": (["gan", "--objective", "hinge", "--smooth", "0.1"], r"smooth=0\.1 goes with minimax"),
    "batch": (["gan", "--batch_size", "5000"], r"between 1 and the 4000 images; choose a smaller one"),
    "missing data": (["vae", "--data", "mnist"], r"MNIST is not on this machine.*go on offline with"),
    "no network": (
        ["vae", "--data", "mnist", "--download", "true"],
        r"MNIST is not on this machine.*downloading it failed",
    ),
    "a file as folder": (["vae", "--out", "file"], r"file exists and holds no run"),
    "a folder below a file": (["vae", "--out", "file/run"], r"Not a directory"),
    "full folder": (["vae", "--out", "full"], r"full exists and holds no run of this kind"),
    "missing config": (["vae", "--config", "nowhere.json"], r"nowhere\.json"),
    "broken config": (["vae", "--config", "broken.json"], r"."),
    "foreign config": (["vae", "--config", "foreign.json"], r"gp"),
    "impossible config": (["vae", "--config", "impossible.json"], r"lr must be greater than 0"),
    "samples of nothing": (["sample", "gaan"], r"the zoo has no 'gaan'; it has .*classifier"),
    "samples of a classifier": (["sample", "classifier"], r"classifier is a classifier that does not generate"),
    "no samples": (["sample", "classifier", "--n", "0"], r"n must be at least 1"),
    "no picture": (["sample", "classifier", "--out", "a.jpg"], r"out must be a \.png or \.npy in a folder that exists"),
    "nowhere": (["sample", "classifier", "--out", "no/a.png"], r"out must be a \.png or \.npy in a folder that exists"),
    "a full folder of samples": (["sample", "cgan", "--out", "full"], r"a new or empty folder, but is 'full'"),
    "a file as folder of samples": (["sample", "cgan", "--out", "file"], r"a new or empty folder, but is 'file'"),
    "this folder": (["sample", "cgan", "--out", "."], r"a new or empty folder, but is '\.'"),
    "a switch that is no truth": (["vae", "--resume=perhaps"], r"resume.*perhaps"),
    "a device that is not here": (["vae", "--device", "mps"], r"device 'mps'.*cpu"),
    "a folder without images": (["vae", "--data", "folder:hollow"], r"hollow holds no image"),
    "no folder": (["vae", "--data", "folder:nowhere"], r"nowhere is no folder"),
    "no set": (["vae", "--data", "digitz"], r"data must be one of digits, .*, or folder:PATH, but is 'digitz'"),
    "another size of a set": (["vae", "--size", "32"], r"digits has images of size=28"),
    "no game": (["doctor", "vae_run"], r"vae_run is a run of genlab vae, which plays no game"),
    "no log": (["doctor", "full"], r"full.history\.jsonl"),
    "cut weights": (["sample", "vae_run/model.safetensors"], r"model\.safetensors is damaged.*--resume"),
    "no folder to compare": (["compare", "nowhere", "hollow"], r"nowhere is no folder"),
    "no such network": (["compare", "hollow", "hollow", "--net", "gaan"], r"network 'gaan' is neither"),
    "no features": (["compare", "hollow", "hollow", "--net", "vae2"], r"vae2 has no features to judge images by"),
    "nothing to gather": (["gather", "full"], r"no \.json files in full"),
    "no table": (["gather", "full", "--out", "a.txt"], r"out must be a \.csv in a folder that exists"),
    "label": (["sample", "classifier", "--label", "3"], r"label=3 goes with a conditional model"),
    "no source": (["evaluate"], r"source"),
    "unfinished": (["evaluate", "full"], r"full holds no finished run.*--resume"),
    "unknown entry": (["zoo", "card", "gaan"], r"the zoo has no 'gaan'"),
    "unknown entry to audit": (["zoo", "audit", "--name", "gaan"], r"the zoo has no 'gaan'"),
    "nothing to add": (
        ["zoo", "add", "full", "x", "--command", "c", "--seconds", "1", "--limits", "l"],
        r"no finished run",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_status_2_and_nothing_written(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, message = WRONG[case]
    (folder / "full").mkdir()
    (folder / "full/thesis.txt").write_text("years of work", encoding="utf-8")
    (folder / "file").write_text("", encoding="utf-8")
    (folder / "hollow").mkdir()
    (folder / "vae_run").mkdir()
    (folder / "vae_run/vae.json").write_text("{}", encoding="utf-8")
    (folder / "vae_run/model.safetensors").write_bytes(b"cut")
    (folder / "broken.json").write_text('{"steps": ', encoding="utf-8")
    (folder / "foreign.json").write_text('{"gp": 10.0}', encoding="utf-8")
    (folder / "impossible.json").write_text('{"lr": -1.0}', encoding="utf-8")
    monkeypatch.setenv("GENLAB_DATA", str(folder / "data"))
    split = data.digits()
    monkeypatch.setitem(data.SETS, "digits", lambda: split)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix != ".gz"}
    assert status(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and re.fullmatch(r"genlab: [^\n]+\n", said.err), said.err
    assert re.search(message, said.err), said.err
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "data" not in path.parts}
    assert {k: v for k, v in before.items() if "data" not in k.parts} == after


def test_a_run_that_diverges_ends_in_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = gan.OBJECTIVES["nonsaturating"]
    nan = objective._replace(g=lambda fake: objective.g(fake) * math.nan)
    monkeypatch.setitem(gan.OBJECTIVES, "nonsaturating", nan)
    assert status("gan", *SMALL) == 1
    said = capsys.readouterr().err
    assert said == "genlab: the loss of G is nan at step 1; there is no checkpoint yet\n"


def test_an_interrupt_says_how_to_go_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "ema", interrupt)
    assert status("gan", *SMALL) == 130
    assert capsys.readouterr().err == "genlab: interrupted; a training run goes on by --resume\n"


# --------------------------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_run_repeats_itself_from_its_json(family: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(family, *SMALL, "--seed", 3, "--clip", 0.5, "--out", "a")
    assert capsys.readouterr().out == "a\n"
    config = folder / f"a/{family}.json"
    assert json.loads(config.read_text(encoding="utf-8")) == vars(
        runs.family(family).settings(steps=2, batch_size=8, net="mlp", width=4, z_dim=2, seed=3, clip=0.5, out="a")
    )
    main(family, "--config", config, "--out", "b")
    main(family, "--config", config, "--out", "c", "--seed", 4)
    assert same(folder / "a", folder / "b") and not same(folder / "a", folder / "c")
    assert status(family, "--config", config) == 2, "the folder is taken"


@pytest.mark.parametrize(
    "options",
    [
        ["--resume"],
        ["--resume", "true"],
        ["--resume=true"],
        ["--resume=yes"],
        ["--resume", "--seed", "0"],
        ["--seed", "0", "--resume"],
        ["--download", "--resume", "--config", "run/vae.json"],
        ["--config", "run/vae.json", "--resume"],
        ["--resume", "--config=run/vae.json", "--download"],
    ],
)
def test_a_switch_needs_no_value(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    """A run stands there, so that without --resume it would be refused."""
    own = [] if any("config" in option for option in options) else [*SMALL, "--out", "run"]
    main("vae", *SMALL, "--out", "run")
    (folder / "run/model.safetensors").unlink()
    main("vae", *own, *options)
    assert (folder / "run/model.safetensors").exists()
    for off in (["--resume", "false"], ["--resume=false"], ["--resume", "no"], []):
        assert status("vae", *SMALL, "--out", "run", *off) == 2
    assert "go on with it by resume (--resume)" in capsys.readouterr().err


def test_download_without_a_value_asks_for_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    whole = data.read_set

    def read(spec: str, **options: Any) -> data.Split:
        asked.append(options["download"])
        return whole("digits")

    monkeypatch.setattr(data, "read_set", read)
    for i, options in enumerate(
        [["--download"], ["--download", "true"], ["--download=true"], [], ["--download=false"]]
    ):
        main("vae", *SMALL, "--data", "mnist", *options, "--out", f"run{i}")
    assert asked == [True, True, True, False, False]


def test_a_run_is_extended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["vae", *SMALL, "--schedule", "constant", "--save_every", "3"]
    main(*given, "--steps", 6, "--out", "run")
    main(*given, "--steps", 10, "--out", "run", "--resume")
    main(*given, "--steps", 10, "--out", "whole")
    assert same(folder / "run", folder / "whole")
    assert status(*given, "--steps", 9, "--out", "run", "--resume") == 2
    assert "other settings: steps was 10 and is 9" in capsys.readouterr().err


def test_vqvae_and_classifier_run(folder: Path) -> None:
    main("vqvae", "--steps", 1, "--batch_size", 8, "--width", 4)
    main("classifier", "--steps", 1, "--batch_size", 8, "--width", 4)
    assert (folder / "runs/vqvae/model.safetensors").exists() and (folder / "runs/classifier/curves.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_command_goes_on_by_resume(folder: Path) -> None:
    """The whole program, killed from outside after a checkpoint; the rest of the proof is in test_runs.py."""
    command = [sys.executable, "-m", "genlab", "vae", *SMALL, "--steps", "400", "--save_every", "40", "--out"]
    with subprocess.Popen([*command, "killed", "--resume"], stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 100
        while not checkpoint.found(folder / "killed/checkpoints") and time.monotonic() < end:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "killed/model.safetensors").exists()
    main(*command[3:], "killed", "--resume")
    main(*command[3:], "whole")
    assert same(folder / "killed", folder / "whole")


# -------------------------------------------------------------------------------------------- samples, metrics, zoo


def test_sample_writes_a_grid_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main("gan", *SMALL, "--conditional", "true", "--out", "run")
    capsys.readouterr()
    for number, (n, options) in enumerate([(7, []), (25, ["--label", 3]), (25, ["--seed", 2, "--label", 3])]):
        main("sample", "run", "--n", n, "--out", f"{number}.png", *options)
        assert capsys.readouterr().out == f"{number}.png\n"
    pictures = [(folder / f"{number}.png").read_bytes() for number in range(3)]
    assert len(set(pictures)) == 3
    with Image.open(folder / "0.png") as one, Image.open(folder / "1.png") as three:
        assert three.height > 1.5 * one.height
    assert status("sample", "run", "--label", 10) == 2


def test_samples_are_written_as_files_and_as_an_array_of_the_same_pixels(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main("gan", *SMALL, "--out", "run")
    (folder / "empty").mkdir()
    capsys.readouterr()
    for out in ("a.npy", "new/pictures", "empty"):
        main("sample", "run/model.safetensors", "--n", 5, "--out", out)
        assert capsys.readouterr().out.strip() == out.replace("/", os.sep)
    main("sample", "run", "--n", 5, "--out", "b.npy")
    assert (folder / "a.npy").read_bytes() == (folder / "b.npy").read_bytes()
    x = np.load(folder / "a.npy", allow_pickle=False)
    assert x.shape == (5, 1, 28, 28) and x.min() >= 0 and x.max() <= 1 and x.std() > 0
    for place in ("new/pictures", "empty"):
        files = sorted((folder / place).iterdir())
        assert [file.name for file in files] == [f"{i:05d}.png" for i in range(5)]
        for file, image in zip(files, x, strict=True):
            with Image.open(file) as picture:
                assert np.array_equal(np.asarray(picture), np.round(255 * image[0]))
    assert not [path for path in folder.rglob("*") if path.name.endswith(".partial")]


@pytest.mark.parametrize("objective", ["nonsaturating", "wasserstein", "hinge"])
def test_the_doctor_reads_the_log_of_a_game(objective: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same numbers mean other things under other objectives: the rules that do not hold are silent."""
    main("gan", *SMALL, "--steps", 40, "--objective", objective, "--out", "run")
    capsys.readouterr()
    rows = diagnosis.read("run/history.jsonl")
    assert len(rows) == 40
    for place in ("run", "run/history.jsonl"):
        main("doctor", place)
        assert capsys.readouterr().out == f"{diagnosis.diagnose(rows, objective=objective)}\n"
    other = diagnosis.diagnose(rows, objective="nonsaturating")
    assert (str(other) == str(diagnosis.diagnose(rows, objective=objective))) == (objective == "nonsaturating")


def test_the_doctor_finds_a_healthy_game_healthy_and_says_when_a_log_is_too_short(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = {"loss_d": 1.2, "loss_g": 1.0, "d_real": 0.6, "d_fake": 0.4, "accuracy": 0.7, "spread": 0.9, "move": 0.3}
    check |= {"distance": 0.1, "low": -1.0, "high": 1.0, "data_low": -1.0, "data_high": 1.0}
    lines = [{"step": i, "D": 1.2, "G": 1.0} | (check if i % 5 == 0 else {}) for i in range(1, 101)]
    main("gan", *SMALL, "--out", "run")
    capsys.readouterr()
    (folder / "run/history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    main("doctor", "run")
    assert capsys.readouterr().out.startswith("healthy\n")
    (folder / "run/history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:20]), encoding="utf-8")
    assert status("doctor", "run") == 2
    assert re.match(r"genlab: .* 4 checks.* needs 8", capsys.readouterr().err)


def test_evaluate_of_a_conditional_autoencoder(capsys: pytest.CaptureFixture[str]) -> None:
    main("vae", *SMALL, "--conditional", "--estimator", "autoencoder", "--out", "run")
    capsys.readouterr()
    main("evaluate", "run")
    assert set(json.loads(capsys.readouterr().out)) == {"log_px"}


def test_evaluate_says_where_no_network_judges(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = base.read_images
    monkeypatch.setattr(base, "read_images", lambda s: whole(dataclasses.replace(s, data="digits")))
    main("gan", *SMALL, "--data", "folder:own", "--out", "run")
    capsys.readouterr()
    main("evaluate", "run")
    said = capsys.readouterr()
    assert json.loads(said.out) == {} and "genlab compare" in said.err


def test_compare_names_the_network_and_takes_folders_and_arrays(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(folder / "data"))
    for seed in (1, 2):
        main("sample", "cgan", "--n", 30, "--seed", seed, "--out", f"s{seed}")
    main("sample", "cgan", "--n", 30, "--seed", 2, "--out", "s2.npy")
    (folder / "nets.py").write_text("import torch\n\n\ndef flat():\n    return torch.nn.Flatten()\n", encoding="utf-8")
    capsys.readouterr()
    found = []
    for fake, options in (("s2", []), ("s2.npy", []), ("s2", ["--net", "nets:flat", "--size", 16])):
        main("compare", "s1", fake, *options)
        found.append(json.loads(capsys.readouterr().out))
    one, array, own = found
    assert one["features"] == "the zoo's classifier" and own["features"] == "nets:flat" and own["dimensions"] == 256
    assert one["real"] == one["fake"] == array["fake"] == 30
    assert one.keys() >= {"frechet", "kernel", "precision", "recall", "density", "coverage"}
    assert one["precision"] == pytest.approx(array["precision"], abs=0.1) and one["frechet"] != own["frechet"]
    assert status("compare", "s1", "s2", "--size", 32) == 2
    assert "looks at 28 x 28 pixels" in capsys.readouterr().err


def test_exports_are_gathered_into_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "class").mkdir()
    for name in ("Ada", "Grace"):
        main("progress", "--export", folder / f"class/{name}.json", "--name", name)
    (folder / "class/notes.json").write_text("[]", encoding="utf-8")
    capsys.readouterr()
    main("gather", "class", "--out", "table.csv")
    said = capsys.readouterr()
    assert said.out == "table.csv: 2 learners\n" and "left out: " in said.err and "notes.json" in said.err
    lines = (folder / "table.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 3 and lines[1].startswith("Ada,") and lines[2].startswith("Grace,")


def test_teach_passes_its_options_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def write(place: Path, **options: Any) -> list[Path]:
        given.append((place, options))
        return []

    monkeypatch.setattr(teach, "write", write)
    (folder / "notebooks").mkdir()
    main("teach", "out")
    main("teach", "out", "--solutions", "false", "--exercises_only", "--chapter", "05")
    plain = {"notebooks": Path("notebooks"), "chapter": None, "solutions": True, "exercises_only": False}
    assert given[0] == (Path("out"), plain)
    assert given[1] == (Path("out"), plain | {"chapter": "05", "solutions": False, "exercises_only": True})


def test_evaluate_prints_the_metrics_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main("evaluate", "classifier")
    recorded = zoo.entry("classifier")["metrics"]
    accuracy = runs.evaluate(zoo.trained("classifier"))["accuracy"]
    assert json.loads(capsys.readouterr().out) == recorded | {"accuracy": accuracy}


def test_the_zoo_is_listed_shown_and_audited(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main("zoo", "list")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == zoo.names()
    main("zoo", "card", "classifier")
    assert capsys.readouterr().out == (zoo.FOLDER / "classifier.md").read_text(encoding="utf-8") + "\n"
    main("zoo", "audit", "--name", "classifier")
    assert capsys.readouterr().out == "classifier: ok\n"
    checked = []
    monkeypatch.setattr(zoo, "audit", lambda name: checked.append(name) or [f"{name}: worse"] * (name == "classifier"))
    assert status("zoo", "audit") == 1
    said = capsys.readouterr()
    assert checked == zoo.names() and "classifier: DIFFERENT" in said.out and said.err == "classifier: worse\n"


def test_a_run_is_added_to_the_zoo(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def add(*arguments: Any, **options: Any) -> str:
        given.append((arguments, options))
        return "stored"

    monkeypatch.setattr(zoo, "add", add)
    main("zoo", "add", "run", "name", "--command", "genlab vae", "--seconds", 12, "--limits", "digits only")
    about = {"command": "genlab vae", "seconds": 12.0, "limits": "digits only"}
    assert given == [(("run", "name"), about | {"overwrite": False})]
    assert capsys.readouterr().out == "stored\n"


@pytest.mark.parametrize(("passed", "expected"), [(True, 0), (False, 1)])
def test_doctor_ends_with_its_verdict(monkeypatch: pytest.MonkeyPatch, passed: bool, expected: int) -> None:
    monkeypatch.setattr(doctor, "report", lambda: passed)
    assert status("doctor") == expected


def test_nothing_that_imports_torch_is_imported_by_the_settings() -> None:
    tree = ast.parse(inspect.getsource(sys.modules["genlab.runs.settings"]))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules <= {"json", "math", "pathlib", "collections.abc", "dataclasses", "typing"}
