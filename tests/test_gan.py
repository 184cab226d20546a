"""Objectives against the theory of the game, penalties on critics of known gradient, the players move by move."""

import copy
import inspect
import math
import re
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor, nn
from torch.nn import functional as F

from genlab import gan, nets, train
from genlab.data import Batch
from genlab.gan import OBJECTIVES

# --------------------------------------------------------------------------------------------------- objectives

# Three outcomes. A batch with each outcome as often as its probability says makes a mean an expectation.
P, Q = (torch.tensor(p, dtype=torch.float64) for p in ([0.2, 0.3, 0.5], [0.5, 0.3, 0.2]))
REAL, FAKE = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2, 2]), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])


def slope(d: Callable[..., Tensor], outputs: Tensor, **options: float) -> Tensor:
    """Gradient of D's loss with respect to D's output at each outcome."""
    outputs = outputs.clone().requires_grad_(True)
    return torch.autograd.grad(d(outputs[REAL], outputs[FAKE], **options), outputs)[0]


def test_best_discriminator_is_the_share_of_real_and_reaches_the_jensen_shannon_divergence() -> None:
    best = torch.log(P / Q)  # the logit of p / (p + q)
    assert slope(gan.minimax_d, best).abs().max() < 1e-15
    assert slope(gan.minimax_d, best + 0.1).abs().max() > 1e-3
    value = -gan.minimax_d(best[REAL], best[FAKE]).item()
    assert value == pytest.approx(-math.log(4) + 2 * jensenshannon(P, Q) ** 2, abs=1e-14)
    assert value == pytest.approx(-1.2534657323553273, abs=1e-14)


def test_losses_of_equal_distributions() -> None:
    zero = torch.zeros(7).double()
    assert gan.minimax_d(zero, zero[:4]).item() == pytest.approx(2 * math.log(2))
    assert gan.nonsaturating_g(zero).item() == pytest.approx(math.log(2)) == -gan.minimax_g(zero).item()
    assert gan.relativistic_d(zero, zero).item() == pytest.approx(math.log(2))


def test_label_smoothing_lowers_the_best_discriminator_and_is_cross_entropy_with_soft_targets() -> None:
    share = 0.9 * P / (P + Q)  # D* = (1 − s) p / (p + q)
    assert slope(gan.minimax_d, torch.logit(share), smooth=0.1).abs().max() < 1e-15
    real, fake = 3 * torch.randn(5).double(), 3 * torch.randn(8).double()
    for smooth in (0.0, 0.1):
        bce = F.binary_cross_entropy_with_logits
        expected = bce(real, torch.full_like(real, 1 - smooth)) + bce(fake, torch.zeros_like(fake))
        torch.testing.assert_close(gan.minimax_d(real, fake, smooth=smooth), expected)


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (-1.0, 1.0), (2.0, -3.0)])
def test_least_squares_optimum_is_the_weighted_label(a: float, b: float) -> None:
    best = (b * P + a * Q) / (P + Q)
    assert slope(gan.least_squares_d, best, a=a, b=b).abs().max() < 1e-15
    expected = 0.5 * (F.mse_loss(best[REAL], torch.full((10,), b)) + F.mse_loss(best[FAKE], torch.full((10,), a)))
    torch.testing.assert_close(gan.least_squares_d(best[REAL], best[FAKE], a=a, b=b), expected, check_dtype=False)
    assert gan.least_squares_g(torch.full((4,), 5.0), c=2.0) == 4.5


def test_hinge_is_flat_beyond_its_margin_and_straight_before() -> None:
    real, fake = (torch.tensor(v, requires_grad=True) for v in ([-2.0, 0.0, 0.9, 1.1, 5.0], [-5.0, -1.1, -0.9, 2.0]))
    loss = gan.hinge_d(real, fake)
    ones = torch.ones
    expected = F.hinge_embedding_loss(real, -ones(5)) + F.hinge_embedding_loss(-fake, -ones(4))
    torch.testing.assert_close(loss, expected)
    slopes = torch.autograd.grad(loss, (real, fake))
    torch.testing.assert_close(slopes[0] * 5, torch.tensor([-1.0, -1, -1, 0, 0]))
    torch.testing.assert_close(slopes[1] * 4, torch.tensor([0.0, 0, 1, 1]))


def test_saturating_loss_has_no_gradient_where_the_discriminator_is_sure() -> None:
    sure = torch.tensor([-10.0], requires_grad=True)
    saturating, other = (torch.autograd.grad(g(sure), sure)[0].abs() for g in (gan.minimax_g, gan.nonsaturating_g))
    assert 0 < saturating < 1e-4 and other > 0.99


def test_losses_stay_finite_and_differentiable_at_extreme_logits() -> None:
    for objective in OBJECTIVES.values():
        real, fake = (torch.tensor(v, requires_grad=True) for v in ([-200.0, 200.0], [200.0, -200.0]))
        losses = [objective.d(real, fake), objective.g(real, fake) if objective.paired else objective.g(fake)]
        for loss in losses:
            assert loss.isfinite() and loss.shape == ()
            assert torch.autograd.grad(loss, fake)[0].isfinite().all()


def test_wasserstein_loss_with_the_best_critic_is_minus_the_distance() -> None:
    real = torch.randn(50).double()
    fake = real + 0.7 + torch.rand(50).double()  # always to the right, so that the best critic is D(x) = −x
    assert -gan.wasserstein_d(-real, -fake).item() == pytest.approx(scipy.stats.wasserstein_distance(real, fake))
    assert gan.wasserstein_g(-fake) == fake.mean()


