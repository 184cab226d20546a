"""Adversarial objectives: what the two players minimise.

They take logits, always (real, fake), and return a 0-d loss: a mean over the real batch plus a mean over the fake
batch, which may differ in size. σ is the logistic function; −log σ(a) = softplus(−a) is used everywhere, because
log(sigmoid(a)) loses its gradient where it is needed most.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu, softplus

Logits = Float[Tensor, " n"]
Loss = Float[Tensor, ""]


def minimax_d(real: Float[Tensor, " n"], fake: Float[Tensor, " m"], *, smooth: float = 0.0) -> Loss:
    """−E[log σ(real)] − E[log(1 − σ(fake))], with real targets 1 − `smooth` (one-sided label smoothing).

    Source: Goodfellow et al. 2014, eq. 1; smoothing: Salimans et al. 2016, section 3.4.
    """
    _check(real, fake)
    return ((1 - smooth) * softplus(-real) + smooth * softplus(real)).mean() + softplus(fake).mean()


def minimax_g(fake: Logits) -> Loss:
    """E[log(1 − σ(fake))], the saturating generator loss. Source: Goodfellow et al. 2014, eq. 1."""
    _check(fake)
    return -softplus(fake).mean()


def nonsaturating_g(fake: Logits) -> Loss:
    """−E[log σ(fake)]. Source: Goodfellow et al. 2014, section 3."""
    _check(fake)
    return softplus(-fake).mean()


def least_squares_d(real: Float[Tensor, " n"], fake: Float[Tensor, " m"], *, a: float = 0.0, b: float = 1.0) -> Loss:
    """½ E[(real − b)²] + ½ E[(fake − a)²]. Source: Mao et al. 2017, eq. 2."""
    _check(real, fake)
    return 0.5 * (real - b).square().mean() + 0.5 * (fake - a).square().mean()


def least_squares_g(fake: Logits, *, c: float = 1.0) -> Loss:
    """½ E[(fake − c)²]. Source: Mao et al. 2017, eq. 2."""
    _check(fake)
    return 0.5 * (fake - c).square().mean()


def hinge_d(real: Float[Tensor, " n"], fake: Float[Tensor, " m"]) -> Loss:
    """E[max(0, 1 − real)] + E[max(0, 1 + fake)]. Source: Lim and Ye 2017; Miyato et al. 2018, eq. 16."""
    _check(real, fake)
    return relu(1 - real).mean() + relu(1 + fake).mean()


def wasserstein_d(real: Float[Tensor, " n"], fake: Float[Tensor, " m"]) -> Loss:
    """E[fake] − E[real]: minus the Kantorovich-Rubinstein dual, if D is 1-Lipschitz. Source: Arjovsky et al. 2017."""
    _check(real, fake)
    return fake.mean() - real.mean()


def wasserstein_g(fake: Logits) -> Loss:
    """−E[fake], also the generator's hinge loss. Source: Arjovsky et al. 2017; Lim and Ye 2017."""
    _check(fake)
    return -fake.mean()


def relativistic_d(real: Logits, fake: Logits) -> Loss:
    """E[−log σ(real − fake)] over pairs. Source: Jolicoeur-Martineau 2019 (RSGAN); Huang et al. 2024."""
    _check(real, fake, paired=True)
    return softplus(fake - real).mean()


def relativistic_g(real: Logits, fake: Logits) -> Loss:
    """E[−log σ(fake − real)] over pairs: the discriminator's loss with the roles swapped."""
    _check(real, fake, paired=True)
    return softplus(real - fake).mean()


def _check(*logits: Tensor, paired: bool = False) -> None:
    """Refuse logits that are not (n,): (n, 1) beside (n,) would broadcast in silence to all pairs."""
    shapes = [tuple(v.shape) for v in logits]
    if any(len(shape) != 1 for shape in shapes) or (paired and len(set(shapes)) > 1):
        wanted = "(n,) each, as many real as generated ones" if paired else "(n,)"
        raise ValueError(f"logits must have shape {wanted}, but have {shapes}: end D in .squeeze(1) or nn.Flatten(0)")


class Objective(NamedTuple):
    """Losses of both players. A `paired` objective compares real i with fake i, and its g takes (real, fake)."""

    d: Callable[..., Tensor]
    g: Callable[..., Tensor]
    paired: bool = False


OBJECTIVES = {
    "minimax": Objective(minimax_d, minimax_g),
    "nonsaturating": Objective(minimax_d, nonsaturating_g),
    "least_squares": Objective(least_squares_d, least_squares_g),
    "hinge": Objective(hinge_d, wasserstein_g),
    "wasserstein": Objective(wasserstein_d, wasserstein_g),
    "relativistic": Objective(relativistic_d, relativistic_g, paired=True),
}


def smoothed(objective: str, smooth: float) -> Objective:
    """ "minimax" or "nonsaturating" with one-sided label smoothing: D's real targets are 1 − `smooth`.

    Raises:
        ValueError: the objective is another one.
    """
    if objective not in ("minimax", "nonsaturating"):
        raise ValueError(f"smooth={smooth} goes with minimax and nonsaturating, but the objective is {objective!r}")
    return Objective(partial(minimax_d, smooth=smooth), OBJECTIVES[objective].g)


def find_objective(objective: str | Objective) -> Objective:
    """An objective by name; an unknown name raises a ValueError that lists the known ones."""
    if isinstance(objective, Objective):
        return objective
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}; known are {', '.join(OBJECTIVES)}")
    return OBJECTIVES[objective]


def takes_logits(objective: Objective) -> bool:
    """Whether D's answers may be any numbers under an objective of this module, so that a sigmoid in D is a mistake."""
    return getattr(objective.d, "func", objective.d) in (minimax_d, hinge_d, wasserstein_d, relativistic_d)
