"""Networks: shapes, labels, refusals, examples kept apart, other layouts and precisions, and the page of them all."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from genlab import nets
from genlab.nets.common import check_labels

PAGE = Path(__file__).parents[1] / "notebooks/pages/networks.md"
Make = Callable[..., nn.Module]

# Narrow, so that tests are quick. All take channels, size and classes.
ENCODERS: dict[str, Make] = {
    "MLPEncoder": lambda **shape: nets.MLPEncoder(5, width=16, depth=2, **shape),
    "ConvEncoder": lambda **shape: nets.ConvEncoder(5, width=4, hidden=16, **shape),
}
DECODERS: dict[str, Make] = {
    "MLPDecoder": lambda **shape: nets.MLPDecoder(5, width=16, depth=2, **shape),
    "ConvDecoder": lambda **shape: nets.ConvDecoder(5, width=4, hidden=16, **shape),
    "MLPDecoder with tanh": lambda **shape: nets.MLPDecoder(5, width=16, output=nn.Tanh(), **shape),
    "DCGANGenerator": lambda **shape: nets.DCGANGenerator(5, width=4, **shape),
    "ResGenerator": lambda **shape: nets.ResGenerator(5, width=8, **shape),
}
DISCRIMINATORS: dict[str, Make] = {
    "MLPDiscriminator": lambda **shape: nets.MLPDiscriminator(width=16, **shape),
    "DCGANDiscriminator": lambda **shape: nets.DCGANDiscriminator(width=4, **shape),
    "ResDiscriminator": lambda **shape: nets.ResDiscriminator(width=8, **shape),
}
SEE_IMAGES = ENCODERS | DISCRIMINATORS
NETWORKS = SEE_IMAGES | DECODERS
UNLABELLED: dict[str, Make] = {  # for images of any size
    "GridEncoder": lambda: nets.GridEncoder(6, width=4),
    "GridDecoder": lambda: nets.GridDecoder(6, width=4),
    "Classifier": lambda: nets.Classifier(width=4, d=16),
}
ALL = [*((name, classes) for name in NETWORKS for classes in (None, 3)), *((name, None) for name in UNLABELLED)]


def build(name: str, n: int = 6, *, classes: int | None = None) -> tuple[nn.Module, list[Tensor]]:
    """A network for grey images of 28 pixels, and inputs for it."""
    net = UNLABELLED[name]() if name in UNLABELLED else NETWORKS[name](channels=1, size=28, classes=classes)
    if name in DECODERS:
        x = torch.randn(n, 5)
    else:
        x = torch.randn(n, 6, 7, 7) if name == "GridDecoder" else 2 * torch.rand(n, 1, 28, 28) - 1
    return net, [x] if classes is None else [x, torch.arange(n) % classes]


def flat(out: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Outputs as rows (n, d)."""
    return torch.cat(out, 1) if isinstance(out, tuple) else out.reshape(len(out), -1)


# -------------------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("classes", [None, 3], ids=["without labels", "with labels"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 32, 64])
def test_shapes(size: int, channels: int, classes: int | None) -> None:
    shape = {"size": size, "channels": channels, "classes": classes}
    x, z = torch.rand(2, channels, size, size), torch.randn(2, 5)
    y = () if classes is None else (torch.tensor([0, 2]),)
    for make in ENCODERS.values():
        mu, logvar = make(**shape)(x, *y)
        assert mu.shape == logvar.shape == (2, 5)
    for make in DISCRIMINATORS.values():
        assert make(**shape)(x, *y).shape == (2,)  # and not (2, 1)
    for name, make in DECODERS.items():
        out = make(**shape)(z, *y)
        assert out.shape == x.shape
        assert (out.abs().max() <= 1) or name in ("MLPDecoder", "ConvDecoder")  # images end in tanh, logits do not


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 32, 64])
def test_shapes_of_the_networks_that_fit_any_size(size: int, channels: int) -> None:
    x = torch.rand(2, channels, size, size)
    grid = nets.GridEncoder(6, channels=channels, width=4)(x)
    assert grid.shape == (2, 6, size // 4, size // 4)
    assert nets.GridDecoder(6, channels=channels, width=4)(grid).shape == x.shape
    classifier = nets.Classifier(channels=channels, classes=7, width=4, d=16).eval()
    features = classifier.features(x)
    assert features.shape == (2, 16)
    torch.testing.assert_close(classifier(x), classifier.head(features))
    assert classifier(x).shape == (2, 7)


def test_mlp_has_activations_between_its_layers_and_none_at_the_end() -> None:
    assert [type(layer) for layer in nets.mlp(3, 4, 5, act=nn.SiLU)] == [nn.Linear, nn.SiLU, nn.Linear]
    assert len(nets.mlp(3, 5)) == 1
    assert nets.mlp(3, 8, 5)(torch.randn(20, 3)).min() < 0


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 28, 27), (2, 1, 32, 32), (1, 28, 28), (2, 784)])
@pytest.mark.parametrize("name", SEE_IMAGES)
def test_images_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    net, _ = build(name)
    with pytest.raises(ValueError, match=r"must have shape \(n, 1, 28, 28\), but got " + re.escape(str(shape))):
        net(torch.zeros(shape))


