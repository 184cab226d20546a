"""Exercise 19.4: A budget of nats."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import optimize, special

from genlab.exercises import Exercise, Wrong


def best_reward(p, r, budget):
    """The largest mean reward of a law q with KL(q ‖ p) of at most `budget` nats.

    Probabilities p (k,), all positive, rewards r (k,) -> a number.
    """
    low, high = 0.0, 1.0  # of u, where 1/β = u / (1 - u)
    for _ in range(40):
        u = (low + high) / 2
        log_q = (p.log() + r * (u / (1 - u))).log_softmax(0)
        spent = log_q.exp() @ (log_q - p.log())
        low, high = (u, high) if spent <= budget else (low, u)
    log_q = (p.log() + r * (low / (1 - low))).log_softmax(0)
    return log_q.exp() @ r


def _by_dual(p, r, budget):
    # the least of β log E_p[e^(r/β)] + β budget over β > 0
    p, r = p.numpy(), r.numpy()
    top = r.max()

    def dual(log_beta):
        beta = np.exp(log_beta)
        return top + beta * (special.logsumexp((r - top) / beta, b=p) + budget)

    # convex in β, so it has one lowest point in log β as well
    return optimize.minimize_scalar(dual, bounds=(-14, 14), method="bounded", options={"xatol": 1e-9}).fun


def _by_root(p, r, budget):
    p, r = p.numpy(), r.numpy()
    if budget >= -np.log(p[r == r.max()].sum()) - 1e-12:
        return r.max()

    def tilted(log_rate):
        joint = np.log(p) + np.exp(log_rate) * r
        return special.softmax(joint)

    def over(log_rate):
        q = tilted(log_rate)
        return special.rel_entr(q, p).sum() - budget

    return tilted(optimize.brentq(over, -30, 12)) @ r


def _by_lists(p, r, budget):
    p, r = p.tolist(), r.tolist()
    top = max(r)

    def law(beta):
        joint = [a * math.exp((b - top) / beta) for a, b in zip(p, r, strict=True)]
        return [v / sum(joint) for v in joint]

    few, many = 1e-3, 1e6  # a price that is too low, and one that is too high
    for _ in range(100):
        beta = math.sqrt(few * many)
        spent = sum(q * math.log(q / a) for q, a in zip(law(beta), p, strict=True) if q > 0)
        few, many = (beta, many) if spent > budget else (few, beta)
    return sum(q * b for q, b in zip(law(many), r, strict=True))


def _by_torch(p, r, budget):
    # a table of what each price spends and brings, read between its lines
    rate = torch.cat([torch.zeros(1), torch.logspace(-5, 4, 20_000)]).double()
    joint = p.log()[:, None] + rate * (r - r.max())[:, None]
    log_z = joint.logsumexp(0)
    mean = (joint - log_z).exp().T @ r
    spent = rate * (mean - r.max()) - log_z
    return np.interp(budget, spent, mean)


def _tilt(p, r, rate):
    return (p.log() + rate * r).softmax(0)


def _search(p, r, budget, spent, law=_tilt):
    low, high = 0.0, 1.0
    for _ in range(40):
        u = (low + high) / 2
        q = law(p, r, u / (1 - u))
        low, high = (u, high) if spent(q, p) <= budget else (low, u)
    return law(p, r, low / (1 - low))


def _kl(q, p):
    return torch.special.xlogy(q, q / p).sum()


def _mixed(p, r, rate):
    best = torch.where(r == r.max(), p, 0.0)
    share = rate / (1 + rate)
    return (1 - share) * p + share * best / best.sum()


def _answers(g):
    k = int(torch.randint(2, 7, (), generator=g))
    p = torch.randn(k, generator=g).double().softmax(0)
    r = (2 * torch.randn(k, generator=g)).double()
    r[-1] -= 6
    room = -float(p[r.argmax()].log())  # beyond it the best answer alone is left
    return p, r, room * (0.1 + 0.7 * float(torch.rand((), generator=g)))


EXERCISE = Exercise(
    number="19.4",
    title="A budget of nats",
    difficulty=2,
    minutes=20,
    task=r"""
A price $\beta$ is hard to choose, a budget easier to justify. Over a finite set, a reference has the probabilities $p$
(k,), all positive, and $r$ (k,) are the rewards. Return the largest mean reward $\sum_x q_x r_x$ that any law $q$ with
$\operatorname{KL}(q \Vert p) \le \text{budget}$ nats can have, as one number, right to four digits. The best law is
$q_x \propto p_x\, e^{r_x/\beta}$ for the $\beta$ at which the budget is just spent: the divergence grows as $\beta$
falls. If the budget is never spent, however small $\beta$ is, the answer is the largest reward. The budget may be 0,
and rewards may be equal.""",
    inputs=_answers,
    solution=best_reward,
    explanation=r"""
