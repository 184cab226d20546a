"""Exercise A1.4: Arguments, not globals; one device."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn

from genlab.exercises import Exercise, mistake


def sample(G, n, z_dim, device):
    """n images of G from standard normal noise, made on the device where G is."""
    z = torch.randn(n, z_dim, device=device)
    return G(z)


class _Where(nn.Module):
    """Stands for a generator: returns where its noise is, and how it looks."""

    def __init__(self, z_dim):
        super().__init__()
        self.z_dim = z_dim

    def forward(self, z):
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"G wants noise (n, {self.z_dim}), but got {tuple(z.shape)}")
        return z


_GLOBAL = _Where(9)


@mistake(
    "noise on the CPU",
    "The noise is made on the CPU, whatever the device. With G on a GPU this is the error that readers report.",
)
def _sample_on_cpu(G, n, z_dim, device):
    return G(torch.randn(n, z_dim))


@mistake(
    "a global network",
    "The network that was passed is not used, but one from outside.",
)
def _sample_from_global(G, n, z_dim, device):
    return _GLOBAL(torch.randn(n, 9, device=device))[:, :z_dim]


@mistake(
    "uniform noise",
    "The noise is uniform on [0, 1). Standard normal noise was asked for.",
)
def _sample_uniform(G, n, z_dim, device):
    return G(torch.rand(n, z_dim, device=device))


@mistake(
    "one sample",
    "One sample came, whatever n is.",
)
def _sample_one(G, n, z_dim, device):
    return G(torch.randn(1, z_dim, device=device))


def _sample_moved(G, n, z_dim, device):
    return G(torch.randn(n, z_dim).to(device))


def _device_of(f):
    return str(f(_Where(3), 2, 3, torch.device("meta")).device)


def _first_moments(f):
    z = f(_Where(5), 20_000, 5, "cpu")
    return [(z.mean().abs() < 0.02).item(), ((z.std() - 1).abs() < 0.02).item()]


def _own_generator(f):
    return f(_Double(), 2, 4, "cpu").detach().abs().sum().item()


class _Double(nn.Module):
    """A generator whose output tells that it was the one that was called."""

    def forward(self, z):
        return 0 * z + 7


EXERCISE = Exercise(
    number="A1.4",
    title="Arguments, not globals; one device",
    difficulty=2,
    minutes=8,
    task=r"""
The article's training function takes a `model` and then uses global names, and its generator is never moved to the
device. It runs on its author's machine, until it does not. Write the sampling step so that it uses nothing but its
arguments: $n$ vectors of standard normal noise of length `z_dim`, made on `device`, go through `G`.""",
    inputs=lambda g: (_Where(4), 3, 4, torch.device("cpu")),
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
        _sample_from_global,
        _sample_uniform,
        _sample_one,
    ),
    right=(_sample_moved,),
    probes={
        "the device of the noise": _device_of,
        "whether 100,000 numbers have mean 0 and standard deviation 1": _first_moments,
        "whether the network that was passed is used": _own_generator,
    },
)