def test_relativistic_losses_are_mirror_images_and_see_only_differences() -> None:
    real, fake = torch.randn(2, 6).double().requires_grad_(True).unbind()
    d, g = gan.relativistic_d(real, fake), gan.relativistic_g(real, fake)
    torch.testing.assert_close(g, gan.relativistic_d(fake, real))
    torch.testing.assert_close(d, gan.relativistic_d(real + 3, fake + 3))
    torch.testing.assert_close(d - g, (fake - real).mean())  # softplus(a) − softplus(−a) = a
    slopes = torch.autograd.grad(d, (real, fake))
    torch.testing.assert_close(slopes[0], -slopes[1])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_players_pull_in_opposite_directions(name: str) -> None:
    """D raises real logits and lowers fake ones; G raises fake ones: real and fake are never swapped."""
    objective = OBJECTIVES[name]
    real, fake = torch.rand(2, 6).sub(0.5).requires_grad_(True).unbind()
    d = torch.autograd.grad(objective.d(real, fake + 0.5), (real, fake))
    assert (d[0] < 0).all() and (d[1] > 0).all()
    g = objective.g(real, fake) if objective.paired else objective.g(fake)
    assert (torch.autograd.grad(g, fake)[0] < 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_logits_of_another_shape_are_refused_without_the_annotations(name: str) -> None:
    """(n, 1) beside (n,) would be averaged over all n² pairs, in silence."""
    objective = OBJECTIVES[name]
    d, g = (
        inspect.unwrap(objective.d),
        inspect.unwrap(objective.g),
    )  # tests check annotations, a user's program does not
    flat, column, fewer = torch.zeros(4), torch.zeros(4, 1), torch.zeros(3)
    for real, fake in ((column, flat), (flat, column), (column, column), (flat, flat.sum())):
        with pytest.raises(ValueError, match=r"logits must have shape \(n,\).* have .*(\(4, 1\)|\(\))") as error:
            d(real, fake)
        assert "end D in .squeeze(1) or nn.Flatten(0)" in str(error.value)
        with pytest.raises(ValueError, match=r"logits must have shape \(n,\)"):
            g(real, fake) if objective.paired else g(column)
    if objective.paired:
        for loss in (d, g):
            with pytest.raises(ValueError, match=r"as many real as generated ones, but have \[\(4,\), \(3,\)\]"):
                loss(flat, fewer)
    else:
        assert d(flat, fewer).isfinite()


# ------------------------------------------------------------------------------------------------ the Dirac game


class Point(nn.Module):
    """Generator of one point θ whatever z is, or critic D(x) = ψ x: the Dirac-GAN of Mescheder et al. (2018)."""

    def __init__(self, value: float, *, critic: bool) -> None:
        super().__init__()
        self.value, self.critic = nn.Parameter(torch.tensor(value, dtype=torch.float64)), critic

    def forward(self, v: Tensor) -> Tensor:
        return self.value * v[:, 0] if self.critic else self.value.expand(len(v), 1)


def descent(state: Tensor, name: str, r1: float) -> tuple[Tensor, Tensor]:
    """Gradients of G's loss in θ and of D's loss in ψ at (θ, ψ); the real point is 0."""
    theta, psi = state.unbind()
    objective, real = OBJECTIVES[name], state.new_zeros(1, 1)
    out_real, out_fake = psi * real[:, 0], psi * theta.view(1)
    loss_g = objective.g(out_real, out_fake) if objective.paired else objective.g(out_fake)
    loss_d = objective.d(out_real, out_fake) + r1 / 2 * gan.r1_penalty(lambda x: psi * x[:, 0], real).mean()
    return torch.autograd.grad(loss_g, theta, create_graph=True)[0], torch.autograd.grad(
        loss_d, psi, create_graph=True
    )[0]


def move(state: Tensor, *, h: float, alternating: bool, name: str = "nonsaturating", r1: float = 0.0) -> Tensor:
    """One step of size h of both players at once, or of D and then of G."""
    theta, psi = state.unbind()
    new_psi = psi - h * descent(state, name, r1)[1]
    seen = torch.stack([theta, new_psi]) if alternating else state
    return torch.stack([theta - h * descent(seen, name, r1)[0], new_psi])


def eigenvalues(f: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Of the derivative of f at the equilibrium θ = ψ = 0."""
    return np.linalg.eigvals(torch.autograd.functional.jacobian(f, torch.zeros(2).double()).numpy())


@pytest.mark.parametrize("h", [0.1, 1.0])
@pytest.mark.parametrize(
    ("name", "slope"), [("minimax", 0.5), ("nonsaturating", 0.5), ("relativistic", 0.5), ("wasserstein", 1.0)]
)
def test_simultaneous_descent_spirals_out(name: str, slope: float, h: float) -> None:
    found = eigenvalues(lambda s: move(s, h=h, alternating=False, name=name))
    np.testing.assert_allclose(np.abs(found), math.sqrt(1 + (slope * h) ** 2), rtol=1e-12)
    if slope == 0.5 and h == 0.1:
        np.testing.assert_allclose(np.abs(found), 1.0012492197, rtol=1e-10)


def test_alternating_descent_circles_below_a_step_of_four_and_diverges_beyond() -> None:
    for h in (0.1, 1.0, 3.9):
        np.testing.assert_allclose(np.abs(eigenvalues(lambda s, h=h: move(s, h=h, alternating=True))), 1, rtol=1e-12)
    assert np.abs(eigenvalues(lambda s: move(s, h=4.1, alternating=True))).max() == pytest.approx(1.5625)


@pytest.mark.parametrize("r1", [0.0, 0.5, 1.0, 2.0])
def test_r1_makes_the_equilibrium_attractive(r1: float) -> None:
    found = eigenvalues(lambda s: -torch.stack(descent(s, "nonsaturating", r1)))
    root = np.sqrt(complex(r1**2 / 4 - 0.25))  # critical at γ = 1
    expected = [-r1 / 2 - root, -r1 / 2 + root]
    np.testing.assert_allclose(np.poly(found), np.poly(expected), atol=1e-12)  # as polynomials: a double root is touchy
    assert (found.real.max() < 0) == (r1 > 0)


def test_players_walk_the_dirac_game_as_the_equations_say() -> None:
    G, D = Point(1.0, critic=False), Point(1.0, critic=True)
    opt_g, opt_d = (torch.optim.SGD(m.parameters(), lr=0.2) for m in (G, D))
    players = gan.players(G, D, opt_g, opt_d, noise=train.Noise(), z_dim=1, penalties=[gan.r1(0.5)])
    state = torch.ones(2).double()
    for _ in train.train(players, cycle([torch.zeros(3, 1).double()]), 30):
        state = move(state.requires_grad_(True), h=0.2, alternating=True, r1=0.5).detach()
        torch.testing.assert_close(torch.stack([G.value, D.value]).detach(), state)
    assert state.norm() < 0.8


# ----------------------------------------------------------------------------------------------------- penalties


def quadratic(d: int = 6) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """D(x) = ½ xᵀAx with A symmetric, so that ∇D(x) = Ax."""
    A = torch.randn(d, d).double()
    A = A + A.T
    return lambda x: 0.5 * ((x.flatten(1) @ A) * x.flatten(1)).sum(1), A


@pytest.mark.parametrize("norm", [1.0, 3.0])
def test_penalties_of_a_linear_critic(norm: float) -> None:
    w = norm * F.normalize(torch.randn(12).double(), dim=0)
    real, fake = torch.randn(2, 5, 3, 2, 2).double()

    def D(x: Tensor) -> Tensor:
        return x.flatten(1) @ w + 7

    torch.testing.assert_close(gan.gradient_penalty(D, real, fake), torch.full((5,), (norm - 1) ** 2).double())
    torch.testing.assert_close(gan.r1_penalty(D, real), torch.full((5,), norm**2).double())


def test_penalties_of_a_quadratic_critic_are_taken_where_they_should() -> None:
    D, A = quadratic()
    real, fake, eps = torch.randn(4, 1, 2, 3).double(), torch.randn(4, 1, 2, 3).double(), torch.rand(4).double()
    torch.testing.assert_close(gan.r1_penalty(D, real), (real.flatten(1) @ A).square().sum(1))
    mixed = torch.stack([e * r + (1 - e) * f for e, r, f in zip(eps, real.flatten(1), fake.flatten(1), strict=True)])
    expected = ((mixed @ A).norm(dim=1) - 1).square()
    torch.testing.assert_close(gan.gradient_penalty(D, real, fake, eps=eps), expected)
    at_real = gan.gradient_penalty(D, real, fake, eps=torch.ones(4).double())
    torch.testing.assert_close(at_real, ((real.flatten(1) @ A).norm(dim=1) - 1).square())


def test_gradient_penalty_draws_a_uniform_point_for_each_example() -> None:
    real, fake = torch.ones(2000, 1), torch.zeros(2000, 1)
    eps = 1 - gan.gradient_penalty(lambda x: 0.5 * x[:, 0].square(), real, fake).detach().sqrt()  # here ∇D(x̂) = x̂ = ε
    assert scipy.stats.kstest(eps.numpy(), "uniform").pvalue > 1e-3


def test_gradient_penalty_pairs_up_to_the_shorter_batch() -> None:
    D, _ = quadratic()
    real, fake, eps = torch.randn(5, 6).double(), torch.randn(3, 6).double(), torch.rand(5).double()
    expected = gan.gradient_penalty(D, real[:3], fake, eps=eps[:3])
    torch.testing.assert_close(gan.gradient_penalty(D, real, fake, eps=eps), expected)
    assert gan.gradient_penalty(D, fake, real).shape == (3,)


def test_gradient_penalty_of_images_of_two_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"real \(4, 1, 2, 3\) and fake \(4, 1, 3, 2\) must be images of one shape"):
        gan.gradient_penalty(quadratic()[0], torch.zeros(4, 1, 2, 3), torch.zeros(4, 1, 3, 2))


def test_penalties_train_the_critic_and_leave_the_images_alone() -> None:
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    x = torch.randn(7, 2, requires_grad=True)
    gan.r1_penalty(lambda v: v @ w, x).mean().backward()
    torch.testing.assert_close(w.grad, 2 * w.detach())
    assert x.grad is None
    w.grad = None
    gan.gradient_penalty(lambda v: v @ w, x, x).mean().backward()
    torch.testing.assert_close(w.grad, 2 * (5 - 1) * w.detach() / 5)


def test_consistency_penalty_is_the_squared_change_of_the_logit() -> None:
    x = torch.randn(4, 1, 3, 3)
    flip = lambda v: v.flip(3)  # noqa: E731
    assert gan.consistency_penalty(lambda v: v.amax((1, 2, 3)), x, flip).tolist() == [0] * 4
    changed = gan.consistency_penalty(lambda v: v[:, 0, 0, 0], x, flip)
    torch.testing.assert_close(changed, (x[:, 0, 0, 2] - x[:, 0, 0, 0]).square())


def test_spectral_norm_makes_the_largest_singular_value_one() -> None:
    module = nn.Sequential(nn.Linear(8, 5), nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 2), nn.Embedding(6, 5))
    before = [layer.weight.detach().clone() for layer in module]
    assert gan.spectral_norm(module) is module
    for layer, weight in zip(module, before, strict=True):
        for _ in range(300):  # each access is a step of the power iteration
            normed = layer.weight.detach()
        matrix = (normed.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else normed).flatten(1)
        assert torch.linalg.matrix_norm(matrix, ord=2).item() == pytest.approx(1, abs=1e-4)
        assert torch.cosine_similarity(normed.flatten(), weight.flatten(), dim=0).item() == pytest.approx(1, abs=1e-5)


def test_clip_weights_clamps_in_place() -> None:
    layer = nn.Linear(50, 20)
    weight, before = layer.weight, layer.weight.detach().clone()
    gan.clip_weights(layer, 0.05)
    assert layer.weight is weight and weight.grad_fn is None and weight.requires_grad
    assert torch.equal(weight, before.clamp(-0.05, 0.05)) and not torch.equal(weight, before)
    assert layer.bias.abs().max() <= 0.05


# -------------------------------------------------------------------------------------------------- augmentation

NOTHING = {"shift": 0.0, "cutout": 0.0}


def test_augmentation_without_strength_is_the_identity_and_shapes_stay() -> None:
    x = torch.randn(5, 3, 12, 8)
    assert torch.equal(gan.augment(x, **NOTHING), x)
    y = gan.augment(x, brightness=0.1)
    assert y.shape == x.shape and y.dtype == x.dtype and not torch.equal(x, y)


def test_augmentation_treats_each_example_by_itself_and_its_channels_alike() -> None:
    y = gan.augment(torch.ones(40, 3, 16, 16))
    assert torch.equal(y[:, 0], y[:, 2])
    assert len({image.numpy().tobytes() for image in y}) > 30


def test_shift_moves_by_whole_pixels_evenly_and_brings_in_zeros() -> None:
    n, h, w = 6000, 16, 8  # an eighth: up to two rows and one column
    x = torch.zeros(n, 1, h, w)
    x[:, 0, 8, 4] = 1
    y = gan.augment(x, cutout=0.0)
    assert (y.sum((1, 2, 3)) == 1).all() and set(y.unique().tolist()) == {0.0, 1.0}
    counts = y.sum((0, 1)).long()
    assert scipy.stats.chisquare(counts[6:11, 3:6].flatten().numpy()).pvalue > 1e-3  # hence all 6,000 lie there
    ramp = torch.arange(1.0, h * w + 1).view(1, 1, h, w).expand(200, 1, h, w)
    for image in gan.augment(ramp, cutout=0.0)[:, 0]:
        row, column = divmod(int(image[8, 4]) - 1, w)
        down, right = 8 - row, 4 - column
        padded = F.pad(ramp[0, 0], (2, 2, 2, 2))
        assert torch.equal(image, padded[2 - down : 2 - down + h, 2 - right : 2 - right + w])


def test_cut_out_removes_the_expected_share_of_every_row_and_column() -> None:
    n, h, w, share = 20_000, 12, 8, 0.5
    y = gan.augment(torch.ones(n, 1, h, w), shift=0.0, cutout=share)

    def chance(size: int) -> np.ndarray:
        """A pixel i is cut if the centre, uniform over the image from −½ to size − ½, is within half a side."""
        i, half = np.arange(size), share * size / 2
        return (np.minimum(i + half, size - 0.5) - np.maximum(i - half, -0.5)) / size

    expected = np.outer(chance(h), chance(w))
    error = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(1 - y.mean((0, 1)).numpy() - expected) < 5 * error).all()


@pytest.mark.parametrize("fill", [0.0, -1.0, 0.5])
def test_what_comes_in_and_what_is_cut_out_has_the_value_of_the_background(fill: float) -> None:
    x = torch.full((50, 2, 12, 12), 7.0)
    shifted, cut = gan.augment(x, cutout=0.0, fill=fill), gan.augment(x, shift=0.0, fill=fill)
    for y in (shifted, cut):
        assert set(y.unique().tolist()) == {fill, 7.0}
    assert torch.equal(gan.augment(torch.full_like(x, fill), fill=fill), torch.full_like(x, fill))


def test_augmentation_with_noise_draws_from_it_alone() -> None:
    x = torch.rand(6, 1, 12, 12)
    before = torch.get_rng_state()
    first, again = (gan.augment(x, brightness=0.1, noise=train.Noise(4)) for _ in range(2))
    other = gan.augment(x, brightness=0.1, noise=train.Noise(5))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    plain = gan.augment(x)
    torch.manual_seed(3)
    assert torch.equal(gan.augment(x), plain)


def test_brightness_adds_one_constant_to_an_image() -> None:
    x = torch.randn(2000, 1, 4, 4)
    added = (gan.augment(x, **NOTHING, brightness=0.3) - x).flatten(1)
    assert added.std(1).max() < 1e-6
    assert scipy.stats.kstest(added[:, 0].numpy(), scipy.stats.uniform(-0.3, 0.6).cdf).pvalue > 1e-3


def test_the_generator_learns_through_the_augmentation() -> None:
    x = torch.randn(3, 1, 8, 8, requires_grad=True)
    y = gan.augment(x, brightness=0.2)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}  # a pixel is kept once or lost
    assert torch.equal(gradient.sum((1, 2, 3)), (y != 0).sum((1, 2, 3)).float())


# ------------------------------------------------------------------------------------------------------ the game


class Game:
    """Two small networks with plain gradient descent."""

    def __init__(self, classes: int | None = None, lr: float = 0.1) -> None:
        self.G: nn.Module = nets.MLPDecoder(3, size=4, width=8, classes=classes, output=nn.Tanh())
        self.D: nn.Module = nets.MLPDiscriminator(size=4, width=8, classes=classes)
        self.opt_g, self.opt_d = (torch.optim.SGD(m.parameters(), lr=lr) for m in (self.G, self.D))
        self.classes = classes

    def players(self, **options: Any) -> list[train.Player]:
        return gan.players(self.G, self.D, self.opt_g, self.opt_d, z_dim=3, **{"noise": train.Noise(5), **options})

    def one_pass(self, **options: Any) -> train.Player:
        optimizer = torch.optim.SGD([*self.G.parameters(), *self.D.parameters()], lr=0.1)
        return gan.one_pass(self.G, self.D, optimizer, z_dim=3, **{"noise": train.Noise(5), **options})

    def batches(self, n: int = 6) -> Iterator[Tensor | Batch]:
        while True:
            x = torch.rand(n, 1, 4, 4)
            yield x if self.classes is None else Batch(x, torch.randint(self.classes, (n,)))


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def gradients(module: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in module.parameters()]


def same(a: list[Any], b: list[Any]) -> bool:
    return all(x is y or (x is not None and y is not None and torch.equal(x, y)) for x, y in zip(a, b, strict=True))


GIVEN: dict[str, dict[str, Any]] = {
    "plain": {},
    "gradient penalty": {"penalties": [gan.gp(10.0, noise=train.Noise(6))]},
    "R1 and R2": {"penalties": [gan.r1(1.0, every=2), gan.r2(0.5, every=2)]},
    "instance noise": {"view": gan.instance_noise(0.1)},
    "consistency": {"penalties": [gan.consistency(10.0)]},
    "augmentation": {"view": gan.augment, "penalties": [gan.consistency(1.0)]},
    "weight clipping": {},
    "gradient clipping": {},
    "accumulation": {},
    "critic": {},
}
CHANGES: dict[str, dict[str, Any]] = {  # of both players
    "gradient clipping": {"clip": 1e-3},
    "accumulation": {"accumulate": 2},
}
GAMES = [(name, "plain") for name in OBJECTIVES] + [("nonsaturating", option) for option in GIVEN if option != "plain"]


@pytest.mark.parametrize("classes", [None, 5], ids=["without labels", "with labels"])
@pytest.mark.parametrize(("objective", "option"), GAMES)
def test_a_move_reaches_one_player_only(objective: str, option: str, classes: int | None) -> None:
    game = Game(classes)
    start, log = (weights(game.D), weights(game.G)), []

    def d_moved(*_: Any) -> None:
        log.append("D")
        assert not same(weights(game.D), start[0])
        assert same(weights(game.G), start[1]) and gradients(game.G) == [None] * len(start[1])
        log.append((weights(game.D), gradients(game.D)))

    def g_moved(*_: Any) -> None:
        assert not same(weights(game.G), start[1])
        before = log[-1]
        assert option == "weight clipping" or same(weights(game.D), before[0])
        assert same(gradients(game.D), before[1]), "the generator's loss reached the discriminator's gradients"
        log.append("G")

    game.opt_d.register_step_post_hook(d_moved)
    game.opt_g.register_step_post_hook(g_moved)
    d, g = (p.replace(**CHANGES.get(option, {})) for p in game.players(objective=objective, **GIVEN[option]))
    moves = 3 if option == "critic" else 1
    d = d.replace(moves=moves, after=(lambda: gan.clip_weights(game.D, 0.05)) if option == "weight clipping" else None)
    ((_, losses),) = train.train([d, g], game.batches(), 1)
    assert [entry for entry in log if isinstance(entry, str)] == ["D"] * moves + ["G"]
    assert list(losses) == ["D", "G"]
    assert all(p.requires_grad for module in (game.D, game.G) for p in module.parameters())


def test_a_discriminator_that_trains_alone_leaves_the_generator_alone() -> None:
    game = Game()
    list(train.train(game.players(penalties=[gan.gp(1.0), gan.r2()])[:1], game.batches(), 1))  # nobody has frozen G
    assert gradients(game.G) == [None] * len(weights(game.G))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_reported_losses_are_those_of_a_hand_computation_with_the_same_noise(objective: str) -> None:
    game, entry = Game(lr=0.0), OBJECTIVES[objective]
    x = torch.rand(6, 1, 4, 4)
    ((_, losses),) = train.train(game.players(objective=objective), iter([x]), 1)
    noise = train.Noise(5)
    real = game.D(x)
    for_d, for_g = (game.D(game.G(noise.normal(6, 3))) for _ in range(2))
    assert losses["D"] == pytest.approx(entry.d(real, for_d).item())
    assert losses["G"] == pytest.approx((entry.g(real, for_g) if entry.paired else entry.g(for_g)).item())


@pytest.mark.parametrize("step", [3, 4])
def test_penalties_enter_with_their_weights(step: int) -> None:
    game = Game(5)
    x, y = torch.rand(6, 1, 4, 4), torch.randint(5, (6,))
    flip, noise = lambda v: v.flip(2), train.Noise(5)
    penalties = [gan.gp(3.0, noise=noise), gan.r1(0.7, every=2), gan.r2(0.4, every=2)]
    d, _ = game.players(objective=gan.smoothed("nonsaturating", 0.1), noise=noise, penalties=penalties)
    loss = d.loss(Batch(x, y), step)
    noise = train.Noise(5)
    fake, eps = game.G(noise.normal(6, 3), y).detach(), noise.uniform(6)
    D = lambda v: game.D(v, y)  # noqa: E731
    expected = gan.minimax_d(D(x), D(fake), smooth=0.1) + 3 * gan.gradient_penalty(D, x, fake, eps=eps).mean()
    if step == 4:  # every second step, twice as strong
        expected = expected + 2 * (0.35 * gan.r1_penalty(D, x).mean() + 0.2 * gan.r1_penalty(D, fake).mean())
    torch.testing.assert_close(loss, expected)
    once, never = (
        game.players(view=flip, penalties=[gan.consistency(weight, flip)])[0].loss(Batch(x, y), 1)
        for weight in (2.0, 0.0)
    )
    torch.testing.assert_close(once - never, 2 * (D(flip(x)) - D(x)).square().mean())


ALL = [gan.gp(1.0), gan.r1(), gan.r2(), gan.consistency()]


class Spy(nn.Module):
    """A network that notes what it is called with in training; the check at the door is in evaluation mode."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seen: list[tuple[Tensor, ...]] = []

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.training:
            self.seen.append(tuple(v.detach().clone() for v in inputs))
        return self.inner(*inputs)


def test_labels_reach_both_players_on_every_path() -> None:
    game = Game(5)
    game.G, game.D = Spy(game.G), Spy(game.D)
    options = {"penalties": ALL, "objective": "relativistic"}
    batch = next(game.batches())
    assert isinstance(batch, Batch)
    list(train.train(game.players(**options), iter([batch]), 1))
    assert len(game.G.seen) == 2 and len(game.D.seen) == 2 + 1 + 1 + 1 + 2 + 2
    assert all(torch.equal(seen[1], batch.y) for seen in [*game.G.seen, *game.D.seen])


def test_every_move_of_the_critic_sees_a_batch_of_its_own_and_new_noise() -> None:
    game = Game()
    game.G, game.D = Spy(game.G), Spy(game.D)
    batches = [torch.full((4, 1, 4, 4), float(i)) for i in range(5)]
    d, g = game.players(objective="wasserstein")
    list(train.train([d.replace(moves=5), g], iter(batches), 1))
    assert [seen[0].mean().item() for seen in game.D.seen[:10:2]] == [0, 1, 2, 3, 4]
    assert len({seen[0].numpy().tobytes() for seen in game.G.seen}) == 6 and len(game.D.seen) == 11


@pytest.mark.parametrize("classes", [None, 4])
def test_players_that_share_judge_one_set_of_images_in_turn(classes: int | None) -> None:
    game = Game(classes)
    game.G, game.D = Spy(game.G), Spy(game.D)
    players = game.players(share=True)
    assert [list(losses) for _, losses in train.train(players, game.batches(), 3)] == [["G", "D"]] * 3
    assert len(game.G.seen) == 3 and len(game.D.seen) == 9  # a step: fake for G, then real and fake for D
    assert all(torch.equal(game.D.seen[3 * i][0], game.D.seen[3 * i + 2][0]) for i in range(3))
    players[1].loss(next(game.batches()), 1)  # D alone draws images of its own
    assert len(game.G.seen) == 4
    for changes in ([{"moves": 2}, {}], [{}, {"moves": 2}], [{"moves": 2}] * 2, [{"accumulate": 2}] * 2):
        own = [p.replace(**change) for p, change in zip(game.players(share=True), changes, strict=True)]
        with pytest.raises(ValueError, match=r"share=True hands .* keep G before D, and moves=1 and accumulate=1"):
            list(train.train(own, game.batches(), 1))
    with pytest.raises(ValueError, match=r"share=True hands .* keep G before D"):
        list(train.train(game.players(share=True)[::-1], game.batches(), 2))


@pytest.mark.parametrize("classes", [None, 4])
def test_a_joint_pass_judges_both_batches_at_once_with_the_same_loss(classes: int | None) -> None:
    game = Game(classes, lr=0.0)
    batch = next(game.batches())
    x, y = (batch.x, (batch.y,)) if isinstance(batch, Batch) else (batch, ())
    expected = gan.minimax_d(game.D(x, *y), game.D(game.G(train.Noise(5).normal(6, 3), *y), *y))
    game.D = Spy(game.D)
    ((_, losses),) = train.train(game.players(joint=True), iter([batch]), 1)
    assert losses["D"] == pytest.approx(expected.item())
    assert [len(seen[0]) for seen in game.D.seen] == [12, 6]
    assert all(torch.equal(game.D.seen[0][1], torch.cat([labels, labels])) for labels in y)


def test_a_joint_pass_is_refused_to_a_discriminator_that_mixes_examples() -> None:
    game = Game()
    game.D = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 1), nn.Flatten(0))
    with pytest.raises(ValueError, match=r"\(joint=True, one_pass\) needs a D .* BatchNorm in D mixes .* take it out"):
        game.players(joint=True)


