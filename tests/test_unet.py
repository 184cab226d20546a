"""The U-Net: shapes, sizes, what it sees, bf16, and bad input."""

import pytest
import torch
from torch import nn

from genlab.nets.unet import FiLMBlock, UNet, fourier


@pytest.mark.parametrize(("channels", "size", "width"), [(1, 28, 32), (3, 32, 8), (1, 8, 16), (3, 64, 8), (1, 20, 8)])
@pytest.mark.parametrize("classes", [None, 1, 10])
def test_shapes(channels: int, size: int, width: int, classes: int | None) -> None:
    net = UNet(channels=channels, size=size, width=width, classes=classes)
    x = torch.randn(3, channels, size, size)
    y = None if classes is None else torch.tensor([0, classes - 1, classes])  # the last one means "no label"
    assert net(x, torch.rand(3), y).shape == x.shape


def awake(**options: int) -> UNet:
    """A network whose zeros were filled, so that all it sees shows."""
    net = UNet(**options)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.1)
    return net


def test_the_output_begins_as_zero() -> None:
    net, x, t = UNet(size=8, width=8), torch.randn(2, 1, 8, 8), torch.rand(2)
    assert not net(x, t).any()
    assert awake(size=8, width=8)(x, t).any()


def test_time_label_and_the_whole_image_are_seen() -> None:
    net, x = awake(size=28, width=8, classes=3), torch.randn(1, 1, 28, 28, requires_grad=True)
    t, y = torch.full((1,), 0.5), torch.tensor([1])
    out = net(x, t, y)
    assert not torch.allclose(out, net(x, t + 1e-3, y), atol=1e-6)
    assert all(not torch.allclose(out, net(x, t, torch.tensor([other])), atol=1e-6) for other in (0, 2, 3))
    (seen,) = torch.autograd.grad(out[0, 0, 14, 14], x)
    assert seen[0, 0].any(1).all() and seen[0, 0].any(0).all()  # every row and column


def test_a_condition_scales_and_shifts() -> None:
    block, x = FiLMBlock(8, 8, 2), torch.randn(3, 8, 4, 4)
    c = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # nothing, a scale, a shift
    nn.init.dirac_(block.conv2.weight)
    nn.init.zeros_(block.film.bias)
    with torch.no_grad():
        block.film.weight[:] = torch.cat([torch.tensor([[2.0, 0.0]] * 8), torch.tensor([[0.0, 5.0]] * 8)])
        h = block.norm2(block.conv1(nn.functional.silu(block.norm1(x))))
        for row, wanted in enumerate((h, 3 * h, h + 5)):
            found = (block(x, c) - x)[row]
            assert torch.allclose(found, nn.functional.silu(wanted)[row], atol=1e-5)


def test_examples_do_not_mix() -> None:
    net, x, t = awake(size=8, width=8), torch.randn(4, 1, 8, 8), torch.rand(4)
    assert torch.allclose(net(x, t)[2:3], net(x[2:3], t[2:3]), atol=1e-6)


def test_pixels_keep_their_places() -> None:
    """What folds the image unfolds it alike: an input that is moved by a cell of 4 moves the output, far from edges."""
    net = awake(size=64, width=8)
    x = torch.zeros(1, 1, 64, 64)
    x[0, 0, 32, 32] = 9.0
    t = torch.full((1,), 0.3)
    with torch.no_grad():
        one, rest = net(x, t), net(torch.zeros_like(x), t)
        moved = net(x.roll((4, 4), (2, 3)), t)
    peak = (one - rest)[0, 0].abs().flatten().argmax().item()
    other = (moved - rest)[0, 0].abs().flatten().argmax().item()
    assert other - peak == 4 * 64 + 4


def test_features_of_time() -> None:
    found = fourier(torch.tensor([0.0, 0.5]), 8)
    assert found.shape == (2, 8)
    assert found[0].tolist() == [0] * 4 + [1] * 4
    assert found[1, 0].item() == pytest.approx(torch.tensor(0.5).sin().item())
    many = fourier(torch.linspace(0, 1, 1001), 32)
    assert torch.cdist(many, many).add(10 * torch.eye(1001)).min() > 1e-2  # no two of a thousand times look alike


def test_the_size_of_the_recipe() -> None:
    assert sum(p.numel() for p in UNet(classes=10).parameters()) == pytest.approx(300_000, rel=0.05)


def test_bf16() -> None:
    net, x, t = awake(size=28, width=16), torch.randn(2, 1, 28, 28), torch.tensor([0.2, 0.9])
    plain = net(x, t)
    with torch.autocast("cpu", torch.bfloat16):
        short = net(x, t)
    assert short.dtype == torch.bfloat16
    assert ((short.float() - plain).std() / plain.std()).item() < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 30}, r"size=30: this network takes multiples of 4 from 8; pad or resize"),
        ({"size": 4}, "from 8"),
        ({"width": 20}, "width=20 must be a multiple of 8"),
        ({"width": 0}, "multiple of 8"),
        ({"channels": 4}, "channels=4"),
    ],
)
def test_bad_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(**options)


def test_bad_input() -> None:
    net, plain = UNet(size=8, width=8, classes=3), UNet(size=8, width=8)
    x, t, y = torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.zeros(2, dtype=torch.long)
    for call, message in (
        (lambda: net(x[:, :, :4], t, y), r"images must have shape \(n, 1, 8, 8\)"),
        (lambda: net(x, t[0], y), r"t must have shape \(2,\)"),
        (lambda: net(x, t + 500, y), r"t must lie in \[0, 1\], but ranges from 500 to 500; step i of T is i / T"),
        (lambda: net(x, t - 0.1, y), r"ranges from -0\.1 to -0\.1"),
        (lambda: net(x, t * torch.nan, y), "ranges from nan"),
        (lambda: net(x, t.long(), y), r"t must hold floats in \[0, 1\], but has dtype torch\.int64"),
        (lambda: net(x, t), "got no labels"),
        (lambda: net(x, t, y + 4), "from 0 to 3, but got 4 to 4"),
        (lambda: net(x, t, y.float()), "whole numbers"),
        (lambda: plain(x, t, y), "made without classes"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
