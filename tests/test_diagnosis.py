"""The GAN doctor: signs against independent formulas, every rule at its bound, and the study's confusion table."""

import json
import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import genlab
from genlab import diagnosis, studies
from genlab.diagnosis import NEEDED, OPTIONAL, RULES, SIGNS, Vitals, diagnose, gradient_norm, logit, rhythm
from genlab.studies.failures import CASES, Options, play

N = 18
# A log of a healthy run, in which every optional signal is there. Each fault is this log with some columns changed.
WELL: dict[str, Any] = {
    "step": list(range(25, 25 * N + 1, 25)),
    "loss_d": 1.2,
    "loss_g": 1.0,
    "d_real": 0.58,
    "d_fake": [0.45, 0.44, 0.46] * (N // 3),
    "accuracy": 0.65,
    "spread": 0.8,
    "distance": 0.2,
    "move": 0.5,
    "low": -1.0,
    "high": 0.99,
    "data_low": -1.0,
    "data_high": 1.0,
    "d_test": 0.56,
    "leak": 0.0,
    "mode_gap": 0.05,
}
WAVE = [0.5 + 0.4 * math.sin(2 * math.pi * t / 6) for t in range(N)]
# What makes each rule of RULES apply, in its order, alone.
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("learning rate too high", {"loss_g": [1.0] * (N - 1) + [math.nan]}),
    ("missing detach", {"leak": 0.3}),
    (
        "flipped labels",
        {"accuracy": 0.01, "loss_d": 0.05, "loss_g": 0.6, "d_real": 0.05, "d_test": 0.05, "d_fake": 0.95},
    ),
    ("unscaled data", {"data_low": 0.0, "low": -0.8}),
    ("wrong output range", {"low": 0.0}),
    ("evaluation mode", {"mode_gap": 0.5}),
    ("blind BatchNorm", {"d_test": 0.01}),
    ("mixed BatchNorm", {"d_fake": 0.05, "loss_g": 0.8}),
    ("oscillation", {"d_fake": WAVE, "loss_g": 1.5}),
    ("learning rate too low", {"move": 0.001}),
    ("learning rate too high", {"loss_d": [9.0] + [1.2] * (N - 1)}),
    ("mode collapse", {"spread": 0.1, "move": 3.0}),
    ("D too weak", {"accuracy": 0.5, "distance": 1.5}),
    ("D too strong", {"accuracy": 0.99, "distance": 0.9, "loss_g": 3.0}),
]


def column(value: Any) -> list[float]:
    return list(value) if isinstance(value, list) else [value] * N


def rows(log: dict[str, Any]) -> list[dict[str, float]]:
    columns = {name: column(value) for name, value in log.items()}
    return [{name: values[i] for name, values in columns.items()} for i in range(N)]


# ------------------------------------------------------------------------------------------------------------ the rules


def test_a_healthy_log_is_healthy() -> None:
    found = diagnose(WELL)
    assert found.name == "healthy" and not found.also and not found.untested


def test_there_is_a_fault_here_for_every_rule() -> None:
    assert [name for name, _ in FAULTS] == [rule.name for rule in RULES]


@pytest.mark.parametrize(("rule", "fault"), list(zip(RULES, FAULTS, strict=True)), ids=range(len(RULES)))
def test_each_fault_is_named_with_its_evidence(rule: diagnosis.Rule, fault: tuple[str, dict[str, Any]]) -> None:
    found = diagnose(WELL | fault[1])
    assert found.name == rule.name and found.remedy == rule.remedy and found.why == rule.why
    assert len(found.evidence) == len(rule.tests)
    for line, (sign, side, bound) in zip(found.evidence, rule.tests, strict=True):
        assert SIGNS[sign][1] in line and f"{side} {bound:.3g}" in line
    assert all(line in str(found) for line in (*found.evidence, found.why, found.remedy))


def with_sign(sign: str, value: float, log: dict[str, Any]) -> dict[str, Any]:
    """The log, changed so that a sign has a value, by the formula of the sign read backwards."""
    return log | _changes(sign, value, log)