@pytest.mark.parametrize("classes", [None, 4])
@pytest.mark.parametrize("objective", gan.RATIOS)
def test_one_pass_makes_the_moves_of_both_at_the_old_weights(objective: str, classes: int | None) -> None:
    """The gradients and D's loss, against both losses written out."""
    game, entry = Game(classes), OBJECTIVES[objective]
    batch = next(game.batches())
    x, y = (batch.x, (batch.y,)) if isinstance(batch, Batch) else (batch, ())
    images = game.G(train.Noise(5).normal(6, 3), *y)
    loss = entry.d(game.D(x, *y), game.D(images.detach(), *y))
    expected_d = torch.autograd.grad(loss, list(game.D.parameters()))
    expected_g = torch.autograd.grad(entry.g(game.D(images, *y)), list(game.G.parameters()))
    ((_, losses),) = train.train([game.one_pass(objective=objective)], iter([batch]), 1)
    assert losses == {"D": pytest.approx(loss.item())}
    for module, expected in ((game.D, expected_d), (game.G, expected_g)):
        for parameter, gradient in zip(module.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)


def test_one_pass_and_shared_images_train_to_the_same_weights() -> None:
    game = Game()
    other = copy.deepcopy(game)
    batches = [torch.rand(6, 1, 4, 4) for _ in range(20)]
    for players in ([game.one_pass()], other.players(share=True)):
        list(train.train(players, iter(batches), 20))
    for own, expected in zip((*weights(game.G), *weights(game.D)), (*weights(other.G), *weights(other.D)), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)


