"""Exercises of chapter 09, training a GAN."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from torch import nn
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def optimal_d(log_p, log_q):
    """D*(x) of (9.2) from log p(x) and log q(x): (n,) twice -> (n,)."""
    return torch.sigmoid(log_p - log_q)


_FAR = (torch.tensor([-1000.0, -1001.0, -1003.0]), torch.tensor([-1000.0, -1003.0, -1001.0]))

OPTIMAL_D = Exercise(
    number="09.1",
    title="The best discriminator",
    difficulty=1,
    minutes=5,
    task=r"""
Write $D^*(x)$ of (9.2) from the logarithms of the two densities. In 784 dimensions $\log p(x)$ may be $-1{,}000$, and
$e^{-1000}$ is 0 in floating point: your answer must be right there too. Where both densities are equal it is ½.""",
    inputs=lambda g: (torch.randn(5, generator=g), torch.randn(5, generator=g)),
    solution=optimal_d,
    explanation=r"""
Divide numerator and denominator of $p/(p+q)$ by $p$: it is $1/(1 + q/p) = \sigma(\log p - \log q)$. Only the
*difference* of the logarithms is needed. So the best logit is the log density ratio: a discriminator is an estimator of
$\log p(x)/q(x)$.""",
    hints=(
        "Which function turns a difference of logarithms into a number between 0 and 1?",
        "$p/(p+q) = 1/(1 + q/p)$, and $q/p = e^{\\log q - \\log p}$. Compare with $\\sigma(a) = 1/(1+e^{-a})$.",
        "It is `torch.sigmoid` of `log_p - log_q`, which never computes a density.",
    ),
    wrong=(
        Wrong(
            "exp before the quotient",
            lambda log_p, log_q: log_p.exp() / (log_p.exp() + log_q.exp()),
            "Right for moderate densities, but exp(-1000) is 0, and 0/0 is NaN. Use only the difference of the logarithms.",
        ),
        Wrong(
            "real and generated swapped",
            lambda log_p, log_q: torch.sigmoid(log_q - log_p),
            "This is 1 − D*: the probability that x is generated. D is the probability that it is real.",
        ),
        Wrong(
            "the logit",
            lambda log_p, log_q: log_p - log_q,
            "This is the best logit, log p/q. D* is its logistic function, a number between 0 and 1.",
        ),
        Wrong(
            "the density ratio",
            lambda log_p, log_q: (log_p - log_q).exp(),
            "This is p/q, which may be any positive number. D* is p/(p+q).",
        ),
        Wrong(
            "the logarithms in place of the densities",
            lambda log_p, log_q: log_p / (log_p + log_q),
            "Here the logarithms stand where (9.2) has densities.",
        ),
    ),
    right=(
        lambda log_p, log_q: (log_p - torch.logaddexp(log_p, log_q)).exp(),
        lambda log_p, log_q: torch.softmax(torch.stack([log_p, log_q]), 0)[0],
    ),
    probes={
        "D* where the densities are equal": lambda f: f(torch.tensor([-3.0, 2.0]), torch.tensor([-3.0, 2.0])),
        "D* where log p and log q are near -1,000": lambda f: f(*_FAR),
    },
    gradient=True,
)


def discriminator_loss(real, fake):
    """L_D of (9.4) from the logits of n real and m generated images: (n,), (m,) -> a number."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _d_by_bce(real, fake):
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


def _d_pooled(real, fake):
    logits, targets = torch.cat([real, fake]), torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    return F.binary_cross_entropy_with_logits(logits, targets)