def _changes(sign: str, value: float, log: dict[str, Any]) -> dict[str, Any]:
    if sign == "blindness":
        return {"d_test": 0.58 - value}
    if sign == "contradiction":
        return {"loss_g": -math.log(log["d_fake"]) - value}
    if sign == "mismatch":
        return {"low": log["data_low"] + value * (log["data_high"] - log["data_low"])}
    if sign == "off_scale":
        return {"data_low": -1.0, "data_high": 1 + value, "low": 0.0}
    if sign == "peak":
        return {"loss_d": [1.2, value] + [1.2] * (N - 2)}
    if sign == "hops":
        return {"spread": 0.1, "move": 0.1 * value}
    if sign in ("leak", "mode_gap", "move", "distance", "accuracy", "loss_d", "spread"):
        return {sign: value}
    raise KeyError(sign)


def bounds() -> Iterator[Any]:
    for rule, (name, fault) in zip(RULES, FAULTS, strict=True):
        for sign, side, bound in rule.tests:
            if sign not in ("broken", "rhythm", "swing"):
                yield pytest.param(rule, fault, sign, side, bound, id=f"{name}-{sign}".replace(" ", "-"))


@pytest.mark.parametrize(("rule", "fault", "sign", "side", "bound"), list(bounds()))
def test_a_rule_changes_its_mind_at_its_bound(
    rule: diagnosis.Rule, fault: dict[str, Any], sign: str, side: str, bound: float
) -> None:
    step = 1e-3 * max(abs(bound), 1e-3) * (1 if side == "above" else -1)
    verdicts = [diagnose(with_sign(sign, bound + s, WELL | fault)) for s in (step, -step)]
    assert rule.name in (verdicts[0].name, *verdicts[0].also)
    assert rule.name not in (verdicts[1].name, *verdicts[1].also)


@pytest.mark.parametrize(
    ("period", "size", "name"), [(6, 0.4, "oscillation"), (6, 0.1, "healthy"), (60, 0.4, "healthy")]
)
def test_an_oscillation_is_a_wave_that_is_large_and_comes_back(period: int, size: float, name: str) -> None:
    wave = [0.5 + size * math.sin(2 * math.pi * t / period) for t in range(N)]
    assert diagnose(WELL | {"d_fake": wave, "loss_g": 1.5}).name == name


def test_noise_is_no_oscillation() -> None:
    generator = np.random.default_rng(0)
    said = [diagnose(WELL | {"d_fake": list(generator.uniform(0.2, 0.7, N)), "loss_g": 2.0}).name for _ in range(200)]
    assert said.count("oscillation") <= 10


def test_what_is_neither_ill_nor_well_is_not_sure() -> None:
    found = diagnose(WELL | {"distance": 0.7})
    assert found.name == "not sure" and not found.evidence and found.remedy


@pytest.mark.parametrize("strange", [{"data_low": 1.0, "low": 1.0, "high": 1.0}, {"loss_d": math.inf}, {"d_fake": 0.0}])
def test_degenerate_numbers_cause_no_warning(strange: dict[str, Any]) -> None:
    assert diagnose(WELL | strange).name in {"healthy", *(rule.name for rule in RULES)}


def test_several_faults_are_named_in_the_order_of_the_rules() -> None:
    found = diagnose(WELL | {"leak": 0.3, "mode_gap": 0.5, "accuracy": 0.99})
    assert found.name == "missing detach" and found.also == ("evaluation mode", "D too strong")
    assert "Also: evaluation mode, D too strong" in str(found)


# -------------------------------------------------------------------------------------------------------------- the log


