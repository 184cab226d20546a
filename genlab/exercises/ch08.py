"""Exercises of chapter 08, the minimax game."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def game_value(logits, p, q):
    """V of (8.1) for k outcomes, with D = σ(logits): (k,) three times -> a number."""
    return (p * F.logsigmoid(logits)).sum() + (q * F.logsigmoid(-logits)).sum()


def _value_by_sigmoid(logits, p, q):
    D = torch.sigmoid(logits)
    return (p * D.log() + q * (1 - D).log()).sum()


def _value_by_loop(logits, p, q):
    total = 0.0
    for i in range(len(p)):
        total = total - p[i] * F.softplus(-logits[i]) - q[i] * F.softplus(logits[i])
    return total


_SURE = torch.tensor([1000.0, -1000.0])
_LEFT, _RIGHT = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])

VALUE = Exercise(
    number="08.1",
    title="The value of a game",
    difficulty=1,
    minutes=6,
    task=r"""
There are $k$ outcomes, with probabilities `p` under the data and `q` under the generator, and $D$ is given by its
logits. Write $V$ of (8.1). It is never positive. An undecided $D$ gets $-2\log 2$. A $D$ that is right with logits of
±1,000, where `p` and `q` have no outcome in common, gets 0, and one that is wrong about both gets $-2{,}000$.""",
    inputs=lambda g: (2 * torch.randn(5, generator=g), *torch.softmax(torch.randn(2, 5, generator=g), 1)),
    solution=game_value,
    explanation=r"""
An expectation over outcomes is a sum weighted with their probabilities, and those already add up to one: no mean.
$\log D = \log\sigma(\ell)$ and $\log(1 - D) = \log\sigma(-\ell)$, which `F.logsigmoid` computes without ever rounding a
probability to 0 or 1.""",
    hints=(
        "An expectation over outcomes is a weighted sum. What are the weights of the two terms?",
        "$1 - \\sigma(\\ell) = \\sigma(-\\ell)$, and `F.logsigmoid` is the logarithm of a sigmoid that stays finite.",
        "Add `(p * F.logsigmoid(logits)).sum()` and the same with `q` and minus the logits.",
    ),
    wrong=(
        Wrong(
            "log of a sigmoid",
            _value_by_sigmoid,
            "Right for moderate logits. At ±1,000 the sigmoid is 0 or 1, its logarithm is infinite, and 0 times "
            "infinity is NaN. Use F.logsigmoid.",
        ),
        Wrong(
            "data and samples swapped",
            lambda logits, p, q: (q * F.logsigmoid(logits) + p * F.logsigmoid(-logits)).sum(),
            "Data and samples have changed places: log D belongs to p, log(1 − D) to q.",
        ),
        Wrong(
            "minus the value",
            lambda logits, p, q: (p * F.softplus(-logits) + q * F.softplus(logits)).sum(),
            "This is −V, the loss that D minimises.",
        ),
        Wrong(
            "the mean over outcomes",
            lambda logits, p, q: (p * F.logsigmoid(logits) + q * F.logsigmoid(-logits)).mean(),
            "The probabilities are the weights of the average already. Sum; do not divide by the number of outcomes.",
        ),
        Wrong(
            "the data's term alone",
            lambda logits, p, q: (p * F.logsigmoid(logits)).sum(),
            "This is the first term only. (8.1) adds what D says about generated samples.",
        ),
        Wrong(
            "log D on both",
            lambda logits, p, q: ((p + q) * F.logsigmoid(logits)).sum(),
            "On generated outcomes D is paid log(1 − D): it should say that they are not real.",
        ),
    ),
    right=(_value_by_loop, lambda logits, p, q: -p @ F.softplus(-logits) - q @ F.softplus(logits)),
    probes={
        "the value of an undecided D": lambda f: f(torch.zeros(3), torch.full((3,), 1 / 3), torch.full((3,), 1 / 3)),
        "the value of a D that is sure and right": lambda f: f(_SURE, _LEFT, _RIGHT),
        "the value of a D that is sure and wrong": lambda f: f(_SURE, _RIGHT, _LEFT),
    },
    gradient=True,
)


def dirac_step(theta, psi, h):
    """One step of (8.19) in turn, D first: the new θ and the new ψ, for n games at once: (n,), (n,)."""
    psi = psi - h * torch.sigmoid(psi * theta) * theta
    theta = theta + h * torch.sigmoid(psi * theta) * psi
    return theta, psi


def _dirac_by_autograd(theta, psi, h):
    theta, psi = theta.detach(), psi.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(-F.softplus(psi * theta).sum(), psi)
    psi = psi.detach() + h * slope
    theta = theta.requires_grad_(True)
    (slope,) = torch.autograd.grad(-F.softplus(psi * theta).sum(), theta)
    return theta.detach() - h * slope, psi


def _dirac_together(theta, psi, h):
    s = torch.sigmoid(psi * theta)
    return theta + h * s * psi, psi - h * s * theta


def _dirac_g_first(theta, psi, h):
    theta = theta + h * torch.sigmoid(psi * theta) * psi
    return theta, psi - h * torch.sigmoid(psi * theta) * theta


def _dirac_half_new(theta, psi, h):
    s = torch.sigmoid(psi * theta)
    psi = psi - h * s * theta
    return theta + h * s * psi, psi


def _dirac_signs(theta, psi, h):
    psi = psi + h * torch.sigmoid(psi * theta) * theta
    return theta - h * torch.sigmoid(psi * theta) * psi, psi


def _dirac_same_side(theta, psi, h):
    psi = psi - h * torch.sigmoid(psi * theta) * theta
    return theta - h * torch.sigmoid(psi * theta) * psi, psi


def _dirac_pennies(theta, psi, h):
    psi = psi - h * theta
    return theta + h * psi, psi


def _dirac_order(theta, psi, h):
    theta, psi = dirac_step(theta, psi, h)
    return psi, theta


DIRAC = Exercise(
    number="08.2",
    title="A step of the smallest GAN",
    difficulty=1,
    minutes=8,
    task=r"""