def test_one_pass_calls_each_network_once_with_labels_and_all_images() -> None:
    game = Game(4)
    game.G, game.D = Spy(game.G), Spy(game.D)
    batch = next(game.batches())
    assert isinstance(batch, Batch)
    list(train.train([game.one_pass()], iter([batch]), 1))
    assert len(game.G.seen) == 1 and torch.equal(game.G.seen[0][1], batch.y)
    ((images, labels),) = game.D.seen
    assert torch.equal(images[:6], batch.x) and torch.equal(labels, torch.cat([batch.y, batch.y]))


@pytest.mark.parametrize("logit", [-200.0, -50.0, 0.0, 50.0, 200.0])
def test_one_pass_gives_g_its_gradient_whatever_d_thinks(logit: float) -> None:
    """d softplus(−f) / df = −σ(−f); below −60 the gradient fades, where σ(f) has left what float32 can divide by."""
    G, D = nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    with torch.no_grad():  # every image is 0, every logit is the one given, and dℓ/dx = 1
        for value, parameter in zip((0.0, 0.0, 1.0, logit), (*G.parameters(), *D.parameters()), strict=True):
            parameter.fill_(value)
    player = gan.one_pass(G, D, torch.optim.SGD(G.parameters()), noise=train.Noise(), z_dim=1)
    player.loss(torch.zeros(4, 1), 1).backward()
    assert G.bias.grad is not None
    expected = -torch.sigmoid(torch.tensor(-logit)).item() if logit > -60 else 0.0
    assert G.bias.grad.item() == pytest.approx(expected, rel=1e-4, abs=1e-30)


