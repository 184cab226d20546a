"""Paths, targets, losses: closed forms for Gaussian data, conversions both ways, guidance, the player, bad input."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import data, diffusion, train
from genlab.nets.unet import UNet

PATHS = list(diffusion.PATHS)
MEAN, STD = 0.7, 0.5  # of Gaussian data
NOISE_TO_VELOCITY = {"source": "noise", "target": "velocity"}


def times(n: int = 9) -> Tensor:
    return torch.linspace(0.05, 0.95, n, dtype=torch.float64)


# --------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize("name", PATHS)
def test_paths_go_from_data_to_noise(name: str) -> None:
    path = diffusion.PATHS[name]()
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    alpha, sigma = path.alpha(ends), path.sigma(ends)
    assert alpha[0] == 1 and sigma[0] == 0
    assert 0 <= alpha[1] < 0.01 and sigma[1] == pytest.approx(1, abs=1e-4)
    assert (path.logsnr(times()).diff() < 0).all()
    if name != "straight":
        assert torch.allclose(path.alpha(times()) ** 2 + path.sigma(times()) ** 2, torch.ones(9, dtype=torch.float64))


@pytest.mark.parametrize("name", PATHS)
def test_rates_are_derivatives(name: str) -> None:
    path, t, h = diffusion.PATHS[name](), times(), 1e-6
    for found, f in zip(path.rates(t), (path.alpha, path.sigma), strict=True):
        assert torch.allclose(found, (f(t + h) - f(t - h)) / (2 * h), atol=1e-7)
    with torch.no_grad():
        assert not path.rates(t)[0].requires_grad
    exploding = diffusion.Path(torch.ones_like, lambda t: 80 * t)  # a path whose α stands still
    assert not exploding.rates(t)[0].any() and (exploding.rates(t)[1] == 80).all()


def test_rates_do_not_mind_inference_mode() -> None:
    with torch.inference_mode():
        alpha, sigma = diffusion.straight().rates(times())  # the times, too, are tensors of that mode
        assert (alpha == -1).all() and (sigma == 1).all()
        velocity = diffusion.convert(*torch.ones(2, 9, 1), times(), path=diffusion.straight(), **NOISE_TO_VELOCITY)
    assert torch.allclose(velocity, torch.zeros(9, 1))  # x_t = ε = 1 means x = 1, which stands still


def test_the_steps_of_the_linear_path_are_hos() -> None:
    """β_i = β((i − 1) / (T − 1)) / T is the line from 1e-4 to 0.02 for T = 1000."""
    t = torch.arange(1000, dtype=torch.float64) / 999
    beta = torch.zeros_like(t)
    inside = t[1:-1]
    beta[[0, -1]] = torch.tensor([0.1, 20.0], dtype=torch.float64)
    path = diffusion.vp_linear()
    beta[1:-1] = -2 * path.rates(inside)[0] / path.alpha(inside)  # β = −2 (log α)′
    assert torch.allclose(beta / 1000, torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))


def test_the_linear_path_is_the_limit_of_the_chain() -> None:
    """Ho's ᾱ with T steps, and β from 1e-4 to 0.02 for T = 1000, tends to α²."""
    gaps = []
    for steps in (1000, 4000):
        beta = torch.linspace(0.1, 20, steps, dtype=torch.float64) / steps
        chain = (1 - beta).cumprod(0)
        t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        gaps.append((chain - diffusion.vp_linear().alpha(t) ** 2).abs().max().item())
    assert gaps[1] < gaps[0] / 3.5 < 1e-3
    assert chain[-1].item() == pytest.approx(math.exp(-10.05), rel=0.03)


def test_snr() -> None:
    path, t = diffusion.cosine(), times()
    assert torch.allclose(path.snr(t), 1 / torch.tan(math.pi * t / 2) ** 2)
    assert torch.allclose(path.logsnr(t).exp(), path.snr(t))
    assert path.alpha(torch.tensor(1.0)) == 0 and path.snr(0.0) == math.inf  # in float32 too


@pytest.mark.parametrize("t", [-0.1, 1.1, math.nan, torch.tensor([0.2, 2.0]), torch.tensor([500]), torch.zeros(0)])
@pytest.mark.parametrize("method", ["alpha", "sigma", "rates", "snr", "logsnr"])
def test_times_outside_are_refused(method: str, t: Any) -> None:
    with pytest.raises(ValueError, match=r"t must hold floats in \[0, 1\].*i / T"):
        getattr(diffusion.cosine(), method)(t)