Write one step of the Dirac-GAN with step size $h$, the players moving in turn: first $D$ moves $\psi$, then $G$ moves
$\theta$ and sees the new $\psi$. The arguments `theta` and `psi` hold $n$ independent games. The equilibrium stays where
it is. From $\theta = 1$, $\psi = 0$ a step with $h = 2$ leads to $\psi = -1$ first: $D$ learns to call positive numbers
generated.""",
    inputs=lambda g: (torch.randn(5, generator=g), torch.randn(5, generator=g), 0.7),
    solution=dirac_step,
    explanation=r"""
Both lines are (8.19), and each is evaluated where the game stands at that moment. In the second line both the factor
$\psi$ and the $\psi$ inside $\sigma$ are new. To use the old ones in both would be a simultaneous step, which spirals
outwards at every step size.""",
    hints=(
        "Write the move of D first, and store its result under the same name.",
        "D ascends: $\\psi$ gains $h$ times $-\\sigma(\\psi\\theta)\\,\\theta$. Then compute $\\sigma(\\psi\\theta)$ anew.",
        "The last line adds `h * torch.sigmoid(psi * theta) * psi` to `theta`, with the new `psi` in both places.",
    ),
    wrong=(
        Wrong(
            "both at once",
            _dirac_together,
            "This is the simultaneous step: G answers the old ψ. Here G has to see D's move.",
        ),
        Wrong(
            "G moves first",
            _dirac_g_first,
            "Here G moves first. Asked was D first, then G.",
        ),
        Wrong(
            "the old sigmoid",
            _dirac_half_new,
            "G uses the new ψ as a factor, but the old ψ inside the sigmoid. Compute σ(ψθ) again.",
        ),
        Wrong(
            "both signs",
            _dirac_signs,
            "Both signs are wrong: D would learn to call generated numbers real, and G to be found out.",
        ),
        Wrong(
            "G moves the wrong way",
            _dirac_same_side,
            "D's move is right, but G moves against its gradient: it should follow ψ, towards what D calls real.",
        ),
        Wrong(
            "the sigmoid is forgotten",
            _dirac_pennies,
            "Without the sigmoid this is the game xy of (8.17), with twice the speed near the equilibrium.",
        ),
        Wrong(
            "the order of the results",
            _dirac_order,
            "The step is right, but the two results are swapped: first θ, then ψ.",
        ),
    ),
    right=(_dirac_by_autograd,),
    probes={
        "a step from the equilibrium": lambda f: f(torch.zeros(2), torch.zeros(2), 0.5),
        "a step of size 2 from θ = 1, ψ = 0": lambda f: f(torch.ones(1), torch.zeros(1), 2.0),
        "a step of size 0": lambda f: f(torch.ones(2), torch.tensor([0.5, -2.0]), 0.0),
    },
)


def softened_kl(p, q):
    """2 KL(m ‖ p) of (8.8) in nats, row by row: probabilities (n, k) twice -> (n,)."""
    m = (p + q) / 2
    return 2 * (torch.xlogy(m, m) - torch.xlogy(m, p)).sum(1)


def _softened_composed(p, q):
    m = (p + q) / 2
    return (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(1) - (
        torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(m, m)
    ).sum(1)


def _softened_plain(p, q):
    m = (p + q) / 2
    return 2 * (m * (m / p).log()).sum(1)


def _softened_turned(p, q):
    m = (p + q) / 2
    return 2 * (torch.xlogy(p, p) - torch.xlogy(p, m)).sum(1)


def _softened_to_q(p, q):
    return softened_kl(q, p)


def _softened_sum(p, q):
    m = (p + q) / 2
    kl = (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(1)
    return kl + (torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(m, m)).sum(1)


_THIRDS = torch.tensor([[0.5, 0.5, 0.0]])

SOFTENED = Exercise(
    number="08.3",
    title="What the non-saturating GAN pays",
    difficulty=2,
    minutes=10,
    task=r"""