D_LOSS = Exercise(
    number="09.2",
    title="The discriminator's loss",
    difficulty=1,
    minutes=5,
    task=r"""
Write $L_D$ of (9.4) from logits, without a sigmoid. The two batches may differ in size: each has its own mean. An
undecided D, with all logits 0, pays $2 \log 2$. For real logits of 1,000 and generated ones of $-1{,}000$ the loss is
0, and the other way round it is 2,000.""",
    inputs=lambda g: (2 * torch.randn(5, generator=g), 2 * torch.randn(3, generator=g)),
    solution=discriminator_loss,
    explanation=r"""
$-\log\sigma(\ell) = \operatorname{softplus}(-\ell)$ for real images and $-\log(1-\sigma(\ell)) =
\operatorname{softplus}(\ell)$ for generated ones. (9.1) has two expectations, so there are two means. One mean over both
batches together halves the loss, and weighs real and generated images by how many there are.""",
    hints=(
        "Write $-\\log \\sigma(\\ell)$ and $-\\log(1 - \\sigma(\\ell))$ with the softplus.",
        "$-\\log\\sigma(\\ell) = \\log(1 + e^{-\\ell})$. For which of the two batches is this the cost?",
        "Real logits cost `F.softplus(-real)`, generated ones `F.softplus(fake)`; add the two means.",
    ),
    wrong=(
        Wrong(
            "real and fake swapped",
            lambda real, fake: F.softplus(real).mean() + F.softplus(-fake).mean(),
            "Real and generated are swapped: this D would learn to call real images generated.",
        ),
        Wrong(
            "one mean for both batches",
            _d_pooled,
            "This is one mean over both batches together. (9.1) has two expectations: add two means.",
        ),
        Wrong(
            "half of it",
            lambda real, fake: 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean()),
            "This is half the loss. With it, the line for an undecided D would be log 2, not 2 log 2.",
        ),
        Wrong(
            "the value, not the loss",
            lambda real, fake: -F.softplus(-real).mean() - F.softplus(fake).mean(),
            "This is V, which D maximises. The loss is minus V.",
        ),
        Wrong(
            "log of a sigmoid",
            lambda real, fake: -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean(),
            "For moderate logits this is right, but far out the sigmoid rounds to 0 or 1, and its logarithm is infinite.",
        ),
        Wrong(
            "sums in place of means",
            lambda real, fake: F.softplus(-real).sum() + F.softplus(fake).sum(),
            "These are sums over the batch. An expectation is estimated by a mean.",
        ),
    ),
    right=(_d_by_bce, lambda real, fake: -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()),
    probes={
        "the loss of an undecided D": lambda f: f(torch.zeros(4), torch.zeros(2)),
        "the loss of a D that is sure and right": lambda f: f(torch.full((3,), 1000.0), torch.full((2,), -1000.0)),
        "the loss of a D that is sure and wrong": lambda f: f(torch.full((3,), -1000.0), torch.full((2,), 1000.0)),
    },
    gradient=True,
)


def generator_slopes(logits):
    """The slopes (9.7) of the saturating and of the non-saturating loss, one per logit: (n,) -> (n,), (n,)."""
    return -torch.sigmoid(logits), -torch.sigmoid(-logits)


def _slopes_by_autograd(logits):
    logits = logits.detach().requires_grad_(True)
    losses = (-F.softplus(logits)).sum(), F.softplus(-logits).sum()
    return tuple(torch.autograd.grad(loss, logits)[0] for loss in losses)


SLOPES = Exercise(
    number="09.3",
    title="Two slopes",
    difficulty=1,
    minutes=8,
    task=r"""
Give, for each logit $\ell$ of a generated image, the derivative by $\ell$ of the saturating term $\log(1-\sigma(\ell))$
and of the non-saturating term $-\log\sigma(\ell)$, in this order, in closed form. What do the two add up to? Which is
nearly 0 when D is sure that the image is generated?""",
    inputs=lambda g: (3 * torch.randn(6, generator=g),),
    solution=generator_slopes,
    explanation=r"""
The derivative of $\operatorname{softplus}$ is $\sigma$. So $-\operatorname{softplus}(\ell)$ has the slope
$-\sigma(\ell) = -D$, and $\operatorname{softplus}(-\ell)$ has $-\sigma(-\ell) = -(1-D)$. They add up to $-1$ and are
equal at $D = ½$. Both push the logit up; the first hardly pushes those images that D recognises.""",
    hints=(
        "Write both terms with the softplus. What is its derivative?",
        "With $s$ for softplus they are $-s(\\ell)$ and $s(-\\ell)$, and $s' = \\sigma$. Mind the inner derivative.",
        "The slopes are `-torch.sigmoid(logits)` and `-torch.sigmoid(-logits)`.",
    ),
    wrong=(
        Wrong(
            "the order swapped",
            lambda logits: (-torch.sigmoid(-logits), -torch.sigmoid(logits)),
            "The two are swapped. The saturating slope is the one that vanishes at very negative logits.",
        ),
        Wrong(
            "the wrong sign",
            lambda logits: (torch.sigmoid(logits), torch.sigmoid(-logits)),
            "The sign is wrong: both losses fall when the logit rises, so both slopes are negative.",
        ),
        Wrong(
            "by D in place of the logit",
            lambda logits: (-1 / (1 - torch.sigmoid(logits)), -1 / torch.sigmoid(logits)),
            "These are derivatives by D. The network's output is the logit; multiply by dD/dℓ = D (1 − D).",
        ),
        Wrong(
            "divided by n",
            lambda logits: (-torch.sigmoid(logits) / len(logits), -torch.sigmoid(-logits) / len(logits)),
            "These are the slopes of the mean over the batch. Here the slope of each term is wanted.",
        ),
        Wrong(
            "minus one for the second",
            lambda logits: (-torch.sigmoid(logits), -torch.ones_like(logits)),
            "The second slope is not constant: it is −(1 − D), and vanishes when D is fooled.",
        ),
    ),
    right=(_slopes_by_autograd, lambda logits: (-1 / (1 + torch.exp(-logits)), -1 / (1 + torch.exp(logits)))),
    probes={
        "the slopes of an undecided D": lambda f: f(torch.zeros(2)),
        "the slopes at logits of -80 and 80": lambda f: f(torch.tensor([-80.0, 80.0])),
    },
)


