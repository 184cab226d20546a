"""Small exercises and odd answers for the tests of the engine."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from genlab.exercises import Exercise, Wrong, shelf

KL = shelf.find("05.1")


def task(solution: Callable[..., Any], inputs: Callable[[torch.Generator], Any], **fields: Any) -> Exercise:
    """A small exercise; its one named mistake does what no answer here does."""
    named: dict[str, Any] = {
        "number": "99.1",
        "title": "t",
        "difficulty": 1,
        "minutes": 1,
        "task": "",
        "explanation": "",
    }
    named |= {"hints": ("a", "b", "c"), "wrong": (Wrong("none", "no words", lambda *a: "nobody answers this"),)}
    return Exercise(**named | {"solution": solution, "inputs": inputs} | fields)


def matrices(g: torch.Generator) -> tuple[torch.Tensor]:
    """A matrix whose sizes differ from draw to draw."""
    n = 2 + int(torch.randint(5, (), generator=g))
    return (torch.randn(n, 9, generator=g),)


def rows(x):  # type: ignore[no-untyped-def]
    """Sum by row."""
    return x.sum(1)


def both(x):  # type: ignore[no-untyped-def]
    """Two results: sums by row and by column."""
    return x.sum(1), x.exp().sum(0)


def ends(x):  # type: ignore[no-untyped-def]
    """A number, a word and a truth value."""
    return float(x.sum()), "row" if len(x) > 3 else "column", bool(x[0, 0] > 0)


def scaled(x, k):  # type: ignore[no-untyped-def]
    """x times k."""
    return k * x


ROWS = task(rows, matrices)
SMOOTH = task(rows, matrices, gradient=True)
BOTH = task(both, matrices)
TOTAL = task(lambda x: x.exp().sum(), matrices)
SQUARE = task(lambda x: x @ x.T + x[0, 0] * torch.arange(float(len(x))), matrices)
COLUMN = task(lambda x: x[:, :1], matrices)
WORD = task(lambda x: "row" if len(x) > 3 else "column", matrices)
SAME = task(lambda x: torch.ones(len(x)), matrices)
PAIR = task(lambda x, y: x * y, lambda g: (torch.randn(4, generator=g), torch.randn(4, generator=g)), gradient=True)
PROBED = task(rows, matrices, probes={"the sums of ones": lambda f: f(torch.arange(6.0).view(3, 2))})


class Net(nn.Module):
    """A network with a mode, a buffer and weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, 1)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).flatten()


def network(g: torch.Generator) -> tuple[Any, ...]:
    torch.default_generator.manual_seed(int(torch.randint(99, (), generator=g)))
    return Net(), torch.randn(3, 9, generator=g)


NETWORK = task(lambda net, x: net(x).detach(), network)


def by(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """The right sums by row, changed."""
    return lambda x: change(x.sum(1))


def late(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """Sums by row that are changed in no draw but the first."""
    calls = itertools.count()
    return lambda x: change(x.sum(1)) if next(calls) == 0 else x.sum(1)


def spoiling(spoil: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """An answer that is right, and does something to its arguments."""

    def answer(net: Any, x: Any) -> Any:
        result = net(x).detach()
        spoil(net, x)
        return result

    return answer


def raising(error: BaseException) -> Callable[..., Any]:
    def answer(*arguments: Any) -> Any:
        raise error

    return answer


async def waiting(x: Any) -> Any:
    return x.sum(1)


def yielding(x: Any) -> Any:
    yield x.sum(1)


def first_off(x: Any) -> Any:
    result = x.sum(1)
    result[0] += 9
    return result


def left(net: Any, x: Any) -> None:
    net(x).sum().backward()


def slope(f: Callable[..., Any]) -> torch.Tensor:
    net = Net()
    with torch.no_grad():
        net.layer.weight.fill_(1.0)
    return torch.autograd.grad(f(net, torch.ones(2, 9)), net.layer.weight)[0]


def kl(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    return KL.solution(mu, logvar)