def test_one_pass_is_refused_where_the_ratio_of_the_gradients_is_not_known() -> None:
    game = Game()
    with pytest.raises(ValueError, match=r"'hinge' cannot move both at once; known are nonsaturating, .*gan\.players"):
        game.one_pass(objective="hinge")
    game.D = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 1), nn.Flatten(0))
    with pytest.raises(ValueError, match=r"BatchNorm in D mixes .* take it out of D, or replace it by gan\.spectral"):
        game.one_pass()


def test_one_pass_clips_both_gradients_together() -> None:
    game = Game()
    list(train.train([game.one_pass().replace(clip=1e-3)], game.batches(), 1))
    own = [p.grad.flatten() for module in (game.G, game.D) for p in module.parameters() if p.grad is not None]
    assert torch.cat(own).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_all_that_the_discriminator_sees_is_augmented() -> None:
    game = Game()
    game.D = Spy(game.D)
    view = lambda x: 0 * x + 7  # noqa: E731
    game_of_all = game.players(objective="relativistic", view=view, penalties=ALL)
    list(train.train(game_of_all, game.batches(), 1))
    assert all((seen[0] == 7).all() for seen in game.D.seen)


def test_instance_noise_is_added_to_real_and_to_generated_images() -> None:
    game = Game()
    game.D = Spy(game.D)
    x = torch.rand(500, 1, 4, 4)
    d, _ = game.players(view=gan.instance_noise(0.3))
    d.loss(x, 1)
    fake = game.G(train.Noise(5).normal(500, 3))
    for (seen,), clean in zip(game.D.seen, (x, fake), strict=True):
        assert scipy.stats.kstest((seen - clean).detach().flatten().numpy() / 0.3, "norm").pvalue > 1e-3