def two_losses(G, D, x, z):
    """(L_D, L_G): backward from L_D reaches no weight of G, backward from L_G reaches G."""
    fake = G(z)
    loss_d = F.softplus(-D(x)).mean() + F.softplus(D(fake.detach())).mean()
    loss_g = F.softplus(-D(fake)).mean()
    return loss_d, loss_g


def _two_no_grad(G, D, x, z):
    with torch.no_grad():
        seen = G(z)
    bce = F.binary_cross_entropy_with_logits
    real, fake, asked = D(x), D(seen), D(G(z))
    loss_d = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    return loss_d, bce(asked, torch.ones_like(asked))


def _two_attached(G, D, x, z):
    fake = D(G(z))
    return F.softplus(-D(x)).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()


def _two_detached(G, D, x, z):
    fake = D(G(z).detach())
    return F.softplus(-D(x)).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()


def _two_logits_detached(G, D, x, z):
    fake = D(G(z))
    return F.softplus(-D(x)).mean() + F.softplus(fake.detach()).mean(), F.softplus(-fake).mean()


def _two_flipped(G, D, x, z):
    fake = G(z)
    loss_d = F.softplus(D(x)).mean() + F.softplus(-D(fake.detach())).mean()
    return loss_d, F.softplus(-D(fake)).mean()


def _two_saturating(G, D, x, z):
    loss_d, _ = two_losses(G, D, x, z)
    return loss_d, -F.softplus(D(G(z))).mean()


def _two_g_flipped(G, D, x, z):
    loss_d, _ = two_losses(G, D, x, z)
    return loss_d, F.softplus(D(G(z))).mean()


def _game(g):
    """Tiny players and a batch: G maps 2 numbers to 3, D maps 3 numbers to a logit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=g)))
        G, D = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    return G, D, torch.randn(5, 3, generator=g), torch.randn(5, 2, generator=g)


def _reached(answer, loss, player):
    """Gradients of one of the two losses in the weights of G (player 0) or D (player 1); zeros where none arrives."""
    game = _game(torch.Generator().manual_seed(7))
    weights = list(game[player].parameters())
    found = torch.autograd.grad(answer(*game)[loss], weights, allow_unused=True)
    return tuple(torch.zeros_like(w) if d is None else d for w, d in zip(weights, found, strict=True))


TWO_LOSSES = Exercise(
    number="09.4",
    title="Who learns from which loss",
    difficulty=2,
    minutes=10,
    task=r"""
From a real batch `x` and noise `z` compute both losses, (9.4) and the non-saturating (9.6). `D` returns logits. The
gradient of $L_D$ must reach every weight of D and none of G. The gradient of $L_G$ must reach G. Nothing is stepped
here: both losses are computed with the same weights.""",
    inputs=_game,
    solution=two_losses,
    explanation=r"""
`fake.detach()` is the same image without its history, so $L_D$ ends there. In $L_G$ the history is the whole point: the
gradient runs through D, whose weights only pass it on, into G. In a training loop D's weights collect a gradient from
$L_G$ too; D's `zero_grad` throws it away before its next move.""",
    hints=(
        "The two losses use the same generated images in different ways. Which of them may know how they were made?",
        "`detach()` gives a tensor without its history. It belongs around the images, in one of the two losses.",
        "`D(fake.detach())` goes into the discriminator's loss, and `D(fake)` into the generator's.",
    ),
    wrong=(
        Wrong(
            "detach is missing",
            _two_attached,
            "The values are right, but the gradient of D's loss reaches G's weights and would teach G to be found out. "
            "Detach the generated images in D's loss.",
        ),
        Wrong(
            "detached in both",
            _two_detached,
            "G's loss is computed from detached images too: no gradient reaches G, and it never learns. No error tells.",
        ),
        Wrong(
            "the logit is detached, not the image",
            _two_logits_detached,
            "Here the logits are detached, so D does not learn from generated images at all. Detach the images.",
        ),
        Wrong(
            "D's labels flipped",
            _two_flipped,
            "D's loss has real and generated swapped: real images cost softplus(−logit).",
        ),
        Wrong(
            "the saturating loss",
            _two_saturating,
            "This generator loss is the saturating one, E log(1 − D). Asked was the non-saturating −E log D.",
        ),
        Wrong(
            "G agrees with D",
            _two_g_flipped,
            "This generator loss falls when D finds the images out. G wants its images to be called real.",
        ),
    ),
    right=(_two_no_grad,),
    probes={
        "the gradient of D's loss in G's weights (all zero)": lambda f: _reached(f, 0, 0),
        "the gradient of D's loss in D's weights": lambda f: _reached(f, 0, 1),
        "the gradient of G's loss in G's weights": lambda f: _reached(f, 1, 0),
    },
)


