"""Autoregressive models: exact sums, samples of the right law, counting by hand, and bad input."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn import functional as F

from genlab import autoregressive as ar
from genlab import data, densities, train
from genlab.data import words
from genlab.nets.masked import MADE, MaskedConv2d, PixelCNN
from genlab.nets.transformer import PixelTransformer, Transformer
from tests import test_cuda

ORDER = torch.tensor([2, 0, 3, 1])


def every(d: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=d)))


def sharpened(model: nn.Module, std: float = 1.0) -> nn.Module:
    """Weights that make its probabilities differ much."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model


# ------------------------------------------------------------------------------------------------------- likelihoods


def test_log_prob_is_the_sum_over_the_chain() -> None:
    """Against the chain rule with marginals and conditionals from a table of all 16 probabilities."""
    model = sharpened(MADE(4, hidden=(9,), order=ORDER)).double()
    x = every(4).double()
    log_p = ar.log_prob(model, x).detach()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-6)  # log_prob works in float32
    first = ORDER.argsort()[0]  # the conditional of the first place is its marginal
    marginal = log_p.exp()[x[:, first] == 1].sum()
    assert torch.sigmoid(model(x)[:, first]).allclose(marginal.expand(16), atol=1e-6)


def test_tokens_count_up_to_their_end() -> None:
    model = sharpened(Transformer(3, 4, width=8, depth=1, heads=2), 0.5)
    x = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [1, 2, 1, 0], [1, 2, 1, 1]])
    rows = F.log_softmax(model(x), 2).gather(2, x[..., None])[..., 0]
    assert ar.log_prob_tokens(model, x).allclose(rows.sum(1))
    expected = torch.stack([rows[0, :2].sum(), rows[1, :1].sum(), rows[2].sum(), rows[3].sum()])
    assert ar.log_prob_tokens(model, x, end=0).allclose(expected)
    filled = torch.tensor([[1, 0, 2, 1]])  # whatever stands behind the end
    assert ar.log_prob_tokens(model, filled, end=0).allclose(expected[:1])


def test_words_and_the_unfinished_share_all_probability() -> None:
    """Σ p over all words that end within 3 tokens, and over the beginnings that go on, is 1."""
    model = sharpened(Transformer(3, 3, width=8, depth=1, heads=2), 0.5)
    rows = torch.tensor(list(itertools.product(range(3), repeat=3)))
    ends = (rows == 0).cumsum(1)
    filled = rows * (ends == 0)
    unique = filled.unique(dim=0)
    assert ar.log_prob_tokens(model, unique, end=0).exp().sum().item() == pytest.approx(1, abs=1e-5)