CONVOLUTIONAL = [name for name in NETWORKS if not name.startswith("MLP")]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_every_size_from_16_to_256_works_or_names_the_nearest_that_do(name: str) -> None:
    """On the meta device, where networks have shapes but no numbers: all 241 sizes in a second or two."""
    work, refused = [], {}
    with torch.device("meta"):
        for size in range(10, 300):
            try:
                net = NETWORKS[name](channels=1, size=size, classes=None)
            except ValueError as error:
                refused[size] = str(error)
            else:
                work.append(size)
                out = net(torch.empty(2, 5) if name in DECODERS else torch.empty(2, 1, size, size))
                assert name not in DECODERS or out.shape == (2, 1, size, size)
    assert tuple(work) == nets.SIZES
    assert work == [16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256]
    for size, words in refused.items():
        below, above = [v for v in work if v < size][-1:], [v for v in work if v > size][:1]
        named = f"nearest are {below[0]} and {above[0]}" if below and above else f"nearest is {(below + above)[0]}"
        assert words.startswith(f"size={size}: ") and words.endswith(f"{named}; resize the images")
    assert "nearest are 48 and 56;" in refused[50]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("MLP")])
def test_fully_connected_networks_take_any_size(name: str) -> None:
    for size in (5, 17, 30, 50, 255):
        net = NETWORKS[name](channels=3, size=size, classes=None)
        assert net(torch.rand(2, 5) if name in DECODERS else torch.rand(2, 3, size, size)) is not None


@pytest.mark.parametrize("size", [16, 20, 48, 96, 128])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_forward_and_backward_at_other_sizes(name: str, size: int) -> None:
    net = NETWORKS[name](channels=3, size=size, classes=3)
    x = torch.randn(2, 5) if name in DECODERS else torch.rand(2, 3, size, size)
    out = flat(net.eval()(x, torch.tensor([0, 2])))
    assert out.shape[1] == (3 * size**2 if name in DECODERS else 10 if name in ENCODERS else 1)
    (out * torch.randn_like(out)).sum().backward()
    unused = {"embedding.weight"} if name in DISCRIMINATORS else set()  # the row of label 1 has no gradient, others do
    assert {k for k, p in net.named_parameters() if p.grad is None or not p.grad.any()} <= unused


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_channels_stop_growing(name: str, size: int) -> None:
    with torch.device("meta"):
        small, large = (NETWORKS[name](channels=3, size=s, classes=None) for s in (64, size))
    most = [max(p.shape[:2].numel() for p in net.parameters() if p.ndim == 4) for net in (small, large)]
    assert most[1] <= 2 * most[0]  # one more stage of the same channels on both sides, and never four times as many


@pytest.mark.parametrize("channels", [0, 2, 4])
@pytest.mark.parametrize("name", ["MLPEncoder", "ConvEncoder", *DISCRIMINATORS, "DCGANGenerator", "ResGenerator"])
def test_channels_of_no_image_are_refused(name: str, channels: int) -> None:
    with pytest.raises(ValueError, match=f"channels={channels}: .* 1 channel .* or 3 .*alpha"):
        NETWORKS[name](channels=channels, size=28, classes=None)


@pytest.mark.parametrize("make", [nets.GridEncoder, nets.Classifier])
def test_channels_of_no_image_are_refused_without_a_size(make: Make) -> None:
    with pytest.raises(ValueError, match="channels=4"):
        make(**({"d": 6} if make is nets.GridEncoder else {}), channels=4)


