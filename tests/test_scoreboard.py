"""The protocol, the scoreboard's rows, and rows made again: within a minute each, and inside what their seeds allow."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from genlab import arithmetic, data, metrics, protocol, runs, studies
from genlab.studies import baselines, board, scoreboard

ROWS = board.rows()
QUICK = ("VAE, dense", "GAN, dense")  # of the smallest budget, trained again here


def row(entry: str, budget: int = 0) -> board.Row:
    (found,) = [r for r in ROWS if r.entry == entry and r.seconds == budget]
    return found


# ------------------------------------------------------------------------------------------------ the protocol


def test_the_floor_is_of_four_thousands_without_a_digit_in_common() -> None:
    parts = protocol.thousands()
    assert [len(p) for p in parts] == [1000] * 4 and len(torch.cat(parts).unique()) == 4000
    floor = protocol.floor()
    x = data.to_float(data.digits().train.x)
    by_hand = [protocol.fcd(x[chosen]) for chosen in parts]
    assert floor.value == pytest.approx(sum(by_hand) / 4) and 0 < floor.error < floor.value
    assert protocol.fcd(data.to_float(data.digits().test.x)) == pytest.approx(0, abs=1e-6)


def test_the_test_digits_are_balanced_and_the_judge_never_saw_them() -> None:
    split = data.digits()
    assert split.test.labels.bincount().tolist() == [100] * 10
    seen = {bytes(v.numpy().tobytes()) for v in split.train.x}
    assert not any(bytes(v.numpy().tobytes()) in seen for v in split.test.x)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.rand(999, 1, 28, 28), r"compares 1000 samples, but got 999"),
        (torch.rand(1000, 1, 32, 32), r"digits \(n, 1, 28, 28\), but got \(1000, 1, 32, 32\).*genlab compare"),
        (2 * torch.rand(1000, 1, 28, 28) - 1, r"pixels in \[0, 1\]"),
        (torch.zeros(1000, 1, 28, 28, dtype=torch.uint8), "data.to_float"),
        (torch.full((1000, 1, 28, 28), float("nan")), "NaN"),
    ],
)
def test_the_protocol_refuses_what_it_cannot_compare(images: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        protocol.fcd(images)


# ------------------------------------------------------------------------------------------------ arithmetic


def test_a_step_is_counted_and_the_body_of_the_loop_is_not() -> None:
    a, b = torch.randn(3, 5), torch.randn(5, 7)

    def loop() -> Iterator[tuple[int, dict[str, float]]]:
        for step in (1, 2):
            a @ b
            yield step, {}

    counted, flops = arithmetic.Counted(loop()), []
    for _ in counted:
        a @ b
        flops.append(counted.flops)
    assert flops == [2 * 3 * 5 * 7] * 2


def test_a_run_writes_its_arithmetic_beside_its_losses(tmp_path: Path) -> None:
    settings = runs.family("vae").settings(net="mlp", width=8, z_dim=2, steps=3, flops=True, out=str(tmp_path / "a"))
    runs.family("vae").fit(settings)
    history = [json.loads(line) for line in (tmp_path / "a/history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({r["flops"] for r in history}) == 1 and history[0]["flops"] > 6 * 128 * 784 * 8
    with pytest.raises(ValueError, match="flops does not go with compile"):
        runs.family("vae").settings(flops=True, compile=True)


@pytest.mark.parametrize("name", ["VAE, dense", "DCGAN, R1", "WGAN-GP"])
def test_a_row_spends_its_budget(name: str) -> None:
    entry = scoreboard.ENTRIES[name]
    per_step = scoreboard.flops(entry)
    for found in [r for r in ROWS if r.entry == name]:
        for run in found.runs:
            assert run["steps"] * per_step == pytest.approx(found.budget, rel=max(0.01, per_step / found.budget))


# ------------------------------------------------------------------------------------------------ the rows


def test_every_model_has_all_seeds_at_the_smallest_budget_and_every_baseline_is_there() -> None:
    assert [run["seed"] for run in row(scoreboard.FLOOR).runs] == [0, 1, 2, 3]
    for name in baselines.BASELINES:
        assert [run["seed"] for run in row(name).runs] == list(range(scoreboard.SEEDS))
    for name in scoreboard.ENTRIES:
        assert [run["seed"] for run in row(name, 30).runs] == list(range(scoreboard.SEEDS))


def test_every_row_has_all_scores_and_every_interval_holds_its_value() -> None:
    general = set(board.COLUMNS) - {"iwae", "labels"}
    for found in ROWS:
        for run in found.runs:
            assert general <= run.keys()
            for key in board.COLUMNS.keys() & run.keys():
                score = run[key]
                assert math.isfinite(board.value(score))
                # the jackknife's interval is about the value without its bias
                if isinstance(score, list) and key != "fcd":
                    assert score[1] <= score[0] <= score[2]


def test_commands_are_those_that_the_command_line_understands() -> None:
    for found in ROWS:
        words = found.command().split()
        assert bool(words) == (found.entry in scoreboard.ENTRIES)
        if words:
            family, options = words[1], dict(zip(words[2::2], words[3::2], strict=True))
            known = runs.family(family).settings.__dataclass_fields__
            assert {key.removeprefix("--") for key in options} <= known.keys()
            assert int(options["--steps"]) == found.runs[0]["steps"]


def test_the_floor_of_the_scoreboard_is_the_protocols() -> None:
    x = data.to_float(data.digits().train.x)
    for run, chosen in zip(row(scoreboard.FLOOR).runs, protocol.thousands(), strict=True):
        assert board.value(run["fcd"]) == pytest.approx(protocol.fcd(x[chosen]), abs=1e-3)


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_a_baseline_made_again_lies_in_its_interval(name: str) -> None:
    found = protocol.fcd(baselines.samples(name, 0))
    low, high = board.expected(row(name))
    assert low <= found <= high
    others = [board.value(r.runs[0]["fcd"]) for r in ROWS if not low <= r.mean("fcd") <= high]
    assert len(others) > len(ROWS) / 2, "the interval tells this row from most others"


@pytest.mark.parametrize("name", QUICK)
def test_a_model_trained_again_lies_in_its_interval(name: str) -> None:
    again = scoreboard.run({"entry": name, "budget": scoreboard.BUDGETS[30], "seed": 0})
    low, high = board.expected(row(name, 30))
    assert low <= board.value(again["fcd"]) <= high


def test_conditional_models_draw_classes_by_chance() -> None:
    y = scoreboard.labels_of(1000)
    assert y.bincount(minlength=10).tolist() != [100] * 10 and len(y) == protocol.N
    settings = runs.family("vae").settings(net="mlp", width=8, z_dim=2, conditional=True)
    shape = runs.Shape(1, 28, 10)
    torch.manual_seed(0)
    model = runs.family("vae").build(settings, shape)["model"].eval()
    trained = runs.Trained(model, "vae", settings, shape, "model")
    made = scoreboard.from_labels(trained, 1000)
    z = torch.zeros(1, 2)
    with torch.no_grad():
        label = [model.decoder(z, torch.tensor([c])).sigmoid() for c in range(10)]
    assert made.shape == (1000, 1, 28, 28) and not torch.equal(label[0], label[1])
    pool = runs.samples(trained, 10 * int(y.bincount().max()), seed=1000)
    assert pool is not None and torch.equal(made[(y == 3).nonzero()[0, 0]], pool[3])


def test_the_copier_scores_as_real_digits_do_until_the_training_set_is_asked() -> None:
    """What the page says of it; its samples are drawn with replacement, and the nearest neighbours notice doubles."""
    copier, real = row("copier of training digits"), row(scoreboard.FLOOR)
    for key in ("kernel", "sliced", "precision", "density", "coverage"):
        low, high = min(real.values(key)), max(real.values(key))
        assert low - (high - low) <= copier.mean(key) <= high + (high - low), key
    assert abs(copier.mean("fcd") - real.mean("fcd")) < 0.3 and abs(copier.mean("recall") - real.mean("recall")) < 0.05
    assert min(copier.values("neighbours")) > max(real.values("neighbours"))
    assert copier.mean("authenticity") == 0 and copier.mean("c_t") < -10 < -3 < real.mean("c_t")
    assert copier.mean("extracted") == 1 and max(real.values("extracted")) < 0.1


def test_what_the_page_says_of_the_smallest_budget_is_so() -> None:
    fcd = {name: row(name, 30).mean("fcd") for name in scoreboard.ENTRIES}
    vaes = [name for name, entry in scoreboard.ENTRIES.items() if entry.family == "vae" and "autoencoder" not in name]
    plain = [name for name, entry in scoreboard.ENTRIES.items() if entry.family == "gan" and "labels" not in name]
    assert row("Gaussian mixture").mean("fcd") < min(fcd[name] for name in vaes)
    assert fcd["autoencoder, Gaussian codes"] < fcd["VAE"]
    assert row("VAE", 30).runs[0]["steps"] == row("autoencoder, Gaussian codes", 30).runs[0]["steps"]
    dcgans = [name for name in plain if name.startswith("DCGAN")]
    steps = {name: row(name, 30).runs[0]["steps"] for name in (*dcgans, "GAN, dense", "IWAE, k = 5", "VAE")}
    for name in dcgans:
        assert fcd["GAN, dense"] < fcd[name] and steps["GAN, dense"] > 3.5 * steps[name]
        assert row("GAN, dense", 30).mean("recall") < row(name, 30).mean("recall")
    bounds = {name: row(name, 30).mean("iwae") for name in vaes}
    assert max(bounds, key=lambda name: bounds[name]) == "VAE, dense"
    assert min(bounds, key=lambda name: bounds[name]) == "IWAE, k = 5" and steps["VAE"] / steps[
        "IWAE, k = 5"
    ] == pytest.approx(3, abs=0.1)
    assert fcd["DCGAN, labels, R1"] < 2 / 3 * fcd["DCGAN, R1"]
    guided, plainly = (row(f"flow matching, labels{end}", 30) for end in (", w = 2", ""))
    assert 50 < guided.runs[0]["steps"] < 200 and max(guided.values("fcd")) < min(plainly.values("fcd"))
    assert max(guided.values("fcd")) < min(min(row(name, 30).values("fcd")) for name in vaes)
    assert min(guided.values("fcd")) > 1.5 * max(row("DCGAN, labels, R1", 30).values("fcd"))
    assert min(fcd.values()) > 50 * row(scoreboard.FLOOR).mean("fcd")
    assert min(board.value(run["told"]) for name in fcd for run in row(name, 30).runs) > 0.89


def test_real_digits_in_black_and_white_are_as_far_as_the_page_says() -> None:
    x = data.digits().train.x[protocol.thousands()[0]]
    drawn = data.to_float(x, "binary", generator=torch.Generator().manual_seed(0))
    assert protocol.fcd(drawn) == pytest.approx(214, abs=3)


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_resumes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genlab.__main__ import main

    stored = json.loads((studies.FOLDER / "scoreboard.json").read_text(encoding="utf-8"))
    path = tmp_path / "scoreboard.json"
    path.write_text(json.dumps({"runs": stored["runs"][1:]}), encoding="utf-8")
    with pytest.raises(ValueError, match="folder that exists"):
        board.fill(budget=None, entry=None, processes=1, folder=str(tmp_path / "no"), show=True)
    main(["scoreboard", "--budget", "0", "--entry", scoreboard.FLOOR, "--folder", str(tmp_path)])
    out = capsys.readouterr()
    assert "1 of 1" in out.err and scoreboard.FLOOR in out.out
    again = {
        json.dumps(run["settings"]): run["results"] for run in json.loads(path.read_text(encoding="utf-8"))["runs"]
    }
    first = stored["runs"][0]
    assert again[json.dumps(first["settings"])]["fcd"][0] == pytest.approx(first["results"]["fcd"][0], abs=1e-3)
    assert len(again) == len(stored["runs"])


def test_an_unknown_entry_is_one_line_and_status_2() -> None:
    command = [sys.executable, "-m", "genlab", "scoreboard", "--entry", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "real digits; Gaussian" in done.stderr


def test_interval_of_a_new_run_covers_as_it_says() -> None:
    """Pooled scatter, checked where the law is known: it is log-normal with one deviation for all rows."""
    generator, inside, tries = torch.Generator().manual_seed(0), 0, 300
    for _ in range(tries):
        logs = 0.1 * torch.randn(6, 4, generator=generator, dtype=torch.float64)
        made = [board.Row(f"r{i}", 0, [{"fcd": math.exp(v)} for v in v3[:3]]) for i, v3 in enumerate(logs)]
        low, high = board.interval(made[0], made, "fcd", level=0.9)
        inside += low <= math.exp(logs[0, 3]) <= high
    assert metrics.wilson(inside, tries, level=0.999).low <= 0.9 <= metrics.wilson(inside, tries, level=0.999).high


def test_chapters_print_the_floor_of_the_protocol() -> None:
    """Of 09 the claim, of 12 the bar in words, and nothing else that is called the floor there."""
    import nbformat

    folder = Path(__file__).parents[1] / "notebooks"
    outputs = [
        output.get("text", "")
        for cell in nbformat.read(folder / "09_training_a_gan.ipynb", as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    floor = protocol.floor()
    assert any(f"the floor: a thousand real digits a side: {floor.value:.2f}" in text for text in outputs)
    twelve = (folder / "12_conditional_gans_and_control.ipynb").read_text(encoding="utf-8")
    assert f"1,000 real training digits are at {floor.value:.1f} from" in twelve
