"""Placement on a GPU, without one: fake tensors know their device, and what mixes devices raises.

Networks made on "cuda" and inputs on "cuda" must give results on "cuda"; a tensor that some line makes on the CPU is an
error. Nothing is computed, and gradients need a real device, so `torch.autograd.grad` is replaced by its shapes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from genlab import data, gan, metrics, nets, train, vae

N = 4


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New tensors are fake ones; a derivative is only as large as its variable, and where that is."""

    def grad(outputs: Tensor, inputs: Tensor | tuple[Tensor, ...], **_: Any) -> tuple[Tensor, ...]:
        assert outputs.device.type == "cuda"
        return tuple(torch.zeros_like(x) for x in ((inputs,) if isinstance(inputs, Tensor) else inputs))

    monkeypatch.setattr(torch.autograd, "grad", grad)
    with FakeTensorMode(shape_env=ShapeEnv()):  # with symbols for sizes that depend on values
        yield


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
        gan.spectral_norm(D)(x),
    )
    assert devices(found) == {"cuda"}
    gan.clip_weights(cuda(nets.MLPDiscriminator))


@pytest.mark.parametrize("classes", [None, 10], ids=["without labels", "with labels"])
@pytest.mark.parametrize("objective", gan.OBJECTIVES)
def test_losses_of_the_whole_game(objective: str, classes: int | None) -> None:
    G, D = cuda(lambda: nets.ResGenerator(5, classes=classes)), cuda(lambda: nets.ResDiscriminator(classes=classes))
    opt_g, opt_d = (torch.optim.SGD(net.parameters(), lr=0.1) for net in (G, D))
    options = {"gp": 1.0, "r1": 1.0, "r2": 1.0, "consistency": 1.0, "instance_noise": 0.1, "augmentation": gan.augment}
    noise = noise_on_the_gpu()
    players = gan.players(G, D, opt_g, opt_d, noise=noise, z_dim=5, objective=objective, **options)
    batch = images() if classes is None else data.Batch(images(), labels())
    if objective in gan.RATIOS:
        both = nn.ModuleList([G, D])
        optimizer = torch.optim.SGD(both.parameters(), lr=0.1)
        players.append(gan.player(G, D, optimizer, noise=noise, z_dim=5, objective=objective))
    assert devices([player.loss(batch, 1) for player in players]) == {"cuda"}


def noise_on_the_gpu() -> train.Noise:
    """Noise draws on the CPU, from a generator of its own, and moves what it drew."""
    noise = train.Noise(device="cuda")
    assert noise.normal(2, 3).device.type == noise.uniform(2).device.type == "cuda"
    return noise


# ------------------------------------------------------------------------------------------------------------ VAEs


@pytest.mark.parametrize("name", vae.LIKELIHOODS)
def test_likelihoods(name: str) -> None:
    p = vae.LIKELIHOODS[name]
    out = images(channels=p.channels)
    assert devices((p.log_prob(images(), out), p.mean(out))) == {"cuda"}


def test_bounds() -> None:
    mu, logvar, z = torch.randn(3, N, 5, device="cuda").unbind()
    log_px, log_w = mu[:, 0], torch.randn(7, N, device="cuda")
    found = (
        vae.kl_normal(mu, logvar),
        vae.kl_normal(mu, logvar, z, logvar),
        vae.kl_per_dimension(mu, logvar),
        vae.kl_sampled(z, mu, logvar),
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
    vq = cuda(lambda: vae.VQVAE(nets.GridEncoder(6), vae.Quantiser(16, 6), nets.GridDecoder(6)))
    assert devices(vq(images())) == {"cuda"}  # in training: the codebook moves too
    assert devices(vae.vq_player(vq, torch.optim.SGD(vq.parameters(), lr=0.1)).loss(images(), 1)) == {"cuda"}
    assert devices(list(vq.buffers())) == {"cuda"}

    class Halves(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.body = nets.mlp(i, 8, 2 * o)

        def forward(self, z: Tensor) -> tuple[Tensor, ...]:
            return self.body(z).chunk(2, 1)

    two = cuda(lambda: vae.HierarchicalVAE(nets.MLPEncoder(5), Halves(5, 2), Halves(2, 5), nets.MLPDecoder(5)))
    assert devices(two(images())) == {"cuda"}
    linear = cuda(lambda: vae.LinearVAE(6, 2))
    x = torch.randn(N, 6, device="cuda")
    assert devices((linear(x), linear.elbo(x))) == {"cuda"}
    model = vae.ppca(x, 2)
    assert devices((tuple(model), model.posterior(x))) == {"cuda"}


# ------------------------------------------------------------------------------------------------------------ data


def test_log_densities() -> None:
    toys = data.Mixture(torch.zeros(3, 2), 0.1, torch.ones(3) / 3), data.Checkerboard()  # kept on the CPU
    x = torch.zeros(N, 2, device="cuda")
    assert devices([toy.log_prob(x) for toy in toys]) == {"cuda"}


@pytest.mark.parametrize("pixels", ["unit", "symmetric", "binary"])
def test_pixels(pixels: str) -> None:
    x = torch.zeros(N, 1, 28, 28, dtype=torch.uint8, device="cuda")
    assert devices(data.to_float(x, pixels)) == {"cuda"}