def test_clipping_bounds_the_weights_and_the_gradients() -> None:
    game = Game()
    norms = []
    game.opt_g.register_step_pre_hook(
        lambda *_: norms.append(torch.cat([p.grad.flatten() for p in game.G.parameters()]).norm().item())
    )
    d, g = (p.replace(clip=1e-4) for p in game.players())
    list(train.train([d.replace(after=lambda: gan.clip_weights(game.D, 0.03)), g], game.batches(), 2))
    assert max(p.abs().max().item() for p in game.D.parameters()) == pytest.approx(0.03)
    assert norms == [pytest.approx(1e-4, rel=1e-2)] * 2


def test_players_stand_in_the_order_of_their_moves() -> None:
    game = Game()
    schedules = tuple(torch.optim.lr_scheduler.ConstantLR(o) for o in (game.opt_d, game.opt_g))
    d, g = (p.replace(schedule=s) for p, s in zip(game.players(), schedules, strict=True))
    assert (d.name, d.module, d.optimizer, d.moves, d.accumulate, d.clip) == ("D", game.D, game.opt_d, 1, 1, None)
    assert (g.name, g.module, g.optimizer, g.moves, g.accumulate, g.clip) == ("G", game.G, game.opt_g, 1, 1, None)
    assert (d.schedule, g.schedule, d.after, g.after) == (*schedules, None, None)
    assert [player.name for player in game.players(share=True)] == ["G", "D"]
    with pytest.raises(ValueError, match="the schedule of D moves the learning rate of another optimiser"):
        d.replace(schedule=schedules[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Game().players(objective="dcgan"), r"unknown objective 'dcgan'; known are minimax, .*relativistic"),
        (lambda: gan.smoothed("hinge", 0.1), r"smooth=0\.1 goes with minimax.*'hinge'"),
        (lambda: Game().players()[0].replace(moves=0), "moves=0.*at least 1"),
        (lambda: Game().players()[0].replace(accumulate=0), "accumulate=0.*at least 1"),
        (lambda: gan.r1(every=0), "every=0 must be at least 1"),
        (lambda: gan.r2(every=-1), "every=-1 must be at least 1"),
        (lambda: gan.augment(torch.zeros(4, 784)), r"augment needs images \(n, c, h, w\), but got \(4, 784\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


@pytest.mark.parametrize("joint", [False, True], ids=["apart", "joint"])
@pytest.mark.parametrize("view", ["augment", "instance noise"])
def test_two_processes_see_the_rows_that_one_sees(view: str, joint: bool) -> None:
    """Rows 0, 2, 4 and rows 1, 3, 5, with the noise of the images, of the view and of the penalty's ε."""
    x = torch.rand(6, 1, 4, 4)

    def move(rank: int, world: int) -> tuple[list[Tensor], float]:
        torch.manual_seed(0)
        game, noise = Game(), train.Noise(5, rank=rank, world=world)
        game.D = Spy(game.D)
        views: dict[str, gan.View] = {
            "augment": lambda v: gan.augment(v, brightness=0.2, noise=noise),
            "instance noise": gan.instance_noise(0.3, noise=noise),
        }
        penalties = [gan.gp(10.0, noise=noise)]
        d = game.players(noise=noise, view=views[view], penalties=penalties, joint=joint)[0]
        torch.manual_seed(rank)  # processes have torch's generator to themselves
        loss = d.loss(x[rank::world], 1).item()
        seen = [seen for (seen,) in game.D.seen]
        return [*seen[0].chunk(2), seen[1]] if joint else seen, loss

    one, first, second = move(0, 1), move(0, 2), move(1, 2)
    assert len(one[0]) == 3  # real and generated images, and those between
    for whole, even, odd in zip(one[0], first[0], second[0], strict=True):
        torch.testing.assert_close(even, whole[0::2])
        torch.testing.assert_close(odd, whole[1::2])
    assert (first[1] + second[1]) / 2 == pytest.approx(one[1], rel=1e-5) and first[1] != second[1]


# ------------------------------------------------------------------------------------------------------ the door


class Net(nn.Module):
    """A network whose forward pass is a function of it and of what it gets."""

    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self, *inputs)


def flat_linear(*after: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 1), *after)


def with_d(D: nn.Module, **options: Any) -> list[train.Player]:
    """A game with this D."""
    game = Game()
    game.D, game.opt_d = D, torch.optim.SGD(D.parameters(), lr=0.1)
    return game.players(**options)


def at_once_with_d(D: nn.Module) -> list[train.Player]:
    game = Game()
    game.D = D
    return [game.one_pass()]


ENDS_IN_A_SIGMOID: dict[str, Callable[[], nn.Module]] = {
    "module, flattened": lambda: flat_linear(nn.Sigmoid(), nn.Flatten(0)),
    "module at the end": lambda: flat_linear(nn.Flatten(0), nn.Sigmoid()),
    "functional, squeezed": lambda: Net(lambda D, x: torch.sigmoid(D.body(x)).squeeze(1), body=flat_linear()),
    "method, viewed": lambda: Net(lambda D, x: D.body(x).sigmoid().view(-1), body=flat_linear()),
    "indexed": lambda: Net(lambda D, x: torch.sigmoid(D.body(x))[:, 0], body=flat_linear()),
    "converted": lambda: Net(lambda D, x: D.body(x).squeeze(1).sigmoid().double().float(), body=flat_linear()),
    "patches, averaged": lambda: Net(lambda D, x: D.body(x).sigmoid().mean((1, 2, 3)), body=nn.Conv2d(1, 1, 2)),
    "registered first": lambda: Net(lambda D, x: D.end(D.body(x)).flatten(), end=nn.Sigmoid(), body=flat_linear()),
}


@pytest.mark.parametrize("name", ENDS_IN_A_SIGMOID)
def test_a_discriminator_that_ends_in_a_sigmoid_is_refused(name: str) -> None:
    D = ENDS_IN_A_SIGMOID[name]()
    x = [torch.rand(6, 1, 4, 4)]
    games = [with_d(D, objective=objective) for objective in OBJECTIVES if objective != "least_squares"]
    games += [with_d(D, objective=gan.smoothed("nonsaturating", 0.1)), with_d(D, joint=True), with_d(D, share=True)]
    for players in [*games, at_once_with_d(D)]:
        for _ in range(2):  # who runs the cell again is told again
            with pytest.raises(ValueError, match=r"D ends in a sigmoid, .* takes logits, .* take the sigmoid out of D"):
                next(train.train(players, x, 1))