def divergence_bound(real, fake):
    """The bound (9.11) on JSD(p, q) and its standard error, from logits: (n,), (m,) -> two numbers."""
    on_real, on_fake = F.softplus(-real), F.softplus(fake)
    bound = math.log(2) - 0.5 * (on_real.mean() + on_fake.mean())
    error = 0.5 * (on_real.var() / len(real) + on_fake.var() / len(fake)).sqrt()
    return bound, error


def _bound_by_value(real, fake):
    terms = F.logsigmoid(real), F.logsigmoid(-fake)
    bound = 0.5 * (math.log(4) + terms[0].mean() + terms[1].mean())
    return bound, torch.hypot(*(v.std() / (2 * len(v) ** 0.5) for v in terms))


def _bound_changed(bound=lambda b: b, error=lambda e: e):
    """A wrong answer that changes one of the two numbers of the right one."""

    def answer(real, fake):
        b, e = divergence_bound(real, fake)
        return bound(b), error(e)

    return answer


def _bound_swapped(real, fake):
    return divergence_bound(-real, -fake)


def _bound_errors_added(real, fake):
    costs = F.softplus(-real), F.softplus(fake)
    return divergence_bound(real, fake)[0], 0.5 * sum(v.std() / len(v) ** 0.5 for v in costs)


def _bound_single(real, fake):
    costs = F.softplus(-real), F.softplus(fake)
    return divergence_bound(real, fake)[0], 0.5 * (costs[0].var() + costs[1].var()).sqrt()


BOUND = Exercise(
    number="09.5",
    title="A bound with its error",
    difficulty=2,
    minutes=12,
    task=r"""
Write the right-hand side of (9.11), $\log 2 - \tfrac12 L_D$, from the logits of $n$ real and $m$ generated images that D
has not seen, and its standard error. $L_D$ is the sum (9.4) of two means over independent images, so the variances
$s^2/n$ and $s^2/m$ of the two means add up; what does the factor ½ do to the error? An undecided D gives the bound 0
with the error 0. A D that is sure and right gives $\log 2$. A bad D gives a negative number, which is true and useless.""",
    inputs=lambda g: (2 * torch.randn(6, generator=g), 2 * torch.randn(4, generator=g)),
    solution=divergence_bound,
    explanation=r"""
$-L_D = V(D, G) \le V(D^*, G) = -\log 4 + 2\operatorname{JSD}$, so half of $\log 4 - L_D$ is a lower bound, whatever D.
The factor ½ halves the error too. The bound holds for the expectation: a single estimate may lie above the JSD by a few
standard errors, and on images that D was trained on it may lie above it by far.""",
    hints=(
        "Which two batches of numbers have the means that make up $L_D$? Keep them before you average.",
        "The variance of a mean of $n$ is $s^2/n$. Add both variances, take the root, and halve it.",
        (
            "With `a = F.softplus(-real)` and `b = F.softplus(fake)` the error is "
            "`0.5 * (a.var() / len(a) + b.var() / len(b)).sqrt()`."
        ),
    ),
    wrong=(
        Wrong(
            "log 2 minus the whole loss",
            _bound_changed(bound=lambda b: 2 * b - math.log(2)),
            "The factor one half is missing: an undecided D pays 2 log 2, and its bound is 0.",
        ),
        Wrong(
            "twice the bound",
            _bound_changed(bound=lambda b: 2 * b),
            "This is log 4 − L_D, a bound on 2 JSD. Halve it.",
        ),
        Wrong(
            "the wrong sign",
            _bound_changed(bound=lambda b: -b),
            "The sign is wrong: a smaller loss of D shows a larger divergence.",
        ),
        Wrong(
            "real and generated swapped",
            _bound_swapped,
            "Real and generated are swapped: a real image costs softplus(−logit).",
        ),
        Wrong(
            "the error is not halved",
            _bound_changed(error=lambda e: 2 * e),
            "This is the standard error of L_D. The bound has half the loss, so it has half the error.",
        ),
        Wrong(
            "standard errors added",
            _bound_errors_added,
            "The standard errors are added. The variances of independent means add up: add squares, then take the root.",
        ),
        Wrong(
            "the spread of single images",
            _bound_single,
            "This is the spread over single images. The mean of n images varies less: divide each variance by its n.",
        ),
        Wrong(
            "the variance, not its root",
            _bound_changed(error=lambda e: e**2),
            "This is the variance of the bound. The standard error is its square root.",
        ),
    ),
    right=(_bound_by_value,),
    probes={
        "the bound of an undecided D": lambda f: f(torch.zeros(4), torch.zeros(3)),
        "the bound of a D that is sure and right": lambda f: f(torch.full((3,), 900.0), torch.full((4,), -900.0)),
    },
)