# ----------------------------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_model(temperature: float) -> None:
    """Frequencies of all 16 images against Π p_T(x_i | x_<i), enumerated: χ² on 15 degrees of freedom."""
    model = sharpened(MADE(4, hidden=(9,), order=ORDER))
    n = 20_000
    x = ar.sample(model, n, shape=(1, 2, 2), generator=torch.Generator().manual_seed(0), temperature=temperature)
    grid = every(4)
    with torch.no_grad():
        p = densities.log_bernoulli(grid, model(grid) / temperature).exp()
    seen = torch.bincount((x.flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long(), minlength=16)
    assert ((seen - n * p) ** 2 / (n * p)).sum() < 40  # exceeded once in 2,000 runs


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_sampled_tokens_follow_the_model(temperature: float) -> None:
    model, n = sharpened(Transformer(3, 3, width=8, depth=1, heads=2), 0.5), 20_000
    g = torch.Generator().manual_seed(0)
    x = ar.sample_tokens(model, n, length=3, generator=g, temperature=temperature)
    grid = torch.tensor(list(itertools.product(range(3), repeat=3)))
    with torch.no_grad():
        p = F.log_softmax(model(grid) / temperature, 2).gather(2, grid[..., None])[..., 0].sum(1).exp()
    seen = torch.bincount(x @ torch.tensor([9, 3, 1]), minlength=27)
    assert ((seen - n * p) ** 2 / (n * p)).sum() < 57  # 26 degrees of freedom


def test_what_has_ended_stays_ended() -> None:
    model = sharpened(Transformer(3, 12, width=8, depth=1, heads=2), 0.5)
    x = ar.sample_tokens(model, 200, length=12, generator=torch.Generator().manual_seed(0), end=2)
    after = (x == 2).cumsum(1) > 1
    assert (x[after] == 2).all() and after.any()


def test_one_generator_and_no_global_stream() -> None:
    model = MADE(4)
    state = torch.get_rng_state()
    one, two = (ar.sample(model, 50, shape=(4,), generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(torch.get_rng_state(), state)


def test_labels_and_modes() -> None:
    class Mode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = PixelCNN(width=2, depth=1, classes=2)
            self.modes: list[bool] = []

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            self.modes.append(self.training)
            return self.body(x, y)

    model = Mode().train()
    y = torch.tensor([0, 1, 1])
    assert ar.sample(model, 3, shape=(1, 2, 2), generator=torch.Generator(), y=y).shape == (3, 1, 2, 2)
    assert model.modes == [False] * 4 and model.training


# ----------------------------------------------------------------------------------------------------------- training


def test_a_player_learns_pairs() -> None:
    """x₂ = x₁, a fair coin: the least loss is log 2, of independent bits 2 log 2."""
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    model = MADE(2, hidden=(8,))
    player = ar.player(model, torch.optim.Adam(model.parameters(), 0.05))
    *_, (_, losses) = train.train([player], [x], 200)
    assert math.log(2) < losses["AR"] < math.log(2) + 0.1


def test_a_player_of_tokens() -> None:
    x = torch.tensor([[1, 2, 0, 0], [2, 0, 0, 0]])
    model = Transformer(3, 4, width=16, depth=1, heads=2)
    player = ar.player(model, torch.optim.Adam(model.parameters(), 0.01), tokens=True, end=0)
    *_, (_, losses) = train.train([player], [x], 150)
    assert math.log(2) <= losses["AR"] + 1e-4 and losses["AR"] < math.log(2) + 0.1


class Leaks(nn.Module):
    """Sees its own pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body = MaskedConv2d("B", 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def test_a_model_that_sees_its_own_place_is_refused() -> None:
    x = (torch.rand(4, 1, 5, 5) < 0.5).float()
    model = Leaks()
    player = ar.player(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="not autoregressive: its output number 0 of the order sees input number 0"):
        next(train.train([player], [x], 1))


@pytest.mark.parametrize("told", ["reading", "backwards"])
def test_a_leak_of_the_order_is_seen(told: str) -> None:
    """A MADE of a shuffled order whose ranks are told wrongly sees ahead; told rightly it passes."""
    model = sharpened(MADE(6, hidden=(30,), order=torch.tensor([5, 3, 0, 1, 4, 2])))
    ar.check_causal(model, torch.zeros(1, 6))
    model.order.copy_(torch.arange(6) if told == "reading" else model.order.flip(0))
    with pytest.raises(ValueError, match="not autoregressive"):
        ar.check_causal(model, torch.zeros(1, 6))


@pytest.mark.parametrize(
    "model",
    [MADE(9), PixelCNN(width=4, depth=2), PixelTransformer(3, width=8, depth=1, heads=2)],
    ids=lambda m: type(m).__name__,
)
def test_the_packages_networks_pass(model: nn.Module) -> None:
    ar.check_causal(sharpened(model, 0.5), torch.zeros(2, 1, 3, 3))


def test_a_transformer_passes_in_training_mode_without_being_touched() -> None:
    model = sharpened(Transformer(3, 5, width=8, depth=1, heads=2), 0.5).train()
    ar.check_causal(model, torch.tensor([[1, 2, 0, 1, 2]]))
    assert model.training and all(p.grad is None for p in model.parameters())


def call_player(x: Tensor) -> None:
    model = MADE(4)
    next(train.train([ar.player(model, torch.optim.SGD(model.parameters(), 0.1))], [x], 1))


def drawn(**changes: Any) -> Tensor:
    options: dict[str, Any] = {"n": 2, "shape": (4,), "generator": torch.Generator()} | changes
    return ar.sample(MADE(4), options.pop("n"), **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: call_player(torch.full((2, 4), 0.5)), "grey pixels"),
        (lambda: call_player(torch.full((2, 4), 2.0)), "from 2 to 2"),
        (lambda: call_player(torch.full((2, 4), math.nan)), "NaN"),
        (lambda: ar.log_prob(MADE(4, outputs=2), torch.zeros(3, 4)), r"\(3, 4, 2\).*one logit a pixel"),
        (lambda: ar.log_prob_tokens(MADE(4), torch.zeros(3, 4)), r"\(n, t, vocabulary\)"),
        (lambda: ar.player(MADE(4), torch.optim.SGD(MADE(4).parameters(), 1), end=0), "pass tokens=True"),
        (lambda: drawn(n=0), "n=0"),
        (lambda: drawn(temperature=0.0), "temperature=0.0 must be positive"),
        (lambda: drawn(temperature=math.inf), "finite"),
        (lambda: ar.sample_tokens(Transformer(2, 3), 1, length=0, generator=torch.Generator()), "length=0"),
        (lambda: ar.sample_tokens(Transformer(2, 3), 1, length=4, generator=torch.Generator()), "context of 3"),
        (lambda: ar.Ngram(0, 3), "order=0"),
        (lambda: ar.Ngram(2, 3).fit([]), "text is empty"),
        (lambda: ar.Ngram(2, 3).fit([[1], []]), "one of its sequences"),
        (lambda: ar.Ngram(2, 3).fit([[3]]), "from 0 to 2"),
        (lambda: ar.Ngram(2, 3).fit([[1]]).log_prob([[-1]]), "from 0 to 2"),
        (lambda: ar.Ngram(2, 3).log_prob([[1]]), "counted nothing"),
        (lambda: ar.Ngram(2, 3).sample(length=2, generator=torch.Generator()), "counted nothing"),
        (lambda: ar.Ngram(2, 3).fit([[1]]).lower(3), "order=3 must lie from 1 to 2"),
        (lambda: words.split_words([]), "empty text"),
        (lambda: words.split_words(["M"]), "no word fell into the training part"),
        (lambda: words.split_words(["a"], test=math.nan), "leave something to learn"),
        (lambda: words.split_words(["ab"]).words(torch.tensor([[-1]])), "from 0 to 2, but got -1"),
        (lambda: words.split_words(["a", ""]), "empty text"),
        (lambda: words.split_words("abc"), "list of words"),
        (lambda: words.split_words(["a"], test=0.6, validation=0.4), "leave something to learn"),
        (lambda: words.split_words(["ab"]).tokens([]), "nothing to read"),
        (lambda: words.split_words(["ab"]).tokens(["abc"]), r"\['c'\] are not among 'ab'"),
        (lambda: words.split_words(["ab"]).tokens(["ab"], length=2), "take 3 tokens, but length=2"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ----------------------------------------------------------------------------------------------------------- counting


def test_witten_and_bell_by_hand() -> None:
    """Text "aab", "ab" of tokens 0, 1 and 2. After the empty context: counts 3, 2, 0, T = 2, N = 5."""
    model = ar.Ngram(2, 3).fit([[0, 0, 1], [0, 1]])
    p0 = [(3 + 2 / 3) / 7, (2 + 2 / 3) / 7, (2 / 3) / 7]
    assert [model.probability(t, [1]) for t in range(3)] == pytest.approx(p0)  # nothing was seen after 1
    after = [(1 + 2 * p0[0]) / 5, (2 + 2 * p0[1]) / 5, 2 * p0[2] / 5]  # after 0: 0 once, 1 twice
    assert [model.probability(t, [2, 0]) for t in range(3)] == pytest.approx(after)
    start = [(2 + 1 * p0[0]) / 3, p0[1] / 3, p0[2] / 3]  # at the beginning: 0 twice
    assert [model.probability(t, []) for t in range(3)] == pytest.approx(start)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_ngrams_are_distributions(order: int) -> None:
    model = ar.Ngram(order, 3).fit([[0, 1, 1, 2], [1, 1, 0], [2, 2, 1, 1, 2]])
    grid = list(itertools.product(range(3), repeat=4))
    assert model.log_prob(grid).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_lower_order_is_the_model_that_was_fitted_with_it(order: int) -> None:
    rows = [[0, 1, 1, 2], [1, 1, 0], [2, 2, 1, 1, 2]]
    grid = list(itertools.product(range(3), repeat=3))
    lower, fitted = ar.Ngram(4, 3).fit(rows).lower(order), ar.Ngram(order, 3).fit(rows)
    assert lower.log_prob(grid).equal(fitted.log_prob(grid))


def test_samples_of_counts() -> None:
    model = ar.Ngram(2, 3).fit([[1, 2, 0]] * 50)
    g = torch.Generator().manual_seed(0)
    drawn = [model.sample(length=5, generator=g, end=0) for _ in range(400)]
    assert all(len(row) <= 5 and 0 not in row[:-1] for row in drawn)
    share = sum(row == [1, 2, 0] for row in drawn) / 400
    p = math.exp(model.log_prob([[1, 2, 0]]).item())
    assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 400))


# --------------------------------------------------------------------------------------------------------------- text


def test_the_names_of_characters() -> None:
    text = words.character_names()
    assert len(text.train) + len(text.validation) + len(text.test) == 12886
    assert min(len(text.validation), len(text.test)) > 1200 and len(text.symbols) == 38
    every_name = {*text.train, *text.validation, *text.test}
    assert len(every_name) == 12886, "no name in two parts"
    assert "LATIN SMALL LETTER A" in every_name and "HANGUL SYLLABLE GA" not in every_name
    assert text.words(text.tokens(text.test)) == text.test
    assert text.tokens(["A"], length=4).tolist() == [[text.symbols.index("A") + 1, 0, 0, 0]]


def test_most_test_names_have_near_relatives_to_learn_from() -> None:
    """As the docstring says: more than half of them are a training name with one word replaced."""
    text = words.character_names()

    def blanked(name: str) -> Iterator[str]:
        parts = name.split(" ")
        yield from (" ".join([*parts[:i], "…", *parts[i + 1 :]]) for i in range(len(parts)) if len(parts) > 1)

    seen = {blank for name in text.train for blank in blanked(name)}
    assert sum(any(blank in seen for blank in blanked(name)) for name in text.test) > 0.5 * len(text.test)


def test_a_word_stays_in_its_part() -> None:
    some = [f"{i}" for i in range(1000)]
    one, two = words.split_words(some), words.split_words([*some[::2], "x"])
    assert set(two.test) <= {*one.test, "x"} and 60 < len(one.test) < 140


# --------------------------------------------------------------------------------------------------------- a fake GPU


class TestOnAGPU:
    """Placement, as tests/test_cuda.py has it."""

    @pytest.fixture(autouse=True)
    def gpu(self) -> Iterator[None]:
        """New tensors are fake ones."""
        with FakeTensorMode(shape_env=ShapeEnv()), test_cuda.Zeros():
            yield

    @pytest.mark.parametrize("classes", [None, 10], ids=["without labels", "with labels"])
    def test_images(self, classes: int | None) -> None:
        y = None if classes is None else test_cuda.labels()
        for make in (
            lambda: MADE(36, hidden=(20, 20), classes=classes),
            lambda: PixelCNN(width=4, depth=2, classes=classes),
            lambda: PixelTransformer(6, width=8, depth=1, heads=2, classes=classes),
        ):
            model = test_cuda.cuda(make)
            assert test_cuda.devices(ar.log_prob(model, test_cuda.images(6), y)) == {"cuda"}

    def test_tokens(self) -> None:
        model = test_cuda.cuda(lambda: Transformer(5, 6, width=8, depth=1, heads=2))
        x = torch.zeros(4, 6, dtype=torch.long, device="cuda")
        assert test_cuda.devices(ar.log_prob_tokens(model, x, end=0)) == {"cuda"}
        drawn = ar.sample_tokens(model, 4, length=3, generator=torch.Generator())
        assert test_cuda.devices(drawn) == {"cuda"}

    def test_players(self) -> None:
        model = test_cuda.cuda(lambda: PixelCNN(width=4, depth=1, classes=10))
        player = ar.player(model, torch.optim.SGD(model.parameters(), lr=0.1))
        assert test_cuda.devices(player.loss(data.Batch(test_cuda.images(6).round(), test_cuda.labels()), 1)) == {
            "cuda"
        }
        drawn = ar.sample(model, 4, shape=(1, 2, 2), generator=torch.Generator(), y=test_cuda.labels())
        assert test_cuda.devices(drawn) == {"cuda"}


# ------------------------------------------------------------------------------------------- doors that were open


def test_weights_of_another_order_are_refused() -> None:
    one, other = MADE(4, hidden=(6,)), MADE(4, hidden=(6,), order=torch.tensor([3, 1, 0, 2]))
    with pytest.raises(ValueError, match="another order"):
        one.load_state_dict(other.state_dict())
    one.load_state_dict(MADE(4, hidden=(6,)).state_dict())


def test_a_memory_of_other_places_is_refused() -> None:
    net = Transformer(5, 6, width=8, depth=1, heads=2)
    memory: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    x = torch.zeros(2, 3, dtype=torch.long)
    net(x[:, :1], memory=memory)
    net(x[:, :2], memory=memory)
    for rows, held in ((x, {}), (x[:, :2], memory), (x[:1], memory)):
        with pytest.raises(ValueError, match="start with an empty one and add a place a call"):
            net(rows, memory=held)


def test_grey_and_missing_pixels_and_broken_weights_are_refused() -> None:
    model = MADE(4, hidden=(6,))
    for pixel in (0.7, math.nan):
        with pytest.raises(ValueError, match="grey pixels"):
            ar.log_prob(model, torch.full((2, 1, 2, 2), pixel))
    speller = Transformer(3, 4, width=8, depth=1, heads=2)
    with torch.no_grad():
        model.first.linear.bias.fill_(math.nan)
        speller.head.bias.fill_(math.nan)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="the model gives NaN"):
        ar.sample(model, 2, shape=(1, 2, 2), generator=generator)
    with pytest.raises(ValueError, match="the model gives NaN"):
        ar.sample_tokens(speller, 2, length=3, generator=generator, end=0)


def test_counts_refuse_unknown_tokens_empty_rows_and_a_second_owner() -> None:
    counted = ar.Ngram(3, 4).fit([[1, 2, 0]])
    calls = [
        (lambda: counted.probability(99, [1]), "from 0 to 3, but got 99"),
        (lambda: counted.log_prob([[]]), "a sequence is empty"),
        (lambda: counted.lower(2).fit([[1]]), "shares its counts"),
        (lambda: counted.sample(length=0, generator=torch.Generator()), "length=0 must be at least 1"),
    ]
    for call, said in calls:
        with pytest.raises(ValueError, match=said):
            call()