@pytest.mark.parametrize("side", [16, 20, 100])
def test_grid_networks_take_multiples_of_four(side: int) -> None:
    grid = nets.GridEncoder(6, channels=3, width=4)(torch.rand(2, 3, side, side + 4))
    assert grid.shape == (2, 6, side // 4, side // 4 + 1)
    assert nets.GridDecoder(6, channels=3, width=4)(grid).shape == (2, 3, side, side + 4)


@pytest.mark.parametrize("shape", [(2, 3, 30, 32), (2, 3, 32, 30), (2, 1, 32, 32), (3, 32, 32)])
def test_grid_networks_refuse_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"\(n, 3, h, w\) with sides that are multiples of 4.*" + re.escape(str(shape))
    ):
        nets.GridEncoder(6, channels=3, width=4)(torch.rand(shape))
    with pytest.raises(ValueError, match=r"grid must have shape \(n, 6, h, w\)"):
        nets.GridDecoder(6, width=4)(torch.rand(shape))


def test_the_classifier_refuses_sizes_only_when_told_its_own() -> None:
    images = torch.rand(2, 1, 32, 32)
    assert nets.Classifier(width=4, d=16)(images).shape == (2, 10)
    with pytest.raises(ValueError, match=r"\(n, 1, 28, 28\), but got \(2, 1, 32, 32\)"):
        nets.Classifier(width=4, d=16, size=28)(images)
    with pytest.raises(ValueError, match=r"\(n, 1, h, w\).* but got \(2, 3, 32, 32\)"):
        nets.Classifier(width=4, d=16)(images.expand(2, 3, 32, 32))


@pytest.mark.parametrize("name", DECODERS)
def test_codes_of_another_shape_are_refused(name: str) -> None:
    net, (z,) = build(name)
    with pytest.raises(ValueError, match=r"z must have shape \(n, 5\), but got \(6, 5, 1, 1\); pass z.flatten\(1\)"):
        net(z[:, :, None, None])
    for shape in ((6, 4), (6,), (5,)):
        with pytest.raises(ValueError, match=r"\(n, 5\), but got " + re.escape(str(shape)) + "; draw torch.randn"):
            net(torch.zeros(shape))


# -------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("name", NETWORKS)
def test_labels_that_are_missing_or_superfluous_are_refused(name: str) -> None:
    net, (x, y) = build(name, classes=3)
    with pytest.raises(ValueError, match=r"got no labels.* made with classes; pass y"):
        net(x)
    net, _ = build(name)
    with pytest.raises(ValueError, match=r"got labels.* made without classes; leave y out"):
        net(x, y)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", NETWORKS)
