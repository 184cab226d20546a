"""Exercise 10.4: Through the noise of a curve."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from scipy import signal

from genlab.exercises import Exercise, Wrong, mistake


def smoothed(x, beta):
    """The corrected exponential mean (10.8) of a curve: (n,), a number -> (n,)."""
    mean, out = 0.0, []
    for t, value in enumerate(x, 1):
        mean = beta * mean + (1 - beta) * value
        out.append(mean / (1 - beta**t))
    return torch.stack(out)


def _smooth(x, beta, *, start=0.0, correct=lambda beta, t: 1 - beta**t, keep=None, new=None):
    mean, out, keep = start, [], beta if keep is None else keep
    new = 1 - keep if new is None else new
    for t, value in enumerate(x, 1):
        mean = keep * mean + new * value
        out.append(mean / correct(beta, t))
    return torch.stack(out)


@mistake(
    "the corrected mean carried on",
    "The corrected mean goes into the next step, and so is corrected again and again. Go on with the undivided mean.",
)
def _smoothed_again(x, beta):
    mean, out = 0.0, []
    for t, value in enumerate(x, 1):
        mean = (beta * mean + (1 - beta) * value) / (1 - beta**t)
        out.append(mean)
    return torch.stack(out)


def _smoothed_by_weights(x, beta):
    ages = torch.arange(len(x))[:, None] - torch.arange(len(x))[None]
    weights = torch.where(ages >= 0, beta ** ages.clamp(min=0).to(x.dtype), torch.zeros((), dtype=x.dtype))
    return weights @ x / weights.sum(1)


def _smoothed_by_lists(x, beta):
    mean, weight, out = 0.0, 0.0, []
    for value in x.tolist():
        mean, weight = beta * mean + value, beta * weight + 1
        out.append(mean / weight)
    return out


def _curve(g):
    """A curve of any length in which one value lies far from the others, and any beta."""
    x = 2 + torch.randn(int(torch.randint(2, 9, (), generator=g)), generator=g)
    x[1] += 20
    return x, 0.3 + 0.6 * float(torch.rand((), generator=g))


EXERCISE = Exercise(
    number="10.4",
    title="Through the noise of a curve",
    difficulty=2,
    minutes=10,
    task=r"""
Curves of a GAN are drawn as exponential means. Start at $m_0 = 0$ and let, for $0 \le \beta < 1$,

$$ m_t = \beta\, m_{t-1} + (1 - \beta)\, x_t , \qquad \hat x_t = \frac{m_t}{1 - \beta^t} , \qquad t = 1, 2, \dots \tag{10.8} $$

Return all $\hat x_t$, as many numbers as `x` has. The division corrects the start at 0: a constant curve must come out
unchanged, from its first value on.""",
    inputs=_curve,
    solution=smoothed,
    explanation=r"""
$m_t$ is a sum of the $x_s$ with the weights $(1-\beta)\beta^{t-s}$, and by the geometric series these add up to
$1 - \beta^t$. After the division they add up to 1, which is what a mean needs. Without it every smoothed loss seems to
rise from 0 at the start: a phantom. Adam corrects its moments in the same way (Kingma and Ba
2015).""",
    hints=(
        "Keep one number, `mean`, and update it for each value. What do the weights of all values in it add up to?",
        "They add up to $1 - \\beta^t$ after $t$ values. Divide what you report by that, and go on with the undivided mean.",
        "For each `t` and `value`: `mean = beta * mean + (1 - beta) * value`, then append `mean / (1 - beta**t)`.",
    ),
    wrong=(
        Wrong(
            "no correction",
            "The correction for the start at 0 is missing: a constant curve seems to rise from 0.",
            lambda x, beta: _smooth(x, beta, correct=lambda b, t: 1.0),
        ),
        Wrong(
            "started at the first value",
            "This starts at the first value in place of 0. A constant curve is right, but the first value keeps a weight "
            "that is far too large.",
            lambda x, beta: _smooth(x, beta, start=x[0], correct=lambda b, t: 1.0),
        ),
        Wrong(
            "counted from 0",
            "The exponent is too large by one: after the first value the weights add up to 1 − β.",
            lambda x, beta: _smooth(x, beta, correct=lambda b, t: 1 - b ** (t + 1)),
        ),
        Wrong(
            "the same correction for all",
            "Every value is divided by 1 − β. That is right at t = 1 only; the weights add up to 1 − β to the power t.",
            lambda x, beta: _smooth(x, beta, correct=lambda b, t: 1 - b),
        ),
        _smoothed_again,
        Wrong(
            "beta on the new value",
            "β stands at the new value and 1 − β at the old mean. With (10.8) a β near 1 means more smoothing.",
            lambda x, beta: _smooth(x, beta, keep=1 - beta),
        ),
        Wrong(
            "the new value has its whole weight",
            "The factor 1 − β of the new value is missing: the weights add up to more than 1.",
            lambda x, beta: _smooth(x, beta, new=1.0),
        ),
        Wrong(
            "the last value only",
            "This is the last smoothed value. Return all of them, so that the curve can be drawn.",
            lambda x, beta: smoothed(x, beta)[-1],
        ),
    ),
    right=(
        _smoothed_by_weights,
        _smoothed_by_lists,
        lambda x, beta: (
            signal.lfilter([1 - beta], [1, -beta], x.numpy()) / (1 - beta ** torch.arange(1.0, len(x) + 1).numpy())
        ),
    ),
    probes={
        "a constant curve": lambda f: f(torch.full((4,), 3.0), 0.9),
        "beta = 0, no smoothing": lambda f: f(torch.tensor([1.0, -2.0, 5.0]), 0.0),
        "a curve of one value": lambda f: f(torch.tensor([-2.0]), 0.7),
        "the answer to a single peak": lambda f: f(torch.tensor([0.0, 1.0, 0.0, 0.0]), 0.5),
        "a curve of 60 values": lambda f: f(torch.linspace(-1, 5, 60), 0.8),
    },
)