@pytest.mark.parametrize("name", ENDS_IN_A_SIGMOID)
def test_a_sigmoid_is_right_for_objectives_on_bounded_answers(name: str) -> None:
    """Least squares has the targets 0 and 1; of an objective of the user's own nothing is known."""
    bce = F.binary_cross_entropy
    own = gan.Objective(
        lambda real, fake: bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake)),
        lambda fake: bce(fake, torch.ones_like(fake)),
    )
    for objective in ("least_squares", OBJECTIVES["least_squares"], own):
        D = ENDS_IN_A_SIGMOID[name]()
        assert len(list(train.train(with_d(D, objective=objective), [torch.rand(6, 1, 4, 4)], 2))) == 2


def test_logits_that_lie_between_0_and_1_and_sigmoids_elsewhere_are_no_sigmoid_at_the_end() -> None:
    between = flat_linear(nn.Flatten(0))
    with torch.no_grad():
        between[1].weight.mul_(0.01)
        between[1].bias.fill_(0.5)
    assert 0 < between(torch.rand(6, 1, 4, 4)).min() < between(torch.rand(6, 1, 4, 4)).max() < 1
    gated = Net(
        lambda D, x: D.end(D.gate(D.body(x)) * D.body(x)).squeeze(1),
        body=nn.Sequential(nn.Flatten(), nn.Linear(16, 8)),
        end=nn.Linear(8, 1),
        gate=nn.Sigmoid(),
    )
    stretched = Net(lambda D, x: 8 * torch.sigmoid(D.body(x)).squeeze(1) - 4, body=flat_linear())
    for D in (between, gated, stretched):
        assert len(list(train.train(with_d(D), [torch.rand(6, 1, 4, 4)], 2))) == 2


def normed(*, conditional: bool = False) -> nn.Module:
    """A D with BatchNorm."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2))
    if not conditional:
        return nn.Sequential(body, nn.Linear(8, 1), nn.Flatten(0))
    return Net(lambda D, x, y: (D.body(x) * D.classes(y)).sum(1), body=body, classes=nn.Embedding(5, 8))


PENALTIES: dict[str, gan.Penalty] = {"gp": gan.gp(), "r1": gan.r1(), "r2": gan.r2()}


@pytest.mark.parametrize("classes", [None, 5], ids=["without labels", "with labels"])
@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_on_gradients_is_refused_to_a_discriminator_with_batchnorm(name: str, classes: int | None) -> None:
    game = Game(classes)
    game.D = normed(conditional=classes is not None)
    game.opt_d = torch.optim.SGD(game.D.parameters(), lr=0.1)
    batch = next(game.batches())
    assert len(list(train.train(game.players(), [batch], 1))) == 1  # without a penalty BatchNorm is a choice
    players = game.players(penalties=[PENALTIES[name]])
    message = r"gradient of single images needs a D that judges every image alone, but BatchNorm .* nn\.GroupNorm"
    with pytest.raises(ValueError, match=message):
        list(train.train(players, [batch], 1))
    for part in game.D.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.eval()  # frozen: a fixed linear map
    assert len(list(train.train(players, [batch], 1))) == 1
    assert not any(part.training for part in game.D.modules() if isinstance(part, nn.BatchNorm1d))


def test_penalties_called_by_hand_refuse_batchnorm_too() -> None:
    x, D = torch.rand(6, 1, 4, 4), normed()
    calls = (
        lambda: gan.gradient_penalty(D, x, x.flip(0)),
        lambda: gan.r1_penalty(D, x),
        lambda: gan.input_gradient(D, x),
    )
    for call in calls:
        D.train()
        with pytest.raises(ValueError, match=r"but BatchNorm in D mixes the images of a batch: take it out of D"):
            call()
        D.eval()
        assert call().isfinite().all()


class MinibatchDeviation(nn.Module):
    """Appends the mean standard deviation of a batch, as Karras et al. (2018) do."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.std(0).mean().expand(len(x), 1)], 1)


def test_minibatch_statistics_are_refused_where_real_and_generated_images_share_a_batch() -> None:
    D = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), MinibatchDeviation(), nn.Linear(9, 1), nn.Flatten(0))
    x = [torch.rand(6, 1, 4, 4)]
    for players in (with_d(D, joint=True), at_once_with_d(D)):
        for _ in range(2):
            with pytest.raises(ValueError, match=r"the others in the batch, .* use gan\.players without joint"):
                next(train.train(players, x, 1))
    assert len(list(train.train(with_d(D), x, 2))) == 2


def test_batchnorm_that_wakes_after_the_game_was_made_is_refused_where_images_share_a_batch() -> None:
    D = normed().eval()
    for players in (with_d(D, joint=True), at_once_with_d(D)):
        assert len(list(train.train(players, [torch.rand(6, 1, 4, 4)], 1))) == 1
    D = normed().eval()
    for players in (with_d(D, joint=True), at_once_with_d(D.eval())):
        D.train()
        with pytest.raises(ValueError, match="BatchNorm in D mixes the images"):
            next(train.train(players, [torch.rand(6, 1, 4, 4)], 1))


