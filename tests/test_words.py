"""What an answer is told: true where it is said, and silent where it is not known."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.exercises import Exercise, show
from genlab.exercises.engine import WRONG, judge
from tests.small import (
    BOTH,
    COLUMN,
    KL,
    NETWORK,
    PAIR,
    PROBED,
    ROWS,
    SAME,
    SMOOTH,
    SQUARE,
    TOTAL,
    WORD,
    both,
    by,
    first_off,
    kl,
    late,
    left,
    matrices,
    network,
    raising,
    rows,
    scaled,
    slope,
    spoiling,
    task,
    waiting,
    yielding,
)

# The words, an exercise, an answer of which they are true, and one of which they are not. Both answers are wrong.
WORDS: dict[str, tuple[Exercise, Any, Any]] = {
    "Pass the function itself: check('99.1', rows)": (ROWS, 3, by(lambda y: y + 1)),
    "Your function raised this error": (ROWS, raising(KeyError("x")), by(lambda y: y + 1)),
    "do not end the program": (ROWS, raising(SystemExit()), raising(ValueError())),
    "With arguments that ask for a gradient": (
        SMOOTH,
        lambda x: torch.tensor(x.numpy().sum(1)),
        raising(ValueError()),
    ),
    "Is a return missing?": (ROWS, lambda x: None, lambda x: 0.0),
    "A tensor or a number was expected, but a str came": (ROWS, lambda x: "sum", lambda x: 1.0),
    "A str was expected, but a number or a tensor came": (WORD, lambda x: 3, lambda x: "rows"),
    "Nothing should be returned, but a list came": (
        task(lambda x: None, matrices, mutates=True),
        lambda x: [1, "a"],
        lambda x: x.zero_() and None,
    ),
    "Nothing should be returned, but a number or a tensor came": (
        task(lambda x: None, matrices, mutates=True),
        lambda x: x,
        lambda x: [],
    ),
    "it is on the meta device": (ROWS, by(lambda y: y.to("meta")), lambda x: x),
    "`async def`": (ROWS, waiting, yielding),
    "A generator gives its values only when": (ROWS, yielding, waiting),
    "The test cannot work with this result: ": (
        task(rows, matrices, probes={"the largest": lambda f: f(torch.ones(2, 2)).max()}),
        lambda x: x.sum(1) if x.shape[1] > 2 else None,
        lambda x: x.sum(1) if x.shape[1] > 2 else {}["x"],
    ),
    "2 results were expected, but 3 came": (BOTH, lambda x: (*both(x), 1), lambda x: both(x)[::-1]),
    "The two results are swapped": (BOTH, lambda x: both(x)[::-1], lambda x: (both(x)[1],) * 2),
    "Of the 2 results the second differs": (
        BOTH,
        lambda x: (x.sum(1), x.sum(0)),
        lambda x: (x.mean(1), x.exp().sum(0)),
    ),
    "Of the 2 results the first and the second differ. Of the first: Every value is 2 times": (
        BOTH,
        lambda x: (2 * x.sum(1), x.sum(0)),
        lambda x: (2 * x.sum(1), x.exp().sum(0)),
    ),
    "Of the 2 results the second differs. Every value is divided by the size of dimension 0 of x": (
        BOTH,
        lambda x: (x.sum(1), x.exp().mean(0)),
        lambda x: (x.sum(1), x.exp().sum(0) / 3),
    ),
    "the first and the second differ. Of the first: Every value is multiplied by the size of dimension 0 of x": (
        task(lambda x: (x.exp().mean(0), x.sum(1)), matrices),
        lambda x: (x.exp().sum(0), x.sum(1) + 1),
        lambda x: (x.exp().sum(0) + 1, x.sum(1) + 1),
    ),
    "Of the 2 results the second differs. 1 of 9 values is wrong": (
        BOTH,
        lambda x: (x.sum(1), x.exp().sum(0) + torch.eye(9)[0]),
        lambda x: (x.sum(1), x.exp().sum(0) + 1),
    ),
    "The result is complex": (ROWS, by(lambda y: y.to(torch.complex64)), by(lambda y: y + 1)),
    "A dimension of size 1 is too many": (ROWS, by(lambda y: y[:, None]), lambda x: x),
    "A dimension of size 1 is missing": (COLUMN, lambda x: x[:, 0], lambda x: x),
    "A dimension of size 1 stands in another place": (COLUMN, lambda x: x[:, :1].T, lambda x: x[:, 0]),
    "The result is transposed": (SQUARE, lambda x: SQUARE.solution(x).T, lambda x: x @ x.T),
    "Summed over dimension 1 it is right: a sum is missing": (ROWS, lambda x: x, lambda x: x**2),
    "Averaged over dimension 1 it is right: a mean is missing": (
        task(lambda x: x.mean(1), matrices),
        lambda x: x,
        lambda x: x**2,
    ),
    "The values are right, in another shape": (
        task(lambda x: x, matrices),
        lambda x: x.reshape(9, -1),
        lambda x: x.T.contiguous() + 1,
    ),
    "Return one value for each row of x": (ROWS, lambda x: x.sum(), lambda x: x.sum(0)),
    "NaN came out": (ROWS, by(lambda y: y * math.nan), by(lambda y: y / 0)),
    "Infinity came out": (ROWS, by(lambda y: y / 0), by(lambda y: y * math.nan)),
    "Every value is 0.": (ROWS, by(lambda y: 0 * y), late(lambda y: 0 * y)),
    "Every value has the wrong sign": (ROWS, by(lambda y: -y), late(lambda y: -y)),
    "Every value is 3 times the expected one": (ROWS, by(lambda y: 3 * y), late(lambda y: 3 * y)),
    "Every value is 1/7 times the expected one": (ROWS, by(lambda y: y / 7), by(lambda y: -y / 7)),
    "off by the same 2": (ROWS, by(lambda y: y + 2), late(lambda y: y + 2)),
    "Every value is divided by the size of dimension 0 of x": (
        TOTAL,
        lambda x: x.exp().sum() / len(x),
        lambda x: x.exp().sum() / 9,
    ),
    "Every value is multiplied by the size of dimension 0 of x": (
        task(lambda x: x.exp().mean(0), matrices),
        lambda x: x.exp().sum(0),
        lambda x: x.exp().mean(0) * 4,
    ),
    "1 of 6 values is wrong, the others right": (
        task(rows, lambda g: (torch.randn(6, 2, generator=g),)),
        first_off,
        lambda x: x.sum(1).square() + 5,
    ),
    "In this test every value is 2 times": (
        PROBED,
        lambda x: x.sum(1) * (2 if x.shape[1] == 2 else 1),
        by(lambda y: 2 * y),
    ),
    "No gradient arrives": (SMOOTH, by(lambda y: y.detach()), by(lambda y: y.detach() + 0 * y)),
    "a result that can be differentiated, but a float does not": (
        SMOOTH,
        by(lambda y: y.tolist()),
        by(lambda y: y.detach()),
    ),
    "differentiated, but a float": (
        task(lambda net, x: net(x).sum(), network, probes={"a slope": slope}),
        lambda net, x: float(net(x).sum()),
        lambda net, x: net(x).sum().detach(),
    ),
    "No gradient reaches y": (PAIR, lambda x, y: x * y.detach(), lambda x, y: x.detach() * y),
    "Your function changed x in place": (NETWORK, spoiling(lambda net, x: x.zero_()), spoiling(left)),
    "Your function left gradients in net.layer.bias, net.layer.weight": (
        NETWORK,
        spoiling(left),
        spoiling(lambda net, x: x.zero_()),
    ),
    "Your function changed requires_grad of net.layer.weight": (
        NETWORK,
        spoiling(lambda net, x: net.layer.weight.requires_grad_(False)),
        spoiling(left),
    ),
    "Your function left net, net.layer in another mode": (
        NETWORK,
        spoiling(lambda net, x: net.eval()),
        spoiling(lambda net, x: net.count.add_(1)),
    ),
    "Your function changed net.count in place": (
        NETWORK,
        spoiling(lambda net, x: net.count.add_(1)),
        spoiling(lambda net, x: net.eval()),
    ),
}


@pytest.mark.parametrize("words", WORDS)
def test_words_come_where_they_are_true_and_not_where_they_are_not(words: str) -> None:
    exercise, fitting, other = WORDS[words]
    verdict = judge(exercise, fitting)
    assert verdict.state == WRONG and words in verdict.meaning, show.told(verdict)
    verdict = judge(exercise, other)
    assert verdict.state == WRONG and words not in verdict.meaning, show.told(verdict)


NO_FACTOR: dict[str, tuple[Exercise, Callable[..., Any]]] = {
    "in one draw only": (ROWS, late(lambda y: 3 * y)),
    "in the first result only, and the second is another": (BOTH, lambda x: (x.sum(1).square(), 2 * x.exp().sum(0))),
    "one number": (task(lambda x: x.sum(), lambda g: (torch.ones(2, 2),)), lambda x: 2 * x.sum()),
    "a constant is expected": (SAME, lambda x: 2 * torch.ones(len(x))),
    "a constant came": (ROWS, lambda x: 3 * torch.ones(len(x))),
    "all zeros": (ROWS, lambda x: torch.zeros(len(x))),
    "some rows": (ROWS, lambda x: x.sum(1) * (x[:, 0] > 0)),
    "another function": (TOTAL, lambda x: 2 * x.sum()),
    "a factor near 1": (ROWS, by(lambda y: 1.009 * y)),
    "a fraction near 1": (ROWS, by(lambda y: y / 1.003)),
    "a factor near 1 in one of two": (BOTH, lambda x: (1.002 * x.sum(1), x.exp().sum(0))),
    "shifts that are the same within the tolerance, which is half as large as they are": (
        ROWS,
        by(lambda y: y + 2e-4 + 5e-5 * y.sign()),
    ),
    "a single value in a probe": (
        task(rows, matrices, probes={"one": lambda f: f(torch.ones(1, 2))}),
        lambda x: x.sum(1) * (2 if x.shape[1] == 2 else 1),
    ),
}


@pytest.mark.parametrize("name", NO_FACTOR)
def test_no_factor_and_no_constant_is_named_where_none_is_shown(name: str) -> None:
    verdict = judge(*NO_FACTOR[name])
    assert verdict.state == WRONG and "times" not in verdict.meaning and "off by" not in verdict.meaning


def test_a_constant_is_named_once_it_stands_out_of_the_tolerance() -> None:
    """Values are the same within 1e-4: shifts that agree so closely agree in truth only if they are far larger."""
    assert "off by the same 0.002" in judge(ROWS, by(lambda y: y + 2e-3)).meaning
    assert "off by" not in judge(ROWS, by(lambda y: y + 5e-4)).meaning


def test_a_factor_that_is_not_near_1_is_named_and_the_sign_alone_near_minus_1() -> None:
    assert "Every value is 1.02 times" in judge(ROWS, by(lambda y: 1.02 * y)).meaning
    assert "Every value is 1/1.02 times" in judge(ROWS, by(lambda y: y / 1.02)).meaning
    assert judge(ROWS, by(lambda y: -1.003 * y)).meaning == "Every value has the wrong sign."
    assert "Every value is -1.02 times" in judge(ROWS, by(lambda y: -1.02 * y)).meaning


def test_what_a_test_does_not_find_is_not_called_a_missing_return() -> None:
    def grad(f: Callable[..., Any]) -> Any:
        x = torch.ones(2, 2, requires_grad=True)
        (f(x).sum() + torch.zeros((), requires_grad=True)).backward()
        return x.grad

    exercise = task(rows, matrices, probes={"a gradient": grad})
    verdict = judge(exercise, by(lambda y: y.detach()))
    assert verdict.came == "None" and verdict.meaning == "A tensor or a number was expected, but None came."


def spoiled(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    value = kl(mu, logvar)
    with torch.no_grad():
        mu.zero_()
    return value


COURSE = {
    "nothing": (lambda mu, logvar: None, "None", "Is a return missing?"),
    "a text": (lambda mu, logvar: "kl", "str 'kl'", "a str came"),
    "a number": (lambda mu, logvar: 1.0, "1", "one value for each row of mu"),
    "NaN": (lambda mu, logvar: kl(mu, logvar) * float("nan"), "nan", "NaN came out"),
    "another shape": (lambda mu, logvar: kl(mu, logvar)[:, None], ", 1): ", "A dimension of size 1 is too many"),
    "a factor": (lambda mu, logvar: 3 * kl(mu, logvar), "shape (", "Every value is 3 times"),
    "a constant": (lambda mu, logvar: kl(mu, logvar) + 2, "shape (", "off by the same 2"),
    "detach": (lambda mu, logvar: kl(mu, logvar).detach(), "0, 0", "No gradient arrives"),
    "no_grad": (torch.no_grad()(kl), "0, 0", "No gradient arrives"),
    "in place": (spoiled, "changed: mu", "changed mu in place"),
}


@pytest.mark.parametrize("name", COURSE)
def test_an_exercise_of_the_course_answers_in_these_words(name: str) -> None:
    answer, came, means = COURSE[name]
    verdict = judge(KL, answer)
    assert verdict.state == WRONG and came in verdict.came and means in verdict.meaning, show.told(verdict)


def test_every_sentence_of_the_engine_is_in_the_table_of_words() -> None:
    """The sentences are read from the source, so that a new one needs its two answers."""
    import ast

    from genlab.exercises import observe, words

    told = " ".join(judge(e, fitting).meaning for e, fitting, _ in WORDS.values()).lower()
    for module in (observe, words):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
        docs = {ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, kinds)}
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        for sentence in [t for t in texts if t not in docs and t.strip()[:1].isupper()]:
            for piece in [p.strip() for p in re.split(r"[{}.:;]", sentence) if len(p.split()) > 2]:
                assert piece.lower() in told, f"no answer of WORDS is told: {piece}"


def test_arguments_are_described_with_their_single_values() -> None:
    exercise = task(scaled, lambda g: (torch.randn(5, 3, generator=g), int(torch.randint(2, 9, (), generator=g))))
    verdict = judge(exercise, lambda x, k: x)
    assert verdict.tested.startswith("the result for random arguments of shape (5, 3) and k = "), verdict.tested
    single = task(lambda k, h: k * h, lambda g: (2, torch.tensor(0.5)))
    assert judge(single, lambda k, h: k).tested == "the result for random arguments k = 2, h = 0.5"
    assert re.fullmatch(r"the result for random arguments of shape \(\d, 9\)", judge(ROWS, lambda x: x).tested)


def test_a_change_in_place_is_mentioned_beside_a_wrong_result() -> None:
    verdict = judge(ROWS, lambda x: x.mul_(2).sum(1))
    assert "Every value is 2 times" in verdict.meaning and "changed x in place" in verdict.meaning
    assert "in place" not in judge(ROWS, lambda x: x.mul(2).sum(1)).meaning


def test_a_change_in_place_by_what_requires_a_gradient_is_no_more_than_that() -> None:
    def tracked(x: torch.Tensor) -> torch.Tensor:
        result = x.sum(1)
        x += torch.ones(9, requires_grad=True)
        return result

    def traced(x: torch.Tensor) -> torch.Tensor:
        x += torch.zeros(9, requires_grad=True)
        return x.sum(1)

    probed = task(rows, matrices, probes={"ones": lambda f: f(torch.ones(2, 9)), "a view": lambda f: f(SQUARES[0])})
    in_place = "Your function changed x in place: look for methods that end in _, += and assignments x[…] = …"
    for answer in (tracked, traced):
        for exercise in (ROWS, probed):
            verdict = judge(exercise, answer)
            assert (verdict.came, verdict.meaning) == ("changed: x", in_place)
        quiet = lambda x: answer(x) if x.requires_grad or len(x) == 2 else x.sum(1)  # noqa: B023, E731
        assert judge(task(lambda x: x.sum(1), by_row, probes=probed.probes), quiet).came == "changed: x"
    assert judge(probed, rows).state == "right" and SQUARES.sum() == 36


SQUARES = torch.ones(2, 2, 9)


def by_row(g: torch.Generator) -> tuple[torch.Tensor]:
    return (torch.randn(3, 9, generator=g),)


def test_parts_that_changed_in_two_ways_are_named_once() -> None:
    def ruinous(net: Any, x: Any) -> None:
        left(net, x)
        with torch.no_grad():
            net.layer.weight += 1

    assert judge(NETWORK, spoiling(ruinous)).came == "changed: net.layer.bias, net.layer.weight"


def test_a_list_that_became_shorter_has_changed_and_nothing_else() -> None:
    def gradients(g: torch.Generator) -> tuple[list[Any]]:
        return ([torch.randn(2, generator=g), None, *torch.randn(2, 3, generator=g, requires_grad=True).unbind()],)

    def shortened(found: list[Any]) -> Any:
        found.remove(None)
        return sum(v.sum() for v in found)

    exercise = task(lambda found: sum(v.sum() for v in found if v is not None), gradients)
    verdict = judge(exercise, shortened)
    assert verdict.came == "changed: found"
    assert verdict.meaning.startswith("Your function changed found in place") and "gradients" not in verdict.meaning
    mean = judge(
        exercise, lambda found: sum(v.sum() for v in found if v is not None and v.detach().zero_() is not None)
    )
    assert mean.state == WRONG and "found[0], found[2], found[3] in place" in mean.meaning
