"""Masked networks and transformers: nothing sees ahead, everything before is seen, and bad input is told in words."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.nets.masked import MADE, MaskedConv2d, MaskedLinear, PixelCNN, made_masks
from genlab.nets.transformer import CausalAttention, Memory, PixelTransformer, Transformer

# ------------------------------------------------------------------------------------------------------------- masks


def jacobian(model: nn.Module, d: int) -> Tensor:
    """Which of d outputs depend on which of d inputs, anywhere: a sum of |derivatives| at a few points, (d, d)."""
    found = torch.zeros(d, d, dtype=torch.float64)
    for _ in range(4):
        x = torch.rand(1, d, dtype=torch.float64)
        found += torch.autograd.functional.jacobian(lambda v: model(v[None])[0], x[0]).abs()
    return found


def mass(logits: Tensor, x: Tensor) -> float:
    """Σ p(x) over all rows x (2^d, d), of a model's logits there."""
    return torch.exp(-F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)).sum().item()


def every(d: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=d)), dtype=torch.float64)


ORDERS = [None, torch.tensor([3, 0, 7, 5, 1, 6, 2, 4])]


@pytest.mark.parametrize("hidden", [(20,), (30, 25), (3,)])
@pytest.mark.parametrize("order", ORDERS, ids=["reading", "shuffled"])
def test_made_sums_to_one_and_sees_exactly_what_comes_before(order: Tensor | None, hidden: tuple[int, ...]) -> None:
    model = MADE(8, hidden=hidden, order=order).double()
    with torch.no_grad():
        assert mass(model(every(8)), every(8)) == pytest.approx(1, abs=1e-12)
    ranks = model.order
    seen, allowed = jacobian(model, 8) > 0, ranks[:, None] > ranks
    assert not (seen & ~allowed).any()
    if min(hidden) > 8:
        paths = torch.eye(8)
        for mask in made_masks(ranks, hidden):
            paths = mask @ paths
        assert ((paths > 0) == allowed).all(), "what comes before can be seen"


def test_the_output_mask_with_equality_is_no_distribution() -> None:
    """The classic slip, >= for >: the mass is not 1, and the diagonal is seen."""
    model = MADE(8, hidden=(20,)).double()
    hidden_ranks = torch.arange(20) * 7 // 20
    model.rest[-1].mask = (model.order[:, None] >= hidden_ranks).double()
    with torch.no_grad():
        assert abs(mass(model(every(8)), every(8)) - 1) > 1e-3
    assert jacobian(model, 8).diagonal().any()


