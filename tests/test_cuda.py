"""Placement on a GPU, without one: fake tensors know their device, and what mixes devices raises.

Networks made on "cuda" and inputs on "cuda" must give results on "cuda"; a tensor that some line makes on the CPU is an
error. Nothing is computed, and gradients need a real device, so `torch.autograd.grad` is replaced by its shapes. A
number that is read, as checks of ranges do, is 0.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode

from genlab import data, densities, gan, linear, metrics, nets, train, vae, vq

N = 4


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New tensors are fake ones; a derivative is only as large as its variable, and where that is."""

    def grad(outputs: Tensor, inputs: Tensor | tuple[Tensor, ...], **_: Any) -> tuple[Tensor, ...]:
        assert outputs.device.type == "cuda"
        return tuple(torch.zeros_like(x) for x in ((inputs,) if isinstance(inputs, Tensor) else inputs))

    monkeypatch.setattr(torch.autograd, "grad", grad)
    # The generators of a GPU have no state to save where there is none.
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext())
    with FakeTensorMode(shape_env=ShapeEnv()), Zeros():  # with symbols for sizes that depend on values
        yield


class Zeros(TorchDispatchMode):
    """Fake tensors have no values: one that is read is 0, and two tensors that are compared are equal."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            value = args[0]
            return False if value.dtype == torch.bool else 0.0 if value.is_floating_point() else 0
        if func is torch.ops.aten.allclose.default:
            return args[0].device == args[1].device
        return func(*args, **(kwargs or {}))


def cuda(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("cuda"):
        return make()


def images(size: int = 28, channels: int = 1) -> Tensor:
    return torch.rand(N, channels, size, size, device="cuda")


def labels() -> Tensor:
    return torch.zeros(N, dtype=torch.long, device="cuda")


def devices(value: Any) -> set[str]:
    """Of all tensors in nested tuples."""
    return {value.device.type} if isinstance(value, Tensor) else set().union(*(devices(part) for part in value))


# ---------------------------------------------------------------------------------------------------- the harness


def test_a_stray_tensor_on_the_cpu_is_caught() -> None:
    class Careless(nn.Module):
        def forward(self, mu: Tensor) -> Tensor:
            return mu + torch.randn(mu.shape)  # not randn_like

    with pytest.raises(RuntimeError, match=r"same device.*cpu and cuda|cuda.*cpu"):
        cuda(Careless)(torch.zeros(N, 3, device="cuda"))
    with pytest.raises(RuntimeError, match="same device"):
        nets.mlp(3, 2)(torch.zeros(N, 3, device="cuda"))  # a network that was not moved


# ------------------------------------------------------------------------------------------------------- networks

SEE_IMAGES: dict[str, Callable[..., nn.Module]] = {
    "MLPEncoder": lambda **o: nets.MLPEncoder(5, **o),
    "ConvEncoder": lambda **o: nets.ConvEncoder(5, **o),
    "MLPDiscriminator": nets.MLPDiscriminator,
    "DCGANDiscriminator": nets.DCGANDiscriminator,
    "ResDiscriminator": nets.ResDiscriminator,
}
SEE_NOISE: dict[str, Callable[..., nn.Module]] = {
    "MLPDecoder": lambda **o: nets.MLPDecoder(5, output=nn.Tanh(), **o),
    "ConvDecoder": lambda **o: nets.ConvDecoder(5, **o),
    "DCGANGenerator": lambda **o: nets.DCGANGenerator(5, **o),
    "ResGenerator": lambda **o: nets.ResGenerator(5, **o),
}


@pytest.mark.parametrize("classes", [None, 10], ids=["without labels", "with labels"])
@pytest.mark.parametrize("size", [28, 64])
@pytest.mark.parametrize("name", [*SEE_IMAGES, *SEE_NOISE])
def test_networks(name: str, size: int, classes: int | None) -> None:
    net = cuda(lambda: (SEE_IMAGES | SEE_NOISE)[name](size=size, channels=3, classes=classes))
    x = torch.randn(N, 5, device="cuda") if name in SEE_NOISE else images(size, 3)
    assert devices(net(x, *(() if classes is None else (labels(),)))) == {"cuda"}


def test_networks_that_fit_any_size() -> None:
    grid = cuda(lambda: nets.GridEncoder(6))(images())
    assert devices((grid, cuda(lambda: nets.GridDecoder(6))(grid))) == {"cuda"}
    classifier = cuda(nets.Classifier)
    assert devices((classifier(images()), classifier.features(images()))) == {"cuda"}
    assert metrics.features(classifier, images()).device.type == "cpu"  # features are measured in float64, on the CPU


# ------------------------------------------------------------------------------------------------------------ GANs


@pytest.mark.parametrize("name", gan.OBJECTIVES)
def test_objectives(name: str) -> None:
    objective = gan.OBJECTIVES[name]
    real, fake = torch.zeros(N, device="cuda"), torch.zeros(N, device="cuda")
    loss_g = objective.g(real, fake) if objective.paired else objective.g(fake)
    assert devices((objective.d(real, fake), loss_g)) == {"cuda"}


def test_penalties_and_augmentation() -> None:
    D = cuda(nets.DCGANDiscriminator)
    x, fake = images(), images()
    found = (
        gan.gradient_penalty(D, x, fake),
        gan.gradient_penalty(D, x, fake, eps=torch.rand(N, device="cuda")),
        gan.r1_penalty(D, x),
        gan.consistency_penalty(D, x, gan.augment),
        gan.augment(x, brightness=0.1),
        gan.augment(x, brightness=0.1, fill=-1.0, noise=noise_on_the_gpu()),
        gan.augment(x, noise=train.Noise()),  # which draws on the CPU
        gan.instance_noise(0.1)(x),
        gan.instance_noise(0.1, noise=noise_on_the_gpu())(x),
        gan.instance_noise(0.1, noise=train.Noise())(x),
        gan.spectral_norm(D)(x),
    )
    assert devices(found) == {"cuda"}
    gan.clip_weights(cuda(nets.MLPDiscriminator))


@pytest.mark.parametrize("joint", [False, True], ids=["apart", "joint"])
@pytest.mark.parametrize("classes", [None, 10], ids=["without labels", "with labels"])
@pytest.mark.parametrize("objective", gan.OBJECTIVES)
def test_losses_of_the_whole_game(objective: str, classes: int | None, joint: bool) -> None:
    G, D = cuda(lambda: nets.ResGenerator(5, classes=classes)), cuda(lambda: nets.ResDiscriminator(classes=classes))
    opt_g, opt_d = (torch.optim.SGD(net.parameters(), lr=0.1) for net in (G, D))
    noise, watched = noise_on_the_gpu(), []
    noisy = gan.instance_noise(0.1, noise=noise)
    players = gan.players(
        G,
        D,
        opt_g,
        opt_d,
        noise=noise,
        z_dim=5,
        objective=objective,
        penalties=[gan.gp(noise=noise), gan.gp(), gan.r1(every=2), gan.r1(), gan.r2(), gan.consistency()],
        view=lambda x: gan.augment(noisy(x), fill=-1.0, noise=noise),
        joint=joint,
        share=joint,
        watch=lambda *logits: watched.append(logits),
    )
    batch = images() if classes is None else data.Batch(images(), labels())
    assert devices([player.loss(batch, 1) for player in players]) == {"cuda"} == devices(watched)


@pytest.mark.parametrize("classes", [None, 10], ids=["without labels", "with labels"])
@pytest.mark.parametrize("objective", gan.RATIOS)
def test_the_loss_of_both_players_in_one_pass(objective: str, classes: int | None) -> None:
    G, D = cuda(lambda: nets.ResGenerator(5, classes=classes)), cuda(lambda: nets.ResDiscriminator(classes=classes))
    optimizer = torch.optim.SGD(nn.ModuleList([G, D]).parameters(), lr=0.1)
    player = gan.one_pass(G, D, optimizer, noise=noise_on_the_gpu(), z_dim=5, objective=objective)
    batch = images() if classes is None else data.Batch(images(), labels())
    assert devices(player.loss(batch, 1)) == {"cuda"}


def test_a_batch_that_was_left_on_the_cpu_is_told_in_words() -> None:
    G, D = cuda(lambda: nets.ResGenerator(5)), cuda(nets.ResDiscriminator)
    opt_g, opt_d = (torch.optim.SGD(net.parameters(), lr=0.1) for net in (G, D))
    for noise, message in (
        (noise_on_the_gpu(), r"the batch is on cpu, but the network is on cuda:0: data\.Batches"),
        (train.Noise(), r"the noise is on cpu, but the network is on cuda:0: Noise\(device=…\)"),
    ):
        d, _ = gan.players(G, D, opt_g, opt_d, noise=noise, z_dim=5)
        with pytest.raises(ValueError, match=message):
            d.loss(torch.rand(N, 1, 28, 28), 1)


def noise_on_the_gpu() -> train.Noise:
    """Noise draws on the CPU, from a generator of its own, and moves what it drew."""
    noise = train.Noise(device="cuda")
    assert noise.normal(2, 3).device.type == noise.uniform(2).device.type == "cuda"
    return noise


# ------------------------------------------------------------------------------------------------------------ VAEs


@pytest.mark.parametrize("name", densities.LIKELIHOODS)
def test_likelihoods(name: str) -> None:
    p = densities.LIKELIHOODS[name]
    out = images(channels=p.channels)
    assert devices((p.log_prob(images(), out), p.mean(out))) == {"cuda"}


def test_bounds() -> None:
    mu, logvar, z = torch.randn(3, N, 5, device="cuda").unbind()
    log_px, log_w = mu[:, 0], torch.randn(7, N, device="cuda")
    found = (
        densities.kl_normal(mu, logvar),
        densities.kl_normal(mu, logvar, z, logvar),
        densities.kl_per_dimension(mu, logvar),
        densities.kl_sampled(z, mu, logvar),
        vae.free_bits(mu, 0.1),
        vae.elbo(log_px, log_px),
        vae.iwae(log_w),
        vae.dreg(log_w, torch.randn(7, N, 5, device="cuda")),
    )
    assert devices(found) == {"cuda"}


@pytest.mark.parametrize("classes", [None, 10], ids=["without labels", "with labels"])
@pytest.mark.parametrize("estimator", vae.ESTIMATORS)
def test_losses_of_vaes(estimator: str, classes: int | None) -> None:
    model = cuda(lambda: vae.VAE(nets.ConvEncoder(5, classes=classes), nets.ConvDecoder(5, classes=classes)))
    y = None if classes is None else labels()
    assert devices(model(images(), y)) == {"cuda"}
    options: dict[str, Any] = {"estimator": estimator, "k": 1 if estimator in ("elbo", "autoencoder") else 3}
    if estimator == "elbo":
        options |= {"warmup": 10, "minimum": 0.1}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    player = vae.player(model, optimizer, noise=noise_on_the_gpu(), z_dim=5, **options)
    batch = images() if y is None else data.Batch(images(), y)
    assert devices(player.loss(batch, 1)) == {"cuda"}


def test_other_vaes() -> None:
    quantised = cuda(lambda: vq.VQVAE(nets.GridEncoder(6), vq.Quantiser(16, 6), nets.GridDecoder(6)))
    assert devices(quantised(images())) == {"cuda"}  # in training: the codebook moves too
    player = vq.player(quantised, torch.optim.SGD(quantised.parameters(), lr=0.1))
    assert devices(player.loss(images(), 1)) == {"cuda"}
    assert devices(list(quantised.buffers())) == {"cuda"}

    class Halves(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.body = nets.mlp(i, 8, 2 * o)

        def forward(self, z: Tensor) -> tuple[Tensor, ...]:
            return self.body(z).chunk(2, 1)

    two = cuda(lambda: vae.HierarchicalVAE(nets.MLPEncoder(5), Halves(5, 2), Halves(2, 5), nets.MLPDecoder(5)))
    assert devices(two(images())) == {"cuda"}
    line = cuda(lambda: linear.LinearVAE(6, 2))
    x = torch.randn(N, 6, device="cuda")
    assert devices((line(x), line.elbo(x))) == {"cuda"}
    model = linear.ppca(x, 2)
    assert devices((tuple(model), model.posterior(x))) == {"cuda"}


# ------------------------------------------------------------------------------------------------------------ data


def test_log_densities() -> None:
    toys = densities.Mixture(torch.zeros(3, 2), 0.1, torch.ones(3) / 3), densities.Checkerboard()  # kept on the CPU
    x = torch.zeros(N, 2, device="cuda")
    assert devices([toy.log_prob(x) for toy in toys]) == {"cuda"}


@pytest.mark.parametrize("pixels", ["unit", "symmetric", "binary"])
def test_pixels(pixels: str) -> None:
    x = torch.zeros(N, 1, 28, 28, dtype=torch.uint8, device="cuda")
    assert devices(data.to_float(x, pixels)) == {"cuda"}
