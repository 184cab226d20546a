"""Generation as reinforcement learning: gradients by scores, regularised optima, preferences, and their player.

A generator that draws x with probability π(x) is a policy; x earns a reward r(x). Log-probabilities are of whole
examples, in nats: sums over the steps of a sequence, never means. Functions return one value per example, to be
minimised where they are losses; the caller averages once, last.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.densities import PerExample, check_shapes
from genlab.train import Noise, Player


def check_rewards(rewards: Tensor) -> None:
    """Raise a ValueError unless rewards are finite floats.

    One that is not a number would make every weight so, and an infinite one says that an example is impossible: such
    examples are to be left out of the batch, or given the smallest reward that is meant.
    """
    if not isinstance(rewards, Tensor) or not rewards.is_floating_point():
        got = f"dtype {rewards.dtype}" if isinstance(rewards, Tensor) else type(rewards).__name__
        raise ValueError(f"rewards must be a tensor of floats, but have {got}; try torch.as_tensor(rewards).float()")
    if wrong := int((~rewards.isfinite()).sum()):
        raise ValueError(
            f"{wrong} of {rewards.numel()} rewards are NaN or infinite: mend the reward, or give such examples a "
            "finite penalty"
        )


# ------------------------------------------------------------------------------------------- the gradient of a reward


def reinforce(log_prob: PerExample, advantage: PerExample) -> PerExample:
    """−A log π(x), whose gradient is on average −∇ E[r] for A = r − b with any b that x does not change.

    The advantage is held fixed: no gradient runs through it. Source: Williams 1992, REINFORCE.
    """
    check_shapes("n", log_prob=log_prob, advantage=advantage)
    check_rewards(advantage)
    return -advantage.detach() * log_prob


def leave_one_out(rewards: PerExample) -> PerExample:
    """r_i − the mean of the other rewards: a baseline that example i does not change, so the gradient stays unbiased.

    The mean of all, i's own included, would shrink the gradient to (1 − 1/n) of itself. Source: Kool et al. 2019.

    Raises:
        ValueError: there is one reward alone, or one is not finite.
    """
    check_shapes("n", rewards=rewards)
    check_rewards(rewards)
    if (n := len(rewards)) < 2:
        raise ValueError(f"leave_one_out needs two rewards or more, but got {n}; draw several examples a step")
    return (rewards - rewards.mean()) * (n / (n - 1))


def group_advantages(rewards: Float[Tensor, "g n"], *, scaled: bool = True) -> Float[Tensor, "g n"]:
    """r − mean, and divided by the standard deviation where `scaled`, within each group of n answers to one question.

    The mean includes the example's own reward, and the division weighs groups by how little they differ: both leave
    the gradient of E[r] (by the factor 1 − 1/n, and in direction). A group of equal rewards has advantage 0.
    Source: Shao et al. 2024 (GRPO).

    Raises:
        ValueError: groups of one, or a reward that is not finite.
    """
    check_shapes("g n", rewards=rewards)
    check_rewards(rewards)
    if rewards.shape[1] < 2:
        raise ValueError(f"a group needs two answers or more, but rewards have shape {tuple(rewards.shape)}: (g, n)")
    # Equal rewards may have a mean, and so a deviation, that is off by rounding: their extremes are equal all the same.
    varied = rewards.amax(1, keepdim=True) > rewards.amin(1, keepdim=True)
    centred = torch.where(varied, rewards - rewards.mean(1, keepdim=True), 0.0)
    if not scaled:
        return centred
    deviation = rewards.std(1, keepdim=True)
    return centred / deviation.where(varied & (deviation > 0), torch.ones_like(deviation))


def clipped(log_prob: PerExample, old: PerExample, advantage: PerExample, *, eps: float = 0.2) -> PerExample:
    """−min(wA, clip(w, 1 − ε, 1 + ε)A) with w = π(x)/π_old(x): no gain beyond the clip, and no limit to a loss.

    w is the ratio of a whole example; PPO takes one for each action. Source: Schulman et al. 2017, eq. 7 (PPO).

    Raises:
        ValueError: eps does not lie between 0 and 1, or shapes differ.
    """
    check_shapes("n", log_prob=log_prob, old=old, advantage=advantage)
    check_rewards(advantage)
    if not 0 < eps < 1:
        raise ValueError(f"eps={eps} must lie between 0 and 1; 0.2 is usual")
    log_ratio, fixed = log_prob - old.detach(), advantage.detach()
    # Clipped before exp, which overflows from 89 on: 0 times infinity would make NaN of a gradient that is 0.
    above, below = log_ratio.clamp(max=math.log1p(eps)), log_ratio.clamp(min=math.log1p(-eps))
    return -torch.where(fixed < 0, below, above).exp() * fixed


# --------------------------------------------------------------------------------------------- near a reference


def kl_estimate(log_prob: PerExample, reference: PerExample, kind: Literal["k1", "k2", "k3"] = "k3") -> PerExample:
    """KL(π‖p) from samples x of π, by log π(x) and the reference's log p(x), in nats.

    With u = log p(x) − log π(x): k1 = −u, k2 = u²/2, k3 = e^u − 1 − u. The values of k1 and k3 are unbiased and that of
    k2 is not. As losses they are other things, since autograd does not see that x comes from π: the gradient of k1 is 0
    on average, that of k2 is the gradient of KL(π‖p), and that of k3 the gradient of KL(p‖π).
    Source: Schulman 2020, Approximating KL divergence.

    Raises:
        ValueError: the kind is unknown, or shapes differ.
    """
    check_shapes("n", log_prob=log_prob, reference=reference)
    u = reference - log_prob
    if kind == "k1":
        return -u
    if kind == "k2":
        return u.square() / 2
    if kind == "k3":
        return u.expm1() - u
    raise ValueError(f"kind must be k1, k2 or k3, but is {kind!r}")


class Tilted(NamedTuple):
    """log p*(x) over all x (…, k), and log Z (…)."""

    log_p: Tensor
    log_z: Tensor


def tilted(log_p: Float[Tensor, "*b k"], rewards: Float[Tensor, "*b k"], beta: float) -> Tilted:
    """p*(x) = p(x) e^(r(x)/β) / Z, which maximises E_q[r] − β KL(q‖p); the maximum is β log Z.

    Args:
        log_p: log-probabilities of the reference over a finite set, in nats; those of each row sum to 1.
        rewards: of each of its elements.
        beta: price of a nat.

    Raises:
        ValueError: beta is not positive, a reward is not finite, log_p does not sum to 1, or rewards / beta are too
            large a number for their dtype.
    """
    check_shapes("k" if log_p.ndim == 1 else "b …", log_p=log_p, rewards=rewards)
    check_rewards(rewards)
    _check_beta(beta)
    if (~(log_p.logsumexp(-1).abs() < 1e-3)).any():
        raise ValueError("log_p must be log-probabilities that sum to 1; try log_softmax(-1)")
    joint = log_p + rewards / beta
    log_z = joint.logsumexp(-1)
    if (~log_z.isfinite()).any():
        raise ValueError(f"rewards / beta leave the range of {joint.dtype} at beta={beta}; take a larger beta")
    return Tilted(joint - log_z[..., None], log_z)


def dpo(
    chosen: PerExample,
    rejected: PerExample,
    *,
    reference_chosen: PerExample,
    reference_rejected: PerExample,
    beta: float = 0.1,
) -> PerExample:
    """−log sigmoid(β [log π(c)/p(c) − log π(r)/p(r)]) for a chosen answer c and a rejected one r.

    Log-probabilities are sums over an answer's tokens: means would weigh answers by their lengths, and the optimum
    would not be p*. Source: Rafailov et al. 2023, eq. 7.

    Raises:
        ValueError: beta is not positive, or shapes differ.
    """
    check_shapes("n", chosen=chosen, rejected=rejected, of_chosen=reference_chosen, of_rejected=reference_rejected)
    _check_beta(beta)
    margin = (chosen - reference_chosen.detach()) - (rejected - reference_rejected.detach())
    return -F.logsigmoid(beta * margin)


def best_of_n_kl(n: int) -> float:
    """log n − (n − 1)/n: KL in nats of the best of n draws from a draw, where two draws never earn the same reward.

    With ties, also of a draw with its equal, as on every finite set, it is an upper bound: Beirami et al. 2024, who
    found it quoted as an equality. Source: Stiennon et al. 2020.

    Raises:
        ValueError: n is not a whole number of at least 1.
    """
    if not (isinstance(n, int) and n >= 1):
        raise ValueError(f"n={n} draws must be a whole number of at least 1")
    return math.log(n) - (n - 1) / n


def trajectory_balance(
    log_z: Float[Tensor, ""], forward: PerExample, backward: PerExample, log_reward: PerExample
) -> PerExample:
    """(log Z + Σ log P_F − log R(x) − Σ log P_B)² of a trajectory to x; 0 on all of them where π(x) = R(x)/Z.

    Source: Malkin et al. 2022 (GFlowNets).

    Raises:
        ValueError: log_z is more than one number, shapes differ, or a log-reward is not finite.
    """
    if log_z.ndim:
        raise ValueError(
            f"log_z has shape {tuple(log_z.shape)}, but one number Z belongs to all trajectories; give a 0-d tensor"
        )
    check_shapes("n", forward=forward, backward=backward, log_reward=log_reward)
    check_rewards(log_reward)
    return (log_z + forward - log_reward - backward).square()


def _check_beta(beta: float) -> None:
    if not 0 < beta < math.inf:
        raise ValueError(f"beta={beta} must be positive: it is the price of a nat of KL; without one use a tiny one")


# -------------------------------------------------------------------------------------------------------- the player


class Policy(NamedTuple):
    """How a generator is used as a policy.

    Attributes:
        draw: (model, n, noise) -> x, n examples.
        log_prob: (model, x) -> log π(x) of whole examples (n,), in nats, with a gradient.
    """

    draw: Callable[[nn.Module, int, Noise], Tensor]
    log_prob: Callable[[nn.Module, Tensor], Tensor]


def player(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    policy: Policy,
    reward: Callable[[Tensor], Tensor],
    noise: Noise,
    reference: nn.Module | None = None,
    beta: float = 0.0,
) -> Player:
    """A generator as one player that maximises E[r(x)] − β KL(π‖p) by REINFORCE with leave-one-out baselines.

    It draws as many examples as the batch has, and looks at nothing else in it. Each process, and each part of an
    accumulated batch, leaves one out among its own draws. The price of KL is part of the reward:
    β (log π(x) − log p(x)) is taken off, held fixed.

    Args:
        model: the generator π.
        optimizer: of its weights.
        policy: how it draws and scores.
        reward: x -> r (n,), finite.
        noise: what the draws come from.
        reference: p; a frozen copy of the model before training.
        beta: price of a nat; 0 goes without a reference.

    Raises:
        ValueError: beta without a reference or the reverse, or a reference that shares trained weights with the model;
            in training, rewards of another shape or not finite.
    """
    if (reference is None) != (beta == 0) or not 0 <= beta < math.inf:
        raise ValueError(
            f"beta={beta} and a reference {'is missing' if reference is None else 'is given'}: KL needs both, a price "
            "beta > 0 and a reference to stay near; REINFORCE without KL needs neither"
        )
    trained = {id(weight) for weight in model.parameters() if weight.requires_grad}
    if reference is not None and any(id(weight) in trained for weight in reference.parameters()):
        raise ValueError(
            "the reference shares weights with the model and would be trained along with it: their KL would be 0 for "
            "ever where all are shared; give it a copy made before training, copy.deepcopy(model)"
        )

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        n = len(unpack(batch)[0])
        with torch.no_grad():
            x = policy.draw(model, n, noise)
        log_prob = policy.log_prob(model, x)
        with torch.no_grad():
            earned = reward(x)
            check_shapes("n", log_prob=log_prob, rewards=earned)
            check_rewards(earned)
            if reference is not None:
                earned = earned - beta * (log_prob - policy.log_prob(reference, x))
        return reinforce(log_prob, leave_one_out(earned)).mean()

    return Player("policy", model, loss, optimizer)
