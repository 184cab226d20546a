"""Exercise 19.7: The value of one, the slope of another."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def kl_term(log_prob, reference):
    """A term to minimise with the values of k3 and the gradient of k2.

    log π(x), log p(x) of examples drawn from π (n,) -> (n,).
    """
    u = (reference - log_prob).detach()
    k3 = u.expm1() - u
    return k3 - u * (log_prob - log_prob.detach())  # 0, with a slope of -u


def _by_both(log_prob, reference):
    apart = log_prob - reference.detach()
    k2, k3 = apart**2 / 2, torch.exp(-apart) - 1 + apart
    return k2 + (k3 - k2).detach()


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, log_prob, reference):
        apart = log_prob - reference
        ctx.save_for_backward(apart)
        return torch.exp(-apart) - 1 + apart

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


def _by_function(log_prob, reference):
    return _Mixed.apply(log_prob, reference.detach())


def _by_hook(log_prob, reference):
    # the slope of k3 is 1 - e^u; each is replaced on its way
    fixed = reference.detach()
    u = fixed - log_prob.detach()
    passed = log_prob * 1
    if passed.requires_grad:
        passed.register_hook(lambda grad: grad / torch.where(u == 0, 1, 1 - u.exp()) * -u)
    return (fixed - passed).exp() - 1 - (fixed - passed)


def _by_loops(log_prob, reference):
    found = []
    for a, b in zip(log_prob, reference.detach(), strict=True):
        u = (b - a).detach()
        found.append((torch.exp(u) - 1 - u) + a * -u - (a * -u).detach())
    return torch.stack(found)


def _k2(u):
    return u.square() / 2


def _k3(u):
    return u.expm1() - u


def _with(value, slope):
    """The values of one estimate with the gradient of another, both of u = log p - log π."""

    def both(log_prob, reference):
        u = reference.detach() - log_prob
        moving = slope(u)
        return value(u).detach() + moving - moving.detach()

    return both


def _logs(g):
    n = int(torch.randint(2, 8, (), generator=g))
    log_prob, reference = (-4 * torch.rand(n, generator=g).double() for _ in range(2))
    log_prob[0] -= 3  # an example that π has nearly forgotten
    return log_prob, reference


def _pull(f):
    """The expected gradient by the logits of π, over all x."""
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0]).double().requires_grad_()
    p = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    log_prob = logits.log_softmax(0)
    total = (log_prob.exp().detach() * f(log_prob, p.log())).sum()
    return torch.autograd.grad(total, logits)[0]


EXERCISE = Exercise(
    number="19.7",
    title="The value of one, the slope of another",
    difficulty=2,
    minutes=15,
    gradient=True,
    task=r"""
Examples $x$ were drawn from the policy $\pi$; `log_prob` (n,) is $\log \pi(x)$, with a gradient, and `reference` (n,) is
$\log p(x)$. Let $u = \log p(x) - \log \pi(x)$. Three estimates of $\operatorname{KL}(\pi \Vert p)$ are in use:
$k_1 = -u$, $k_2 = u^2/2$ and $k_3 = e^u - 1 - u$. As a number to report, $k_3$ is unbiased and never negative. As a
loss it pulls towards another goal: autograd does not see that $x$ comes from $\pi$, and the mean gradient of $k_3$ is that of
$\operatorname{KL}(p \Vert \pi)$. The mean gradient of $k_2$ is that of $\operatorname{KL}(\pi \Vert p)$. Write a term
that has the **values** of $k_3$ and the **gradient** of $k_2$ by `log_prob`, for each example: shape (n,). No gradient
may reach `reference`. Values and gradients are compared, so stay with torch.""",
    inputs=_logs,
    solution=kl_term,
    explanation=r"""