Write $2\operatorname{KL}(m\,\|\,p)$ with $m = \frac12(p + q)$ for rows of probabilities, `(n, k)` twice. Entries may be
zero. Equal rows give 0, also where both have a zero at the same place. A generator that leaves out half of the data,
$p = (\frac12, \frac12, 0)$ and $q = (1, 0, 0)$, pays only 0.26 nats. One that invents an outcome pays $\infty$.""",
    inputs=lambda g: tuple(torch.softmax(2 * torch.randn(4, 3, generator=g), 1) for _ in range(2)),
    solution=softened_kl,
    explanation=r"""
The expectation is taken under $m$, and `torch.xlogy(a, b)` is $a\log b$ with $0\log 0 = 0$. Where $m > 0$ and $p = 0$,
which means an invention, $m\log p = -\infty$ and the divergence is infinite, as it should be. Where both are zero the
term is 0. By (8.8) the result is also $\operatorname{KL}(q\,\|\,p) - 2\operatorname{JSD}$.""",
    hints=(
        "Start with the average `m` of both rows. Under which distribution is the expectation of this KL taken?",
        "It is the sum over outcomes of $m \\log m - m \\log p$. `torch.xlogy` knows that $0 \\log 0 = 0$.",
        "Sum `torch.xlogy(m, m) - torch.xlogy(m, p)` over dimension 1 and multiply by 2.",
    ),
    wrong=(
        Wrong(
            "0/0 is NaN",
            _softened_plain,
            "Right where all data probabilities are positive. Where p and m are both 0, 0/0 gives NaN; the term is 0.",
        ),
        Wrong(
            "the 2 is missing",
            lambda p, q: softened_kl(p, q) / 2,
            "This is KL(m‖p). The non-saturating loss descends twice that.",
        ),
        Wrong(
            "the wrong way round",
            _softened_turned,
            "This is 2 KL(p‖m), a part of the Jensen-Shannon divergence. The expectation has to be taken under m.",
        ),
        Wrong(
            "data and samples swapped",
            _softened_to_q,
            "Data and samples have changed places: m is compared with p, the data. Yours punishes missing, not inventing.",
        ),
        Wrong(
            "the reverse KL",
            lambda p, q: (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(1),
            "This is KL(q‖p). The minus 2 JSD of (8.7) is missing, or m in the place of q.",
        ),
        Wrong(
            "plus 2 JSD",
            _softened_sum,
            "This is KL(q‖p) plus 2 JSD. The sign in (8.7) is a minus.",
        ),
    ),
    right=(_softened_composed,),
    probes={
        "the divergence of equal rows with a zero": lambda f: f(_THIRDS, _THIRDS),
        "half of the data left out": lambda f: f(_THIRDS, torch.tensor([[1.0, 0.0, 0.0]])),
        "an invented outcome": lambda f: f(_THIRDS, torch.tensor([[0.4, 0.4, 0.2]])),
    },
)


def shift_gradients(D, x):
    """Gradients of L_sat and L_ns in a shift of all samples x, through D: x (n, d) -> (d,), (d,)."""
    shift = x.new_zeros(x.shape[1]).requires_grad_(True)
    logits = D(x + shift)
    losses = -F.softplus(logits).mean(), F.softplus(-logits).mean()
    return tuple(torch.autograd.grad(loss, shift, retain_graph=True)[0] for loss in losses)


def _shift_by_chain_rule(D, x):
    rows = x.detach().requires_grad_(True)
    logits = D(rows)
    (slopes,) = torch.autograd.grad(logits.sum(), rows)
    s = torch.sigmoid(logits.detach())[:, None]
    return (-s * slopes).mean(0), (-(1 - s) * slopes).mean(0)


def _shift_by_loop(D, x):
    found = [_shift_by_chain_rule(D, row[None]) for row in x]
    return [sum(pair[k] for pair in found) / len(x) for k in (0, 1)]


def _shift_scaled(factor_sat, factor_ns):
    def answer(D, x):
        sat, ns = shift_gradients(D, x)
        return factor_sat * sat, factor_ns * ns

    return answer


def _shift_summed(D, x):
    sat, ns = shift_gradients(D, x)
    return len(x) * sat, len(x) * ns


def _shift_swapped(D, x):
    return shift_gradients(D, x)[::-1]


def _shift_of_logit(D, x):
    both = sum(shift_gradients(D, x))
    return both, both


def _shift_rows(D, x):
    rows = x.detach().requires_grad_(True)
    logits = D(rows)
    losses = -F.softplus(logits).mean(), F.softplus(-logits).mean()
    return tuple(torch.autograd.grad(loss, rows, retain_graph=True)[0] for loss in losses)


def _shift_inputs(g):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=g)))
        D = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    return D, 2 * torch.randn(5, 3, generator=g)


SHIFT = Exercise(
    number="08.4",
    title="What reaches the generator",
    difficulty=2,
    minutes=12,
    task=r"""