def average_weights(mean, weights, decay):
    """mean ← decay · mean + (1 − decay) · weights, in place, for two lists of tensors; returns nothing."""
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            m.mul_(decay).add_(w, alpha=1 - decay)


def _average_by_copy(mean, weights, decay):
    for m, w in zip(mean, weights, strict=True):
        m.data.copy_(decay * m.data + (1 - decay) * w.data)


def _average_rebinds(mean, weights, decay):
    for m, w in zip(mean, weights, strict=True):
        m = decay * m + (1 - decay) * w


def _average_swapped(mean, weights, decay):
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            m.mul_(1 - decay).add_(w, alpha=decay)


def _average_adds(mean, weights, decay):
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            m.mul_(decay).add_(w)


def _average_moves_weights(mean, weights, decay):
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            w.mul_(1 - decay).add_(m, alpha=decay)


def _average_with_grad(mean, weights, decay):
    for m, w in zip(mean, weights, strict=True):
        m.mul_(decay).add_(w, alpha=1 - decay)


def _average_half_done(mean, weights, decay):
    with torch.no_grad():
        mean[0].mul_(decay).add_(weights[0], alpha=1 - decay)


def _average_of_parameters(answer):
    """What becomes of weights that require gradients, as a module's do."""
    mean, weights = [nn.Parameter(torch.ones(2, 3))], [nn.Parameter(torch.zeros(2, 3))]
    answer(mean, weights, 0.9)
    return mean[0].detach(), weights[0].detach()


AVERAGE = Exercise(
    number="09.6",
    title="Averaged weights, in place",
    difficulty=2,
    minutes=10,
    task=r"""
Write (9.9) for two lists of tensors, `mean` and `weights`: every tensor of `mean` is changed in place, those of
`weights` stay as they are, and nothing is returned. With `decay = 1` nothing changes, with `decay = 0` the weights are
copied. It must also work on the parameters of a module, which require gradients.""",
    inputs=lambda g: (
        [torch.randn(2, 3, generator=g), torch.randn(4, generator=g)],
        [torch.randn(2, 3, generator=g), torch.randn(4, generator=g)],
        0.9,
    ),
    solution=average_weights,
    explanation=r"""
In place means that the tensor's own memory changes: `mul_`, `add_`, `lerp_` or `copy_`. `m = …` would only give the name
`m` to a new tensor. Averaging is no part of the model, so autograd must not record it: it refuses to change a leaf in
place, and rightly so.""",
    hints=(
        "`m = something` gives a new tensor a name. Which methods of a tensor change its own memory?",
        "Methods whose names end in an underscore work in place: first multiply by `decay`, then add the rest.",
        "Inside `with torch.no_grad():` call `m.mul_(decay).add_(w, alpha=1 - decay)` for each pair.",
    ),
    wrong=(
        Wrong(
            "the name is bound anew",
            _average_rebinds,
            "Nothing has changed: `m = …` gives the name m to a new tensor and leaves the list's tensor alone.",
        ),
        Wrong(
            "decay on the wrong one",
            _average_swapped,
            "decay and 1 − decay are swapped: with decay 0.999 this forgets everything at each step.",
        ),
        Wrong(
            "the sum is no average",
            _average_adds,
            "The factor 1 − decay on the weights is missing, so the weights of the average add up to more than one.",
        ),
        Wrong(
            "the weights are moved",
            _average_moves_weights,
            "The trained weights are changed and the mean is not. The average only watches; the game must not notice it.",
        ),
        Wrong(
            "recorded by autograd",
            _average_with_grad,
            "Right for plain tensors. Parameters require gradients, and autograd refuses to change them: use no_grad.",
        ),
        Wrong(
            "only the first tensor",
            _average_half_done,
            "Only the first tensor is averaged. Go through all pairs.",
        ),
    ),
    right=(_average_by_copy,),
    probes={"what becomes of parameters that require gradients": _average_of_parameters},
    mutates=True,
)