def test_bad_schedules_are_refused() -> None:
    for pair in ((0, 20), (20, 0.1), (0.1, math.inf)):
        with pytest.raises(ValueError, match="both positive"):
            diffusion.vp_linear(*pair)


# ------------------------------------------------------------------------------------------------------------- targets


def point(path: diffusion.Path, n: int = 9) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, eps = torch.randn(2, n, 3, dtype=torch.float64)
    t = times(n)
    return x, eps, t, diffusion.noised(path, x, eps, t)


def test_noised() -> None:
    path = diffusion.straight()
    x, eps, t, x_t = point(path)
    assert torch.allclose(x_t, (1 - t)[:, None] * x + t[:, None] * eps)
    assert diffusion.noised(path, x, eps, torch.tensor(0.0)).equal(x)
    assert diffusion.noised(path, x, eps, torch.tensor(1.0)).equal(eps)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("source", diffusion.TARGETS)
@pytest.mark.parametrize("target", diffusion.TARGETS)
def test_conversions(source: str, target: str, name: str) -> None:
    """What is true of x and ε stays true: each target, computed from x and ε, becomes each other one."""
    path = diffusion.PATHS[name]()
    x, eps, t, x_t = point(path)
    given, expected = (diffusion.wanted(path, x, eps, t, target=s) for s in (source, target))
    assert torch.allclose(diffusion.convert(given, x_t, t, path=path, source=source, target=target), expected)


def test_targets_by_hand() -> None:
    path = diffusion.cosine()
    x, eps, t, _ = point(path)
    a, s = path.alpha(t)[:, None], path.sigma(t)[:, None]
    assert diffusion.wanted(path, x, eps, t, target="noise").equal(eps)
    assert diffusion.wanted(path, x, eps, t, target="data").equal(x)
    assert torch.allclose(diffusion.wanted(path, x, eps, t, target="v"), a * eps - s * x)
    velocity = diffusion.wanted(path, x, eps, t, target="velocity")
    assert torch.allclose(velocity, math.pi / 2 * (a * eps - s * x))  # on this path v in another unit
    straight = diffusion.wanted(diffusion.straight(), x, eps, t, target="velocity")
    assert torch.allclose(straight, eps - x)


@pytest.mark.parametrize("name", PATHS)
def test_errors_of_the_targets_differ_by_the_snr(name: str) -> None:
    """‖Δε‖² = SNR ‖Δx‖², and ‖Δv‖² = (SNR + 1) ‖Δx‖² where α² + σ² = 1 (Salimans and Ho 2022)."""
    path = diffusion.PATHS[name]()
    x, eps, t, x_t = point(path)
    guess = torch.randn_like(x)

    def error(target: str) -> Tensor:
        out = diffusion.convert(guess, x_t, t, path=path, source="data", target=target)
        return (out - diffusion.wanted(path, x, eps, t, target=target)).square().sum(1)

    assert torch.allclose(error("noise"), path.snr(t) * error("data"))
    if name != "straight":
        assert torch.allclose(error("v"), (path.snr(t) + 1) * error("data"))


@pytest.mark.parametrize(
    ("source", "target", "t"),
    [("noise", "data", 1.0), ("data", "noise", 0.0), ("data", "velocity", 0.0), ("noise", "velocity", 1.0)],
)
def test_what_one_target_does_not_say_of_another_is_refused(source: str, target: str, t: float) -> None:
    x, at = torch.zeros(2, 3), torch.tensor([t, 0.5])
    with pytest.raises(ValueError, match=f"the {source} does not determine the {target}.*begin below t = 1"):
        diffusion.convert(x, x, at, path=diffusion.cosine(), source=source, target=target)


def test_v_says_all_at_both_ends() -> None:
    path, (x, eps) = diffusion.cosine(), torch.randn(2, 2, 3)
    t = torch.tensor([0.0, 1.0])
    v, x_t = diffusion.wanted(path, x, eps, t, target="v"), diffusion.noised(path, x, eps, t)
    for target, expected in (("data", x), ("noise", eps)):
        assert torch.allclose(diffusion.convert(v, x_t, t, path=path, source="v", target=target), expected)


