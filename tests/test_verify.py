"""Claims and derivation checks: each must pass what is true and stop at what is not."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import sympy
import torch

from genlab import verify

# ---------------------------------------------------------------------------------------------------------------- claim


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        (3, {"above": 2}),
        (3.0, {"below": 4}),
        (torch.tensor(3.0, requires_grad=True), {"above": 2, "below": 4}),
        (np.float32(3), {"equals": 3}),
        (3.05, {"equals": 3, "within": 0.1}),
        (3.5, {"equals": 3, "within": 0.5}),
        (-1e-7, {"equals": 0}),
        (torch.tensor(3), {"equals": 3, "above": 0}),
        (True, {}),
        (np.bool_(True), {}),
        (torch.tensor(True), {}),
    ],
)
def test_a_claim_that_holds_prints_its_sentence_alone(
    value: Any, bound: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    verify.claim("three is three", value, **bound)
    assert capsys.readouterr().out == "✓ three is three\n"


@pytest.mark.parametrize(
    ("value", "bound", "stated"),
    [
        (2, {"above": 2}, "above 2"),
        (4.0, {"below": 4}, "below 4"),
        (5.0, {"above": 2, "below": 4}, "above 2 and below 4"),
        (1.0, {"above": 2, "below": 4}, "above 2 and below 4"),
        (3.2, {"equals": 3, "within": 0.1}, "equals 3 ± 0.1"),
        (3.1, {"equals": 3, "above": 3.5, "within": 1}, "above 3.5 and equals 3 ± 1"),
        (math.nan, {"above": 2}, "above 2"),
        (math.nan, {"below": 2}, "below 2"),
        (math.nan, {"equals": 2}, "equals 2 ± 1e-06"),
        (math.inf, {"above": 2}, "above 2"),
        (1.0, {"above": math.nan}, "above nan"),
        (torch.tensor(1.0), {"equals": math.nan}, "equals nan ± 1e-06"),
        (1.0, {"equals": 1, "within": math.nan}, "equals 1 ± nan"),
        (False, {}, "true"),
        (np.bool_(False), {}, "true"),
        (torch.tensor(False), {}, "true"),
    ],
)
def test_a_false_claim_stops_with_sentence_value_and_bound(
    value: Any, bound: dict[str, float], stated: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError) as caught:
        verify.claim("it is so", value, **bound)
    sentence, seen, wanted = str(caught.value).split("\n")
    assert sentence == "✗ it is so"
    assert seen.startswith("  value: ") and str(value if not isinstance(value, torch.Tensor) else value.item()) in seen
    assert wanted == f"  bound: {stated}"
    assert capsys.readouterr().out == ""


def test_a_number_needs_a_bound_and_a_truth_value_takes_none() -> None:
    with pytest.raises(ValueError, match=r"claim\('x'\) was given 3.0 and no bound; pass above=, below= or equals="):
        verify.claim("x", 3.0)
    for truth in (True, np.bool_(True), torch.tensor(True)):
        with pytest.raises(ValueError, match="a truth value takes none"):
            verify.claim("x", truth, above=0.5)


def test_a_claim_shows_its_number_beside_the_bound(capsys: pytest.CaptureFixture[str]) -> None:
    verify.claim("one nat is about 1.44 bits", 1 / math.log(2), equals=1.4427, within=1e-4, show=".4f")
    verify.claim("it is large", torch.tensor(3.04), above=2, below=5, show=".1f")
    assert capsys.readouterr().out.splitlines() == [
        "✓ one nat is about 1.44 bits: 1.4427 (equals 1.4427 ± 0.0001)",
        "✓ it is large: 3.0 (above 2 and below 5)",
    ]
    with pytest.raises(ValueError, match="takes none"):
        verify.claim("x", True, show=".1f")


def test_a_claim_names_the_worlds_in_which_it_fails(capsys: pytest.CaptureFixture[str]) -> None:
    others = {"the untrained network": 0.1, "shuffled labels": torch.tensor(0.25)}
    verify.claim("it reads digits", 0.9, above=0.8, contrast=others)
    verify.claim("it reads digits", 0.9, above=0.8, contrast=others, show=".2f")
    verify.claim("all are right", True, contrast={"one label changed": np.bool_(False)})
    assert capsys.readouterr().out.splitlines() == [
        "✓ it reads digits",
        "  not so for the untrained network, shuffled labels",
        "✓ it reads digits: 0.90 (above 0.8)",
        "  not so for the untrained network (0.10), shuffled labels (0.25)",
        "✓ all are right",
        "  not so for one label changed",
    ]


@pytest.mark.parametrize(
    ("value", "other", "bound", "said"),
    [(0.9, 0.85, {"above": 0.8}, "0.85"), (1.0, 1.0, {"equals": 1}, "1.0"), (True, True, {}, "True")],
)
def test_a_bound_that_holds_in_the_other_world_too_says_too_little(
    value: float, other: float, bound: dict[str, float], said: str
) -> None:
    shuffled = False if value is True else 0.1
    with pytest.raises(AssertionError, match=f"holds for the contrast as well, the untrained network: {said}"):
        verify.claim("it reads digits", value, **bound, contrast={"shuffled": shuffled, "the untrained network": other})
    with pytest.raises(AssertionError, match=f"✗ it reads digits\n  value: {shuffled}"):
        verify.claim("it reads digits", shuffled, **bound, contrast={"the untrained network": other})


# ------------------------------------------------------------------------------------------------ identity and integral

X, Y = sympy.symbols("x y", positive=True)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((X + Y) ** 2, X**2 + 2 * X * Y + Y**2),
        (sympy.log(X * Y**2), sympy.log(X) + 2 * sympy.log(Y)),
        (sympy.sin(X) ** 2 + sympy.cos(X) ** 2, sympy.Integer(1)),
        (1 / (1 + sympy.exp(-X)), sympy.exp(X) / (1 + sympy.exp(X))),
        (sympy.integrate(X, (X, 0, Y)), Y**2 / 2),
    ],
)
def test_identities_that_hold(left: Any, right: Any, capsys: pytest.CaptureFixture[str]) -> None:
    verify.identity("both sides agree", left, right)
    assert capsys.readouterr().out == "✓ both sides agree\n"


@pytest.mark.parametrize(
    ("left", "right", "difference"), [((X + Y) ** 2, X**2 + Y**2, "2*x*y"), (X / 2, X, "-x/2"), (X, X + 1, "-1")]
)
def test_identities_that_fail_show_the_difference(left: Any, right: Any, difference: str) -> None:
    with pytest.raises(AssertionError, match="✗ both sides agree\n  left − right = ") as caught:
        verify.identity("both sides agree", left, right)
    assert difference in str(caught.value)


def test_integrals_have_their_closed_forms() -> None:
    assert verify.integral(lambda x: x**2, 0, 3) == pytest.approx(9)
    assert verify.integral(lambda x: math.exp(-(x**2) / 2)) == pytest.approx(math.sqrt(2 * math.pi))
    assert verify.integral(lambda x: math.exp(-x), 0) == pytest.approx(1)
    assert verify.integral(lambda x: -math.log(x), 0, 1) == pytest.approx(1)


@pytest.mark.parametrize("f", [lambda x: 1 / x, lambda x: math.nan, lambda x: math.sin(1 / x) / x**1.5])
def test_integrals_that_do_not_converge_are_refused_without_a_warning(f: Any) -> None:
    with pytest.raises(ValueError, match=r"the integral from 0 to 1 has an error of .*; split it or narrow its limits"):
        verify.integral(f, 0, 1)


def normal(mean: float, std: float) -> Any:
    return lambda x: math.exp(-(((x - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("mean", [0, 1, 30, 500, 1e4])
@pytest.mark.parametrize("std", [0.01, 0.1, 1, 10])
def test_a_peak_anywhere_on_the_line_is_found_or_the_integral_refused(sign: int, mean: float, std: float) -> None:
    f, said = normal(sign * mean, std), ""
    try:
        found = verify.integral(f)
    except ValueError as error:
        found, said = 1.0, str(error)
    assert found == pytest.approx(1, abs=1e-6)
    if said:
        assert said == "f is 0 wherever it was looked at from -inf to inf; narrow the limits, or say near="
        assert mean > 30  # what is near must be found
    assert verify.integral(f, near=sign * mean + 0.5 * std) == pytest.approx(1, abs=1e-6)


def test_several_peaks_far_from_each_other_are_all_found() -> None:
    def f(x: float) -> float:
        return 0.5 * normal(0, 1)(x) + 0.3 * normal(500, 1)(x) + 0.2 * normal(-8000, 10)(x)

    assert verify.integral(f) == pytest.approx(1, abs=1e-6)
    assert verify.integral(f, -1e4, 1e4) == pytest.approx(1, abs=1e-6)
    assert verify.integral(lambda x: x * f(x)) == pytest.approx(0.3 * 500 - 0.2 * 8000, rel=1e-6)


def test_limits_may_be_finite_half_infinite_equal_or_swapped() -> None:
    assert verify.integral(normal(500, 1), 500) == pytest.approx(0.5, abs=1e-6)
    assert verify.integral(normal(500, 1), -math.inf, 501) == pytest.approx(0.8413447, abs=1e-6)
    assert verify.integral(normal(1e5 + 3, 1), 1e5) == pytest.approx(0.9986501, abs=1e-6)
    assert verify.integral(normal(0, 1), 2, 2) == 0
    assert verify.integral(lambda x: x**2, 3, 0) == -verify.integral(lambda x: x**2, 0, 3)
    assert verify.integral(lambda x: 0.0, 0, 1) == 0


def test_a_function_is_never_asked_outside_the_limits_and_may_overflow_far_away() -> None:
    assert verify.integral(lambda x: math.log(x) / math.sqrt(1 - x), 0, 1) == pytest.approx(4 * (math.log(2) - 1))

    def logistic(x: float) -> float:  # e^−x is too large for a float below −709
        return math.exp(-x) / (1 + math.exp(-x)) ** 2

    assert verify.integral(logistic, -300, 300) == pytest.approx(1)


@pytest.mark.parametrize(
    ("f", "low", "high"),
    [
        (lambda x: math.exp(-(x**2) / 2), -math.inf, math.inf),
        (lambda x: math.exp(-x), 0, math.inf),
        (lambda x: -math.log(x), 0, 1),
        (lambda x: x * math.exp(-(x**2)), -math.inf, math.inf),
        (lambda x: 1 / (1 + x * x), -math.inf, math.inf),
    ],
)
def test_looking_around_does_not_change_an_integral_that_was_right(f: Any, low: float, high: float) -> None:
    assert verify.integral(f, low, high) == scipy.integrate.quad(f, low, high, limit=400)[0]


def test_an_integral_that_depends_on_its_splits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([(0.0, 0.0), (1.0, 0.0), (0.9, 0.0)])
    monkeypatch.setattr(verify, "_pieces", lambda f, ends: next(values))
    with pytest.raises(ValueError, match=r"is 1 or 0.9, as the range is split; narrow its limits, or say near="):
        verify.integral(normal(0, 1))


# ---------------------------------------------------------------------------------------------------------- Monte Carlo


def test_monte_carlo_gives_mean_standard_error_and_number() -> None:
    estimate = verify.monte_carlo(torch.tensor([1.0, 2.0, 3.0, 6.0], requires_grad=True))
    assert estimate.mean == 3 and estimate.n == 4
    assert estimate.error == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 3 / 4))
    assert verify.monte_carlo(torch.tensor([True, False])).mean == 0.5


def test_standard_errors_cover_the_truth_as_often_as_they_say() -> None:
    inside = []
    for _ in range(1000):
        estimate = verify.monte_carlo(torch.rand(200))
        inside.append(abs(estimate.mean - 0.5) < 1.96 * estimate.error)
    assert np.mean(inside) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 1000))


@pytest.mark.parametrize("shape", [(1,), (0,), (4, 1), ()])
def test_monte_carlo_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least two samples of shape \(n,\), but got shape \("):
        verify.monte_carlo(torch.zeros(shape))


def test_agrees_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    samples = torch.randn(10_000)
    verify.agrees("the mean is 0", samples, 0.0)
    assert capsys.readouterr().out == "✓ the mean is 0\n"
    with pytest.raises(AssertionError, match=r"✗ the mean is 0.05\n"):
        verify.agrees("the mean is 0.05", samples, 0.05)
    off = verify.monte_carlo(samples)
    verify.agrees("just inside", samples, off.mean + 1.99 * off.error, sigmas=2)
    with pytest.raises(AssertionError, match="just outside"):
        verify.agrees("just outside", samples, off.mean + 2.01 * off.error, sigmas=2)
    with pytest.raises(AssertionError, match="value: nan"):
        verify.agrees("NaN", torch.tensor([1.0, math.nan]), 1.0)
