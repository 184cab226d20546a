"""Flows: log-determinants against autograd, ways back, closed forms, quadrature, bad input, precision and devices."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import MultivariateNormal
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from genlab import data, densities, flows, train
from genlab.nets import common, coupling, invertible, masked
from tests.test_cuda import Zeros, devices

D = 6


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unsettle(module: nn.Module, scale: float = 0.3) -> nn.Module:
    """Random weights everywhere, in float64: no log-determinant is 0 by a start at zero."""
    torch.manual_seed(3)
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn_like(p))
    return module


def made(d: int = D, **options: Any) -> nn.Module:
    return masked.MADE(d, hidden=(20,), outputs=2, **options)


def order(d: int = D) -> Tensor:
    return torch.randperm(d, generator=generator(5))


MAPS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "coupling of rows": (lambda: coupling.Coupling(common.mlp(D, 16, 2 * D), coupling.halves(D)), (D,)),
    "coupling of channels": (lambda: coupling.Coupling(coupling.conditioner(4, 8), coupling.halves(4)), (4, 2, 3)),
    "coupling of pixels": (
        lambda: coupling.Coupling(coupling.conditioner(1, 8), coupling.checkerboard(3, 4)),
        (1, 3, 4),
    ),
    "MAF": (lambda: coupling.MAF(made(), D), (D,)),
    "MAF in another order": (lambda: coupling.MAF(made(order=order()), D), (D,)),
    "MAF with a limit": (lambda: coupling.MAF(made(), D, limit=0.5), (D,)),
    "IAF": (lambda: invertible.Inverse(coupling.MAF(made(), D)), (D,)),
    "ActNorm": (lambda: invertible.ActNorm(3), (3, 2, 2)),
    "ActNorm of rows": (lambda: invertible.ActNorm(D), (D,)),
    "Conv1x1": (lambda: invertible.Conv1x1(3), (3, 2, 2)),
    "Conv1x1 of rows": (lambda: invertible.Conv1x1(D), (D,)),
    "Squeeze": (invertible.Squeeze, (2, 2, 4)),
    "Logit": (lambda: invertible.Logit(levels=3), (1, 2, 3)),
    "Ranks": (lambda: counted((1, 2, 3)), (1, 2, 3)),
    "Planar": (lambda: invertible.Planar(D), (D,)),
    "Planar, run the other way": (lambda: invertible.Inverse(invertible.Planar(D)), (D,)),
    "RealNVP": (lambda: coupling.RealNVP(size=4, width=4, steps=2, levels=3), (1, 4, 4)),
    "couplings": (lambda: coupling.couplings([*two_masks()], lambda: common.mlp(D, 8, 2 * D)), (D,)),
}


def counted(shape: tuple[int, ...]) -> invertible.Ranks:
    return invertible.Ranks(shape, levels=3).fit(
        torch.tensor([0, 0, 2])[:, None].expand(3, math.prod(shape)).reshape(3, *shape)
    )


def two_masks(d: int = D) -> tuple[Tensor, Tensor]:
    return coupling.halves(d), coupling.halves(d, swap=True)


def numbers(shape: tuple[int, ...], n: int = 3) -> Tensor:
    """Rows in (0, 3), which all maps take."""
    return 3 * torch.rand(n, *shape, generator=generator(1), dtype=torch.float64)


@pytest.mark.parametrize("name", MAPS)
def test_log_determinants_are_those_of_autograd(name: str) -> None:
    make, shape = MAPS[name]
    f = unsettle(make()).eval()
    x = numbers(shape)
    z, log_det = f(x)
    assert log_det.shape == (len(x),) and z.shape[0] == len(x) and z[0].numel() == x[0].numel()
    for i in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda row: f(row[None])[0].flatten(), x[i])
        exact = torch.linalg.slogdet(jacobian.reshape(x[0].numel(), -1)).logabsdet
        torch.testing.assert_close(log_det[i], exact, rtol=1e-10, atol=1e-10)
    if name != "Squeeze":
        assert log_det.abs().min() > 1e-3  # so that a wrong sign would have been seen


@pytest.mark.parametrize("name", MAPS)
def test_the_way_back(name: str) -> None:
    make, shape = MAPS[name]
    f = unsettle(make()).eval()
    x = numbers(shape)
    torch.testing.assert_close(invertible.invert(f, f(x)[0]), x, rtol=1e-8, atol=1e-8)
    z = torch.randn(f(x)[0].shape, generator=generator(2), dtype=torch.float64)
    if name not in ("RealNVP", "Logit"):  # whose values far out have no x in [0, levels]
        torch.testing.assert_close(f(invertible.invert(f, z))[0], z, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", MAPS)
def test_no_examples_are_no_matter(name: str) -> None:
    make, shape = MAPS[name]
    f = make().train()
    z, log_det = f(torch.zeros(0, *shape))
    assert log_det.shape == (0,) and invertible.invert(f, z).shape == (0, *shape)
    x = numbers(shape).float()
    assert torch.isfinite(f(x)[0]).all()  # no start from nothing


@pytest.mark.parametrize("name", [name for name in MAPS if name not in ("Squeeze", "Logit", "Ranks")])
def test_gradients_reach_all_weights(name: str) -> None:
    make, shape = MAPS[name]
    f = unsettle(make())
    flows.log_prob(f, numbers(shape)).mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in f.parameters())


def test_the_density_of_two_couplings_integrates_to_one_and_needs_both_log_determinants() -> None:
    masks = two_masks(2)
    f = unsettle(coupling.couplings([*masks], lambda: common.mlp(2, 16, 4, act=nn.Tanh)), 0.25)
    side = torch.linspace(-14, 14, 1200, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)
    cell = (side[1] - side[0]).item() ** 2
    with torch.no_grad():
        assert flows.log_prob(f, x).exp().sum().item() * cell == pytest.approx(1, abs=1e-4)
        first, log_det = f.maps[0](x)
        z, _ = f.maps[1](first)
        forgetful = densities.log_normal(z, torch.zeros((), dtype=z.dtype), torch.zeros((), dtype=z.dtype)) + log_det
        assert abs(forgetful.exp().sum().item() * cell - 1) > 0.05


class Regression(nn.Module):
    """μ_i = Σ_{j<i} B_ij x_j, of which the upper triangle is masked, and a log-scale: the linear network of a MAF."""

    def __init__(self, B: Tensor, a: Tensor) -> None:
        super().__init__()
        self.B, self.a = nn.Parameter(B), nn.Parameter(a)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x @ self.B.tril(-1).T, self.a.expand_as(x)], 2)


def test_the_best_linear_maf_on_gaussian_data_is_the_cholesky_factor() -> None:
    A = torch.randn(4, 4, generator=generator(), dtype=torch.float64)
    S = A @ A.T + 0.5 * torch.eye(4, dtype=torch.float64)
    L = torch.linalg.cholesky(S)
    # z = L⁻¹ x, written as (x_i − Σ_{j<i} B_ij x_j) / L_ii
    B = torch.eye(4, dtype=torch.float64) - torch.diag(L.diagonal()) @ torch.linalg.inv(L)
    f = coupling.MAF(Regression(B, L.diagonal().log()), 4)
    x = torch.randn(50, 4, generator=generator(1), dtype=torch.float64) @ L.T
    exact = MultivariateNormal(torch.zeros(4, dtype=torch.float64), S).log_prob(x)
    torch.testing.assert_close(flows.log_prob(f, x), exact)
    entropy = 0.5 * torch.logdet(2 * math.pi * math.e * S)
    conditional = 0.5 * math.log(2 * math.pi * math.e) * 4 + L.diagonal().log().sum()
    torch.testing.assert_close(conditional, entropy)


class Counting(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.calls = net, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x)


def test_one_call_one_way_and_d_calls_the_other() -> None:
    net = Counting(made())
    f = coupling.MAF(net, D)
    for run, calls in ((f, 1), (f.inverse, D), (invertible.Inverse(f).inverse, 1), (invertible.Inverse(f), D + 1)):
        net.calls = 0
        run(torch.randn(2, D))
        assert net.calls == calls


# ----------------------------------------------------------------------------------------------------------- planar


def test_planar_maps_fold_exactly_below_minus_one() -> None:
    w, b = torch.tensor([1.0, 0.0]).double(), torch.zeros(()).double()
    line = torch.stack([torch.linspace(-3, 3, 601), torch.zeros(601)], 1).double()
    for inner, folds in ((-0.99, False), (-1.0, False), (-1.01, True), (-3.0, True)):
        u = torch.tensor([inner, 0.4]).double()
        z = line[:, 0] + torch.tanh(line[:, 0]) * u[0]
        assert bool((z.diff() < 0).any()) == folds
        if folds:
            with pytest.raises(ValueError, match=r"must not lie below −1.*repair\(w, u\)"):
                invertible.planar(line, w, u, b)
        else:
            torch.testing.assert_close(invertible.planar(line, w, u, b)[0][:, 0], z)
        repaired = invertible.repair(w, u)
        assert w @ repaired > -1
        torch.testing.assert_close(repaired - u, (repaired - u) @ w * w)  # moved along w alone
        assert torch.isfinite(invertible.planar(line, w, repaired, b)[1]).all()


def test_what_is_repaired_is_taken_whatever_it_is_rounded_to() -> None:
    below = 0
    for w, u in 3 * torch.randn(1000, 2, 5, generator=generator()):
        mended = invertible.repair(w, u)
        below += int(w @ mended < -1)
        line = torch.linspace(-1, 1, 51)[:, None] * w / w.norm()  # with the steepest place among its points
        z, log_det = invertible.planar(line, w, mended, torch.zeros(()))
        assert torch.isfinite(z).all() and not log_det.isnan().any()
        f = invertible.Planar(5)
        f.load_state_dict({"w": w, "u": u, "b": torch.zeros(())})
        exact = f.double()(line.double())[1]
        torch.testing.assert_close(f.float()(line)[1].double(), exact, rtol=1e-3, atol=1e-3)
    assert below > 20  # rounding does take some of them below −1


def test_planar_refuses_nan_and_repair_a_direction_of_length_0() -> None:
    x, w, b = torch.zeros(2, 3), torch.ones(3), torch.zeros(())
    with pytest.raises(ValueError, match="nan must not lie below"):
        invertible.planar(x, w, torch.full((3,), math.nan), b)
    for bad in (torch.zeros(3), torch.full((3,), math.nan)):
        with pytest.raises(ValueError, match="w must not be 0 nor NaN"):
            invertible.repair(bad, w)


def test_the_way_back_of_a_planar_map_has_the_gradient_of_the_implicit_function() -> None:
    """Also where another map comes after the search, and where the map is steep."""
    f = unsettle(invertible.Flow(invertible.ActNorm(2), invertible.Planar(2)), 1.0)
    z = torch.randn(5, 2, generator=generator(), dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in f.named_parameters()]

    def back(z: Tensor, *values: Tensor) -> Tensor:
        class Back(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.f = f

            def forward(self, z: Tensor) -> Tensor:
                return self.f.inverse(z)

        weights = dict(zip([f"f.{name}" for name in names], values, strict=True))
        return torch.func.functional_call(Back(), weights, (z,))

    assert torch.autograd.gradcheck(back, (z, *f.parameters()))


def test_the_planar_module_is_the_repaired_map_and_comes_back_from_steep_places() -> None:
    f = invertible.Planar(2).double()
    with torch.no_grad():
        f.w.copy_(torch.tensor([3.0, 1.0]))
        f.u.copy_(torch.tensor([-4.0, 2.0]))  # wᵀu = −10
    x = 5 * torch.randn(100, 2, generator=generator(), dtype=torch.float64)
    z, log_det = f(x)
    same, same_det = invertible.planar(x, f.w, invertible.repair(f.w, f.u), f.b)
    torch.testing.assert_close((z, log_det), (same, same_det))
    torch.testing.assert_close(f.inverse(z), x, rtol=1e-6, atol=1e-6)


def test_the_scale_of_a_maf_is_bounded_on_request() -> None:
    x = numbers((D,), 20)
    free, bound = (unsettle(coupling.MAF(made(), D, limit=limit), 3.0)(x)[1].abs().max() for limit in (None, 0.5))
    assert bound <= 0.5 * D < free


# ----------------------------------------------------------------------------------------------------- maps of images


def test_actnorm_starts_at_mean_0_and_variance_1_once_and_only_in_training() -> None:
    f = invertible.ActNorm(3)
    x = 5 + 3 * torch.randn(8, 3, 4, 4, generator=generator())
    assert torch.equal(f.eval()(x)[0], x)
    z = f.train()(x)[0]
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(z.var((0, 2, 3), correction=0), torch.ones(3), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(f(10 * x)[0].mean((0, 2, 3)), torch.zeros(3), atol=1)  # no second start
    other = invertible.ActNorm(3)
    other.load_state_dict(f.state_dict())  # a run that is resumed
    torch.testing.assert_close(other.train()(10 * x), f(10 * x))


def test_actnorm_starts_alike_on_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = 5 + 3 * torch.randn(8, 3, 4, 4, generator=generator())
    whole = invertible.ActNorm(3)
    whole(x)
    rows = x.transpose(0, 1).flatten(1)
    totals = iter([rows.sum(1), (rows - rows.mean(1)[:, None]).square().sum(1)])
    monkeypatch.setattr(invertible, "place", lambda: (0, 2))
    monkeypatch.setattr(invertible, "summed", lambda _: next(totals))
    mine = invertible.ActNorm(3)
    mine(x[::2])
    torch.testing.assert_close(mine.state_dict(), whole.state_dict())


def test_squeeze_keeps_squares_of_two_pixels_together() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    z, _ = invertible.Squeeze()(x)
    assert z[0, :, 0, 0].tolist() == [0, 1, 4, 5]
    x = torch.randn(3, 2, 4, 6, generator=generator())
    assert torch.equal(invertible.Squeeze()(x)[0], nn.functional.pixel_unshuffle(x, 2))


def test_masks() -> None:
    assert coupling.halves(4).tolist() == [1, 1, 0, 0] and coupling.halves(4, swap=True).tolist() == [0, 0, 1, 1]
    board = coupling.checkerboard(3, 4)
    assert bool((board[:, 1:] != board[:, :-1]).all()) and bool((board[1:] != board[:-1]).all())
    torch.testing.assert_close(board + coupling.checkerboard(3, 4, swap=True), torch.ones(3, 4))


def test_what_a_coupling_keeps_is_kept_and_its_scale_is_bounded() -> None:
    f = unsettle(coupling.Coupling(common.mlp(2, 16, 4), coupling.halves(2), limit=0.5), 2.0)
    x = 10 * numbers((2,), 50)
    z, log_det = f(x)
    assert torch.equal(z[:, :1], x[:, :1]) and not torch.equal(z[:, 1:], x[:, 1:])
    assert 0.45 < log_det.abs().max() <= 0.5  # of one value that moves


# -------------------------------------------------------------------------------------------------------- pixels


def test_a_uniform_pixel_costs_eight_bits() -> None:
    """The density of uniform y in [0, 256) through the logit is that of a uniform: log p(x) = log p(z) + log det."""
    f = invertible.Logit(levels=256, margin=0.05).double()
    y = 256 * torch.rand(20, 5, generator=generator(), dtype=torch.float64)
    z, log_det = f(y)
    slope = 256 / 0.9 * torch.sigmoid(z) * torch.sigmoid(-z)  # dy/dz, so p(z) = slope / 256
    log_pz = (slope / 256).log().sum(1)
    bits = flows.bits_per_dim(log_pz + log_det, 5)
    torch.testing.assert_close(bits, torch.full_like(bits, 8.0))
    torch.testing.assert_close(f.inverse(z), y)  # an inverse that forgets its scaling would be off by 256


def test_ranks_alone_are_the_table_of_counts() -> None:
    """Whatever u: the density is flat within a level, so the bound of dequantisation is an equality."""
    x = torch.randint(4, (50, 2, 3), generator=generator())
    f = invertible.Ranks((2, 3), levels=5).fit(x, extra=0.5)
    counts = torch.stack([(x == level).sum(0) for level in range(5)]) + 0.5
    log_p = (counts / counts.sum(0)).log().gather(0, x.long()).flatten(1).sum(1)
    for seed in (1, 2):
        y = flows.dequantise(x, torch.rand(x.shape, generator=generator(seed)).double(), levels=5)
        z, log_det = f(y)
        zero = torch.zeros((), dtype=z.dtype)
        torch.testing.assert_close(densities.log_normal(z, zero, zero) + log_det, log_p.double(), rtol=1e-6, atol=1e-6)
        assert torch.equal(flows.quantise(f.inverse(z), levels=5), x.to(torch.uint8))
    assert torch.isfinite(f(torch.zeros(1, 2, 3))[0]).all() and torch.isfinite(f(torch.full((1, 2, 3), 5.0))[0]).all()
    again = invertible.Ranks((2, 3), levels=5)
    torch.testing.assert_close(
        again(y)[1] - again(y)[0].square().flatten(1).sum(1) / 2,
        again(y)[1] * 0 + 6 * (math.log(1 / 5) + 0.5 * math.log(2 * math.pi)),
    )  # uniform until it is fitted
    again.load_state_dict(f.state_dict())
    torch.testing.assert_close(again(y), f(y))


def test_an_image_flow_starts_with_the_likelihood_of_its_first_map() -> None:
    """Couplings start as no map and rotations keep length, so nothing changes after it."""
    x = torch.randint(256, (64, 1, 4, 4), generator=generator()).clamp(max=30)  # far from uniform
    y = flows.dequantise(x, torch.rand(x.shape, generator=generator(1)))
    ranks = invertible.Ranks((1, 4, 4)).fit(x)
    f = coupling.RealNVP(size=4, width=4, steps=2, first=ranks).eval()
    alone = flows.log_prob(invertible.Flow(ranks), y)
    torch.testing.assert_close(flows.log_prob(f, y), alone, rtol=1e-4, atol=1e-3)
    assert (alone > flows.log_prob(coupling.RealNVP(size=4, width=4, steps=2).eval(), y) + 5).all()


def test_ranks_refuse_what_they_cannot_count() -> None:
    f, x = invertible.Ranks((3,), levels=4), torch.zeros(2, 3, dtype=torch.long)
    for bad, message in ((x.float(), "whole numbers"), (x[:, :2], "whole numbers"), (x[:0], "whole numbers")):
        with pytest.raises(ValueError, match=message):
            f.fit(bad)
    with pytest.raises(ValueError, match="from 0 to 3, but x ranges from 4 to 4; give levels="):
        f.fit(x + 4)
    with pytest.raises(ValueError, match="from 0 to 3, but x ranges from -1 to 0"):
        f.fit(torch.tensor([[-1, 0, 0]]))
    with pytest.raises(ValueError, match="extra=0 must be a positive number"):
        f.fit(x, extra=0)
    with pytest.raises(ValueError, match="levels=1 must be at least 2"):
        invertible.Ranks((3,), levels=1)
    with pytest.raises(ValueError, match=r"shape \(n, 3\)"):
        f(torch.zeros(2, 4))
    for z in (torch.zeros(2, 4), torch.zeros(3), torch.zeros(2, 3, 1)):
        with pytest.raises(ValueError, match=r"z must have shape \(n, 3\)"):
            f.inverse(z)
    with pytest.raises(ValueError, match=r"values in \[0, 4\]"):
        f(torch.full((2, 3), 4.5))


def test_dequantised_density_is_a_bound_and_exact_for_a_histogram() -> None:
    """E_u log p(x + u) ≤ log ∫ p(x + u) du by quadrature, with equality where p is flat over a level."""
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    for x in (0.0, 1.0, 2.0):
        log_p = densities.log_normal((x + u)[:, None], torch.tensor(1.0).double(), torch.tensor(0.0).double())
        mass = 0.5 * (math.erf(x / math.sqrt(2)) - math.erf((x - 1) / math.sqrt(2)))
        assert log_p.exp().mean().item() == pytest.approx(mass, rel=1e-6)
        assert log_p.mean().item() < math.log(mass) - 1e-3


def test_dequantise_and_quantise_undo_each_other() -> None:
    x = torch.randint(256, (3, 1, 4, 4), dtype=torch.uint8, generator=generator())
    u = torch.rand(3, 1, 4, 4, generator=generator(1))
    y = flows.dequantise(x, u)
    torch.testing.assert_close(y, x + u)
    torch.testing.assert_close(flows.dequantise(data.to_float(x), u), y)  # as Batches yield them
    assert torch.equal(flows.quantise(y), x)
    nearly = torch.full(x.shape, 1 - 2**-24)
    assert torch.equal(flows.quantise(flows.dequantise(x, nearly)), x)  # though 255 + u is rounded to 256
    bits = torch.tensor([[0.0, 1.0]])
    assert flows.dequantise(bits, torch.tensor([[0.25, 0.5]]), levels=2).tolist() == [[0.25, 1.5]]
    assert flows.quantise(torch.tensor([-3.0, 1.7, 9.0]), levels=4).tolist() == [0, 1, 3]


def test_bits() -> None:
    assert flows.bits_per_dim(torch.tensor([-80.0]), 784).item() == pytest.approx(0.1472, abs=1e-4)
    assert flows.bits_per_dim(torch.tensor([-784 * math.log(256)]), 784).item() == pytest.approx(8)


# ----------------------------------------------------------------------------------------------- samples and training


def test_samples_follow_the_density() -> None:
    f = unsettle(coupling.couplings([*two_masks(2)], lambda: common.mlp(2, 16, 4, act=nn.Tanh)), 0.5)
    x = flows.sample(f, 20_000, (2,), generator=generator())
    with torch.no_grad():
        # E log p(x) under the samples is minus the entropy of z plus the mean log-determinant
        mean = flows.log_prob(f, x)
        exact = -math.log(2 * math.pi * math.e) + f(x)[1]
    difference = (mean - exact).mean().item()
    assert abs(difference) < 4 * (mean - exact).std().item() / math.sqrt(20_000)
    assert torch.equal(x, flows.sample(f, 20_000, (2,), generator=generator()))


def test_temperature_scales_the_noise_and_the_mode_comes_back() -> None:
    f = invertible.Flow(invertible.Conv1x1(2), invertible.ActNorm(2))
    f.train()
    f.maps[1].eval()
    cold = flows.sample(f, 5, (2,), temperature=0.5, generator=generator())
    torch.testing.assert_close(cold, 0.5 * flows.sample(f, 5, (2,), generator=generator()))  # a linear map
    assert f.training and not f.maps[1].training
    assert flows.sample(f, 3, (2,), temperature=0.0).abs().max() == 0


def test_the_player_minimises_nats_and_repeats_its_noise() -> None:
    x = torch.randint(256, (32, 1, 4, 4), dtype=torch.uint8, generator=generator())

    def losses(steps: int, state: dict[str, Any] | None = None) -> tuple[list[float], dict[str, Any]]:
        torch.manual_seed(0)
        f = coupling.RealNVP(size=4, width=4, steps=2)
        noise, batches = train.Noise(0), data.Batches(x, 16)
        adam = torch.optim.Adam(f.parameters(), 1e-2)
        start = 0
        if state is not None:
            f.load_state_dict(state["f"])
            adam.load_state_dict(state["adam"])
            noise.load_state_dict(state["noise"])
            batches.load_state_dict(state["batches"])
            start = state["step"]
        found = []
        for _, row in train.train(flows.player(f, adam, noise=noise), batches, steps, start=start):
            found.append(row["flow"])
        kept = {"f": f.state_dict(), "adam": adam.state_dict(), "noise": noise.state_dict()}
        return found, kept | {"batches": batches.state_dict(), "step": steps}

    whole, _ = losses(6)
    first, state = losses(3)
    second, _ = losses(6, state)
    assert first + second == whole
    # a loss in nats per image: uniform bytes cost 16 log 256 and cannot be had for less
    assert 16 * math.log(256) * 0.95 < min(whole) and whole[-1] < whole[0]


def test_two_processes_have_the_gradient_of_one() -> None:
    x = data.to_float(torch.randint(256, (8, 1, 4, 4), dtype=torch.uint8, generator=generator()))
    f = unsettle(coupling.RealNVP(size=4, width=4, steps=2)).float().eval()
    adam = torch.optim.Adam(f.parameters())

    def gradient(batch: Tensor, noise: train.Noise) -> Tensor:
        loss = flows.player(f, adam, noise=noise).loss(batch, 1)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(f.parameters()))])

    whole = gradient(x, train.Noise(7))
    parts = [gradient(x[rank::2], train.Noise(7, rank=rank, world=2)) for rank in (0, 1)]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole, rtol=1e-3, atol=1e-3)


def test_real_numbers_need_no_noise() -> None:
    f = coupling.couplings([*two_masks(2)], lambda: common.mlp(2, 8, 4))
    x = torch.randn(64, 2, generator=generator()) * 3 + 5
    player = flows.player(f, torch.optim.Adam(f.parameters(), 1e-2))
    rows = [row["flow"] for _, row in train.train(player, [x], 60)]
    assert rows[-1] < rows[0]
    torch.testing.assert_close(player.loss(x, 1), -flows.log_prob(f, x).mean())


# ------------------------------------------------------------------------------------------------- precision, devices


def test_under_bf16_log_determinants_and_ways_back_stay_float32() -> None:
    f = unsettle(coupling.RealNVP(size=8, width=8, steps=2), 0.05).float().eval()
    x = flows.dequantise(torch.randint(256, (4, 1, 8, 8), generator=generator()), torch.rand(4, 1, 8, 8))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        z, log_det = f(x)
        back = f.inverse(z)
        log_p = flows.log_prob(f, x)
    assert z.dtype == log_det.dtype == back.dtype == log_p.dtype == torch.float32
    assert (back - x).abs().max() < 0.5  # half a grey level: the networks repeat themselves exactly
    exact = f.double()(x.double())[1]
    torch.testing.assert_close(log_det.double(), exact, rtol=5e-3, atol=0.5)


@pytest.fixture
def gpu() -> Iterator[None]:
    with FakeTensorMode(shape_env=ShapeEnv()), Zeros():
        yield


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", MAPS)
def test_maps_on_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # MADE sorts its order, which a fake tensor does not have
    monkeypatch.setattr(masked, "MADE", lambda d, **_: Regression(torch.zeros(d, d), torch.zeros(d)))
    monkeypatch.setitem(globals(), "order", lambda: None)
    make, shape = MAPS[name]
    with torch.device("cuda"):
        f = make()
    x = torch.rand(4, *shape, device="cuda")
    z, log_det = f(x)
    assert devices((z, log_det, invertible.invert(f, z), flows.log_prob(f, x))) == {"cuda"}


@pytest.mark.usefixtures("gpu")
def test_losses_and_samples_on_a_gpu() -> None:
    with torch.device("cuda"):
        f = coupling.RealNVP(size=8, width=4, steps=2)
    adam = torch.optim.SGD(f.parameters(), lr=0.1)
    x = torch.rand(4, 1, 8, 8, device="cuda")
    assert devices(flows.player(f, adam, noise=train.Noise(device="cuda")).loss(x, 1)) == {"cuda"}
    assert devices(flows.sample(f, 3, f.z_shape, generator=torch.Generator())) == {"cuda"}
    with pytest.raises(ValueError, match=r"the batch is on cuda:0, but the noise is on cpu: Noise\(device=…\)"):
        flows.player(f, adam, noise=train.Noise()).loss(x, 1)


# ------------------------------------------------------------------------------------------------------- bad input


class Careless(nn.Module):
    """Sees everything."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.body = nn.Linear(d, 2 * d)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).view(*x.shape, 2)