def test_an_infinite_rate_is_refused() -> None:
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="infinite rate"):
        diffusion.convert(x, x, torch.zeros(1), path=diffusion.vp_linear(), source="noise", target="velocity")
    known: dict[str, Any] = {"path": diffusion.vp_linear(), "target": "velocity"}
    with pytest.raises(ValueError, match=r"a rate of the path is infinite at some t from 0 to 0\.5.*or predict v"):
        diffusion.wanted(x=torch.ones(2, 2), eps=torch.ones(2, 2), t=torch.tensor([0.0, 0.5]), **known)
    with pytest.raises(ValueError, match="there is no velocity; keep t away from 0"):
        diffusion.loss(lambda x, t: x, x, torch.zeros(1), x, **known)
    assert torch.isfinite(diffusion.loss(lambda x, t: x, x, torch.full((1,), diffusion.EDGE), x, **known)).all()


def test_there_is_no_score_without_noise() -> None:
    path, x = diffusion.cosine(), torch.zeros(2, 3)
    of = diffusion.score(denoiser(path), path=path)
    assert torch.isfinite(of(x, torch.full((2,), 0.01))).all()
    with pytest.raises(ValueError, match=r"σ\(t\) = 0 at some t.*there is no score; end above it"):
        of(x, torch.tensor([0.5, 0.0]))


def test_unknown_targets_and_shapes_are_refused() -> None:
    path, x, t = diffusion.cosine(), torch.zeros(4, 3), torch.full((4,), 0.5)
    with pytest.raises(ValueError, match=r"unknown target 'eps'; known are noise, data, v, velocity"):
        diffusion.wanted(path, x, x, t, target="eps")
    with pytest.raises(ValueError, match="unknown target 'score'"):
        diffusion.predictor(lambda x, t: x, path=path, source="noise", target="score")
    with pytest.raises(ValueError, match=r"t must have shape \(4,\)"):
        diffusion.noised(path, x, x, t[:3])
    with pytest.raises(ValueError, match="eps has shape"):
        diffusion.noised(path, x, x[:, :1], t)
    with pytest.raises(ValueError, match="out has shape"):
        diffusion.convert(x[:, 0], x, t, path=path, source="noise", target="data")


# ------------------------------------------------------------------------------------------- Gaussian data, in formulas


def denoiser(path: diffusion.Path, mean: float = MEAN, std: float = STD) -> diffusion.Field:
    """E[x | x_t] of data N(mean, std² I)."""

    def of(x_t: Tensor, t: Tensor) -> Tensor:
        a, s = (diffusion.like(f(t), x_t) for f in (path.alpha, path.sigma))
        return mean + std**2 * a / (a**2 * std**2 + s**2) * (x_t - a * mean)

    return of


@pytest.mark.parametrize("name", PATHS)
def test_the_score_is_tweedies(name: str) -> None:
    path, t = diffusion.PATHS[name](), times()
    x_t = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    a, s = path.alpha(t)[:, None], path.sigma(t)[:, None]
    log_p = -0.5 * (x_t - a * MEAN).square() / (a**2 * STD**2 + s**2)
    (exact,) = torch.autograd.grad(log_p.sum(), x_t)
    assert torch.allclose(diffusion.score(denoiser(path), path=path)(x_t, t), exact)


@pytest.mark.parametrize("target", diffusion.TARGETS)
def test_no_model_is_below_the_floor(target: str) -> None:
    """The best loss is the conditional variance: for ε α² s²/V a dimension; the optimum has it, others more."""
    path, n, d = diffusion.cosine(), 20_000, 2
    t = torch.full((n,), 0.4, dtype=torch.float64)
    a, s = path.alpha(t[0]).item(), path.sigma(t[0]).item()
    x, eps = MEAN + STD * torch.randn(n, d, dtype=torch.float64), torch.randn(n, d, dtype=torch.float64)
    variance = STD**2 * s**2 / (a**2 * STD**2 + s**2)  # of x given x_t
    rate = math.pi / 2
    floor = d * variance * {"data": 1, "noise": a**2 / s**2, "v": 1 / s**2, "velocity": rate**2 / s**2}[target]
    best = diffusion.predictor(denoiser(path), path=path, source="data", target=target)
    found = diffusion.loss(best, x, t, eps, path=path, target=target)
    assert found.shape == (n,)
    assert found.mean().item() == pytest.approx(floor, abs=4 * found.std().item() / n**0.5)
    for off in (denoiser(path, mean=MEAN + 0.3), denoiser(path, std=1.5 * STD)):
        worse = diffusion.loss(
            diffusion.predictor(off, path=path, source="data", target=target), x, t, eps, path=path, target=target
        )
        assert (worse - found).mean() > 4 * (worse - found).std() / n**0.5