A generator has one parameter, a shift: its samples are `x + shift`, and the shift is 0 now. `D` maps `(n, d)` to logits
`(n,)`. Give the gradients in the shift of the saturating loss, the mean of $\log(1 - D)$, and of the non-saturating
loss, the mean of $-\log D$, in this order, each of shape `(d,)`. Together they are minus the mean of $\nabla\ell(x)$,
whatever $D$ is. Where all logits are $-30$ or less, the first is 0 to the eye and the second is not.""",
    inputs=_shift_inputs,
    solution=shift_gradients,
    explanation=r"""
The shift is added to every sample, so its gradient is the mean of the samples' gradients. By the chain rule these are
$-\sigma(\ell)\,\nabla\ell$ and $-(1 - \sigma(\ell))\,\nabla\ell$, as in (8.6), and the two factors add up to one. D is only
passed through: its weights get no gradient from `torch.autograd.grad`, which returns what is asked for.""",
    hints=(
        "Make a tensor of zeros that requires a gradient, and add it to all samples before D sees them.",
        "The losses are the means of `-F.softplus(logits)` and of `F.softplus(-logits)`.",
        "Call `torch.autograd.grad(loss, shift, retain_graph=True)[0]` for each: the graph is needed twice.",
    ),
    wrong=(
        Wrong(
            "the order swapped",
            _shift_swapped,
            "The two are swapped: the saturating gradient comes first. It is the one that vanishes when D is sure.",
        ),
        Wrong(
            "sums over the samples",
            _shift_summed,
            "These are gradients of sums over the samples. A loss is an expectation: take the mean.",
        ),
        Wrong(
            "both signs",
            _shift_scaled(-1, -1),
            "Both signs are wrong: these are the gradients of minus the losses.",
        ),
        Wrong(
            "the sign of the saturating one",
            _shift_scaled(-1, 1),
            "The saturating gradient has the wrong sign. log(1 − σ(ℓ)) is minus softplus(ℓ), and falls when ℓ rises.",
        ),
        Wrong(
            "the logit in place of the losses",
            _shift_of_logit,
            "This is minus the mean slope of the logit, for both. Each loss weighs it: by D, and by 1 − D.",
        ),
        Wrong(
            "a gradient for every sample",
            _shift_rows,
            "These are gradients in every sample, (n, d). One shift moves all samples, so its gradient is their sum.",
        ),
    ),
    right=(_shift_by_chain_rule, _shift_by_loop),
    probes={
        "the gradients through a D that is undecided but has a slope": lambda f: f(
            lambda x: 2 * x[:, 0], torch.zeros(3, 2)
        ),
        "the gradients through a D that sees all": lambda f: f(lambda x: x[:, 0] - 40, torch.ones(4, 2)),
    },
)


def pearson_conjugate(t):
    """f*(t) = sup over u ≥ 0 of (ut − (u − 1)²), elementwise."""
    u = (1 + t / 2).clamp(min=0)
    return u * t - (u - 1) ** 2


def _pearson_cases(t):
    return torch.where(t >= -2, t + t**2 / 4, torch.full_like(t, -1.0))


def _pearson_by_loop(t):
    rows = [v + v * v / 4 if v > -2 else 0 * v - 1 for v in t.flatten()]
    return torch.stack(rows).view(t.shape)


PEARSON = Exercise(
    number="08.5",
    title="A conjugate by hand",
    difficulty=2,
    minutes=12,
    task=r"""
Work out the convex conjugate (8.10) of Pearson's $f(u) = (u - 1)^2$ for *every* real $t$, and write it. A density ratio
is never negative, so the supremum is over $u \ge 0$. Which $u$ is best at slope $t$, and what if that $u$ were negative?
At $t = 0$ the result is 0, and $f^*$ is convex and never below $-1$. Its derivative is the best $u$.""",
    inputs=lambda g: (4 * torch.randn(7, generator=g),),
    solution=pearson_conjugate,
    explanation=r"""