@pytest.mark.parametrize("fault", [{}, *(f for _, f in FAULTS)])
def test_rows_and_columns_in_any_order_give_one_diagnosis(fault: dict[str, Any]) -> None:
    log = WELL | fault
    expected = diagnose(log)
    shuffled = np.random.default_rng(0).permutation(N)
    assert diagnose(rows(log)) == expected
    assert diagnose([rows(log)[i] for i in shuffled]) == expected
    assert diagnose({name: log[name] for name in sorted(log)}) == expected
    assert diagnose({name: np.array(column(value))[shuffled] for name, value in log.items()}) == expected


def test_what_else_is_logged_is_ignored() -> None:
    assert diagnose(WELL | {"fid": "none yet", "epoch": [1, 2]}) == diagnose(WELL)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_column_is_named(name: str) -> None:
    log = {n: v for n, v in WELL.items() if n != name}
    with pytest.raises(ValueError, match=f"lacks {name}; "):
        diagnose(log)


@pytest.mark.parametrize(
    ("name", "rule"), list(zip(OPTIONAL, ("blind BatchNorm", "missing detach", "evaluation mode"), strict=True))
)
def test_without_an_optional_column_the_rule_is_reported_untested(name: str, rule: str) -> None:
    found = diagnose({n: v for n, v in WELL.items() if n != name})
    assert found.name == "healthy" and found.untested == (rule,) and rule in str(found)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], "lacks step"),
        ({}, "lacks step"),
        (WELL | {"spread": [0.8] * 3}, "'spread' has shape"),
        (WELL | {"spread": ["wide"] * N}, "'spread' of the history must hold numbers"),
        (WELL | {"step": [25] * N}, "a step occurs twice"),
        ({n: column(v)[:5] for n, v in WELL.items()}, "5 checks"),
        ([*rows(WELL)[:9], {"step": 1}], "row 9 lacks loss_d"),
    ],
)
def test_a_history_that_cannot_be_read_is_refused(history: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diagnose(history)


def test_the_package_has_the_doctor_at_hand() -> None:
    assert genlab.diagnose is diagnose and "diagnose" in dir(genlab)


def test_a_data_frame_is_as_good_as_rows() -> None:
    pandas = pytest.importorskip("pandas")
    for fault in ({}, *(fault for _, fault in FAULTS)):
        frame = pandas.DataFrame(rows(WELL | fault)).sample(frac=1, random_state=0)
        assert diagnose(frame) == diagnose(WELL | fault)
    with pytest.raises(ValueError, match="lacks spread; "):
        diagnose(pandas.DataFrame(rows(WELL)).drop(columns="spread"))


def write(path: Path, lines: list[Any]) -> Path:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_log_of_a_run_is_read_from_its_file_or_folder(tmp_path: Path) -> None:
    plain = [{"step": step, "D": 1.2, "G": 1.0} for step in range(1, 100)]
    log = [row for row in plain if row["step"] % 25] + rows(WELL)
    path = write(tmp_path / "history.jsonl", [*log, '{"step": 451, "D": 1.'])  # a run that goes on
    for where in (path, str(path), tmp_path):
        assert diagnosis.read(where) == rows(WELL)
    assert diagnose(diagnosis.read(path)) == diagnose(WELL)


def test_a_log_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*history.jsonl; give the folder of a run of a GAN"):
        diagnosis.read(tmp_path)
    with pytest.raises(ValueError, match=r"a.jsonl has a line that is no JSON"):
        diagnosis.read(write(tmp_path / "a.jsonl", [rows(WELL)[0], "{\n", rows(WELL)[1]]))
    with pytest.raises(ValueError, match=r"no row of .* has vitals, spread, distance, .*; log Vitals"):
        diagnosis.read(write(tmp_path / "b.jsonl", [{"step": 1, "D": 1.2, "G": 1.0}]))


# ------------------------------------------------------------------------------------------------------- the objectives

# What the doctor reads of two normals in one dimension, N(0, 1) and N(shift, 1), from quadrature: no run, no luck.
T = np.linspace(-12, 12, 24_001)


def mean_of(values: np.ndarray, shift: float = 0.0) -> float:
    return float((np.exp(-((T - shift) ** 2) / 2) / math.sqrt(2 * math.pi) * values).sum() * (T[1] - T[0]))


def played(logit_of: Any, shifts: list[float], loss_d: Any, loss_g: Any) -> dict[str, Any]:
    """The log of a game in which D answers `logit_of(t, shift)`, and G's samples lie at N(shift, 1)."""
    found: dict[str, list[float]] = {
        name: [] for name in ("loss_d", "loss_g", "d_real", "d_fake", "accuracy", "d_test")
    }
    for shift in shifts:
        logits = logit_of(T, shift)
        answers = 1 / (1 + np.exp(-logits))
        found["loss_d"].append(loss_d(logits, shift))
        found["loss_g"].append(loss_g(logits, shift))
        found["d_real"].append(mean_of(answers))
        found["d_test"].append(mean_of(answers))
        found["d_fake"].append(mean_of(answers, shift))
        found["accuracy"].append((mean_of(logits > 0) + mean_of(logits <= 0, shift)) / 2)
    return WELL | found


SHIFTS = [0.2 + 0.05 * (i % 3) for i in range(N)]  # near the equilibrium, as far as noise leaves it


def best(t: np.ndarray, shift: float) -> np.ndarray:
    """The logit of the best D of the minimax game: log N(t; 0, 1) − log N(t; shift, 1)."""
    return shift**2 / 2 - shift * t


def entropy(logits: np.ndarray, shift: float) -> float:
    return mean_of(np.logaddexp(0, -logits)) + mean_of(np.logaddexp(0, logits), shift)


MINIMAX = played(best, SHIFTS, entropy, lambda logits, shift: -mean_of(np.logaddexp(0, logits), shift))
NONSATURATING = played(best, SHIFTS, entropy, lambda logits, shift: mean_of(np.logaddexp(0, -logits), shift))


def critic(level: float) -> Any:
    """The critic of slope −1, which is the best 1-Lipschitz one for a shift to the right, with any constant added."""
    return lambda t, shift: level - t


def wasserstein(level: float) -> dict[str, Any]:
    return played(
        critic(level),
        SHIFTS,
        lambda logits, shift: mean_of(logits, shift) - mean_of(logits),
        lambda logits, shift: -mean_of(logits, shift),
    )


def test_the_equilibrium_of_the_minimax_game_is_healthy() -> None:
    assert MINIMAX["loss_d"][0] == pytest.approx(2 * math.log(2), abs=0.03)
    assert MINIMAX["loss_g"][0] == pytest.approx(-math.log(2), abs=0.1)
    assert diagnose(MINIMAX).name == "mixed BatchNorm"  # by the rules of another objective
    found = diagnose(MINIMAX, "minimax")
    assert found.name == "healthy" and found.silent == ("mixed BatchNorm",)
    assert "Not valid for this objective: mixed BatchNorm" in str(found)
    assert diagnose(NONSATURATING) == diagnose(NONSATURATING, "nonsaturating")
    assert diagnose(NONSATURATING).name == "healthy" and not diagnose(NONSATURATING).silent


@pytest.mark.parametrize("level", [-30.0, -3.0, 0.0, 3.0, 30.0])
def test_a_healthy_critic_is_healthy_whatever_its_level(level: float) -> None:
    """A Wasserstein critic is defined up to a constant, so no verdict may depend on it."""
    found = diagnose(wasserstein(level), "wasserstein")
    assert found.name == "healthy" and found == diagnose(wasserstein(0.0), "wasserstein")
    assert len(found.evidence) == 2 and not any("accuracy" in line for line in found.evidence)


def test_a_critic_whose_level_drifts_up_and_down_does_not_oscillate() -> None:
    levels = [8 * math.sin(2 * math.pi * i / 6) for i in range(N)]
    parts = [wasserstein(level) for level in levels]
    log = WELL | {name: [part[name][i] for i, part in enumerate(parts)] for name in ("d_real", "d_fake", "loss_g")}
    log |= {"loss_d": -0.2, "accuracy": 0.5}
    assert diagnose(log | {"loss_g": 20.0}).name == "oscillation"  # by the rules of another objective
    assert diagnose(log, "wasserstein").name == "healthy"


ANY_GAME = ("missing detach", "unscaled data", "wrong output range", "evaluation mode", "mode collapse")


@pytest.mark.parametrize("objective", ["wasserstein", "hinge", "least_squares", "relativistic"])
@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_rules_on_samples_and_gradients_hold_for_every_objective(
    fault: tuple[str, dict[str, Any]], objective: str
) -> None:
    name, change = fault
    found = diagnose(WELL | change, objective)
    if name in ANY_GAME or ("loss_g" in change and not np.isfinite(change["loss_g"]).all()):
        assert found.name == name
    else:
        assert found.name in ("healthy", "not sure")
    assert not set(ANY_GAME) & set(found.silent) and {"D too weak", "D too strong", "oscillation"} <= set(found.silent)


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown objective 'wgan'; known are minimax, nonsaturating"):
        diagnose(WELL, "wgan")


# ------------------------------------------------------------------------------------------------------------ the signs


def test_the_rhythm_of_a_wave_is_minus_one_and_that_of_a_trend_is_not() -> None:
    t = np.arange(90)
    assert rhythm(np.sin(2 * np.pi * t / 12)) < -0.85
    assert rhythm(t.astype(float)) > -0.55
    assert rhythm(np.ones(9)) == 0


def test_the_logit_is_the_inverse_of_the_logistic_function() -> None:
    values = np.linspace(-9, 9, 7)
    np.testing.assert_allclose(logit(1 / (1 + np.exp(-values))), values, rtol=1e-9)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


class Shift(nn.Module):
    """A generator whose samples are z moved by a weight."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + self.shift


def judge() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))


def test_vitals_agree_with_loops_over_pairs() -> None:
    real, z = torch.randn(7, 3), 0.5 * torch.randn(5, 3)
    G, D = Shift(0.2), judge()
    found = Vitals(G, D, real, real, z).check()
    made = z + 0.2

    def mean(a: torch.Tensor, b: torch.Tensor) -> float:
        pairs = [(x - y).norm().item() for i, x in enumerate(a) for j, y in enumerate(b) if a is not b or i != j]
        return sum(pairs) / len(pairs)

    unit = mean(real, real)
    assert found["spread"] == pytest.approx(mean(made, made) / unit, rel=1e-5)
    assert found["distance"] == pytest.approx((2 * mean(made, real) - mean(made, made) - unit) / unit, rel=1e-4)
    assert (found["low"], found["high"]) == pytest.approx((made.min().item(), made.max().item()))
    assert (found["data_low"], found["data_high"]) == pytest.approx((real.min().item(), real.max().item()))
    assert found["d_test"] == pytest.approx(D(real).sigmoid().mean().item())
    assert found["move"] == 0 and found["mode_gap"] == 0


def test_the_energy_distance_of_one_distribution_is_zero_on_average_and_grows_with_the_shift() -> None:
    def distance(shift: float, i: int) -> float:
        torch.manual_seed(i)
        real, z = torch.randn(40, 3), torch.randn(40, 3)
        return Vitals(Shift(shift), judge(), real, real, z).check()["distance"]

    same = torch.tensor([distance(0.0, i) for i in range(200)])
    assert abs(same.mean()) < 4 * same.std() / 200**0.5
    assert distance(0.5, 0) < distance(1.0, 0) < distance(2.0, 0)


def test_samples_move_by_what_the_weights_move() -> None:
    G, real = Shift(), torch.randn(9, 4)
    vitals = Vitals(G, nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), real, real, torch.randn(6, 4))
    vitals.check()
    with torch.no_grad():
        G.shift += 3
    assert vitals.check()["move"] == pytest.approx(3 * 2 / torch.pdist(real).mean().item(), rel=1e-5)  # √4 pixels


@pytest.mark.parametrize("training", [True, False])
def test_measuring_does_not_change_the_run(training: bool) -> None:
    G = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    D = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1), nn.Flatten(0))
    G.train(training), D[1].eval()
    before = {k: v.clone() for net in (G, D) for k, v in net.state_dict(prefix=str(id(net))).items()}
    modes = [m.training for net in (G, D) for m in net.modules()]
    vitals = Vitals(G, D, torch.randn(6, 4), torch.randn(6, 4), torch.randn(5, 4))
    random = torch.get_rng_state()
    found = vitals.check()
    assert torch.equal(random, torch.get_rng_state())
    after = {k: v for net in (G, D) for k, v in net.state_dict(prefix=str(id(net))).items()}
    assert found["mode_gap"] > 0
    assert modes == [m.training for net in (G, D) for m in net.modules()]
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("broken", [False, True])
def test_measuring_puts_everything_back_also_after_an_exception(broken: bool) -> None:
    class Fragile(nn.Module):
        """Fails in one of its modes."""

        def __init__(self, mode: bool) -> None:
            super().__init__()
            self.norm, self.frozen, self.mode = nn.BatchNorm1d(4), nn.BatchNorm1d(4), mode

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            out = self.frozen(self.norm(z))
            if broken and self.training is self.mode:
                raise RuntimeError("broken off")
            return out

    for mode in (True, False):
        G, D = Fragile(mode).train(), nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
        G.frozen.eval()
        before = {k: v.clone() for k, v in G.state_dict().items()}
        vitals = Vitals(G, D, torch.randn(6, 4), torch.randn(6, 4), torch.randn(5, 4))
        with pytest.raises(RuntimeError, match="broken off") if broken else nullcontext():
            vitals.check()
        assert G.training and G.norm.training and not G.frozen.training
        assert all(torch.equal(before[k], v) for k, v in G.state_dict().items())


def test_the_norm_of_all_gradients_is_that_of_one_long_vector() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    assert gradient_norm(net) == 0
    net[0](torch.randn(4, 3)).square().sum().backward()  # reaches the first layer only
    flat = torch.cat([p.grad.flatten() for p in net[0].parameters() if p.grad is not None])
    assert gradient_norm(net) == pytest.approx(flat.norm().item())


# ------------------------------------------------------------------------------------------------------------ the study


def stored(part: str) -> list[tuple[str, str]]:
    """(truth, diagnosis) of the runs of a part."""
    return [(run["case"], diagnose(run["log"]).name) for run in studies.stored("failures") if run["part"] == part]


def test_the_doctor_recognises_the_held_out_runs() -> None:
    pairs = stored("held-out")
    right = {name: [a == b for a, b in pairs if a == name] for name in CASES}
    assert len(right) == 14 and all(len(r) >= 5 for r in right.values())
    assert sum(map(sum, right.values())) / len(pairs) > 0.8
    assert sum(right["healthy"]) / len(right["healthy"]) > 0.7


def test_held_out_runs_share_no_seed_with_the_runs_that_the_bounds_were_set_on() -> None:
    seeds: dict[str, set[int]] = {}
    for run in studies.stored("failures"):
        seeds.setdefault(run["part"], set()).add(run["seed"])
    assert not seeds["design"] & (seeds["held-out"] | seeds["elsewhere"])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", [0, 1])
def test_a_short_run_of_each_fault_leaves_a_log_that_can_be_read(case: str, way: int) -> None:
    ways = CASES[case]
    if way < len(ways):
        history, samples = play(Options(**ways[way] | {"width": 16, "width_d": 16, "batch": 8}, steps=200))
        assert set(history[0]) >= {*NEEDED, *OPTIONAL} and len(history) == 8
        assert diagnose(history).name in (*CASES, "not sure")
        assert len(samples) == 20
        assert (history[-1]["leak"] > 0) == (case == "missing detach")


def test_a_run_can_be_made_again() -> None:
    options = Options(seed=3, width=16, width_d=16, batch=8, steps=50)
    assert play(options)[0] == play(options)[0]