With a multiplier $\beta$ for the budget the problem is that of the KL-regularised optimum, so the best law is the
tilted one; $\beta$ is what one more nat would bring, $\mathrm d\,\mathbb E_q[r]/\mathrm d\,\text{budget}$. The
divergence of the tilted law grows with $1/\beta$, from 0 to $-\log p(\text{best})$, so bisection finds it. For small
budgets the gain is $\sqrt{2\,\text{budget} \cdot \operatorname{Var}_p r}$: the first hundredth of a nat buys a tenth as
much as the first nat would at that rate, so a little divergence goes a long way, and more of it less and less.""",
    hints=(
        "Write a function that gives the tilted law and its divergence for one β. How does the divergence change with β?",
        "Bisect: if the divergence at the middle is within the budget, go on with a smaller β, else with a larger one.",
        "1/β = u/(1 − u) with u between 0 and 1 reaches all prices; log_softmax of log p + r/β stays finite.",
    ),
    wrong=(
        Wrong(
            "the other divergence",
            "The budget is held against KL(p ‖ q) here. It is KL(q ‖ p): the mean is over the new law.",
            lambda p, r, budget: _search(p, r, budget, lambda q, p: _kl(p, q)) @ r,
        ),
        Wrong(
            "a budget in bits",
            "The budget is read as bits. It is in nats: natural logarithms.",
            lambda p, r, budget: _search(p, r, budget * math.log(2), _kl) @ r,
        ),
        Wrong(
            "the smallest reward",
            "This is the least mean reward within the budget: the sign of the exponent is reversed.",
            lambda p, r, budget: -best_reward(p, -r, budget),
        ),
        Wrong(
            "the budget as the price",
            "The budget stands for β here. β is the price at which the budget is spent: it must be found.",
            lambda p, r, budget: _tilt(p, r, 1 / budget) @ r if budget else r.max(),
        ),
        Wrong(
            "a uniform reference",
            "The reference is missing: the law is a softmax of r/β, and the divergence that from the uniform law.",
            lambda p, r, budget: best_reward(torch.full_like(p, 1 / len(p)), r, budget),
        ),
        Wrong(
            "p left out of the tilt",
            "The divergence is taken from p, but the law is a softmax of r/β alone. It is p times e^(r/β).",
            lambda p, r, budget: _search(p, r, budget, _kl, lambda p, r, rate: (rate * r).softmax(0)) @ r,
        ),
        Wrong(
            "the reference mixed with the best answer",
            "This mixes p with the best answer until the budget is spent. Tilting buys more: good answers gain as well.",
            lambda p, r, budget: _search(p, r, budget, _kl, _mixed) @ r,
        ),
        Wrong(
            "the law of small budgets",
            "This is the mean plus √(2 · budget · variance), which holds for small budgets only.",
            lambda p, r, budget: p @ r + (2 * budget * (p @ r.square() - (p @ r).square()).clamp(min=0)).sqrt(),
        ),
        Wrong(
            "the gain alone",
            "This is the gain over the reference's mean reward. Asked is the mean reward itself.",
            lambda p, r, budget: best_reward(p, r, budget) - p @ r,
        ),
        Wrong(
            "half of the budget",
            "The divergence that is compared with the budget is twice too large.",
            lambda p, r, budget: best_reward(p, r, budget / 2),
        ),
        Wrong(
            "the reward of the likeliest",
            "This is the reward of one answer, the best law's most probable. Asked is the mean over the law.",
            lambda p, r, budget: r[_search(p, r, budget, _kl).argmax()],
        ),
    ),
    right=(_by_dual, _by_root, _by_lists, _by_torch),
    probes={
        "no budget": lambda f: f(torch.tensor([0.2, 0.8]).double(), torch.tensor([3.0, 1.0]).double(), 0.0),
        "more than can be spent": lambda f: f(
            torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([3.0, 1.0, -2.0]).double(), 4.0
        ),
        "two best answers, and more than can be spent": lambda f: f(
            torch.tensor([0.3, 0.5, 0.2]).double(), torch.tensor([3.0, -1.0, 3.0]).double(), 0.9
        ),
        "equal rewards": lambda f: f(torch.tensor([0.25, 0.75]).double(), torch.tensor([2.0, 2.0]).double(), 0.5),
        "one answer": lambda f: f(torch.tensor([1.0]).double(), torch.tensor([-2.0]).double(), 1.0),
        "a bad answer that is nearly certain": lambda f: f(
            torch.tensor([0.9, 0.1]).double(), torch.tensor([0.0, 1.0]).double(), 1.0
        ),
        "a small budget": lambda f: f(
            torch.tensor([0.1, 0.6, 0.3]).double(), torch.tensor([5.0, 0.0, 1.0]).double(), 0.001
        ),
    },
    discussion=r"""
**For your own work.** Report rewards against the divergence that they cost, never alone: a run with a higher reward and
twice the nats has not won. With a trained model the divergence is an estimate, $\log \pi(x) - \log p(x)$ averaged over
samples of $\pi$; it is per *sequence*, and grows with the length. Many recipes steer $\beta$ during training to hold a
budget: this is what they aim at.""",
)