$ut - (u-1)^2$ is a parabola in $u$ with its top at $u = 1 + t/2$. There it has the value $t + t^2/4$. For $t < -2$ that
top lies at a negative $u$, and the best that is allowed is $u = 0$, with the value $-1$. The formula without this case
still gives a valid lower bound in (8.11), but not the tightest one: $t + t^2/4$ rises again to the left of $-2$.""",
    hints=(
        "Fix $t$, and set the derivative of $ut - (u-1)^2$ by $u$ to zero.",
        "The best $u$ is $1 + t/2$, as long as that is not negative. Where it would be, the nearest allowed $u$ is best.",
        "`u = (1 + t / 2).clamp(min=0)`; put it into `u * t - (u - 1) ** 2`.",
    ),
    wrong=(
        Wrong(
            "the edge is forgotten",
            lambda t: t + t**2 / 4,
            "Right for t ≥ −2. Further left the best u would be negative, but a density ratio is not: u = 0 gives −1.",
        ),
        Wrong(
            "the conjugate of u²",
            lambda t: t.clamp(min=0) ** 2 / 4,
            "This is the conjugate of u². Here f is (u − 1)², shifted by one, which adds t and moves the edge to −2.",
        ),
        Wrong(
            "the best u",
            lambda t: (1 + t / 2).clamp(min=0),
            "This is the best u, the place of the maximum. The conjugate is the value there.",
        ),
        Wrong(
            "the wrong sign",
            lambda t: -pearson_conjugate(t),
            "The sign is wrong: this is the infimum of f(u) − ut.",
        ),
        Wrong(
            "the slope without its half",
            lambda t: (1 + t).clamp(min=0) * t - t.clamp(min=-1) ** 2,
            "The top of the parabola is at u = 1 + t/2: the derivative of (u − 1)² is 2 (u − 1).",
        ),
        Wrong(
            "cut off at zero",
            lambda t: (t + t**2 / 4).clamp(min=0),
            "A conjugate may be negative: between −2 and 0 it is t + t²/4, down to −1.",
        ),
    ),
    right=(_pearson_cases, _pearson_by_loop),
    probes={
        "the conjugate at t = −2 and at 0": lambda f: f(torch.tensor([-2.0, 0.0])),
        "the conjugate at t = −10": lambda f: f(torch.tensor([-10.0])),
        "the conjugate at t = −3 and at t = 3": lambda f: f(torch.tensor([-3.0, 3.0])),
    },
    gradient=True,
)


def least_squares_value(p, q, a, b, c):
    """½ E_p[(D* − c)²] + ½ E_q[(D* − c)²] for the D* of (8.12): probabilities (k,) twice, labels -> a number."""
    D = (b * p + a * q) / (p + q)
    return 0.5 * ((p + q) * (D - c) ** 2).sum()


def _ls_by_loop(p, q, a, b, c):
    total = 0.0
    for i in range(len(p)):
        D = a + (b - a) * p[i] / (p[i] + q[i])
        total = total + 0.5 * p[i] * (D - c) ** 2 + 0.5 * q[i] * (D - c) ** 2
    return total


def _ls_swapped(p, q, a, b, c):
    return least_squares_value(p, q, b, a, c)


def _ls_fake_only(p, q, a, b, c):
    D = (b * p + a * q) / (p + q)
    return 0.5 * (q * (D - c) ** 2).sum()


def _ls_of_d(p, q, a, b, c):
    D = (b * p + a * q) / (p + q)
    return 0.5 * (p * (D - b) ** 2).sum() + 0.5 * (q * (D - a) ** 2).sum()


def _ls_log_d(p, q, a, b, c):
    return 0.5 * ((p + q) * (p / (p + q) - c) ** 2).sum()


def _ls_inputs(g):
    p, q = torch.softmax(torch.randn(2, 5, generator=g), 1)
    return p, q, *(torch.randn(3, generator=g).tolist())


_HALVES, _SKEW = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])

LEAST_SQUARES = Exercise(
    number="08.6",
    title="Least squares at its best",
    difficulty=2,
    minutes=8,
    task=r"""
For $k$ outcomes with probabilities `p` and `q`, let $D$ be the best one of (8.12) for the labels `a` (generated) and `b`
(real). Write what stands on the left of (8.13) for the generator's label `c`. For $a = -1$, $b = 1$, $c = 0$ it is
$\frac12\sum (p-q)^2/(p+q)$. For $p = q$ it is $(\frac{a+b}2 - c)^2$: with the labels $a = 0$, $b = c = 1$ this is
$\frac14$, and not 0.""",
    inputs=_ls_inputs,
    solution=least_squares_value,
    explanation=r"""
