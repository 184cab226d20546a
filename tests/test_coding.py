"""The coder: bytes come back as the symbols that went in, and are as many as the probabilities say."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from genlab import coding
from genlab.nets.masked import MADE


def constant(p: list[float]) -> coding.Probabilities:
    return lambda x: torch.tensor(p, dtype=torch.float64).expand(*x.shape, len(p))


@pytest.mark.parametrize("p", [[0.5, 0.5], [0.99, 0.01], [1 - 1e-9, 1e-9], [0.2, 0.0, 0.5, 0.3], [1 / 64] * 64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (1, 1000)])
def test_there_and_back(p: list[float], shape: tuple[int, int]) -> None:
    x = torch.multinomial(torch.tensor(p), shape[0] * shape[1], replacement=True).view(shape)
    content = coding.compress(x, constant(p))
    assert torch.equal(coding.decompress(content, *shape, constant(p)), x)


def test_symbols_that_cannot_happen_have_a_price_and_come_back() -> None:
    x = torch.ones(2, 50, dtype=torch.long)
    p = constant([1.0, 0.0])
    content = coding.compress(x, p)
    assert torch.equal(coding.decompress(content, 2, 50, p), x)
    assert len(content) * 8 == pytest.approx(100 * math.log2(coding.TOTAL), abs=50)


@pytest.mark.parametrize("bias", [0.5, 0.9, 0.001])
def test_the_length_is_the_information(bias: float) -> None:
    """Within 10 bits of −log₂ p, and the checksum's 32: so at a bias of 0.5 one bit a symbol, at 0.001 far less."""
    x = (torch.rand(20, 500) < bias).long()
    exact = -(x * math.log2(bias) + (1 - x) * math.log2(1 - bias)).sum().item()
    used = 8 * len(coding.compress(x, constant([1 - bias, bias]))) - 32
    assert exact - 0.1 < used < exact + 10


def test_every_sequence_has_its_own_file_and_short_ones_are_likely() -> None:
    """Over all sequences of 7 bits: no two files are equal, and Kraft's sum of the coder's bits is at most 1."""
    p = constant([0.8, 0.2])
    files = {}
    for row in itertools.product((0, 1), repeat=7):
        files[coding.compress(torch.tensor([row]), p)[4:]] = row
    assert len(files) == 128


def test_a_long_run_on_the_edge_of_the_middle_is_carried_out() -> None:
    """Symbols that keep the interval around one half leave bits open for long."""
    encoder, third = coding.Encoder(), (341, 683)
    for _ in range(400):
        encoder.encode(*third, 1024)
    content = encoder.finish()
    decoder = coding.Decoder(content)
    assert [decoder.decode([0, 341, 683, 1024]) for _ in range(400)] == [1] * 400
    assert 8 * len(content) == pytest.approx(400 * math.log2(1024 / 342), abs=10)


def test_frequencies_sum_to_the_total_and_none_is_zero() -> None:
    p = torch.softmax(20 * torch.randn(100, 7), 1)
    f = coding.frequencies(p)
    assert (f.sum(1) == coding.TOTAL).all() and (f >= 1).all()
    assert (f / coding.TOTAL - p).abs().max() < 1e-5


def model_of(model: MADE) -> coding.Probabilities:
    def probabilities(x: Tensor) -> Tensor:
        one = torch.sigmoid(model(x.float()))
        return torch.stack([1 - one, one], 2)

    return probabilities


def test_a_network_drives_it_in_another_order_than_reading_only_if_told() -> None:
    """The rows are coded in the order of reading, so a network of that order comes back, and another does not."""
    x = (torch.rand(16, 30) < 0.3).long()
    p = model_of(MADE(30, hidden=(40,)))
    content = coding.compress(x, p)
    assert torch.equal(coding.decompress(content, 16, 30, p), x)
    backwards = model_of(MADE(30, hidden=(40,), order=torch.arange(30).flip(0)))
    with pytest.raises(ValueError, match="checksum does not fit"):
        coding.decompress(coding.compress(x, backwards), 16, 30, backwards)


def test_other_weights_and_damage_are_seen() -> None:
    x = (torch.rand(16, 30) < 0.3).long()
    p = model_of(MADE(30, hidden=(40,)))
    content = coding.compress(x, p)
    damaged = bytearray(content)
    damaged[10] ^= 8
    for wrong, n, q in ((content, 16, model_of(MADE(30, hidden=(40,)))), (bytes(damaged), 16, p), (content, 15, p)):
        with pytest.raises(ValueError, match="checksum does not fit"):
            coding.decompress(wrong, n, 30, q)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coding.compress(torch.zeros(0, 3, dtype=torch.long), constant([0.5, 0.5])), "not empty"),
        (lambda: coding.compress(torch.zeros(2, 3), constant([0.5, 0.5])), "whole numbers"),
        (lambda: coding.compress(torch.full((2, 3), 2), constant([0.5, 0.5])), "symbols below k"),
        (
            lambda: coding.compress(torch.zeros(2, 3, dtype=torch.long), lambda x: torch.ones(2, 4, 2) / 2),
            r"\(2, 4, 2\)",
        ),
        (lambda: coding.frequencies(torch.tensor([0.5, 0.6])), "sum to 1"),
        (lambda: coding.frequencies(torch.tensor([1.5, -0.5])), "at least 0"),
        (lambda: coding.frequencies(torch.tensor([math.nan, 1.0])), "at least 0"),
        (lambda: coding.frequencies(torch.ones(1)), "1 symbols"),
        (lambda: coding.Encoder().encode(3, 3, 10), "0 ≤ start < stop ≤ total, but got 3, 3 of 10"),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
