"""Diffusion on a GPU that is not there: no tensor is left on the CPU. The fixture of `test_cuda` makes tensors fake."""

from collections.abc import Callable

import pytest
import torch

from genlab import data, diffusion, samplers, train
from genlab.nets.unet import UNet
from tests.test_cuda import N, cuda, devices, gpu, images, labels, noise_on_the_gpu

assert gpu  # used by every test, as it is there

TIMES = {"on the CPU": "cpu", "on the GPU": "cuda"}


@pytest.mark.parametrize("classes", [None, 10], ids=["without labels", "with labels"])
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 64)])
def test_the_network(channels: int, size: int, classes: int | None) -> None:
    net = cuda(lambda: UNet(channels=channels, size=size, classes=classes))
    t = torch.rand(N, device="cuda")
    assert devices(net(images(size, channels), t, None if classes is None else labels())) == {"cuda"}


@pytest.mark.parametrize("times", diffusion.TIMES)
@pytest.mark.parametrize("classes", [None, 10], ids=["without labels", "with labels"])
@pytest.mark.parametrize("target", diffusion.TARGETS)
@pytest.mark.parametrize("name", diffusion.PATHS)
def test_losses(name: str, target: str, classes: int | None, times: str) -> None:
    model, path = cuda(lambda: UNet(classes=classes)), diffusion.PATHS[name]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    noise = noise_on_the_gpu()
    player = diffusion.player(model, optimizer, path=path, target=target, noise=noise, times=times)
    batch = images() if classes is None else data.Batch(images(), labels())
    assert devices(player.loss(batch, 1)) == {"cuda"}


@pytest.mark.parametrize("where", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("w", [1.0, 2.0])
def test_samplers(w: float, where: str) -> None:
    model, path, noise = cuda(lambda: UNet(classes=10)), diffusion.cosine(), noise_on_the_gpu()
    ask = diffusion.guided(model, labels(), w)
    denoise, velocity = (
        diffusion.predictor(ask, path=path, source="v", target=target) for target in ("data", "velocity")
    )
    x, times = images(), torch.linspace(1, 0, 4, device=where)
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "ancestral": lambda: samplers.ancestral(denoise, x, times, path=path, noise=noise),
        "large": lambda: samplers.ancestral(denoise, x, times, path=path, noise=noise, variance="large"),
        "ddim": lambda: samplers.ddim(denoise, x, times, path=path),
        "eta": lambda: samplers.ddim(denoise, x, times, path=path, eta=0.5, noise=noise),
        "drawn on the CPU": lambda: samplers.ddim(denoise, x, times, path=path, eta=0.5, noise=train.Noise()),
        "euler": lambda: samplers.euler(velocity, x, times),
        "heun": lambda: samplers.heun(velocity, x, times),
        "langevin": lambda: samplers.langevin(diffusion.score(denoise, path=path), x, times, size=0.1, noise=noise),
    }
    assert {name: devices(call()) for name, call in calls.items()} == {name: {"cuda"} for name in calls}


@pytest.mark.parametrize("hutchinson", [False, True])
def test_likelihood(hutchinson: bool) -> None:
    path = diffusion.cosine()
    velocity = diffusion.predictor(lambda x, t: 0.5 * x, path=path, source="data", target="velocity")
    noise = train.Noise() if hutchinson else None
    x, times = torch.randn(N, 3, device="cuda"), torch.linspace(0.1, 0.9, 3)
    assert devices(samplers.ode_log_prob(velocity, x, times, noise=noise)) == {"cuda"}