The best $D$ is the average of the two labels, weighted with the two densities. Both expectations have the same
integrand, so together they weigh it with $p + q$. At $p = q$ the $D$ is half way between the labels everywhere.""",
    hints=(
        "First compute the best D of (8.12), one number for each outcome.",
        "Both expectations are of the same $(D - c)^2$, once under `p` and once under `q`.",
        "Sum `(p + q) * (D - c) ** 2` over the outcomes, and halve it.",
    ),
    wrong=(
        Wrong(
            "the labels swapped",
            _ls_swapped,
            "The labels are swapped in D: b belongs to real samples, a to generated ones.",
        ),
        Wrong(
            "generated samples only",
            _ls_fake_only,
            "This is the generator's own term, under q. (8.13) has a term under p as well; it is what makes the theorem.",
        ),
        Wrong(
            "the discriminator's loss",
            _ls_of_d,
            "This is D's loss at its best. The generator compares D with c, on both kinds of samples.",
        ),
        Wrong(
            "one half is missing",
            lambda p, q, a, b, c: 2 * least_squares_value(p, q, a, b, c),
            "This is twice the value: the one half is missing.",
        ),
        Wrong(
            "the D of cross-entropy",
            _ls_log_d,
            "This D is p/(p+q). With the labels a and b the best one is (b p + a q)/(p+q).",
        ),
        Wrong(
            "mean over the outcomes",
            lambda p, q, a, b, c: least_squares_value(p, q, a, b, c) / len(p),
            "The probabilities are the weights already: sum over the outcomes.",
        ),
    ),
    right=(_ls_by_loop,),
    probes={
        "the labels of the theorem": lambda f: f(_HALVES, _SKEW, -1.0, 1.0, 0.0),
        "equal distributions with the labels 0, 1, 1": lambda f: f(_HALVES, _HALVES, 0.0, 1.0, 1.0),
    },
    gradient=True,
)


def duality_gap(A, p, q):
    """What both players could gain by changing alone: payoff A (m, n), mixed strategies (m,), (n,) -> a number."""
    best_row = (A @ q).max()
    best_column = (p @ A).min()
    return best_row - best_column


def _gap_by_loop(A, p, q):
    rows = [sum(A[i, j] * q[j] for j in range(len(q))) for i in range(len(p))]
    columns = [sum(A[i, j] * p[i] for i in range(len(p))) for j in range(len(q))]
    value = sum(p[i] * rows[i] for i in range(len(p)))
    return (max(rows) - value) + (value - min(columns))


_ROCK = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
_PENNIES = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])

GAP = Exercise(
    number="08.7",
    title="How far from equilibrium?",
    difficulty=2,
    minutes=12,
    task=r"""
In a matrix game the first player picks row $i$ with probability $p_i$, the second picks column $j$ with probability
$q_j$, and the second pays $A_{ij}$ to the first. Given $q$, the best *row* earns the first player more than $p$ does, or
as much; given $p$, the best *column* loses the second player less. The **duality gap** is the sum of the two
improvements: $\max_i (Aq)_i - \min_j (p^\top A)_j$. Write it. It is never negative, and 0 exactly at a Nash equilibrium:
at $p = q = (\frac13, \frac13, \frac13)$ in rock-paper-scissors. If both always play rock it is 2.""",
    inputs=lambda g: (
        torch.randn(3, 4, generator=g),
        torch.softmax(torch.randn(3, generator=g), 0),
        torch.softmax(torch.randn(4, generator=g), 0),
    ),
    solution=duality_gap,
    explanation=r"""
The gain of the first player is $\max_i (Aq)_i - p^\top A q$, that of the second $p^\top A q - \min_j(p^\top A)_j$. The
value of the present strategies cancels. A best answer to a mixed strategy may always be pure, because the payoff is
linear: that is why a generator that answers a fixed $D$ plays one mode. For GANs the gap is an honest measure of
distance from equilibrium, but each of its halves needs a full training of one player.""",
    hints=(
        "The payoffs of all rows against `q` are a vector. Which product of matrix and vector is it?",
        "`A @ q` has one entry a row, `p @ A` one a column. The first player maximises, the second minimises.",
        "It is `(A @ q).max() - (p @ A).min()`.",
    ),
    wrong=(
        Wrong(
            "the first player only",
            lambda A, p, q: (A @ q).max() - p @ A @ q,
            "This is what the first player could gain. Add what the second could gain.",
        ),
        Wrong(
            "the second player only",
            lambda A, p, q: p @ A @ q - (p @ A).min(),
            "This is what the second player could gain. Add what the first could gain.",
        ),
        Wrong(
            "both maximise",
            lambda A, p, q: (A @ q).max() - (p @ A).max(),
            "Both players maximise here. The second pays, so its best column is the one with the least payoff.",
        ),
        Wrong(
            "minimum and maximum swapped",
            lambda A, p, q: (A @ q).min() - (p @ A).max(),
            "Minimum and maximum are swapped: this is what the worst answers would lose.",
        ),
        Wrong(
            "the opponents are swapped",
            lambda A, p, q: (p @ A).max() - (A @ q).min(),
            "Here the first player chooses columns. Rows are its choices, so its payoffs are A q.",
        ),
        Wrong(
            "the value of the game",
            lambda A, p, q: p @ A @ q,
            "This is the payoff of the present strategies. The gap asks what could be had by changing them.",
        ),
    ),
    right=(_gap_by_loop,),
    probes={
        "rock-paper-scissors, all thirds": lambda f: f(_ROCK, torch.full((3,), 1 / 3), torch.full((3,), 1 / 3)),
        "rock-paper-scissors, both always play rock": lambda f: f(_ROCK, torch.eye(3)[0], torch.eye(3)[0]),
        "matching pennies, one fair coin and one that always shows heads": lambda f: f(
            _PENNIES, torch.full((2,), 0.5), torch.eye(2)[0]
        ),
    },
    gradient=True,
)


def decay_rate(gamma):
    """How fast the Dirac-GAN with R1 comes home: minus the largest real part of (8.22), for strengths (n,) -> (n,)."""
    root = (gamma**2 / 4 - 0.25).clamp(min=0).sqrt()
    return gamma / 2 - root


def _rate_by_eigenvalues(gamma):
    rates = []
    for g in gamma.tolist():
        J = torch.tensor([[0.0, 0.5], [-0.5, -g]], dtype=torch.double)
        rates.append(-torch.linalg.eigvals(J).real.max())
    return torch.stack(rates)


def _rate_complex(gamma):
    root = torch.sqrt((gamma**2 / 4 - 0.25).to(torch.cdouble)).real
    return torch.minimum(gamma / 2 - root, gamma / 2 + root)


def _rate_nan(gamma):
    return gamma / 2 - (gamma**2 / 4 - 0.25).sqrt()


def _rate_fast(gamma):
    return gamma / 2 + (gamma**2 / 4 - 0.25).clamp(min=0).sqrt()


def _rate_abs(gamma):
    return gamma / 2 - (gamma**2 / 4 - 0.25).abs().sqrt()


def _rate_ordinary(gamma):
    return gamma / 2 - (gamma**2 / 4 - 1).clamp(min=0).sqrt()


RATE = Exercise(
    number="08.8",
    title="The right brake",
    difficulty=2,
    minutes=12,
    task=r"""
