"""Policies: every expectation is a sum over all outcomes, so a wrong sign, factor or baseline has nowhere to hide."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from genlab import autoregressive as ar
from genlab import policy, train
from genlab.nets.masked import MADE
from genlab.train import Noise
from tests import test_cuda

LOGITS = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
REWARDS = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
P = LOGITS.softmax(0)


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor = LOGITS) -> Tensor:
    """Of a function of the logits."""
    logits = at.clone().requires_grad_()
    return torch.autograd.grad(loss(logits), logits)[0]


def expected(per_example: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """E under the policy, as sampling sees it: the probabilities of the outcomes are held fixed."""
    return lambda logits: (P * per_example(logits.log_softmax(0))).sum()


# -------------------------------------------------------------------------------------------- the gradient of a reward

TRUE = gradient(lambda logits: -(logits.softmax(0) * REWARDS).sum())


@pytest.mark.parametrize("baseline", [0.0, float((P * REWARDS).sum()), -10.0])
def test_reinforce_is_unbiased_for_every_baseline(baseline: float) -> None:
    found = gradient(expected(lambda log_p: policy.reinforce(log_p, REWARDS - baseline)))
    assert torch.allclose(found, TRUE, atol=1e-14)
    assert torch.allclose(TRUE, -P * (REWARDS - (P * REWARDS).sum()), atol=1e-14)


def test_no_gradient_runs_through_the_advantage() -> None:
    scale = torch.tensor(2.0, requires_grad=True)
    loss = policy.reinforce(torch.zeros(3, requires_grad=True), torch.ones(3) * scale).sum()
    loss.backward()
    assert scale.grad is None


def over_groups(advantages: Callable[[Tensor], Tensor], n: int = 3) -> Tensor:
    """The gradient of a batch of n independent draws, averaged over all batches."""
    total = torch.zeros(3, dtype=torch.float64)
    for group in itertools.product(range(3), repeat=n):
        chosen = torch.tensor(group)
        weight = P[chosen].prod()
        total += weight * gradient(
            lambda logits, c=chosen: policy.reinforce(logits.log_softmax(0)[c], advantages(REWARDS[c])).mean()
        )
    return total


def test_leave_one_out_keeps_the_gradient_and_the_mean_of_all_shrinks_it() -> None:
    assert torch.allclose(over_groups(policy.leave_one_out), TRUE, atol=1e-14)
    of_all = over_groups(lambda r: policy.group_advantages(r[None], scaled=False)[0])
    assert torch.allclose(of_all, TRUE * (1 - 1 / 3), atol=1e-14)
    others = torch.stack([REWARDS[[1, 2]].mean(), REWARDS[[0, 2]].mean(), REWARDS[[0, 1]].mean()])
    assert torch.allclose(policy.leave_one_out(REWARDS), REWARDS - others)


def test_dividing_by_the_groups_deviation_turns_the_gradient() -> None:
    found = over_groups(lambda r: policy.group_advantages(r[None])[0])
    cosine = torch.nn.functional.cosine_similarity(found, TRUE, 0)
    assert 0 < cosine < 0.9
    one = policy.group_advantages(torch.tensor([[1.0, 3.0], [5.0, 5.0]]))
    assert torch.allclose(one, torch.tensor([[-(0.5**0.5), 0.5**0.5], [0.0, 0.0]]))


@pytest.mark.parametrize("reward", [0.1, 0.3])
def test_a_group_of_equal_rewards_has_no_advantage_at_all(reward: float) -> None:
    """Their mean may be off by rounding in float32; divided by a deviation as small that would be a number near 1."""
    for shape in itertools.product((1, 2), range(2, 17)):
        rewards = torch.full(shape, reward)
        for scaled in (True, False):
            assert torch.equal(policy.group_advantages(rewards, scaled=scaled), torch.zeros(shape))
    rewards[1, 0] += 1e-4
    assert policy.group_advantages(rewards)[1, 0] > 3


@pytest.mark.parametrize(("advantage", "slopes"), [(1.0, [1, 1, 1, 0]), (-1.0, [0, -1, -1, -1])])
def test_ppo_clips_gains_alone(advantage: float, slopes: list[float]) -> None:
    ratios = torch.tensor([0.5, 0.9, 1.1, 1.5])
    log_prob = ratios.log().requires_grad_()
    loss = policy.clipped(log_prob, torch.zeros(4), torch.full((4,), advantage))
    assert torch.allclose(loss.detach(), -torch.minimum(ratios * advantage, ratios.clamp(0.8, 1.2) * advantage))
    loss.sum().backward()
    assert log_prob.grad is not None
    assert torch.allclose(log_prob.grad / ratios, -torch.tensor(slopes, dtype=torch.float32))  # d loss / d ρ


@pytest.mark.parametrize(("advantage", "far"), [(1.0, 200.0), (0.0, 200.0), (-1.0, 80.0)])
def test_ppo_far_from_the_old_policy(advantage: float, far: float) -> None:
    """exp(200) is infinite in float32. So is the loss at A < 0, which has no limit: there we go as far as 80."""
    log_prob = torch.tensor([far, -far], requires_grad=True)
    loss = policy.clipped(log_prob, torch.zeros(2), torch.full((2,), advantage))
    loss.sum().backward()
    assert log_prob.grad is not None and loss.isfinite().all() and log_prob.grad.isfinite().all()
    if advantage >= 0:
        assert torch.allclose(loss.detach(), torch.tensor([-1.2, 0.0]) * advantage)
        assert torch.equal(log_prob.grad, torch.zeros(2))
    else:
        assert log_prob.grad[0] > 1e34 and log_prob.grad[1] == 0


# ------------------------------------------------------------------------------------------------- near a reference

REFERENCE = torch.tensor([-0.2, 0.4, 0.1], dtype=torch.float64).log_softmax(0)
KL = (P * (P.log() - REFERENCE)).sum()


def test_values_of_the_kl_estimators() -> None:
    value = {kind: (P * policy.kl_estimate(P.log(), REFERENCE, kind)).sum() for kind in ("k1", "k2", "k3")}
    assert float(value["k1"]) == pytest.approx(float(KL), abs=1e-15)
    assert float(value["k3"]) == pytest.approx(float(KL), abs=1e-15)
    assert abs(float(value["k2"] - KL)) > 0.01
    assert (policy.kl_estimate(P.log(), REFERENCE) >= 0).all()  # k3, each value


def test_gradients_of_the_kl_estimators() -> None:
    """What minimising each one does, in the mean over draws."""
    reverse = gradient(lambda a: (a.softmax(0) * (a.log_softmax(0) - REFERENCE)).sum())
    forward = gradient(lambda a: (REFERENCE.exp() * (REFERENCE - a.log_softmax(0))).sum())
    found = {k: gradient(expected(lambda lp, k=k: policy.kl_estimate(lp, REFERENCE, k))) for k in ("k1", "k2", "k3")}
    assert found["k1"].abs().max() < 1e-15
    assert torch.allclose(found["k2"], reverse, atol=1e-15) and torch.allclose(found["k3"], forward, atol=1e-15)
    assert not torch.allclose(reverse, forward, atol=0.01)


@pytest.mark.parametrize("beta", [0.3, 1.0, 5.0])
def test_the_tilted_distribution_is_the_optimum(beta: float) -> None:
    best = policy.tilted(REFERENCE, REWARDS, beta)

    def objective(log_q: Tensor) -> Tensor:
        return (log_q.exp() * (REWARDS - beta * (log_q - REFERENCE))).sum()

    assert float(best.log_p.exp().sum()) == pytest.approx(1, abs=1e-14)
    assert float(objective(best.log_p)) == pytest.approx(float(beta * best.log_z), abs=1e-14)
    for seed in range(5):
        other = torch.randn(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).log_softmax(0)
        short = beta * (other.exp() * (other - best.log_p)).sum()
        assert float(objective(other)) == pytest.approx(float(beta * best.log_z - short), abs=1e-12)
    batch = policy.tilted(torch.stack([REFERENCE, REFERENCE]), torch.stack([REWARDS, 0 * REWARDS]), beta)
    assert torch.allclose(batch.log_p[0], best.log_p) and torch.allclose(batch.log_p[1], REFERENCE)


def test_the_optimum_of_dpo_is_the_tilted_distribution() -> None:
    """Preferences of Bradley and Terry, over all pairs: the gradient is 0 at p*, and at the reference it is not."""
    beta = 0.7
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    chosen, rejected = (torch.tensor(side) for side in zip(*pairs, strict=True))
    preferred = (REWARDS[chosen] - REWARDS[rejected]).sigmoid()

    def loss(logits: Tensor) -> Tensor:
        log_p = logits.log_softmax(0)
        known = {"reference_chosen": REFERENCE[chosen], "reference_rejected": REFERENCE[rejected]}
        return (preferred * policy.dpo(log_p[chosen], log_p[rejected], beta=beta, **known)).sum()

    best = policy.tilted(REFERENCE, REWARDS, beta).log_p
    assert gradient(loss, best).abs().max() < 1e-12 < 0.01 < gradient(loss, REFERENCE).abs().max()
    start = {"reference_chosen": torch.zeros(1), "reference_rejected": torch.zeros(1)}
    assert policy.dpo(torch.zeros(1), torch.zeros(1), **start).item() == pytest.approx(math.log(2))


def test_dpo_does_not_train_the_reference() -> None:
    model, reference = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    known = {"reference_chosen": reference[:1], "reference_rejected": reference[1:]}
    policy.dpo(model[:1], model[1:], **known).sum().backward()
    assert model.grad is not None and model.grad.abs().min() > 0 and reference.grad is None


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_kl_of_the_best_of_n(n: int) -> None:
    """The best of n has the density n uⁿ⁻¹ in the quantile u of the reward; its KL by quadrature, Gauss-Legendre."""
    import numpy as np

    u, weights = np.polynomial.legendre.leggauss(200)
    u = (u + 1) / 2
    density = n * u ** (n - 1)
    found = float((weights / 2 * density * np.log(density)).sum())
    assert policy.best_of_n_kl(n) == pytest.approx(found, abs=1e-6)


def test_trajectory_balance_is_zero_where_flows_match_rewards_and_only_there() -> None:
    """Two steps to one of three ends, of which the middle one is reached on two ways."""
    rewards = torch.tensor([2.0, 3.0, 3.0, 5.0], dtype=torch.float64)  # the middle end appears once for each way
    backward = torch.tensor([0.0, math.log(1 / 3), math.log(2 / 3), 0.0], dtype=torch.float64)
    flow = rewards * backward.exp()  # through each way
    forward, log_z = (flow / flow.sum()).log(), flow.sum().log()
    assert float(log_z.exp()) == pytest.approx(10)
    assert policy.trajectory_balance(log_z, forward, backward, rewards.log()).max() < 1e-28
    wrong = policy.trajectory_balance(log_z + 0.1, forward, backward, rewards.log())
    assert torch.allclose(wrong, torch.full((4,), 0.01, dtype=torch.float64))
    assert (policy.trajectory_balance(log_z, backward, forward, rewards.log()) > 1e-3).any()


# ------------------------------------------------------------------------------------------------------- the player


class Bits(nn.Module):
    """Three independent bits: the smallest generator whose optimum is known."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(3, dtype=torch.float64))


