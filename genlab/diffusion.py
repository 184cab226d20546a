"""Diffusion and flow matching: one path from data to noise, what a network may predict on it, its loss and its player.

x_t = α(t) x + σ(t) ε with ε ~ N(0, I): t = 0 is data, t = 1 is noise. DDPM's ᾱ_t is α(t)². Losses are sums over
dimensions, one value per example; the caller averages once, last. Samplers, and the likelihood along the ODE, are in
`genlab.samplers`.
"""

import math
from collections.abc import Callable
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.densities import LOOK_EVERY, PerExample, X, check_shapes
from genlab.train import Noise, Player

Field = Callable[[Tensor, Tensor], Tensor]
"""What is asked on the path: (x_t (n, …), t (n,)) -> (n, …)."""

# --------------------------------------------------------------------------------------------------------------- paths


def check_times(t: Tensor | float) -> Tensor:
    """t as a tensor of floats; a ValueError unless all of it lies in [0, 1]. On a GPU it waits for t."""
    t = torch.as_tensor(t)
    floats = t.is_floating_point() and t.numel() > 0
    low, high = (v.item() for v in t.detach().aminmax()) if floats else (math.nan, math.nan)
    if not (low >= 0 and high <= 1):
        got = f"ranges from {low:g} to {high:g}" if floats else f"has dtype {t.dtype} and shape {tuple(t.shape)}"
        raise ValueError(f"t must hold floats in [0, 1], from data (0) to noise (1), but {got}; step i of T is i / T")
    return t