With R1 of strength $\gamma$ the distance from the equilibrium of the Dirac-GAN shrinks like $e^{-rt}$, where $-r$ is the
largest real part of the eigenvalues (8.22): the slowest part decides. Write $r$ for a tensor of strengths
$\gamma \ge 0$. For $\gamma \le 1$ the square root is imaginary and adds nothing to the real part. $r$ is 0 at $\gamma = 0$,
½ at $\gamma = 1$, and falls beyond.""",
    inputs=lambda g: (4 * torch.rand(7, generator=g),),
    solution=decay_rate,
    explanation=r"""
For $\gamma \le 1$ both eigenvalues have the real part $-\gamma/2$. For $\gamma > 1$ both are real and the one nearer to 0 is
$-\gamma/2 + \sqrt{\gamma^2/4 - 1/4}$. Clamping what is under the root at 0 joins the cases. For large $\gamma$ the rate is
about $1/(4\gamma)$: the product of the eigenvalues is always ¼, so when one grows the other shrinks.""",
    hints=(
        "What is the real part of both eigenvalues when the number under the root is negative?",
        "Beyond $\\gamma = 1$ there are two real eigenvalues. Which is larger, the one with plus or with minus?",
        "Take `gamma / 2` minus the root of `(gamma**2 / 4 - 0.25).clamp(min=0)`.",
    ),
    wrong=(
        Wrong(
            "NaN below 1",
            _rate_nan,
            "Right beyond γ = 1. Below, the number under the root is negative: the root is imaginary and its real part 0.",
        ),
        Wrong(
            "the faster part",
            _rate_fast,
            "This is the faster of the two. What is left after some time is the part that decays slowest.",
        ),
        Wrong(
            "no second case",
            lambda gamma: gamma / 2,
            "Right up to γ = 1. Beyond, the eigenvalues are real, and one of them goes back towards 0.",
        ),
        Wrong(
            "the sign",
            lambda gamma: -decay_rate(gamma),
            "This is the real part itself, which is negative. The rate is minus that.",
        ),
        Wrong(
            "the size of the root",
            _rate_abs,
            "Below γ = 1 the root is imaginary: it turns the players round, and must not be subtracted from the rate.",
        ),
        Wrong(
            "1 in place of one quarter",
            _rate_ordinary,
            "The constant under the root is (½)² = ¼, from the slopes ±½ in the Jacobian. So the critical γ is 1, not 2.",
        ),
    ),
    right=(_rate_by_eigenvalues, _rate_complex),
    probes={
        "the rate without a penalty, γ = 0": lambda f: f(torch.zeros(2)),
        "the rates at γ = 0.5 and at γ = 1": lambda f: f(torch.tensor([0.5, 1.0])),
        "the rate at γ = 10": lambda f: f(torch.tensor([10.0])),
    },
)


def largest_step(alpha, beta):
    """The h up to which I + hJ shrinks everything, for eigenvalues −α ± iβ of J: (n,), (n,) -> a number."""
    return (2 * alpha / (alpha**2 + beta**2)).min().clamp(min=0)


def _largest_by_search(alpha, beta):
    low, high = 0.0, 1000.0
    for _ in range(60):
        h = (low + high) / 2
        if ((1 - h * alpha.double()) ** 2 + (h * beta.double()) ** 2).max() < 1:
            low = h
        else:
            high = h
    return torch.tensor(low)


def _step_inputs(g):
    return 0.1 + torch.rand(4, generator=g), 2 * torch.randn(4, generator=g)


STEP = Exercise(
    number="08.9",
    title="How large a step?",
    difficulty=3,
    minutes=60,
    task=r"""
