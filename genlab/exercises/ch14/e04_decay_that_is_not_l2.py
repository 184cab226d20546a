"""Exercise 14.4: The decay that is not L2."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def two_decays(theta, g, m, v, t, lr, decay):
    """Parameters after step t of Adam: with L2 in the loss, and with decoupled decay.

    Parameters, gradient, first and second moment before the step: all of one shape.
    """
    found = []
    for inside, outside in ((decay, 0.0), (0.0, decay)):
        grad = g + inside * theta
        mean = (0.9 * m + 0.1 * grad) / (1 - 0.9**t)
        square = (0.999 * v + 0.001 * grad**2) / (1 - 0.999**t)
        found.append(theta - lr * (mean / (square.sqrt() + 1e-8) + outside * theta))
    return tuple(found)


def _by_optimisers(theta, g, m, v, t, lr, decay):
    found = []
    for kind in (torch.optim.Adam, torch.optim.AdamW):
        weights = torch.nn.Parameter(theta.clone())
        weights.grad = g.clone()
        optimiser = kind([weights], lr=lr, weight_decay=decay)
        optimiser.state[weights] = {"step": torch.tensor(float(t - 1)), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
        optimiser.step()
        found.append(weights.detach())
    return found


def _by_numpy(theta, g, m, v, t, lr, decay):
    def direction(grad):
        mean = m.numpy() * 0.9 + grad * (1 - 0.9)
        square = v.numpy() * 0.999 + grad * grad * (1 - 0.999)
        return mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)

    old, grad = theta.numpy(), g.numpy()
    return np.stack([old - lr * direction(grad + decay * old), (1 - lr * decay) * old - lr * direction(grad)])


def _by_loops(theta, g, m, v, t, lr, decay):
    def moved(old, grad, first, second):
        first, second = first + 0.1 * (grad - first), second + 0.001 * (grad * grad - second)
        return old - lr * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)) ** 0.5 + 1e-8)

    rows = list(zip(*(part.flatten().tolist() for part in (theta, g, m, v)), strict=True))
    inside = [moved(a, b + decay * a, c, d) for a, b, c, d in rows]
    outside = [moved(a, b, c, d) - lr * decay * a for a, b, c, d in rows]
    return torch.tensor(inside).reshape(theta.shape), torch.tensor(outside).reshape(theta.shape)


def _step(theta, g, m, v, t, lr, *, corrected=True):
    """A step of Adam without any decay."""
    mean, square = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    if corrected:
        mean, square = mean / (1 - 0.9**t), square / (1 - 0.999**t)
    return theta - lr * mean / (square.sqrt() + 1e-8)


def _uncorrected(theta, g, m, v, t, lr, decay):
    inside = _step(theta, g + decay * theta, m, v, t, lr, corrected=False)
    return inside, _step(theta, g, m, v, t, lr, corrected=False) - lr * decay * theta


def _inside(theta, g, m, v, t, lr, decay):
    """The small number under the root."""

    def moved(grad):
        square = (0.999 * v + 0.001 * grad**2) / (1 - 0.999**t)
        return theta - lr * (0.9 * m + 0.1 * grad) / (1 - 0.9**t) / (square + 1e-8).sqrt()

    return moved(g + decay * theta), moved(g) - lr * decay * theta


def _second(change):
    """The right L2, and another decoupled step."""

    def both(theta, g, m, v, t, lr, decay):
        return two_decays(theta, g, m, v, t, lr, decay)[0], change(theta, _step(theta, g, m, v, t, lr), lr, decay)

    return both


def _first(change):
    """The right decoupled step, and another L2."""

    def both(theta, g, m, v, t, lr, decay):
        return change(theta, g, m, v, t, lr, decay), two_decays(theta, g, m, v, t, lr, decay)[1]

    return both


def _state(g):
    shape = tuple(torch.randint(1, 5, (int(torch.randint(1, 3, (), generator=g)),), generator=g).tolist())
    theta, grad, m = (torch.randn(shape, generator=g).double() for _ in range(3))
    v = 0.05 + torch.rand(shape, generator=g).double()
    theta.view(-1)[0] += 5
    t = int(torch.randint(2, 40, (), generator=g))
    lr, decay = (low + float(torch.rand((), generator=g)) for low in (0.1, 0.2))
    return theta, grad, m * (1 - 0.9 ** (t - 1)), v * (1 - 0.999 ** (t - 1)), t, lr, decay


def _late(f):
    theta, g, m, v = torch.tensor(
        [[2.0, -1.0, 0.5, 8.0], [50.0, 50.0, -3.0, 0.25], [1.0, -2.0, 0.5, 0.0], [4.0, 0.01, 9.0, 1.0]]
    ).double()
    return f(theta, g, m, v, 5000, 0.01, 20.0)


def _at_rest(f):
    theta = torch.tensor([[4.0, -0.5], [0.01, 2.0]]).double()
    zero = torch.zeros_like(theta)
    return f(theta, zero, zero, zero, 1, 0.1, 0.3)


EXERCISE = Exercise(
    number="14.4",
    title="The decay that is not L2",
    difficulty=2,
    minutes=15,
    task=r"""