def frechet_1d(x, y):
    """(μ_x − μ_y)² + (s_x − s_y)² of two sets of numbers: (n,), (m,) -> a number."""
    return (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2


FRECHET = Exercise(
    number="09.7",
    title="The Fréchet distance of one feature",
    difficulty=2,
    minutes=10,
    task=r"""
With a single feature, (9.10) needs no matrix. Simplify it, and write it for two sets of numbers of different length. Use
the standard deviation with $n - 1$, as `torch.std` does. Equal sets have the distance 0. A set and the same set shifted
by 3 have the distance 9. Spread counts as well as place.""",
    inputs=lambda g: (torch.randn(6, generator=g), 1 + 2 * torch.randn(5, generator=g)),
    solution=frechet_1d,
    explanation=r"""
In one dimension $\Sigma = s^2$, so $\operatorname{tr}(\Sigma_1 + \Sigma_2 - 2(\Sigma_1\Sigma_2)^{1/2}) =
s_1^2 + s_2^2 - 2 s_1 s_2 = (s_1 - s_2)^2$. `metrics.frechet_distance` gives the same for one column.""",
    hints=(
        "In one dimension a covariance matrix is a variance, and the root of a product of variances is a product.",
        "$s_x^2 + s_y^2 - 2 s_x s_y$ is a square. Of what?",
        "Square the difference of the means, and add the square of the difference of `x.std()` and `y.std()`.",
    ),
    wrong=(
        Wrong(
            "variances in place of standard deviations",
            lambda x, y: (x.mean() - y.mean()) ** 2 + (x.var() - y.var()) ** 2,
            "Here variances are subtracted. It is the standard deviations: the root stands inside (9.10).",
        ),
        Wrong(
            "only the means",
            lambda x, y: (x.mean() - y.mean()) ** 2,
            "Only the means are compared: a generator that always draws the average would be perfect.",
        ),
        Wrong(
            "the root at the end",
            lambda x, y: ((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2).sqrt(),
            "This is the square root. What papers report as FID is the squared distance, without a root.",
        ),
        Wrong(
            "the cross term is missing",
            lambda x, y: (x.mean() - y.mean()) ** 2 + x.var() + y.var(),
            "The term −2 s_x s_y is missing: equal sets would not have the distance 0.",
        ),
        Wrong(
            "the cross term without a root",
            lambda x, y: (x.mean() - y.mean()) ** 2 + x.var() + y.var() - 2 * x.var() * y.var(),
            "The product of the variances needs its square root.",
        ),
        Wrong(
            "divided by n",
            lambda x, y: (x.mean() - y.mean()) ** 2 + (x.std(correction=0) - y.std(correction=0)) ** 2,
            "This divides by n inside the standard deviation. The task asks for n − 1, as torch.std does by default.",
        ),
    ),
    right=(lambda x, y: (x.mean() - y.mean()) ** 2 + x.var() + y.var() - 2 * (x.var() * y.var()).sqrt(),),
    probes={
        "the distance of a set to itself": lambda f: f(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0])),
        "the distance of a set to itself shifted by 3": lambda f: f(
            torch.tensor([1.0, 2.0, 4.0]), torch.tensor([4.0, 5.0, 7.0])
        ),
    },
)


def class_distance(y1, y2):
    """Total variation ½ Σ_c |p_c − q_c| of two sets of labels from 0 to 9: (n,), (m,) -> a number."""
    p = torch.bincount(y1, minlength=10) / len(y1)
    q = torch.bincount(y2, minlength=10) / len(y2)
    return 0.5 * (p - q).abs().sum()


def _class_one_hot(y1, y2):
    p, q = F.one_hot(y1, 10).double().mean(0), F.one_hot(y2, 10).double().mean(0)
    return (p - q).clamp(min=0).sum()


def _shares(y1, y2):
    return torch.bincount(y1, minlength=10) / len(y1), torch.bincount(y2, minlength=10) / len(y2)


def _class_without_half(y1, y2):
    p, q = _shares(y1, y2)
    return (p - q).abs().sum()


def _class_counts(y1, y2):
    return 0.5 * (torch.bincount(y1, minlength=10) - torch.bincount(y2, minlength=10)).abs().sum()


def _class_signed(y1, y2):
    p, q = _shares(y1, y2)
    return 0.5 * (p - q).sum()


def _class_squares(y1, y2):
    p, q = _shares(y1, y2)
    return (p - q).square().sum().sqrt()


def _class_largest(y1, y2):
    p, q = _shares(y1, y2)
    return (p - q).abs().max()


def _class_without_minlength(y1, y2):
    p, q = torch.bincount(y1) / len(y1), torch.bincount(y2) / len(y2)
    return 0.5 * (p - q).abs().sum()


def _class_inputs(g):
    ends = torch.tensor([0, 9])  # so that both sets reach the last class, and only a probe has one that does not
    first, second = torch.randint(10, (13,), generator=g), torch.randint(5, (9,), generator=g)
    return torch.cat([first, ends]), torch.cat([second, ends])