JUDGES_ALONE: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Sequential(nn.Dropout(0.5), flat_linear(nn.Flatten(0))),
    "dropout that never rests": lambda: Net(lambda D, x: F.dropout(D.body(x), 0.5).squeeze(1), body=flat_linear()),
    "noise of its own": lambda: Net(lambda D, x: D.body(x + torch.randn_like(x)).squeeze(1), body=flat_linear()),
    "spectral norm": lambda: gan.spectral_norm(nn.Sequential(nn.Flatten(), nets.mlp(16, 8, 1), nn.Flatten(0))),
    "layer norm": lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 1), nn.Flatten(0)),
    "frozen BatchNorm": lambda: normed().eval(),
}


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", JUDGES_ALONE)
def test_a_discriminator_that_judges_alone_is_let_in_and_left_as_it_was(name: str, joint: bool) -> None:
    """The door asks D twice; neither its modes and buffers nor torch's generator may show it."""
    D, x = JUDGES_ALONE[name](), torch.rand(6, 1, 4, 4)
    other, modes = copy.deepcopy(D), [part.training for part in D.modules()]
    game = Game()
    game.D, game.opt_d = D, torch.optim.SGD(D.parameters(), lr=0.1)
    d = game.players(joint=joint)[0]
    torch.manual_seed(7)
    loss = d.loss(x, 1)
    after = torch.get_rng_state()
    torch.manual_seed(7)
    fake = game.G(train.Noise(5).normal(6, 3)).detach()
    answers = other(torch.cat([x, fake])).chunk(2) if joint else (other(x), other(fake))
    torch.testing.assert_close(loss, gan.minimax_d(*answers))
    assert torch.equal(torch.get_rng_state(), after)
    assert [part.training for part in D.modules()] == modes
    for mine, theirs in zip(D.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert len(list(train.train(at_once_with_d(D), [x], 2))) == 2


def test_the_door_asks_at_the_first_batch_only() -> None:
    calls: list[int] = []
    D = Net(lambda D, x: calls.append(len(x)) or D.body(x).squeeze(1), body=flat_linear())
    list(train.train(with_d(D, joint=True), [torch.rand(6, 1, 4, 4)], 3))
    assert calls == [12, 12] + [12, 6] * 3
    calls.clear()
    list(train.train(with_d(D), [torch.rand(6, 1, 4, 4)], 3))
    assert calls == [6, 6, 6] * 3


class Square(nn.Module):
    """A generator as many are written: noise (n, z, 1, 1)."""

    def __init__(self, classes: int | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.ReLU(), nn.ConvTranspose2d(4, 1, 3), nn.Tanh())
        self.classes = None if classes is None else nn.Embedding(classes, 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.body(z)
        return x if self.classes is None else x * self.classes(y)[:, :, None, None]


class Cured(Square):
    """The same as the message says for a game with labels."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(z[:, :, None, None], y)


@pytest.mark.parametrize("classes", [None, 5], ids=["without labels", "with labels"])
def test_a_generator_that_wants_square_noise_is_told_the_cure_and_the_cure_works(classes: int | None) -> None:
    game = Game(classes)
    game.G = Square(classes)
    game.opt_g = torch.optim.SGD(game.G.parameters(), lr=0.1)
    cure = r"wrap it: (.*)$" if classes is None else r"begin its forward with (.*); for a game without labels"
    given = r"\(6, 3\)" if classes is None else r"\(6, 3\) and labels of shape \(6,\)"
    message = rf"G cannot take noise of shape {given}: .*Pass the z_dim .* if G wants \(n, 3, 1, 1\), {cure}"
    for players in (game.players(), game.players(share=True), [game.one_pass()]):
        for _ in range(2):
            with pytest.raises(ValueError, match=message) as error:
                next(train.train(players, game.batches(), 1))
            assert isinstance(error.value.__cause__, RuntimeError | IndexError)
    found = re.search(cure, str(error.value))
    assert found
    if classes is None:
        game.G = eval(found[1], {"nn": nn, "G": game.G})
    else:
        assert found[1] == "z = z[:, :, None, None]"
        cured = Cured(classes)
        cured.body, cured.classes = game.G.body, game.G.classes
        game.G = cured
    before = weights(game.G)
    list(train.train(game.players(), game.batches(), 1))
    assert not same(before, weights(game.G))


def test_noise_of_another_length_is_told_in_words() -> None:
    game = Game()
    game.G = nn.Sequential(nn.Linear(7, 16), nn.Unflatten(1, (1, 4, 4)))
    game.opt_g = torch.optim.SGD(game.G.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"G cannot take noise of shape \(6, 3\): mat1 and mat2 .*Pass the z_dim"):
        next(train.train(game.players(), game.batches(), 1))


def test_labels_for_networks_without_classes_are_told_in_words() -> None:
    """As a DataLoader of digits yields them."""
    game, batch = Game(), [torch.rand(6, 1, 4, 4), torch.arange(6)]
    game.G = nn.Sequential(game.G)
    game.D = nn.Sequential(game.D)
    message = r"cannot take .* and labels of shape \(6,\): .*for a game without labels pass batches of images"
    with pytest.raises(ValueError, match="G " + message):
        next(train.train(game.players(), [batch], 1))
    game.G = Net(lambda G, z, y: G.body(z), body=game.G)
    with pytest.raises(ValueError, match="D " + message):
        next(train.train(game.players(), [batch], 1))


@pytest.mark.parametrize("joint", [False, True])
def test_images_that_do_not_fit_are_told_in_words(joint: bool) -> None:
    game = Game()
    with pytest.raises(ValueError, match=r"G draws images of shape \(6, 1, 4, 4\), but those .* \(6, 3, 8, 8\)"):
        next(train.train(game.players(joint=joint), [torch.rand(6, 3, 8, 8)], 1))
    with pytest.raises(ValueError, match=r"the batch holds torch\.uint8, but networks take floats: .* data\.to_float"):
        next(train.train(game.players(joint=joint), [torch.zeros(6, 1, 4, 4, dtype=torch.uint8)], 1))
    larger = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    with pytest.raises(ValueError, match=r"D cannot take images of shape \(\d+, 1, 4, 4\): .*Make D for the size"):
        next(train.train(with_d(larger, joint=joint), [torch.rand(6, 1, 4, 4)], 1))


def test_devices_that_differ_are_told_in_words() -> None:
    game = Game()
    game.G = nets.MLPDecoder(3, size=4, width=8).to("meta")
    game.opt_g = torch.optim.SGD(game.G.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"the noise is on cpu, but the network is on meta: Noise\(device=…\)"):
        next(train.train(game.players(), game.batches(), 1))
    D = nets.MLPDiscriminator(size=4, width=8).to("meta")
    with pytest.raises(ValueError, match=r"the batch is on cpu, but the network is on meta: data\.Batches\(…, dev"):
        next(train.train(with_d(D), [torch.rand(6, 1, 4, 4)], 1))


def test_memory_that_runs_out_is_no_question_of_shapes() -> None:
    def full(G: nn.Module, z: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    game = Game()
    game.G = Net(full, body=game.G)
    with pytest.raises(torch.OutOfMemoryError, match=r"^out of memory"):
        next(train.train(game.players(), game.batches(), 1))


def test_optimisers_that_move_nothing_are_refused_when_the_game_is_made() -> None:
    game = Game()
    message = "the optimiser of D holds 4 tensors, of which 4 are not weights of its module"
    with pytest.raises(ValueError, match=message):
        gan.players(game.G, game.D, game.opt_d, game.opt_g, noise=train.Noise(), z_dim=3)
    copied = copy.deepcopy(game.D)
    with pytest.raises(ValueError, match=r"optimiser of D holds 6 tensors, of which 6 .* after a copy of the module"):
        gan.players(game.G, copied, game.opt_g, game.opt_d, noise=train.Noise(), z_dim=3)
    with pytest.raises(ValueError, match="the optimiser of D holds 4 tensors, of which 4 are not"):
        gan.one_pass(copy.deepcopy(game.G), game.D, game.opt_g, noise=train.Noise(), z_dim=3)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_a_watcher_sees_the_logits_of_each_move_of_d(joint: bool, share: bool) -> None:
    game = Game(lr=0.0)
    seen: list[tuple[Tensor, Tensor]] = []
    x = torch.rand(6, 1, 4, 4)
    list(train.train(game.players(watch=lambda *own: seen.append(own), joint=joint, share=share), [x], 2))
    noise = train.Noise(5)
    drawn = [noise.normal(6, 3) for _ in range(4)]
    for (real, fake), z in zip(seen, drawn[:2] if share else drawn[::2], strict=True):
        torch.testing.assert_close(real, game.D(x).detach())
        torch.testing.assert_close(fake, game.D(game.G(z)).detach())
        assert not real.requires_grad and not fake.requires_grad


def test_a_penalty_of_ones_own_sees_the_discriminator_behind_its_view_and_the_step() -> None:
    game, given = Game(5, lr=0.0), []

    def own(D: gan.Critic, real: Tensor, fake: Tensor, step: int) -> Tensor:
        given.append((D(real), real, fake, step))
        return 3 * D(real).square().mean()

    batch = next(game.batches())
    assert isinstance(batch, Batch)
    plain = game.players(view=lambda v: v.flip(3))[0].loss(batch, 4)
    total = game.players(view=lambda v: v.flip(3), penalties=[own, own])[0].loss(batch, 4)
    ((answers, real, fake, step), _) = given
    torch.testing.assert_close(answers, game.D(batch.x.flip(3), batch.y))
    torch.testing.assert_close(total - plain, 6 * answers.square().mean())
    assert torch.equal(real, batch.x) and fake.shape == real.shape and not fake.requires_grad and step == 4