def test_made_gives_several_numbers_and_any_shape() -> None:
    x = torch.rand(5, 1, 3, 2)
    assert MADE(6)(x).shape == x.shape
    model = MADE(6, outputs=3, hidden=(40,))
    assert model(x).shape == (5, 6, 3)
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(x)[:, 2].sum(), x)  # all three numbers of place 2
    assert gradient.flatten(1)[:, 2:].eq(0).all() and gradient.flatten(1)[:, :2].ne(0).any()
    one = MADE(1)
    assert one(torch.tensor([[0.0]])) == one(torch.tensor([[1.0]])), "a single number sees nothing"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MADE(4, order=torch.tensor([0, 1, 2, 2])), r"each rank from 0 to 3 once.*\[0, 1, 2, 2\]"),
        (lambda: MADE(4, order=torch.tensor([1, 2, 3, 4])), "each rank from 0 to 3 once"),
        (lambda: MADE(4, order=torch.arange(3)), "permutation of 4"),
        (lambda: MADE(4, order=torch.arange(4.0)), "whole numbers"),
        (lambda: MADE(0), "at least 1"),
        (lambda: MADE(4, hidden=()), "with a hidden layer"),
        (lambda: MADE(4, outputs=0), "at least 1"),
        (lambda: MADE(4)(torch.zeros(2, 5)), r"4 numbers an example.*\(2, 5\)"),
        (lambda: MADE(4)(torch.zeros(2, 4), torch.zeros(2, dtype=torch.long)), "made without classes"),
        (lambda: MADE(4, classes=3)(torch.zeros(2, 4)), "made with classes"),
        (lambda: MaskedLinear(torch.rand(3, 2) + 2), "matrix .* of 0 and 1"),
        (lambda: MaskedConv2d("C", 1, 1), "kind='C'"),
        (lambda: MaskedConv2d("A", 1, 1, 4), "kernel=4 must be odd"),
        (lambda: PixelCNN(kernel=1), "kernel=1"),
        (lambda: PixelCNN(depth=0), "depth=0"),
        (lambda: PixelCNN()(torch.zeros(2, 3, 8, 8)), r"\(2, 3, 8, 8\).*one channel"),
        (lambda: Transformer(5, 4)(torch.zeros(2, 5, dtype=torch.long)), "5 tokens.*context of 4"),
        (lambda: Transformer(5, 4)(torch.full((2, 3), 5)), "from 0 to 4, but got 5 to 5"),
        (lambda: Transformer(5, 4)(torch.zeros(2, 3)), "whole numbers"),
        (lambda: Transformer(5, 4)(torch.zeros(2, 0, dtype=torch.long)), "t at least 1"),
        (lambda: Transformer(5, 4, width=10, heads=4), "width=10.*heads=4.*multiple"),
        (lambda: Transformer(0, 4), "vocabulary=0"),
        (lambda: PixelTransformer(5)(torch.zeros(2, 1, 6, 6)), r"\(n, 1, 5, 5\).*\(2, 1, 6, 6\)"),
    ],
)
def test_bad_input(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# ------------------------------------------------------------------------------------------------------------ images


def support(model: nn.Module, size: int, row: int, column: int) -> Tensor:
    """Which pixels of an image move the output at a place: (size, size)."""
    x = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0, 0, row, column], x)
    return gradient[0, 0] != 0


def before(size: int, row: int, column: int) -> Tensor:
    return (torch.arange(size * size) < row * size + column).view(size, size)


@pytest.mark.parametrize(("kernel", "missed"), [(3, 21), (5, 9), (7, 5)])
def test_stacked_masks_have_a_blind_spot(kernel: int, missed: int) -> None:
    """Of the 217 pixels before the middle of a 15 × 15 image's last row, however deep the stack (here 20 layers)."""
    layers = [MaskedConv2d("A", 1, 2, kernel)]
    layers += [MaskedConv2d("B", 2, 2, kernel) for _ in range(19)]
    model = nn.Sequential(*layers).double()
    for layer in layers:
        nn.init.constant_(layer.weight, 0.1)  # positive, so that no two paths cancel
    seen, past = support(model, 15, 14, 7), before(15, 14, 7)
    assert past.sum() == 217
    assert not (seen & ~past).any() and (past & ~seen).sum() == missed


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("place", [(14, 7), (0, 0), (0, 9), (7, 14), (14, 14)])
def test_the_gated_network_has_none(place: tuple[int, int], kernel: int) -> None:
    model = PixelCNN(width=3, depth=15, kernel=kernel).double()
    assert torch.equal(support(model, 15, *place), before(15, *place))


def test_a_shallow_one_sees_near_by() -> None:
    model = PixelCNN(width=3, depth=2, kernel=3).double()
    seen = support(model, 15, 7, 7)
    assert not (seen & ~before(15, 7, 7)).any() and 0 < seen.sum() < 40


@pytest.mark.parametrize(
    "make", [lambda: PixelCNN(width=4, depth=4, kernel=3), lambda: PixelTransformer(3, width=8, depth=1, heads=2)]
)
def test_binary_images_sum_to_one(make: object) -> None:
    model = make().double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = every(9)
    with torch.no_grad():
        assert mass(model(x.view(-1, 1, 3, 3)).flatten(1), x) == pytest.approx(1, abs=1e-9)