Near an equilibrium, simultaneous steps multiply the error by $I + hJ$, whose eigenvalues are $1 + h\lambda$ with
$\lambda = -\alpha \pm i\beta$. Find the largest $h$ below which all of them are smaller than 1 in size, from tensors of
$\alpha$ and $\beta$. If some $\alpha$ is 0 or less, no step is small enough: return 0. For $\lambda = -1$ it is 2. A
rotation makes it smaller, by a lot: at $\lambda = -0.1 \pm i$ it is 0.198.

Then use what you know. Play the ring game of this chapter with `watch_game(seed=…)` for three seeds or more, and once
more with *one* change: a learning rate three times as large, R1 of strength 0.1, 1 or 10, instance noise, or the
saturating loss, `objective="minimax"`. Count covered modes at the end and over time. Write down before you look what
you expect.""",
    inputs=_step_inputs,
    solution=largest_step,
    explanation=r"""
$|1 + h\lambda|^2 = (1 - h\alpha)^2 + h^2\beta^2 = 1 - 2h\alpha + h^2(\alpha^2 + \beta^2)$, which is below 1 for
$0 < h < 2\alpha/(\alpha^2+\beta^2)$. The smallest of these limits counts. Without rotation it is the familiar $2/\alpha$;
with a strong one, about $2\alpha/\beta^2$. That is why games want smaller steps than losses do.""",
    hints=(
        "Work out $|1 + h\\lambda|^2$: the square of the real part, plus the square of the imaginary part.",
        "It is $1 - 2h\\alpha + h^2(\\alpha^2 + \\beta^2)$. For which $h$ is it below 1? All eigenvalues must agree.",
        "Take the minimum of `2 * alpha / (alpha**2 + beta**2)`, and no less than 0.",
    ),
    wrong=(
        Wrong(
            "the rotation is left out",
            lambda alpha, beta: (2 / alpha).min().clamp(min=0),
            "Only the real part is used. The imaginary part makes 1 + hλ larger, and the step has to be smaller.",
        ),
        Wrong(
            "the most patient eigenvalue",
            lambda alpha, beta: (2 * alpha / (alpha**2 + beta**2)).max().clamp(min=0),
            "This is the largest of the limits. All eigenvalues must shrink, so the smallest counts.",
        ),
        Wrong(
            "the square is missing",
            lambda alpha, beta: (2 * alpha / torch.hypot(alpha, beta)).min().clamp(min=0),
            "The size of λ has to be squared: h² |λ|² stands against 2hα.",
        ),
        Wrong(
            "the 2 is missing",
            lambda alpha, beta: (alpha / (alpha**2 + beta**2)).min().clamp(min=0),
            "This is half of it: the step at which the error shrinks fastest, not the largest that is stable.",
        ),
        Wrong(
            "negative steps",
            lambda alpha, beta: (2 * alpha / (alpha**2 + beta**2)).min(),
            "Right for a stable equilibrium. Where some α is negative no positive step is stable: return 0.",
        ),
        Wrong(
            "β subtracted",
            lambda alpha, beta: (2 * alpha / (alpha**2 - beta**2)).min().clamp(min=0),
            "The square of iβ is −β², but the size of a complex number is the root of α² plus β².",
        ),
    ),
    right=(_largest_by_search,),
    probes={
        "the step for the single eigenvalue −1": lambda f: f(torch.ones(1), torch.zeros(1)),
        "the step for −0.1 ± i": lambda f: f(torch.tensor([0.1]), torch.ones(1)),
        "the step for a pure rotation": lambda f: f(torch.zeros(1), torch.tensor([0.5])),
        "the step when one eigenvalue pushes outwards": lambda f: f(
            torch.tensor([1.0, -0.2]), torch.tensor([0.0, 1.0])
        ),
    },
    discussion=r"""
**For the open part.** Report for every run the number of covered modes at the end, the share of samples on a mode, and
the number of steps at which fewer modes were covered than shortly before; and give all seeds, not the best. A run that
covers eight modes at the end may have lost and found them many times: say when you looked. With three seeds only large
differences mean anything. The saturating loss may do better than its reputation here: (8.6) speaks of a $D$ at its best
and of samples far away, and in this game neither lasts long.""",
)

EXERCISES = [VALUE, DIRAC, SOFTENED, SHIFT, PEARSON, LEAST_SQUARES, GAP, RATE, STEP]