def draw(model: nn.Module, n: int, noise: Noise) -> Tensor:
    logits: Any = model.logits
    return (noise.uniform(n, 3) < logits.sigmoid()).double()


def log_prob(model: nn.Module, x: Tensor) -> Tensor:
    logits: Any = model.logits
    return -nn.functional.binary_cross_entropy_with_logits(logits.expand_as(x), x, reduction="none").sum(1)


POLICY = policy.Policy(draw, log_prob)
BATCHES = itertools.repeat(torch.zeros(64, 3))


def run(steps: int, **options: Any) -> Tensor:
    model = Bits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    known: dict[str, Any] = {"policy": POLICY, "reward": lambda x: x @ torch.tensor([1.0, -1.0, 0.0]).double()}
    it = policy.player(model, optimizer, noise=Noise(0), **known | options)
    for _ in train.train([it], BATCHES, steps):
        pass
    return model.logits.detach()


def test_the_player_maximises_the_reward_and_kl_holds_it_at_the_tilted_law() -> None:
    free = run(200)
    assert free[0] > 3 and free[1] < -3 and abs(free[2]) < 1
    held = run(400, reference=Bits(), beta=1.0)  # p* has logits r/β, for independent bits
    assert torch.allclose(held, torch.tensor([1.0, -1.0, 0.0]).double(), atol=0.4)
    assert torch.equal(run(5), run(5))