def test_labels_of_another_type_or_shape_are_refused(name: str, device: str) -> None:
    net, (x, y) = build(name, classes=3)
    net, x, y = net.to(device), x.to(device), y.to(device)
    for wrong in (y.float(), y.bool(), y.to(torch.uint8)):
        with pytest.raises(ValueError, match=rf"whole numbers, torch.int64, but got {wrong.dtype}; convert: y.long"):
            net(x, wrong)
    for wrong in (y[:5], y[:, None], y[:1], y[0]):
        with pytest.raises(
            ValueError, match=r"shape \(6,\), one for each example, but got " + re.escape(str(tuple(wrong.shape)))
        ):
            net(x, wrong)
    with pytest.raises(ValueError, match=r"argmax\(1\)"):
        net(x, y[:, None].expand(6, 3))
    with pytest.raises(ValueError, match="but got list"):
        net(x, [0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("name", NETWORKS)
def test_labels_out_of_range_are_refused_at_every_call(name: str) -> None:
    net, (x, y) = build(name, classes=3)
    for _ in range(2):
        net(x, y), net(x, y.int())
        with pytest.raises(ValueError, match=r"from 0 to 2, but got 1 to 3; shift them, or make .* more classes"):
            net(x, y + 1)
        with pytest.raises(ValueError, match=r"from 0 to 2, but got -1 to 1"):
            net(x, y - 1)


class Elsewhere(Tensor):
    """Labels that say they are on a GPU."""

    device = property(lambda self: torch.device("cuda"))  # type: ignore[assignment]


def test_on_a_gpu_the_range_is_looked_at_until_it_was_right_once() -> None:
    table, right, wrong = nn.Embedding(3, 2), torch.tensor([0, 2]), torch.tensor([1, 3])
    for _ in range(2):
        with pytest.raises(ValueError, match="from 0 to 2, but got 1 to 3"):
            check_labels(wrong.as_subclass(Elsewhere), table, 2)
    check_labels(right.as_subclass(Elsewhere), table, 2)
    check_labels(wrong.as_subclass(Elsewhere), table, 2)  # this look would wait for the device at every step
    with pytest.raises(ValueError, match="whole numbers"):
        check_labels(right.float().as_subclass(Elsewhere), table, 2)
    with pytest.raises(ValueError, match="from 0 to 2"):
        check_labels(wrong.as_subclass(Elsewhere), nn.Embedding(3, 2), 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_label_matters(name: str) -> None:
    net, (x, y) = build(name, classes=3)
    net.eval()
    if name == "ResGenerator":  # its class-conditional norms start alike for all classes
        assert torch.equal(net(x, y), net(x, (y + 1) % 3))
        for norm in (m for m in net.modules() if isinstance(m, nets.ConditionalNorm)):
            nn.init.normal_(norm.embedding.weight)
    assert ((flat(net(x, y)) - flat(net(x, (y + 1) % 3))).abs().amax(1) > 0).all()


def test_projection_adds_the_inner_product_of_the_label_and_the_features() -> None:
    h, logit, table = torch.randn(4, 6), torch.randn(4), nn.Embedding(3, 6)
    y = torch.tensor([2, 0, 1, 1])
    expected = logit + torch.einsum("nd,nd->n", table.weight[y], h)
    torch.testing.assert_close(nets.project(logit, h, y, table), expected)
    assert nets.project(logit, h, None, None) is logit


def test_conditional_norm_scales_and_shifts_by_class() -> None:
    norm, x, y = nets.ConditionalNorm(4, 3), torch.randn(5, 4, 6, 6), torch.tensor([0, 1, 2, 0, 1])
    plain = nn.BatchNorm2d(4, affine=False)(x)
    torch.testing.assert_close(norm(x, y), plain)
    nn.init.normal_(norm.embedding.weight)
    rows = norm.embedding.weight[y]
    expected = torch.stack(
        [(1 + r[:4, None, None]) * image + r[4:, None, None] for r, image in zip(rows, plain, strict=True)]
    )
    torch.testing.assert_close(norm(x, y), expected)


# --------------------------------------------------------------------------------------------------------- modes


def mixed() -> tuple[nn.Module, list[bool]]:
    """A training network with a frozen BatchNorm and, inside an evaluating part, a layer that trains."""
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Dropout())).train()
    net[1].eval()
    net[2].training = False
    return net, [part.training for part in net.modules()]


@pytest.mark.parametrize("fails", [False, True])
def test_evaluating_gives_every_part_its_mode_back(fails: bool) -> None:
    (net, before), (other, _) = mixed(), mixed()
    other.eval()
    try:
        with nets.evaluating(net, other):
            assert not any(part.training for both in (net, other) for part in both.modules())
            if fails:
                raise KeyError("inside")
    except KeyError:
        assert fails
    assert [part.training for part in net.modules()] == before and True in before and False in before
    assert not any(part.training for part in other.modules())


def test_evaluating_the_same_network_twice_or_inside_itself_restores_it() -> None:
    net, before = mixed()
    with nets.evaluating(net, net[2]), nets.evaluating(net):
        assert not any(part.training for part in net.modules())
    assert [part.training for part in net.modules()] == before


# ------------------------------------------------------------------------------------------------ what it computes


def influence(net: nn.Module, inputs: list[Tensor]) -> Tensor:
    """How strongly output i depends on input j: absolute gradients, summed, (n, n)."""
    x = inputs[0].clone().requires_grad_(True)
    out = flat(net(x, *inputs[1:]))
    weight = torch.randn(out.shape[1])
    rows = [torch.autograd.grad(o @ weight, x, retain_graph=True)[0].abs().flatten(1).sum(1) for o in out]
    return torch.stack(rows)


@pytest.mark.parametrize("classes", [None, 3], ids=["without labels", "with labels"])
@pytest.mark.parametrize("name", NETWORKS)
def test_examples_do_not_mix(name: str, classes: int | None) -> None:
    """In discriminators also while they train, as gradient penalties demand; elsewhere once BatchNorm is fixed."""
    net, inputs = build(name, 4, classes=classes)
    net.train(name in DISCRIMINATORS)
    found = influence(net, inputs)
    assert (found.diagonal() > 0).all() and (found - found.diagonal().diag() == 0).all()


def test_batch_norm_in_a_discriminator_mixes_examples() -> None:
    net = nets.DCGANDiscriminator(width=4, batch_norm=True)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    assert (influence(net, [torch.rand(4, 1, 28, 28)]) > 0).all()


@pytest.mark.parametrize(("name", "classes"), ALL)
def test_other_memory_layouts_and_bfloat16_give_nearly_the_same(name: str, classes: int | None) -> None:
    net, inputs = build(name, classes=classes)
    net.eval()
    expected = flat(net(*inputs)).detach()
    last = [v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for v in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        rough = flat(net(*last)).detach().float()
    assert 0 < (rough - expected).norm() < 0.03 * expected.norm()  # bfloat16 has 8 bits of precision
    torch.testing.assert_close(flat(net.to(memory_format=torch.channels_last)(*last)).detach(), expected)


@pytest.mark.parametrize(("name", "classes"), ALL)
def test_gradients_reach_every_parameter(name: str, classes: int | None) -> None:
    net, inputs = build(name, classes=classes)
    out = flat(net.eval()(*inputs))  # a bias before BatchNorm has no gradient in training mode
    (out * torch.randn_like(out)).sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_first_residual_block_sees_the_dark_half_of_the_image() -> None:
    x = -torch.rand(2, 1, 8, 8)
    for first in (True, False):
        block = nets.DownBlock(1, 4, first=first)
        nn.init.zeros_(block.skip.weight)
        image = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(block(image).square().sum(), image)
        assert bool(gradient.any()) == first
    assert [block.first for block in nets.ResDiscriminator(size=64).blocks] == [True, False, False, False]


def test_initial_weights_of_dcgan() -> None:
    for net in (nets.DCGANGenerator(width=64), nets.DCGANDiscriminator(width=64, batch_norm=True)):
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            elif isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.mean().item() == pytest.approx(1, abs=0.01) and 0 < layer.weight.std() < 0.03


# ------------------------------------------------------------------------------------------------------ the page


def row(call: str, inputs: str) -> str:
    """The table's line for a network: how it is made, shapes in and out for n images, parameters."""
    net = eval(call, {name: getattr(nets, name) for name in dir(nets)} | {"nn": nn}).eval()
    sizes = [[int(v) for v in re.findall(r"\d+", shape)] for shape in re.findall(r"\(n([^)]*)\)", inputs)]
    x = torch.zeros(2, *sizes[0], dtype=torch.long if call.startswith("Transformer") else None)
    after = [torch.zeros(2, dtype=torch.long) for _ in sizes[1:]]  # labels
    if call.startswith("UNet"):
        after[0] = torch.zeros(2)  # times
    out = net(x, *after)
    parts = out if isinstance(out, tuple) else (out,)
    outputs = ", ".join(f"({', '.join(['n', *map(str, part.shape[1:])])}{',' * (part.ndim == 1)})" for part in parts)
    return f"| `{call}` | `{inputs}` → `{outputs}` | {count(net):,} |"


OF_PART_5 = {"MADE", "PixelCNN", "PixelTransformer", "Transformer", "RealNVP", "UNet"}


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def growth_row(name: str, what: str) -> str:
    """The line of the table of widths: what twice the default width does to the parameters."""
    cls = getattr(nets, name)
    known = inspect.signature(cls).parameters
    first = () if known[next(iter(known))].default is not inspect.Parameter.empty else (16,)
    found = []
    for size, channels in ((28, 1), (64, 3), (256, 3)):
        shape = {"channels": channels} | ({"size": size} if "size" in known else {})
        with torch.device("meta"):
            wide, plain = (count(cls(*first, width=times * known["width"].default, **shape)) for times in (2, 1))
        found.append(f"× {wide / plain:.1f}")
    return f"| `{name}` | {what} | {' | '.join(found)} |"


def test_the_page_says_truly_what_twice_the_width_does() -> None:
    lines = PAGE.read_text(encoding="utf-8").split("## Width")[1].splitlines()
    rows = [(line, match[1], match[2]) for line in lines if (match := re.match(r"\| `(\w+)` \| (.*?) \| ×", line))]
    assert {name for _, name, _ in rows} == {call.split("(")[0] for _, call, _ in listed()} - OF_PART_5
    assert [line for line, _, _ in rows] == [growth_row(name, what) for _, name, what in rows]


# For each network: where channels (or units) of `width` stand, as the number of inputs or outputs of one of its layers.
WIDTHS: dict[str, Callable[[list[nn.Module]], int]] = {
    "MLPEncoder": lambda layers: layers[0].out_features,
    "MLPDecoder": lambda layers: layers[-1].in_features,
    "MLPDiscriminator": lambda layers: layers[-1].in_features,
    "ConvEncoder": lambda layers: layers[0].out_channels,
    "ConvDecoder": lambda layers: layers[-1].in_channels,
    "DCGANGenerator": lambda layers: layers[-1].in_channels // 2,  # half of the channels before the last layer
    "DCGANDiscriminator": lambda layers: layers[0].out_channels,
    "ResGenerator": lambda layers: layers[-1].in_channels,
    "ResDiscriminator": lambda layers: layers[0].out_channels,
}


@pytest.mark.parametrize("size", [28, 64, 128])
@pytest.mark.parametrize("name", WIDTHS)
def test_width_is_what_the_page_says(name: str, size: int) -> None:
    first = (5,) if "coder" in name or "Generator" in name else ()
    net = getattr(nets, name)(*first, size=size, width=12)
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    if "Discriminator" in name and name != "MLPDiscriminator":
        layers = [m for m in layers if isinstance(m, nn.Conv2d)]
    assert WIDTHS[name](layers) == 12


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: nets.ConvEncoder(16, channels=3, size=64), 1_218_688),
        (lambda: nets.ConvDecoder(16, channels=3, size=64), 1_220_451),
        (lambda: nets.DCGANGenerator(channels=3, size=64), 3_281_795),
        (lambda: nets.ResGenerator(channels=3, size=64), 381_507),
        (lambda: nets.ResDiscriminator(channels=3, size=64), 273_089),
    ],
)
def test_images_of_64_pixels_keep_their_networks(make: Make, expected: int) -> None:
    """The page counts those of 28 and 32; all must stay as they are, for the weights that people have stored."""
    assert count(make()) == expected