CLASSES = Exercise(
    number="09.8",
    title="Do the classes come in equal shares?",
    difficulty=2,
    minutes=10,
    task=r"""
The **total variation** between two histograms with shares $p_c$ and $q_c$ is $\tfrac12 \sum_c |p_c - q_c|$: the share of
samples that would have to change class. Write it for two sets of labels of different size. It is 0 for equal shares and
1 when no class is in both. Some classes may be missing altogether, which is just what you are looking for in a GAN.""",
    inputs=_class_inputs,
    solution=class_distance,
    explanation=r"""
Shares, not counts, since the sets differ in size. `minlength=10` keeps the histogram ten bins long when the last classes
are missing. The one half makes 1 the largest value: what one class has too much, others have too little, and the sum
counts both. With 1,000 samples even a perfect generator has a total variation of about 0.04 from equal shares.""",
    hints=(
        "Count the labels of each class, and divide by how many labels there are.",
        "`torch.bincount` counts. What length has its result when no label 9 occurs?",
        "`torch.bincount(y, minlength=10) / len(y)` for both; then half the sum of absolute differences.",
    ),
    wrong=(
        Wrong(
            "without the half",
            _class_without_half,
            "The one half is missing: sets without a common class would have 2.",
        ),
        Wrong(
            "counts in place of shares",
            _class_counts,
            "These are differences of counts. Divide each by the size of its own set first.",
        ),
        Wrong(
            "no absolute value",
            _class_signed,
            "Without the absolute value the differences cancel: shares add up to one, so this is always 0.",
        ),
        Wrong(
            "the Euclidean distance",
            _class_squares,
            "This is the Euclidean distance of the shares. The total variation adds absolute differences.",
        ),
        Wrong(
            "the largest difference",
            _class_largest,
            "This is the largest difference of one class. The total variation adds over classes.",
        ),
        Wrong(
            "a class may be missing",
            _class_without_minlength,
            "Without minlength=10 the histogram ends at the largest label, and the two may differ in length.",
        ),
    ),
    right=(_class_one_hot,),
    probes={
        "the distance of a set to itself": lambda f: f(torch.arange(10), torch.arange(10).repeat(2)),
        "sets without a common class": lambda f: f(torch.tensor([0, 9]), torch.tensor([3, 4, 5])),
        "a generator that draws only zeros": lambda f: f(torch.arange(10), torch.zeros(7, dtype=torch.long)),
    },
)


def smoothed_d(p, q, s):
    """The D that minimises (9.4) with real targets 1 − s: densities (n,) twice and a number -> (n,)."""
    return (1 - s) * p / (p + q)


SMOOTHED = Exercise(
    number="09.9",
    title="One-sided label smoothing",
    difficulty=2,
    minutes=12,
    task=r"""
Salimans and others (2016) train D with the target $1 - s$ on real images, and 0 on generated ones as before. At one $x$
the loss is then $-p\,[(1-s)\log D + s \log(1-D)] - q \log(1-D)$. Find the best D as we found (9.2). For $s = 0$ it is
(9.2). Where no generated image ever falls it is $1 - s$, so D is never quite sure.""",
    inputs=lambda g: (torch.rand(5, generator=g) + 0.1, torch.rand(5, generator=g) + 0.1, 0.2),
    solution=smoothed_d,
    explanation=r"""
Collect the terms: $-a \log D - b \log(1-D)$ with $a = (1-s)\,p$ and $b = s\,p + q$. As in (9.2) the best D is
$a/(a+b) = (1-s)\,p/(p+q)$. Were the generated target smoothed as well, the numerator would be $(1-s)\,p + s'q$: where
$p$ is nearly 0 and $q$ is not, D would then reward G for samples that are far from all data.""",
    hints=(
        "Collect what multiplies $\\log D$ and what multiplies $\\log(1-D)$; then use the maximum of $a \\log y + b\\log(1-y)$.",
        "$a = (1-s)p$ and $b = sp + q$. What is $a + b$?",
        "$a + b = p + q$, so the answer is `(1 - s) * p / (p + q)`.",
    ),
    wrong=(
        Wrong(
            "smoothing has no effect",
            lambda p, q, s: p / (p + q),
            "This is (9.2), without smoothing: s is not used.",
        ),
        Wrong(
            "the s p term is lost",
            lambda p, q, s: (1 - s) * p / ((1 - s) * p + q),
            "The term s log(1 − D) on real images is lost: it belongs to b, so that a + b = p + q.",
        ),
        Wrong(
            "both sides smoothed",
            lambda p, q, s: ((1 - s) * p + s * q) / (p + q),
            "Here the generated target is smoothed too. Only the real target is 1 − s.",
        ),
        Wrong(
            "s and 1 − s swapped",
            lambda p, q, s: s * p / (p + q),
            "s and 1 − s are swapped: the real target is 1 − s.",
        ),
        Wrong(
            "the generated side smoothed",
            lambda p, q, s: (p + s * q) / (p + q),
            "This smooths the generated target in place of the real one.",
        ),
    ),
    right=(lambda p, q, s: ((1 - s) * p) / ((1 - s) * p + s * p + q),),
    probes={
        "no smoothing, s = 0": lambda f: f(torch.tensor([1.0, 3.0]), torch.tensor([3.0, 1.0]), 0.0),
        "where no generated image falls, q = 0": lambda f: f(torch.tensor([1.0]), torch.tensor([0.0]), 0.1),
        "where no real image falls, p = 0": lambda f: f(torch.tensor([0.0]), torch.tensor([2.0]), 0.1),
    },
    gradient=True,
)


