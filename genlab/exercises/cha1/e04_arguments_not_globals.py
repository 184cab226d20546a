"""Exercise A1.4: Arguments, not globals; one device."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch import nn

from genlab.exercises import Exercise, Wrong, mistake


def sample(G, n, z_dim, device):
    """n images of G from standard normal noise, made on the device where G is."""
    z = torch.randn(n, z_dim, device=device)
    return G(z)


class _Generator(nn.Module):
    """Its images are its noise, times weights that are 1: so they show what noise came."""

    def __init__(self, z_dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(z_dim))

    def forward(self, z):
        if z.ndim != 2 or z.shape[1] != len(self.weight):
            raise ValueError(f"G wants noise (n, {len(self.weight)}), but got {tuple(z.shape)}")
        if z.device != self.weight.device:
            raise RuntimeError(f"G is on the device {self.weight.device}, and its noise on {z.device}")
        return z * self.weight


class _Sevens(nn.Linear):
    """Its images tell that it was the one that was called, whatever the noise."""

    def forward(self, z):
        return 0 * super().forward(z) + 7


@mistake(
    "noise on the CPU",
    "The noise is made on the CPU, whatever the device. With G on a GPU this is the error that readers report.",
)
def _sample_on_cpu(G, n, z_dim, device):
    return G(torch.randn(n, z_dim))


@mistake(
    "a seed inside",
    "Every call gives the same images: a fixed seed is set inside. A program sets its seed once, outside.",
)
def _sample_seeded(G, n, z_dim, device):
    torch.manual_seed(0)
    return G(torch.randn(n, z_dim, device=device))


def _sample_moved(G, n, z_dim, device):
    return G(torch.randn(n, z_dim).to(device))


def _sample_from_numpy(G, n, z_dim, device):
    return G(torch.tensor(np.random.default_rng().normal(size=(n, z_dim)), dtype=torch.float32, device=device))


def _sample_by_loop(G, n, z_dim, device):
    return torch.cat([G(torch.empty(1, z_dim, device=device).normal_()) for _ in range(n)])


def _shape(images):
    return f"images of shape {tuple(images.shape)}" if isinstance(images, torch.Tensor) else images


def _shares(f):
    z = f(_Generator(2000), 50, 2000, "cpu")
    found = z > 0, z.abs() > 1, z.abs() > 2.5
    return [round(part.float().mean().item(), digits) for part, digits in zip(found, (1, 1, 2), strict=True)]


def _differ(f):
    G = _Generator(4)
    first, second = f(G, 6, 4, "cpu"), f(G, 6, 4, "cpu")
    return [len(first.unique()) == 24, bool(first.norm(dim=1).std() > 1e-3), not torch.equal(first, second)]


def _inputs(g):
    n, z_dim = ((3, 4), (5, 2), (2, 7), (4, 3))[int(torch.randint(4, (), generator=g))]
    return _Generator(z_dim), n, z_dim, "cpu"


EXERCISE = Exercise(
    number="A1.4",
    title="Arguments, not globals; one device",
    difficulty=2,
    minutes=8,
    task=r"""
The article's training function takes a `model` and then uses global names, and its generator is never moved to the
device. It runs on its author's machine, until it does not. Write the sampling step so that it uses nothing but its
arguments: $n$ vectors of standard normal noise of length `z_dim`, made on `device`, go through `G`. Every call draws anew.
What comes remembers `G`, which learns from it.""",
    inputs=_inputs,
    solution=sample,
    explanation=r"""
A tensor made without `device=` is on the CPU. On a machine without a GPU that is never noticed. Here it is noticed
without a GPU too: torch's `meta` device stands in for one. A function that only uses its arguments can be called with
another network, tested with a small one, and read without knowing the rest of the program.""",
    hints=(
        "Which of the four arguments does your function use? It needs all of them, and nothing else.",
        "`torch.randn` takes the device as an argument of its own.",
        "`z = torch.randn(n, z_dim, device=device)`, and then `G(z)`.",
    ),
    wrong=(
        _sample_on_cpu,
        _sample_seeded,
        Wrong(
            "uniform noise",
            "The noise is uniform on [0, 1). Standard normal noise was asked for.",
            lambda G, n, z_dim, device: G(torch.rand(n, z_dim, device=device)),
        ),
        Wrong(
            "one sample",
            "One sample came, whatever n is.",
            lambda G, n, z_dim, device: G(torch.randn(1, z_dim, device=device)),
        ),
        Wrong(
            "G forgotten by its images",
            "The images do not remember G, so it cannot learn from them: look for no_grad and detach.",
            lambda G, n, z_dim, device: G(torch.randn(n, z_dim, device=device)).detach(),
        ),
    ),
    right=(_sample_moved, _sample_from_numpy, _sample_by_loop),
    look=_shape,
    probes={
        "one image": lambda f: _shape(f(_Generator(3), 1, 3, "cpu")),
        "the device of images and noise": lambda f: str(f(_Generator(3).to("meta"), 2, 3, "meta").device),
        "the shares of 100,000 numbers above 0, beyond ±1 and beyond ±2.5": _shares,
        "whether six images differ in all numbers, in their lengths, and from those of another call": _differ,
        "a network that draws nothing but sevens": lambda f: f(_Sevens(4, 5), 2, 4, "cpu"),
        "whether the images remember the network": lambda f: f(_Generator(4), 2, 4, "cpu").requires_grad,
    },
)