class Path:
    """x_t = α(t) x + σ(t) ε, given by the functions α and σ of a tensor of times, which torch can differentiate.

    Raises:
        ValueError: of every method: t holds values outside [0, 1].
    """

    def __init__(self, alpha: Callable[[Tensor], Tensor], sigma: Callable[[Tensor], Tensor]) -> None:
        self._alpha, self._sigma = alpha, sigma

    def alpha(self, t: Tensor | float) -> Tensor:
        """α(t), the share of the data, in the shape of t."""
        return self._alpha(check_times(t))

    def sigma(self, t: Tensor | float) -> Tensor:
        """σ(t), the standard deviation of the noise, in the shape of t."""
        return self._sigma(check_times(t))

    def rates(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(α'(t), σ'(t)). A rate is infinite where a function is vertical, as `vp_linear`'s σ is at t = 0."""
        t = check_times(t)
        return _rate(self._alpha, t), _rate(self._sigma, t)

    def snr(self, t: Tensor | float) -> Tensor:
        """The signal-to-noise ratio α²/σ², infinite where σ = 0."""
        t = check_times(t)
        return (self._alpha(t) / self._sigma(t)).square()

    def logsnr(self, t: Tensor | float) -> Tensor:
        """log(α²/σ²), −∞ where α = 0 and ∞ where σ = 0."""
        t = check_times(t)
        return 2 * (self._alpha(t).log() - self._sigma(t).log())


def _rate(f: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    # Under inference_mode enable_grad alone changes nothing, and all rates would be 0 without a word. The clone is made
    # inside, since a tensor of inference_mode takes no gradient.
    with torch.inference_mode(False), torch.enable_grad():
        t = t.detach().clone().requires_grad_(True)
        value = f(t).sum()  # each f(t) depends on its own t, so the sum has their rates
        return torch.autograd.grad(value, t)[0] if value.requires_grad else torch.zeros_like(t)


def cosine() -> Path:
    """α = cos(πt/2), σ = sin(πt/2). Source: Nichol and Dhariwal 2021, without their offset."""
    # As a sine α is exactly 0 at t = 1, where the cosine of the rounded π/2 is below 0.
    return Path(lambda t: torch.sin(0.5 * math.pi * (1 - t)), lambda t: torch.sin(0.5 * math.pi * t))


def vp_linear(least: float = 0.1, greatest: float = 20.0) -> Path:
    """α = exp(−½ ∫₀ᵗ β), σ² = 1 − α², β rising in a line from `least` to `greatest`: Ho et al. 2020 for T → ∞.

    Source: Song et al. 2021, eq. 32. Ho's β_i at step i of T is β((i − 1) / (T − 1)) / T.

    Raises:
        ValueError: not 0 < least ≤ greatest.
    """
    if not 0 < least <= greatest < math.inf:
        raise ValueError(f"β must rise from least to greatest, both positive, but got {least} and {greatest}")

    def log_alpha(t: Tensor) -> Tensor:
        return -0.25 * t.square() * (greatest - least) - 0.5 * t * least

    return Path(lambda t: log_alpha(t).exp(), lambda t: (-torch.expm1(2 * log_alpha(t))).sqrt())


def straight() -> Path:
    """α = 1 − t, σ = t: a straight line from each x to each ε. Source: Lipman et al. 2023; Liu et al. 2023."""
    return Path(lambda t: 1 - t, lambda t: 1 * t)


PATHS = {"cosine": cosine, "vp_linear": vp_linear, "straight": straight}


def like(coefficient: Tensor, x: Tensor) -> Tensor:
    """A coefficient for each example (n,), or a single one (), so that it multiplies x (n, …)."""
    return coefficient.to(x.dtype).view(-1, *[1] * (x.ndim - 1)) if coefficient.ndim else coefficient.to(x.dtype)


def noised(path: Path, x: X, eps: X, t: Tensor) -> Tensor:
    """x_t = α(t) x + σ(t) ε, for a time of each example (n,), or one for all ().

    Raises:
        ValueError: shapes differ, or t lies outside [0, 1].
    """
    check_shapes(x=x, eps=eps)
    _check_time(t, x)
    return like(path.alpha(t), x) * x + like(path.sigma(t), x) * eps


def _check_time(t: Tensor, x: Tensor) -> None:
    if t.ndim and t.shape != x.shape[:1]:
        raise ValueError(f"t must have shape ({len(x)},), one for each example, or (), but has {tuple(t.shape)}")


def _known(name: str, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        raise ValueError(f"unknown {what} {name!r}; known are {', '.join(names)}")


# ------------------------------------------------------------------------------------------------------------- targets

TARGETS = ("noise", "data", "v", "velocity")


def _coefficients(path: Path, t: Tensor, target: str) -> tuple[Tensor, Tensor]:
    """(a, b) of the target a x + b ε."""
    _known(target, TARGETS, "target")
    if target == "v":
        return -path.sigma(t), path.alpha(t)
    if target == "velocity":
        return path.rates(t)
    one, zero = torch.ones_like(t), torch.zeros_like(t)
    return (one, zero) if target == "data" else (zero, one)


def wanted(path: Path, x: X, eps: X, t: Tensor, *, target: str) -> Tensor:
    """What a network is to predict at x_t: "noise" ε, "data" x, "v" α ε − σ x, "velocity" α' x + σ' ε.

    Source of v: Salimans and Ho 2022; of the velocity dx_t/dt: Lipman et al. 2023.

    Raises:
        ValueError: the target is unknown, shapes differ, t lies outside [0, 1], or a rate is infinite at some t.
    """
    check_shapes(x=x, eps=eps)
    _check_time(t, x)
    a, b = _coefficients(path, t, target)
    if target == "velocity" and bool((~(torch.isfinite(a) & torch.isfinite(b))).any()):
        raise ValueError(
            f"a rate of the path is infinite at some t from {t.min().item():g} to {t.max().item():g}, so there is no "
            "velocity; keep t away from 0, or predict v"
        )
    return like(a, x) * x + like(b, x) * eps


def convert(out: X, x_t: X, t: Tensor, *, path: Path, source: str, target: str) -> Tensor:
    """A prediction of one target as a prediction of another, given the point (x_t, t) at which it was made.

    Both are combinations of x and ε, and so is x_t: from two of them x̂ and ε̂ follow, by a determinant α b − σ a.

    Raises:
        ValueError: a target is unknown, shapes differ, or at some t the prediction does not determine the other one:
            ε says nothing of x where α = 0, x nothing of ε where σ = 0.
    """
    check_shapes(x_t=x_t, out=out)
    _check_time(t, x_t)
    a, b = _coefficients(path, t, source)
    c, d = _coefficients(path, t, target)
    if source == target:
        return out
    alpha, sigma = path.alpha(t), path.sigma(t)
    determinant = alpha * b - sigma * a
    finite = torch.isfinite(determinant) & torch.isfinite(c) & torch.isfinite(d)
    if bool((~finite | (determinant == 0)).any()):
        raise ValueError(
            f"at some t from {t.min().item():g} to {t.max().item():g} the {source} does not determine the {target} "
            "(α = 0, σ = 0 or an infinite rate): begin below t = 1, end above t = 0, or predict v"
        )
    # c x̂ + d ε̂ with x̂ = (b x_t − σ out) / (α b − σ a) and ε̂ = (α out − a x_t) / (α b − σ a)
    of_point, of_out = (c * b - d * a) / determinant, (d * alpha - c * sigma) / determinant
    return like(of_point, x_t) * x_t + like(of_out, x_t) * out


def predictor(model: Field, *, path: Path, source: str, target: str) -> Field:
    """A function (x_t, t) -> `target` from a model that predicts `source`: what samplers are given.

    "data" makes a denoiser x̂(x_t, t), "velocity" the field of the probability-flow ODE.
    """
    for name in (source, target):
        _known(name, TARGETS, "target")

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        return convert(model(x_t, t).to(x_t.dtype), x_t, t, path=path, source=source, target=target)

    return predict


def score(denoise: Field, *, path: Path) -> Field:
    """∇ log p_t(x_t) = (α x̂ − x_t) / σ² of a denoiser: Tweedie's formula.

    Raises:
        ValueError: of the function that is returned: σ(t) = 0 at some t.
    """

    def slope(x_t: Tensor, t: Tensor) -> Tensor:
        sigma = path.sigma(t)
        if bool((sigma == 0).any()):
            raise ValueError("σ(t) = 0 at some t, as at t = 0: there is no score; end above it, at t = 0.01 say")
        return (like(path.alpha(t), x_t) * denoise(x_t, t) - x_t) / like(sigma, x_t).square()

    return slope


# ----------------------------------------------------------------------------------------------------- loss and player


def loss(
    model: Callable[..., Tensor],
    x: X,
    t: Float[Tensor, " n"],
    eps: X,
    *,
    path: Path,
    target: str,
    y: Tensor | None = None,
) -> PerExample:
    """‖model(x_t, t, y) − target‖², summed over dimensions, per example; with target "noise" DDPM's simple loss.

    Source: Ho et al. 2020, eq. 14.

    Raises:
        ValueError: the target is unknown, shapes differ, t lies outside [0, 1], or a velocity is infinite at some t.
    """
    out = model(noised(path, x, eps, t), t, *(() if y is None else (y,)))
    if out.shape != x.shape:
        raise ValueError(f"the model returned {tuple(out.shape)} for x {tuple(x.shape)}; its output has the shape of x")
    return (out.to(x.dtype) - wanted(path, x, eps, t, target=target)).square().flatten(1).sum(1)


TIMES = ("stratified", "logit-normal")
EDGE = 1e-4  # times drawn in training keep this distance from 0 and 1, where a target may be infinite


def draw_times(n: int, *, noise: Noise, times: str = "stratified") -> Float[Tensor, " n"]:
    """n times in (0, 1): "stratified" has one in each n-th part, "logit-normal" more in the middle.

    With several processes the parts are those of the whole batch. Source: of the second Esser et al. 2024.

    Raises:
        ValueError: the name is unknown.
    """
    _known(times, TIMES, "times")
    if times == "logit-normal":
        return torch.sigmoid(noise.normal(n)).clamp(EDGE, 1 - EDGE)
    u = noise.uniform(n)
    row = noise.rank + noise.world * torch.arange(n, device=u.device)
    return EDGE + (1 - 2 * EDGE) * ((row + u) / (n * noise.world)).clamp(max=1)


def classes_of(model: Callable[..., Tensor]) -> int | None:
    """The number of classes of a network, which is also the label that stands for "no label"; None without labels."""
    found = getattr(getattr(model, "module", model), "classes", None)
    return found if isinstance(found, int) else None


def player(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    path: Path,
    target: str,
    noise: Noise,
    drop: float = 0.1,
    times: str = "stratified",
) -> Player:
    """A diffusion or flow-matching model as one player for `train`: it minimises the mean of `loss`.

    Clipping, accumulation and a schedule are the player's: `player(…).replace(clip=1.0)`.

    Args:
        model: model(x_t, t), or model(x_t, t, y) with an attribute `classes`, as `UNet` has.
        optimizer: over its weights.
        path: from data to noise.
        target: of `TARGETS`.
        noise: source of times, ε and dropped labels.
        drop: share of labels that are replaced by "no label", which guidance needs (Ho and Salimans 2022).
        times: of `TIMES`.

    Raises:
        ValueError: a name is unknown, or `drop` lies outside [0, 1). In training: data that are no finite floats, or
            labels of a model without classes.
    """
    _known(target, TARGETS, "target")
    _known(times, TIMES, "times")
    if not 0 <= drop < 1:
        raise ValueError(f"drop={drop} must lie in [0, 1): it is the share of labels that are hidden; 0.1 is usual")
    none, batches = classes_of(model), count()

    def play(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        if next(batches) % LOOK_EVERY == 0:
            _check_batch(x, y, none)
        t = draw_times(len(x), noise=noise, times=times).to(x.dtype)
        eps = noise.normal(*x.shape).to(x.dtype)
        if y is not None and none is not None:
            y = torch.where(noise.uniform(len(x)) < drop, torch.full_like(y, none), y)
        return loss(model, x, t, eps, path=path, target=target, y=y).mean()

    return Player("diffusion", model, play, optimizer)


def _check_batch(x: Tensor, y: Tensor | None, classes: int | None) -> None:
    """Raise a ValueError unless x holds finite floats, and there are labels where the model has classes only."""
    if not x.is_floating_point() or bool((~torch.isfinite(x)).any()):
        raise ValueError(
            f"x must hold finite floats, but has dtype {x.dtype}; convert images with data.Batches(…, "
            'pixels="symmetric"), and mend what is NaN'
        )
    if (y is None) != (classes is None):
        have, lack = ("labels", "the model has no classes") if y is not None else ("no labels", "the model has classes")
        raise ValueError(f"the batch has {have}, but {lack}; make both conditional, or neither")


def guided(model: Callable[..., Tensor], y: Tensor | None, w: float = 1.0) -> Field:
    """(x_t, t) -> out_∅ + w (out_y − out_∅): classifier-free guidance; w = 1 is the conditional model, 0 the other.

    The same in every target, since conversions are affine. Source: Ho and Salimans 2022, whose w is this one less 1.

    Raises:
        ValueError: w is not finite, or another than 1 and the model or the call is without labels.
    """
    none = classes_of(model)
    if not math.isfinite(w):
        raise ValueError(f"w={w} must be a finite number; w = 1 is the conditional model")
    if w != 1 and (y is None or none is None):
        lack = "no labels were given" if y is None else "the model has no attribute `classes`: it is unconditional"
        raise ValueError(f"guidance with w={w} needs a conditional model and labels, but {lack}; use w=1")
    if y is None:
        return lambda x_t, t: model(x_t, t)
    if w == 1:
        return lambda x_t, t: model(x_t, t, y)
    hidden = torch.full_like(y, none or 0)

    def both(x_t: Tensor, t: Tensor) -> Tensor:
        t = t.expand(len(x_t))
        with_y, without = model(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([y, hidden])).chunk(2)
        return without + w * (with_y - without)

    return both
