"""The door of a game: what cannot work is refused in words at the first batch, before it trains to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from genlab.gan.objectives import Objective, takes_logits
from genlab.gan.penalties import Judge, refuse_mixing
from genlab.nets.common import evaluating, is_sigmoid


class Door:
    """Calls G and D, and checks what they are given and what they answer until all of it has been right once.

    Args:
        G: generator.
        D: discriminator.
        objective: of the game.
        joint: D judges real and generated images in one batch, so it must not mix them.
    """

    def __init__(self, G: nn.Module, D: nn.Module, objective: Objective, *, joint: bool) -> None:
        self.G, self.D, self.objective, self.joint = G, D, objective, joint
        self.passed: set[str] = set()
        if joint:
            refuse_mixing(D, MIXED)

    def generate(self, z: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
        """G's images of noise z (n, d) and labels y, of the same kind as the real images x."""
        inputs = (z,) if y is None else (z, y)
        if "noise" in self.passed:
            return self.G(*inputs)
        check_device(z, self.G, "the noise", "Noise(device=…)")
        d = z.shape[1]
        cure = f"wrap it: nn.Sequential(nn.Unflatten(1, ({d}, 1, 1)), G)"
        if y is not None:
            cure = "begin its forward with z = z[:, :, None, None]"
        with told("G", "noise", inputs, f"Pass the z_dim that G was made with; if G wants (n, {d}, 1, 1), {cure}"):
            images = self.G(*inputs)
        self._check(x, images)
        self.passed.add("noise")
        return images

    def _check(self, x: Tensor, fake: Tensor) -> None:
        if not x.is_floating_point():
            raise ValueError(
                f"the batch holds {x.dtype}, but networks take floats: draw it by data.Batches(…, pixels=…), "
                'or convert it by data.to_float(x, "symmetric")'
            )
        if x.shape != fake.shape:
            raise ValueError(
                f"G draws images of shape {tuple(fake.shape)}, but those of the batch have {tuple(x.shape)}: "
                "make G for the size and the channels of the data, or resize the data"
            )
        check_device(x, self.D, "the batch", "data.Batches(…, device=…)")

    def answers(self, judge: Judge, x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """D's logits of real and of generated images, in one pass if it is joint."""
        if not self.joint:
            return self.judge(judge, x), judge(fake)
        both = replace(judge, y=None if judge.y is None else torch.cat([judge.y, judge.y]))
        if "batch" not in self.passed:
            refuse_mixing(self.D, MIXED)  # again, since it may have come into training mode
            self._refuse_statistics(both, x, fake.detach())
            self.passed.add("batch")
        real, false = self.judge(both, torch.cat([x, fake])).chunk(2)
        return real, false

    def judge(self, judge: Judge, x: Tensor) -> Tensor:
        """D's logits of images x."""
        if "logits" in self.passed:
            return judge(x)
        logits = self._told(judge, x)
        if takes_logits(self.objective) and is_sigmoid(logits):
            raise ValueError(
                "D ends in a sigmoid, so its answers lie between 0 and 1, but this objective takes logits, which may "
                "be any numbers: take the sigmoid out of D"
            )
        self.passed.add("logits")
        return logits

    def _told(self, judge: Judge, x: Tensor) -> Tensor:
        given = (x,) if judge.y is None else (x, judge.y)
        with told("D", "images", given, "Make D for the size and the channels of the data"):
            return judge(x)

    @torch.no_grad()
    def _refuse_statistics(self, judge: Judge, x: Tensor, fake: Tensor) -> None:
        judge, found = replace(judge, view=nn.Identity()), []
        for others in (fake, x.flip(0)):
            # What D draws at random is the same both times, and the run's generators stay where they are.
            with evaluating(self.D), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
                found.append(self._told(judge, torch.cat([x, others]))[: len(x)])
        if not torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-6, equal_nan=True):
            raise ValueError(
                f"{MIXED} needs a D that judges every image alone, but D's answer to an image depends on the others in "
                "the batch, as minibatch statistics make it: use gan.players without joint"
            )


MIXED = "judging real and generated images in one batch (joint=True, one_pass)"


def check_device(x: Tensor, net: nn.Module, what: str, remedy: str) -> None:
    """Raise a ValueError if x is where none of the network's weights are."""
    places = {p.device for p in net.parameters()}
    if places and x.device not in places:
        there = ", ".join(sorted(map(str, places)))
        raise ValueError(f"{what} is on {x.device}, but the network is on {there}: {remedy} brings it there")


@contextmanager
def told(net: str, what: str, given: tuple[Tensor, ...], remedy: str) -> Iterator[None]:
    """Errors of a network's first call, with the shapes that it was given and what may help."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, IndexError) as error:
        labels = f" and labels of shape {tuple(given[1].shape)}" if len(given) > 1 else ""
        if labels:
            remedy += "; for a game without labels pass batches of images alone"
        raise ValueError(
            f"{net} cannot take {what} of shape {tuple(given[0].shape)}{labels}: {str(error).splitlines()[0]}. {remedy}"
        ) from error
