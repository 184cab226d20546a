"""Exercise 18.1: What the network sees."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def velocity_loss(model, x, eps, t):
    """Squared error of the velocity, summed over each example.

    model(x_t, t), data and noise (n, ...), times (n,) -> (n,).
    """
    time = t.view(-1, *[1] * (x.ndim - 1))
    x_t = (1 - time) * x + time * eps
    return (model(x_t, t) - (eps - x)).square().flatten(1).sum(1)


def _by_loops(model, x, eps, t):
    found = []
    for i, time in enumerate(t):
        x_t = torch.lerp(x[i], eps[i], time)
        error = model(x_t[None], time[None])[0] + x[i] - eps[i]
        found.append(sum(float(value) ** 2 for value in error.flatten()))
    return found


def _by_numpy(model, x, eps, t):
    data, noise = x.numpy(), eps.numpy()
    x_t = (data.T * (1 - t.numpy()) + noise.T * t.numpy()).T
    error = model(torch.as_tensor(x_t), t).numpy() - (noise - data)
    return (error.reshape(len(error), -1) ** 2).sum(axis=1)


def _by_autograd(model, x, eps, t):
    # the target is the path's derivative by time
    place = (slice(None), *[None] * (x.ndim - 1))
    x_t, u = torch.func.jvp(lambda s: (1 - s)[place] * x + s[place] * eps, (t,), (torch.ones_like(t),))
    return torch.linalg.vector_norm((model(x_t, t) - u).flatten(1), dim=1) ** 2


def _by_einsum(model, x, eps, t):
    x_t = x + torch.einsum("n,n...->n...", t, eps - x)
    error = (model(x_t, t) - (eps - x)).reshape(len(x), -1)
    return torch.einsum("ni,ni->n", error, error)


def _noised(x, eps, t):
    return x + t.view(-1, *[1] * (x.ndim - 1)) * (eps - x)


def _other(point=_noised, target=lambda x, eps, t: eps - x, time=lambda t: t):
    """Another input or another target."""

    def answer(model, x, eps, t):
        return (model(point(x, eps, t), time(t)) - target(x, eps, t)).square().flatten(1).sum(1)

    return answer


def _reduced(reduce):
    """The right errors, reduced in another way."""

    def answer(model, x, eps, t):
        return reduce((model(_noised(x, eps, t), t) - (eps - x)).flatten(1))

    return answer


def _last_columns(x, eps, t):
    return (1 - t) * x + t * eps  # meets the last dimension, not the first


def wavy(x, t):
    """Some network: bent in the point, and with a time of its own for each example."""
    time = t.view(-1, *[1] * (x.ndim - 1))
    return torch.sin(2 * x) + time * x - time**2


def still(x, t):
    """A network whose guess is 0 at all points and times."""
    return torch.zeros_like(x)


def _batch(g):
    n = int(torch.randint(1, 6, (), generator=g))
    shape = (n, *torch.randint(1, 4, (int(torch.randint(1, 4, (), generator=g)),), generator=g).tolist())
    x, eps = (torch.randn(shape, generator=g).double() for _ in range(2))
    x[0] *= 5
    return wavy, x + 1, eps, torch.rand(n, generator=g).double()


SQUARE = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0], [2.0, 0.0, 8.0]]).double()
THIRD = torch.tensor([0.25, 0.5, 0.75]).double()

EXERCISE = Exercise(
    number="18.1",
    title="What the network sees",
    difficulty=1,
    minutes=10,
    task=r"""
Write the loss of conditional flow matching, example by example. In this course $t = 0$ is data and $t = 1$ is noise: the
path is $x_t = (1-t)\,x + t\,\varepsilon$, and its velocity is the derivative by $t$. `model(x_t, t)` takes points and a
time for each of them, `(n,)`, and gives a guess of the velocity in the shape of the points. `x` and `eps` have one shape,
an example in each row and any number of further dimensions. Return the squared error, *summed* over all numbers of an
example, without a factor: shape `(n,)`. Before you check: what would the loss tell you if the network saw $x$ itself?""",
    inputs=_batch,
    solution=velocity_loss,
    explanation=r"""