def test_the_loss_is_summed_and_sees_the_noised_point() -> None:
    path, t = diffusion.straight(), torch.tensor([0.25, 0.75])
    x, eps = torch.randn(2, 2, 1, 4, 4)
    seen: list[Tensor] = []

    def model(x_t: Tensor, t: Tensor, *y: Tensor) -> Tensor:
        seen[:] = [x_t, t, *y]
        return torch.zeros_like(x_t)

    found = diffusion.loss(model, x, t, eps, path=path, target="noise")
    assert torch.allclose(found, eps.square().sum((1, 2, 3)))
    assert len(seen) == 2 and seen[0].equal(diffusion.noised(path, x, eps, t)) and seen[1].equal(t)
    y = torch.tensor([3, 4])
    diffusion.loss(model, x, t, eps, path=path, target="noise", y=y)
    assert seen[2] is y
    with pytest.raises(ValueError, match="its output has the shape of x"):
        diffusion.loss(lambda x, t: x[:, 0], x, t, eps, path=path, target="noise")


# ---------------------------------------------------------------------------------------------------------- the player


def test_stratified_times_have_one_in_each_part() -> None:
    t = diffusion.draw_times(50, noise=train.Noise(1))
    assert t.mul(50).floor().long().tolist() == list(range(50))
    assert t.min() > 0 and t.max() < 1
    other = diffusion.draw_times(50, noise=train.Noise(2))
    assert not t.equal(other)


def test_logit_normal_times_favour_the_middle() -> None:
    t = diffusion.draw_times(20_000, noise=train.Noise(1), times="logit-normal")
    inner = ((t > 0.25) & (t < 0.75)).double().mean().item()
    exact = math.erf(math.log(3) / 2**0.5)
    assert inner == pytest.approx(exact, abs=4 * 0.5 / 20_000**0.5)


@pytest.mark.parametrize("how", diffusion.TIMES)
def test_two_processes_draw_the_times_of_one(how: str) -> None:
    one = diffusion.draw_times(8, noise=train.Noise(1), times=how)
    halves = [diffusion.draw_times(4, noise=train.Noise(1, rank=r, world=2), times=how) for r in (0, 1)]
    assert torch.stack(halves, 1).flatten().equal(one)


def tiny(classes: int | None = None) -> UNet:
    return UNet(size=8, width=8, classes=classes)


def made(model: nn.Module, *, noise: train.Noise, **options: Any) -> train.Player:
    settings = {"path": diffusion.cosine(), "target": "v"} | options
    return diffusion.player(model, torch.optim.Adam(model.parameters(), 1e-2), noise=noise, **settings)


def batches(classes: int | None) -> list[Any]:
    x, y = torch.randn(8, 4, 1, 8, 8), torch.randint(0, 3, (8, 4))
    return list(x) if classes is None else [data.Batch(a, b) for a, b in zip(x, y, strict=True)]


@pytest.mark.parametrize("target", diffusion.TARGETS)
@pytest.mark.parametrize("classes", [None, 3])
def test_gradients_reach_all_weights(classes: int | None, target: str) -> None:
    model = tiny(classes)
    player = made(model, noise=train.Noise(0), target=target)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in train.train(player, batches(classes), 8):
        pass
    still = [name for name, p in model.named_parameters() if p.equal(before[name])]
    assert not still


def test_a_run_that_is_resumed_goes_on_as_it_would_have() -> None:
    def run(model: nn.Module, noise: train.Noise, part: list[Any]) -> list[float]:
        return [losses["diffusion"] for _, losses in train.train(made(model, noise=noise), part, len(part))]

    model, noise, everything = tiny(3), train.Noise(5), batches(3)
    run(model, noise, everything[:4])
    kept, state = copy.deepcopy(model), noise.state_dict()
    rest = run(model, noise, everything[4:])
    torch.randn(3)  # the global stream plays no part
    other = train.Noise(9)
    other.load_state_dict(state)
    assert run(kept, other, everything[4:]) == rest


def test_two_processes_have_the_loss_of_one() -> None:
    model, batch = tiny(3), batches(3)[0]
    nn.init.normal_(model.output.weight)
    one = made(model, noise=train.Noise(2)).loss(batch, 1)
    parts = [
        made(model, noise=train.Noise(2, rank=r, world=2)).loss(data.Batch(batch.x[r::2], batch.y[r::2]), 1)
        for r in (0, 1)
    ]
    assert torch.stack(parts).mean().item() == pytest.approx(one.item(), rel=1e-5)