class Circle(nn.Module):
    """Output 0 sees x_1 and output 1 sees x_0: no entry on the diagonal, and yet no order."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * torch.stack([x.flip(1), x.flip(1)], 2)


def unmasked_from_zero(d: int) -> nn.Module:
    """Sees everything, and starts as a constant, as networks of flows often do."""
    last = nn.Linear(8, 2 * d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(d, 8), nn.ReLU(), last, nn.Unflatten(1, (d, 2)))


def test_a_maf_refuses_networks_that_are_not_autoregressive() -> None:
    for net, d in ((Careless(4), 4), (Circle(), 2), (unmasked_from_zero(3), 3)):
        with pytest.raises(ValueError, match=r"not autoregressive.*circle.*MADE"):
            coupling.MAF(net, d)
    net = made(order=order())
    before = {name: p.clone() for name, p in net.state_dict().items()}
    coupling.MAF(net.train(), D)  # any order will do
    assert net.training and all(torch.equal(p, before[name]) for name, p in net.state_dict().items())
    for limit in (0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"limit={limit} must be positive and finite"):
            coupling.MAF(made(), D, limit=limit)
    with pytest.raises(ValueError, match=r"must give \(n, 6, 2\)"):
        coupling.MAF(masked.MADE(D, hidden=(5,)), D)
    with pytest.raises(ValueError, match=r"shape \(n, 6\).*flatten"):
        coupling.MAF(made(), D)(torch.zeros(2, 2, 3))


@pytest.mark.parametrize("channels", [1, 3, 0])
def test_odd_channels_have_no_halves(channels: int) -> None:
    with pytest.raises(ValueError, match=rf"channels={channels}: .*even.*Squeeze.*checkerboard"):
        coupling.halves(channels)


def test_couplings_refuse_masks_and_networks_that_do_not_fit() -> None:
    net = common.mlp(4, 8)
    for mask in (torch.ones(4), torch.zeros(4), torch.tensor([0.5, 1, 0, 0])):
        with pytest.raises(ValueError, match="zeros and ones, and some of each"):
            coupling.Coupling(net, mask)
    with pytest.raises(ValueError, match=r"must give \(2, 8\).*gave \(2, 3\)"):
        coupling.Coupling(common.mlp(4, 3), coupling.halves(4))(torch.zeros(2, 4))
    for limit in (0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"limit={limit} must be positive and finite"):
            coupling.Coupling(net, coupling.halves(4), limit=limit)
    for masks in ([], [coupling.halves(4)]):
        with pytest.raises(ValueError, match=r"moved by some coupling.*complement"):
            coupling.couplings(masks, lambda: net)


def test_images_of_the_wrong_size() -> None:
    with pytest.raises(ValueError, match=r"even sides.*\(1, 1, 7, 8\).*pad"):
        invertible.Squeeze()(torch.zeros(1, 1, 7, 8))
    for z in (torch.zeros(1, 6, 2, 2), torch.zeros(1, 0, 2, 2), torch.zeros(4, 2, 2)):
        with pytest.raises(ValueError, match=r"Squeeze makes .*multiple of 4"):
            invertible.Squeeze().inverse(z)
    with pytest.raises(ValueError, match=r"size=14: .*multiple of 4.*16"):
        coupling.RealNVP(size=14)
    with pytest.raises(ValueError, match="steps=1 must be at least 2"):
        coupling.RealNVP(steps=1)
    f = coupling.RealNVP(size=8, width=4, steps=2)
    with pytest.raises(ValueError, match=r"\(n, 1, 8, 8\)"):
        f(torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match=r"z must have shape \(n, 16, 2, 2\)"):
        f.inverse(torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("make", [invertible.ActNorm, invertible.Conv1x1])
def test_channels_that_a_map_does_not_have(make: Callable[[int], nn.Module]) -> None:
    f = make(4)
    for x in (torch.zeros(2, 1, 4, 4), torch.zeros(2, 5), torch.zeros(4)):  # 1 channel would be broadcast
        for run in (f, f.eval(), f.inverse):
            with pytest.raises(ValueError, match=r"\(4\) takes rows \(n, 4\) or images \(n, 4, h, w\)"):
                run(x)


def test_pixels_off_their_levels() -> None:
    u = torch.rand(2, 3)
    with pytest.raises(ValueError, match="levels=1 must be at least 2"):
        flows.dequantise(torch.zeros(2, 3), u, levels=1)
    for x, message in (
        (torch.rand(2, 3), "off by up to"),
        (torch.full((2, 3), 300), "ranges from 300 to 300"),
        (-torch.ones(2, 3), "whole numbers from 0 to 255"),
    ):
        with pytest.raises(ValueError, match=message):
            flows.dequantise(x, u)
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"u must be floats of the shape \(2, 3\).*noise\.uniform"):
        flows.dequantise(x, torch.rand(3))
    with pytest.raises(ValueError, match=r"u must lie in \[0, 1\)"):
        flows.dequantise(x, u + 1)
    with pytest.raises(ValueError, match=r"NaN.*temperature"):
        flows.quantise(torch.tensor([math.nan]))
    with pytest.raises(ValueError, match=r"takes values in \[0, 256\].*dequantise"):
        invertible.Logit()(torch.tensor([[257.0]]))
    for options in ({"levels": 0}, {"levels": math.inf}, {"margin": 0.0}, {"margin": 0.5}):
        with pytest.raises(ValueError, match=r"levels=.*margin="):
            invertible.Logit(**options)


def test_functions_refuse_what_they_cannot_use() -> None:
    f = invertible.Flow(invertible.ActNorm(2))
    with pytest.raises(ValueError, match=r"uint8.*dequantise"):
        flows.log_prob(f, torch.zeros(2, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"log-determinant for each of 3 examples"):
        flows.log_prob(lambda x: (x, torch.zeros(3, 2)), torch.zeros(3, 2))
    for dims in (0, True, 2.5):
        with pytest.raises(ValueError, match="dims="):
            flows.bits_per_dim(torch.zeros(2), dims)
    for T in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="must be finite and not negative"):
            flows.sample(f, 2, (2,), temperature=T)
    with pytest.raises(ValueError, match=r"Linear has no inverse"):
        flows.sample(invertible.Flow(nn.Linear(2, 2)), 2, (2,))


def test_ranks_stored_in_half_precision_are_a_density_still() -> None:
    """The zoo keeps float16: the rows of the table then sum to 1 only nearly, and what is computed must not care."""
    x = torch.randint(0, 200, (50, 1), generator=torch.Generator().manual_seed(0))
    ranks = invertible.Ranks((1,), levels=200).fit(x, extra=0.3)
    ranks.P.copy_(ranks.P.half())
    assert abs(float(ranks.P.sum()) - 1) > 1e-6
    every = torch.arange(200)[:, None].double()
    log_p = flows.log_prob(invertible.Flow(ranks), every + 0.5)  # constant within a level, so this is the mass
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