The derivative of $k_2$ by $\log \pi$ is $-u = \log \pi(x) - \log p(x)$. What has the value 0 and that slope is
$-u\,(\log \pi - \log \pi)$ with $u$ and the second $\log \pi$ detached; added to a detached $k_3$ it gives both. The
mean over $x \sim \pi$ is $\mathbb E\big[(\log \pi - \log p)\,\nabla \log \pi\big]$, and that *is* the gradient of
$\operatorname{KL}(\pi\Vert p)$: what autograd cannot see, the score puts in. The mean gradient of $k_1$ would be
$\mathbb E[\nabla \log \pi] = 0$, and that of $k_3$ is $\mathbb E[(1 - p/\pi)\,\nabla \log \pi]
= -\mathbb E_p[\nabla \log \pi]$: the reference's samples pull, as in maximum likelihood.""",
    hints=(
        "A detached tensor gives values without a slope. What gives a slope and the value 0?",
        "x − x.detach() is 0 and has the slope 1. The slope that is wanted is that of u²/2 by log π: −u.",
        "`k3.detach() + k2 - k2.detach()`, with the reference detached from the beginning.",
    ),
    wrong=(
        Wrong(
            "k3 as it is",
            "The values are right, the gradient is that of k3: on average that of KL(p ‖ π), not of KL(π ‖ p).",
            _with(_k3, _k3),
        ),
        Wrong(
            "k2 as it is",
            "The gradient is right, but the values are those of k2, which is biased as an estimate.",
            _with(_k2, _k2),
        ),
        Wrong(
            "k1 as it is",
            "This is k1. Its gradient is the score alone, and the mean of that is 0: it pulls nowhere.",
            _with(lambda u: -u, lambda u: -u),
        ),
        Wrong(
            "values of k1",
            "The gradient is right, but the values are those of k1: unbiased, negative for some examples, and noisy.",
            _with(lambda u: -u, _k2),
        ),
        Wrong(
            "the slope of k1",
            "The values are right, but the slope is 1 for every example, that of k1: on average it pulls nowhere.",
            _with(_k3, lambda u: -u),
        ),
        Wrong(
            "k3 as a reward",
            "The score is weighed by k3 here. For the gradient of KL(π ‖ p) its weight is log π − log p.",
            lambda log_prob, reference: _k3(reference - log_prob).detach() * (1 + log_prob - log_prob.detach()),
        ),
        Wrong(
            "the sign of the slope",
            "The values are right, but the slope has the wrong sign: minimising it drives π away from p.",
            _with(_k3, lambda u: -_k2(u)),
        ),
        Wrong(
            "the values of the other direction",
            "u is reversed in the values: e^−u − 1 + u. That would estimate a divergence if x came from p.",
            _with(lambda u: _k3(-u), _k2),
        ),
        Wrong(
            "all reversed",
            "u is reversed in the values and in the slope. It is log p − log π.",
            _with(lambda u: _k3(-u), lambda u: -_k2(u)),
        ),
        Wrong(
            "a gradient into the reference",
            "Values and slope are right, but a gradient reaches the reference as well. It is fixed: detach it.",
            lambda log_prob, reference: (
                _k3(reference - log_prob).detach() + _k2(reference - log_prob) - _k2(reference - log_prob).detach()
            ),
        ),
        Wrong(
            "the one half forgotten",
            "The slope is twice too large: that of u² and not of u²/2.",
            _with(_k3, lambda u: 2 * _k2(u)),
        ),
        Wrong(
            "values and slopes exchanged",
            "It is the other way round: the values of k2 with the gradient of k3.",
            _with(_k2, _k3),
        ),
    ),
    right=(_by_both, _by_function, _by_hook, _by_loops),
    probes={
        "the values of one example": lambda f: f(torch.tensor([-3.0]).double(), torch.tensor([-1.0]).double()).detach(),
        "the expected pull on the logits of a policy over four answers": _pull,
        "the values where π is p": lambda f: f(
            torch.tensor([-3.0, -0.5]).double(), torch.tensor([-3.0, -0.5]).double()
        ).detach(),
    },
    discussion=r"""
**For your own work.** A log that shows the KL falling does not say that its gradient was used: values and slopes are
two things. Test your loss once on a softmax over four answers, where the gradient of the divergence is known in closed
form, as the second test here does. If examples come from an *older* policy, neither value nor slope is right without
the ratio $\pi/\pi_{\text{old}}$ as a weight.""",
)