def test_labels_are_dropped_at_the_share_that_is_asked_for() -> None:
    class Watching(nn.Module):
        classes = 3

        def __init__(self) -> None:
            super().__init__()
            self.scale, self.seen = nn.Parameter(torch.ones(())), torch.zeros(0)

        def forward(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
            self.seen = y
            return self.scale * x_t

    x, y = torch.randn(4000, 2), torch.randint(0, 3, (4000,))
    for drop in (0.0, 0.1, 0.5):
        model = Watching()
        made(model, noise=train.Noise(1), drop=drop).loss(data.Batch(x, y), 1)
        hidden = model.seen == 3
        assert hidden.double().mean().item() == pytest.approx(drop, abs=4 * (drop * (1 - drop) / 4000) ** 0.5)
        assert model.seen[~hidden].equal(y[~hidden])


def test_bf16_trains_on_float32_targets() -> None:
    model, batch = tiny(3), batches(3)[0]
    nn.init.normal_(model.output.weight)
    plain = made(model, noise=train.Noise(2)).loss(batch, 1)
    with torch.autocast("cpu", torch.bfloat16):
        short = made(model, noise=train.Noise(2)).loss(batch, 1)
    assert short.dtype == torch.float32 and short.item() != plain.item()
    assert short.item() == pytest.approx(plain.item(), rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "eps"}, "unknown target 'eps'"),
        ({"times": "uniform"}, "unknown times 'uniform'; known are stratified, logit-normal"),
        ({"drop": 1.0}, r"drop=1.0 must lie in \[0, 1\)"),
        ({"drop": -0.1}, "share of labels"),
    ],
)
def test_bad_arguments_of_the_player(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(tiny(), noise=train.Noise(0), **options)


@pytest.mark.parametrize(
    ("classes", "batch", "message"),
    [
        (3, torch.randn(2, 1, 8, 8), "has no labels, but the model has classes"),
        (None, data.Batch(torch.randn(2, 1, 8, 8), torch.zeros(2).long()), "has labels, but the model has no classes"),
        (None, torch.full((2, 1, 8, 8), math.nan), "finite floats"),
        (None, torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "dtype torch.uint8; convert images"),
    ],
)
def test_bad_batches(classes: int | None, batch: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(tiny(classes), noise=train.Noise(0)).loss(batch, 1)


# ------------------------------------------------------------------------------------------------------------ guidance


class Shifted(nn.Module):
    """Says 10 y, and 0 with the label that stands for none."""

    classes = 3

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return (10.0 * y * (y < 3)).view(-1, 1) + 0 * x_t


def test_guidance() -> None:
    y, x_t, t = torch.tensor([1, 2]), torch.randn(2, 3), torch.full((2,), 0.5)
    for w in (0.0, 0.5, 1.0, 3.0):
        expected = w * 10.0 * y[:, None].expand(2, 3)
        assert torch.allclose(diffusion.guided(Shifted(), y, w)(x_t, t), expected)
        assert torch.allclose(diffusion.guided(Shifted(), y, w)(x_t, t[0]), expected)  # one time for all


@pytest.mark.parametrize("target", diffusion.TARGETS)
def test_guidance_commutes_with_conversions(target: str) -> None:
    path, model, y = diffusion.cosine(), tiny(3), torch.tensor([0, 2])
    nn.init.normal_(model.output.weight)
    x_t, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.6])

    def convert(f: diffusion.Field) -> diffusion.Field:
        return diffusion.predictor(f, path=path, source="v", target=target)

    whole = convert(diffusion.guided(model, y, 2.5))(x_t, t)
    with_y, without = (convert(diffusion.guided(model, y, w))(x_t, t) for w in (1.0, 0.0))
    assert torch.allclose(whole, without + 2.5 * (with_y - without), atol=1e-4)


def test_guidance_of_a_model_without_labels_is_refused() -> None:
    y = torch.tensor([1, 2])
    with pytest.raises(ValueError, match=r"w=2.0 needs a conditional model and labels.*it is unconditional; use w=1"):
        diffusion.guided(tiny(), y, 2.0)
    with pytest.raises(ValueError, match="no labels were given; use w=1"):
        diffusion.guided(tiny(3), None, 2.0)
    with pytest.raises(ValueError, match="finite"):
        diffusion.guided(tiny(3), y, math.nan)
    x_t = torch.randn(2, 1, 8, 8)
    assert diffusion.guided(tiny(), None)(x_t, torch.full((2,), 0.5)).shape == x_t.shape