# ------------------------------------------------------------------------------------------------------- transformers


def test_attention_is_the_formula() -> None:
    """Against the formula written out: softmax of Q Kᵀ / √(width / heads) over what is not later, times V."""
    n, t, width, heads = 2, 7, 12, 3
    layer = CausalAttention(width, heads).double()
    x = torch.randn(n, t, width, dtype=torch.float64)
    wq, wk, wv = layer.qkv.weight.chunk(3)
    bq, bk, bv = layer.qkv.bias.chunk(3)
    mixed = torch.zeros(n, t, width, dtype=torch.float64)
    size = width // heads
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        q, k, v = ((x @ w.T + b)[..., part] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
        for i in range(t):
            scores = (k[:, : i + 1] @ q[:, i, :, None])[..., 0] / math.sqrt(size)
            mixed[:, i, part] = (torch.softmax(scores, 1)[..., None] * v[:, : i + 1]).sum(1)
    assert torch.allclose(layer(x), layer.out(mixed), atol=1e-12)


def small_transformer(**options: object) -> Transformer:
    model = Transformer(3, 6, width=8, depth=2, heads=2, **options)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.double()


def test_a_transformer_sums_to_one_over_all_sequences() -> None:
    x = torch.tensor(list(itertools.product(range(3), repeat=6)))
    with torch.no_grad():
        nats = F.log_softmax(small_transformer()(x), 2).gather(2, x[..., None])[..., 0].sum(1)
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_a_token_moves_only_what_comes_after_it() -> None:
    model, x = small_transformer(), torch.randint(0, 3, (1, 6))
    with torch.no_grad():
        for i in range(6):
            changed = x.clone()
            changed[0, i] = (x[0, i] + 1) % 3
            moved = (model(changed) - model(x)).abs().amax(2)[0] > 1e-9
            assert moved.tolist() == [False] * (i + 1) + [True] * (5 - i)


def test_a_prefix_has_the_same_logits() -> None:
    model, x = small_transformer(), torch.randint(0, 3, (4, 6))
    with torch.no_grad():
        assert torch.allclose(model(x[:, :3]), model(x)[:, :3], atol=1e-12)


def test_a_memory_gives_the_same_logits_place_by_place() -> None:
    model, x, y = small_transformer(classes=2), torch.randint(0, 3, (4, 6)), torch.tensor([0, 1, 1, 0])
    memory: Memory = {}
    with torch.no_grad():
        steps = [model(x[:, : i + 1], y, memory=memory) for i in range(6)]
        assert torch.allclose(torch.cat(steps, 1), model(x, y), atol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        MADE(9, hidden=(20, 20), classes=4),
        PixelCNN(width=4, depth=2, classes=4),
        PixelTransformer(3, width=8, depth=2, heads=2, classes=4),
    ],
    ids=lambda model: type(model).__name__,
)
def test_gradients_reach_all_weights_and_labels_count(model: nn.Module) -> None:
    x, y = (torch.rand(8, 1, 3, 3) < 0.5).float(), torch.arange(8) % 4
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    loss = F.binary_cross_entropy_with_logits(model(x, y), x, reduction="sum")
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    with torch.no_grad():
        moved = (model(x, y.roll(1)) - model(x, y)).flatten(1).abs()
    assert moved.gt(0).all(1).all() or isinstance(model, MADE), "every place sees the label"
    assert moved.gt(0).any(1).all()


def test_bfloat16_on_the_cpu() -> None:
    x = (torch.rand(4, 1, 6, 6) < 0.5).float()
    for model in (MADE(36, hidden=(50,)), PixelCNN(width=4, depth=2), PixelTransformer(6, width=8, depth=1, heads=2)):
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            low = model(x)
        with torch.no_grad():
            assert torch.allclose(low.float(), model(x), atol=0.1)