def test_the_players_gradient_is_that_of_the_objective() -> None:
    """Over many draws: E[r] − β KL, differentiated exactly for independent bits."""
    model, reference, beta = Bits(), Bits(), 0.5
    with torch.no_grad():
        model.logits.copy_(torch.tensor([0.5, -0.3, 1.0]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = torch.tensor([1.0, -1.0, 0.0]).double()
    it = policy.player(
        *(model, optimizer), policy=POLICY, reward=lambda x: x @ weights, noise=Noise(1), reference=reference, beta=beta
    )
    it.loss(torch.zeros(200_000, 3), 1).backward()
    rho = model.logits.detach().sigmoid()
    exact = -(rho * (1 - rho)) * (weights - beta * model.logits.detach())
    assert model.logits.grad is not None and torch.allclose(model.logits.grad, exact, atol=5e-3)


def test_a_run_that_is_resumed_ends_as_one_that_is_not() -> None:
    """Weights, optimiser and noise are the state; without the noise the draws would be others."""

    def start() -> tuple[Bits, torch.optim.Optimizer, Noise]:
        model = Bits()
        return model, torch.optim.Adam(model.parameters(), 0.1), Noise(3)

    def go(model: Bits, optimizer: torch.optim.Optimizer, noise: Noise, steps: int) -> Tensor:
        known: dict[str, Any] = {"policy": POLICY, "reward": lambda x: x.sum(1), "reference": Bits(), "beta": 0.5}
        it = policy.player(model, optimizer, noise=noise, **known)
        for _ in train.train([it], BATCHES, steps):
            pass
        return model.logits.detach()

    whole = go(*start(), 8)
    first = start()
    go(*first, 5)
    states = [copy.deepcopy(part.state_dict()) for part in first]
    ends = []
    for kept in (3, 2):  # with the noise's state, and without
        again = start()
        for part, state in zip(again[:kept], states, strict=False):
            part.load_state_dict(state)
        ends.append(go(*again, 3))
    assert torch.equal(ends[0], whole) and not torch.equal(ends[1], whole)


MADE_POLICY = policy.Policy(
    lambda model, n, noise: ar.sample(model, n, shape=(6,), generator=noise.generator), ar.log_prob
)


def test_a_network_under_bf16_autocast() -> None:
    model = MADE(6, hidden=(8,))
    known: dict[str, Any] = {"policy": MADE_POLICY, "reward": lambda x: x.sum(1), "noise": Noise(0)}
    it = policy.player(
        model, torch.optim.SGD(model.parameters(), 0.1), reference=copy.deepcopy(model), beta=0.1, **known
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss = it.loss(torch.zeros(16, 6), 1)
    loss.backward()
    assert loss.dtype == torch.float32
    gradients = [weight.grad for weight in model.parameters() if weight.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert any(g is not None and g.abs().max() > 0 for g in gradients)


class TestOnAGpu:
    """Placement, as tests/test_cuda.py has it."""

    @pytest.fixture(autouse=True)
    def gpu(self) -> Iterator[None]:
        """New tensors are fake ones."""
        with FakeTensorMode(shape_env=ShapeEnv()), test_cuda.Zeros():
            yield

    def test_objectives(self) -> None:
        x = torch.zeros(4, device="cuda")
        pairs = {"reference_chosen": x, "reference_rejected": x}
        found = (
            *(policy.reinforce(x, x), policy.leave_one_out(x), policy.clipped(x, x, x), policy.dpo(x, x, **pairs)),
            *(policy.group_advantages(x.view(2, 2)), policy.kl_estimate(x, x), *policy.tilted(x, x, 1.0)),
            policy.trajectory_balance(torch.zeros((), device="cuda"), x, x, x),
        )
        assert test_cuda.devices(found) == {"cuda"}

    def test_player(self) -> None:
        model, reference = (test_cuda.cuda(lambda: MADE(6, hidden=(8,))) for _ in range(2))
        it = policy.player(
            *(model, torch.optim.SGD(model.parameters(), lr=0.1)),
            policy=MADE_POLICY,
            reward=lambda x: x.sum(1),
            noise=Noise(0, device="cuda"),
            reference=reference,
            beta=0.1,
        )
        assert test_cuda.devices(it.loss(torch.zeros(4, 6, device="cuda"), 1)) == {"cuda"}


# -------------------------------------------------------------------------------------------------------- bad input

ONES = torch.ones(3)
LIVE = Bits()


def with_reference(reference: nn.Module) -> train.Player:
    optimizer = torch.optim.SGD(LIVE.parameters(), lr=0.1)
    known: dict[str, Any] = {"policy": POLICY, "reward": lambda x: x.sum(1), "noise": Noise(0), "beta": 0.5}
    return policy.player(LIVE, optimizer, reference=reference, **known)


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: policy.reinforce(ONES, torch.tensor([1.0, math.nan, 2.0])), "1 of 3 rewards are NaN"),
    (lambda: policy.reinforce(ONES, ONES[:, None]), "not broadcast"),
    (lambda: policy.leave_one_out(torch.tensor([math.inf, 1.0])), "NaN or infinite"),
    (lambda: policy.leave_one_out(torch.ones(1)), "two rewards or more, but got 1"),
    (lambda: policy.leave_one_out(torch.ones(3, dtype=torch.long)), "tensor of floats"),
    (lambda: policy.group_advantages(torch.ones(3, 1)), "two answers or more"),
    (lambda: policy.group_advantages(ONES), r"shape \(g, n\)"),
    (lambda: policy.clipped(ONES, ONES, ONES, eps=1.5), "eps=1.5 must lie between 0 and 1"),
    (lambda: policy.kl_estimate(ONES, ONES, "k4"), "k1, k2 or k3"),
    (lambda: policy.tilted(ONES, ONES, 0.0), "beta=0.0 must be positive"),
    (lambda: policy.tilted(ONES, ONES * math.nan, 1.0), "3 of 3 rewards"),
    (lambda: policy.dpo(ONES, ONES, reference_chosen=ONES, reference_rejected=ONES, beta=-1), "must be positive"),
    (lambda: policy.tilted(ONES, ONES, 1.0), "sum to 1; try log_softmax"),
    (lambda: policy.tilted(ONES * math.nan, ONES, 1.0), "sum to 1; try log_softmax"),
    (lambda: policy.tilted(ONES.log_softmax(0), ONES, 1e-39), "leave the range of torch.float32 at beta=1e-39"),
    (lambda: policy.dpo(ONES, ONES[:2], reference_chosen=ONES, reference_rejected=ONES), "not broadcast"),
    (lambda: policy.best_of_n_kl(0), "n=0 draws"),
    (lambda: policy.best_of_n_kl(2.5), "n=2.5 draws must be a whole number"),
    (lambda: policy.trajectory_balance(torch.zeros(3, 1), ONES, ONES, ONES), r"log_z has shape \(3, 1\)"),
    (lambda: policy.trajectory_balance(torch.tensor(0.0), ONES, ONES, ONES * -math.inf), "NaN or infinite"),
    (lambda: run(1, beta=0.5), "a reference is missing"),
    (lambda: run(1, reference=Bits()), "a reference is given"),
    (lambda: with_reference(LIVE), "shares weights with the model"),
    (lambda: with_reference(nn.Sequential(LIVE)), "shares weights with the model"),
    (lambda: run(1, reward=lambda x: x.sum(1, keepdim=True)), "not broadcast"),
    (lambda: run(1, reward=lambda x: x.sum(1) * math.nan), "64 of 64 rewards"),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_bad_input(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