def difference(a, b):
    """mean(a) − mean(b) and its standard error, for scores of n and m independent runs: (n,), (m,) -> two numbers."""
    error = (a.var() / len(a) + b.var() / len(b)).sqrt()
    return a.mean() - b.mean(), error


DIFFERENCE = Exercise(
    number="09.10",
    title="Does it help, or was it the seed?",
    difficulty=3,
    minutes=60,
    task=r"""
Two training recipes were run several times with different seeds, and their FCDs are in `a` and `b`. Write the difference
of the means, `a` minus `b`, and its standard error (the variances of independent means add up). Then use it twice. First
on the study of this chapter: `studies.load("choices")` has the `fcd` of every run with its `without` and `seed`; which
choices differ from the full recipe by more than two standard errors, and how many of twenty would do so by luck? Then
change one choice yourself (the width, the decay of the average, instance noise, `gan.augment`, a loss of
`gan.OBJECTIVES`), run the DCGAN with three seeds or more, and say what you found. Decide what you will change before
you look.""",
    inputs=lambda g: (5 + torch.randn(4, generator=g), 3 + 2 * torch.rand(3, generator=g)),
    solution=difference,
    explanation=r"""
The mean of $n$ independent runs has the variance $s^2/n$, and the variance of a difference of independent numbers is the
sum of theirs. With three seeds the standard error is itself rough: two standard errors are a hint, no proof.""",
    hints=(
        "What is the standard error of a mean of $n$ numbers? Which variances add up?",
        "Each mean has the variance $s^2/n$ with its own $n$. Add both, then take the root.",
        "The error is `(a.var() / len(a) + b.var() / len(b)).sqrt()`.",
    ),
    wrong=(
        Wrong(
            "standard errors added",
            lambda a, b: (a.mean() - b.mean(), a.std() / len(a) ** 0.5 + b.std() / len(b) ** 0.5),
            "The standard errors are added. Of independent numbers the variances add up: add squares, then take the root.",
        ),
        Wrong(
            "the spread of single runs",
            lambda a, b: (a.mean() - b.mean(), (a.var() + b.var()).sqrt()),
            "This is the spread of a difference of single runs. Means of n runs vary less: divide each variance by its n.",
        ),
        Wrong(
            "the variance, not its root",
            lambda a, b: (a.mean() - b.mean(), a.var() / len(a) + b.var() / len(b)),
            "This is the variance of the difference. The standard error is its square root.",
        ),
        Wrong(
            "the order swapped",
            lambda a, b: (b.mean() - a.mean(), (a.var() / len(a) + b.var() / len(b)).sqrt()),
            "The sign is wrong: asked is the mean of a minus the mean of b.",
        ),
        Wrong(
            "pooled with one n",
            lambda a, b: (a.mean() - b.mean(), ((a.var() + b.var()) / (len(a) + len(b))).sqrt()),
            "Both variances are divided by the number of all runs. Each mean has its own n.",
        ),
        Wrong(
            "variance divided by n",
            lambda a, b: (
                a.mean() - b.mean(),
                (a.var(correction=0) / len(a) + b.var(correction=0) / len(b)).sqrt(),
            ),
            "The variance is computed with n. With so few runs take n − 1, which torch.var does by default.",
        ),
    ),
    right=(lambda a, b: (a.mean() - b.mean(), torch.hypot(a.std() / len(a) ** 0.5, b.std() / len(b) ** 0.5)),),
    discussion=r"""
**For the open part.** Report the number of steps, the seeds, every FCD, the number of samples behind each, and the
difference with its error. With three seeds on each side, two standard errors are passed by luck in about one of nine
comparisons (Student's t with four degrees of freedom), so among twenty expect two such finds; three standard errors in
about one of twenty-five. Choose by the FCD against *training* images and report the one against test images, or the
choice itself will have used the test set. Most single changes move the FCD by less than a change of seed does. That is a
result too, and Lucic and others (2018) found it on a much larger scale.""",
)

EXERCISES = [
    OPTIMAL_D,
    D_LOSS,
    SLOPES,
    TWO_LOSSES,
    BOUND,
    AVERAGE,
    FRECHET,
    CLASSES,
    SMOOTHED,
    DIFFERENCE,
]