Write step number $t = 1, 2, \dots$ of Adam twice, from the same parameters $\theta$, gradient $g$ of the loss, and
moments $m$ and $v$ (as they were before the step, not corrected). First with an L2 penalty
$\tfrac12\,\text{decay}\,\lVert\theta\rVert^2$ added to the loss. Then with decoupled decay, where
$-\,\text{lr} \cdot \text{decay} \cdot \theta$ (of the old $\theta$) is added to the step of Adam on the loss alone.
The step of Adam with gradient $g$ is

$$ m \leftarrow 0.9\,m + 0.1\,g, \quad v \leftarrow 0.999\,v + 0.001\,g^2, \quad
\theta \leftarrow \theta - \text{lr}\,\frac{m/(1-0.9^t)}{\sqrt{v/(1-0.999^t)} + 10^{-8}} . $$

Return the pair of new parameters, both in the shape of $\theta$: L2 first. Leave all arguments as they are. Before
you check: how far does each move a weight of 0.01 whose gradient is 0 and always was?""",
    inputs=_state,
    solution=two_decays,
    explanation=r"""
With L2 the pull $\text{decay} \cdot \theta$ goes into $g$, and is divided by the root of $v$ like the rest. A weight
with large gradients is hardly pulled; one without gradients moves by lr at step 1, however small it and decay are,
since that step of Adam is a sign: 0.01 becomes −0.09 at a rate of 0.1. Decoupled, every weight loses the same share,
$\text{lr} \cdot \text{decay}$. `torch.optim.Adam(weight_decay=…)` is the first, `torch.optim.AdamW` the second
(Loshchilov and Hutter 2019). For plain gradient descent the two agree.""",
    hints=(
        "The gradient of ½ decay ‖θ‖² is decay · θ. Where does it go in, and what happens to it afterwards?",
        "One function does the step for a given gradient. Call it with g + decay · θ, and with g.",
        "The second: `theta - lr * (step + decay * theta)`, with the step of Adam for g alone.",
    ),
    wrong=(
        Wrong(
            "decoupled first",
            "The two results are in the other order: L2 first, then decoupled decay.",
            lambda theta, g, m, v, t, lr, decay: two_decays(theta, g, m, v, t, lr, decay)[::-1],
        ),
        Wrong(
            "both the same",
            "Both results are those of L2 in the loss. Decoupled decay does not go through the moments.",
            lambda theta, g, m, v, t, lr, decay: (two_decays(theta, g, m, v, t, lr, decay)[0],) * 2,
        ),
        Wrong(
            "decoupled, without the rate",
            "The decoupled decay takes decay · θ away, without the factor lr.",
            _second(lambda theta, moved, lr, decay: moved - decay * theta),
        ),
        Wrong(
            "decay after the step",
            "The new parameters are shrunk here. The decay is a share of the old ones.",
            _second(lambda theta, moved, lr, decay: moved * (1 - lr * decay)),
        ),
        Wrong(
            "no decoupled decay",
            "The second result has no decay at all.",
            _second(lambda theta, moved, lr, decay: moved),
        ),
        Wrong(
            "the one half forgotten",
            "The first result has the pull 2 · decay · θ. The penalty is ½ decay ‖θ‖², with the gradient decay · θ.",
            _first(lambda theta, g, m, v, t, lr, decay: _step(theta, g + 2 * decay * theta, m, v, t, lr)),
        ),
        Wrong(
            "a decay that grows the weights",
            "In the first result the pull has the wrong sign: the penalty's gradient is added to g.",
            _first(lambda theta, g, m, v, t, lr, decay: _step(theta, g - decay * theta, m, v, t, lr)),
        ),
        Wrong(
            "no correction of the moments",
            "The moments are not divided by 1 − 0.9ᵗ and 1 − 0.999ᵗ.",
            _uncorrected,
        ),
        Wrong(
            "the small number under the root",
            "The small number is added under the root, so tiny gradients move next to nothing. It belongs after the root.",
            _inside,
        ),
        Wrong(
            "both decoupled",
            "Both results are those of decoupled decay. With L2 in the loss the pull goes through the moments.",
            lambda theta, g, m, v, t, lr, decay: (two_decays(theta, g, m, v, t, lr, decay)[1],) * 2,
        ),
    ),
    right=(_by_optimisers, _by_numpy, _by_loops),
    probes={
        "weights without any gradient, at step 1": _at_rest,
        "a weight with a large gradient, at step 1": lambda f: f(
            torch.tensor([2.0]).double(), torch.tensor([50.0]).double(), *torch.zeros(2, 1).double(), 1, 0.1, 0.5
        ),
        "weights of 0 with tiny gradients, at step 1": lambda f: f(
            torch.zeros(2).double(), torch.tensor([1e-8, -3e-8]).double(), *torch.zeros(2, 2).double(), 1, 0.5, 0.5
        ),
        "step 5,000 with a decay of 20": _late,
        "a step without decay": lambda f: f(*torch.arange(1.0, 9.0).view(4, 2).double(), 3, 0.2, 0.0),
    },
    discussion=r"""
**For your own work.** "Weight decay 0.01" is two different settings in two optimisers, and a value tuned for one says
little about the other. A decoupled decay takes the share lr · decay at each step: with a schedule of lr it changes
too. Biases and the scales of normalisation are mostly left out of both; say which parameters your decay touches.""",
)