The derivative of $(1-t)\,x + t\,\varepsilon$ is $\varepsilon - x$ at every $t$: a straight line, walked at one speed. What
the network may see is $x_t$ and $t$ alone, for a sampler has nothing else. For data from $\mathcal N(0, s^2)$ in each
dimension no such network comes below $\pi s/2$ a dimension, averaged over $t$. A network that is fed $x$ by mistake has only
the noise left to guess, and reaches 1: for $s = 1$ that is well below the floor of 1.57. A loss that is too good is a bug's
best disguise.""",
    hints=(
        "Two lines: the point on the path, and the derivative of the path by t.",
        "Each example has its own t: give `t` as many further dimensions of size 1 as `x` has.",
        "`(model(x_t, t) - (eps - x)).square()`, then `.flatten(1).sum(1)`.",
    ),
    wrong=(
        Wrong(
            "the network sees the data",
            "The network is fed x, not x_t. It knows half of its target then, and in sampling there is no x to feed it.",
            _other(point=lambda x, eps, t: x),
        ),
        Wrong(
            "the network sees the noise",
            "The network is fed the noise, not the point x_t on the way.",
            _other(point=lambda x, eps, t: eps),
        ),
        Wrong(
            "a path that starts with noise",
            "The point is t x + (1 − t) ε, which is noise at t = 0. The target belongs to the other path.",
            _other(point=lambda x, eps, t: _noised(eps, x, t)),
        ),
        Wrong(
            "the other convention",
            "Point and target fit each other, but t = 1 is data. Many papers do so; here t = 0 is data.",
            _other(point=lambda x, eps, t: _noised(eps, x, t), target=lambda x, eps, t: x - eps),
        ),
        Wrong(
            "the target's sign",
            "The target is x − ε. As t grows the path goes from data to noise: the derivative is ε − x.",
            _other(target=lambda x, eps, t: x - eps),
        ),
        Wrong(
            "the noise as target",
            "The target is ε, that of a noise predictor. The velocity is ε − x.",
            _other(target=lambda x, eps, t: eps),
        ),
        Wrong(
            "the data as target",
            "The target is x, that of a denoiser. The velocity is ε − x.",
            _other(target=lambda x, eps, t: x),
        ),
        Wrong(
            "the way so far as target",
            "The target is x_t − x, the way so far: t times the velocity.",
            _other(target=lambda x, eps, t: _noised(x, eps, t) - x),
        ),
        Wrong(
            "v as target",
            "The target is (1 − t) ε − t x, the v of diffusion. It is no derivative of this path.",
            _other(target=lambda x, eps, t: _noised(eps, -x, t)),
        ),
        Wrong(
            "a clock that runs backwards",
            "The network is told 1 − t. It must be told the time at which the point lies.",
            _other(time=lambda t: 1 - t),
        ),
        Wrong(
            "the times along the last dimension",
            "The times meet the last dimension of x. Each belongs to an example, which is a row.",
            _other(point=_last_columns),
        ),
        Wrong(
            "one time for all",
            "All examples get the time of the first. Each has its own.",
            _other(point=lambda x, eps, t: _noised(x, eps, t[:1].expand(len(t))), time=lambda t: t[:1].expand(len(t))),
        ),
        Wrong(
            "a mean over the example",
            "The squares of an example are averaged. They shall be added up.",
            _reduced(lambda error: error.square().mean(1)),
        ),
        Wrong(
            "a mean over the batch",
            "This is one number for the batch. Asked is one for each example.",
            _reduced(lambda error: error.square().sum(1).mean()),
        ),
        Wrong(
            "a number for each pixel",
            "The sum runs over the examples. It runs over what belongs to an example.",
            _reduced(lambda error: error.square().sum(0)),
        ),
        Wrong(
            "one half",
            "There is a factor of one half. Asked was the loss without a factor.",
            _reduced(lambda error: error.square().sum(1) / 2),
        ),
        Wrong(
            "not squared",
            "These are absolute errors. Their minimum is a median; only squares lead to the mean, the marginal velocity.",
            _reduced(lambda error: error.abs().sum(1)),
        ),
        Wrong(
            "a root",
            "This is the length of the error. The loss has its square.",
            _reduced(lambda error: error.square().sum(1).sqrt()),
        ),
        Wrong(
            "the sum squared",
            "The errors are added up and then squared. Square each, then add.",
            _reduced(lambda error: error.sum(1).square()),
        ),
    ),
    right=(_by_loops, _by_numpy, _by_autograd, _by_einsum),
    probes={
        "as many examples as there are dimensions": lambda f: f(wavy, SQUARE, SQUARE.T, THIRD),
        "the loss at both ends": lambda f: f(wavy, SQUARE[:2], SQUARE[1:], torch.tensor([0.0, 1.0]).double()),
        "a network that says 0": lambda f: f(still, SQUARE, 2 * SQUARE.T, THIRD),
        "one example of one number": lambda f: f(wavy, SQUARE[:1, :1], SQUARE[1:2, 1:2], THIRD[:1]),
        "images of 2 × 1 pixels with three channels": lambda f: f(
            wavy, SQUARE[:2].view(1, 3, 2, 1), SQUARE[1:].reshape(1, 3, 2, 1), THIRD[2:]
        ),
    },
    discussion=r"""
**For your own work.** Compute the floor before you train, or at least two losses that need no network: that of a guess of
0, $\mathbb E\lVert \varepsilon - x \rVert^2$, and that of the best constant. A loss between the floor and the constant is
learning. One below the floor is a leak: the network sees something that a sampler has not.""",
)