def listed() -> list[tuple[str, str, str]]:
    """Line, call and inputs of every row on the page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [(line, re.match(r"\| `(\w+\(.*?\))` \| `(.*?)` →", line)) for line in lines]
    return [(line, match[1], match[2]) for line, match in found if match]


def test_every_row_of_the_page_is_what_the_network_is() -> None:
    rows = listed()
    assert len(rows) > 12
    assert [line for line, _, _ in rows] == [row(call, inputs) for _, call, inputs in rows]


def test_the_page_lists_every_network() -> None:
    blocks = {"ConditionalNorm", "UpConv", "UpBlock", "DownBlock", "MaskedLinear", "MaskedConv2d"}
    blocks |= {"Flow", "Inverse", "ActNorm", "Conv1x1", "Squeeze", "Logit", "Ranks", "Planar", "Coupling", "MAF"}
    classes = {
        name for name, cls in inspect.getmembers(nets, inspect.isclass) if cls.__module__.startswith("genlab.nets")
    }
    assert {call.split("(")[0] for _, call, _ in listed()} == classes - blocks


@pytest.mark.parametrize("side", [1, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_up_convolution_is_doubling_and_convolving_in_one(side: int, layout: torch.memory_format) -> None:
    up = nets.UpConv(3, 4).double().to(memory_format=layout)
    plain = nn.Conv2d(3, 4, 3, 1, 1).double()
    plain.load_state_dict(up.state_dict())
    x = torch.randn(2, 3, side, side + 1, dtype=torch.float64, requires_grad=True)
    mine, theirs = up(x), plain(F.interpolate(x, scale_factor=2))
    torch.testing.assert_close(mine, theirs)
    direction = torch.randn_like(mine)
    for a, b in zip(
        torch.autograd.grad(mine, [x, *up.parameters()], direction),
        torch.autograd.grad(theirs, [x, *plain.parameters()], direction),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_up_convolution_saves_five_of_nine_multiplications() -> None:
    up, x = nets.UpConv(3, 4), torch.randn(2, 3, 8, 8)
    plain = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, 1, 1))
    counts = []
    for layer in (up, plain):
        with FlopCounterMode(display=False) as counter:
            layer(x)
        counts.append(counter.get_total_flops())
    assert counts[0] * 9 == counts[1] * 4
