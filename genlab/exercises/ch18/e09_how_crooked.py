"""Exercise 18.9: How crooked, and for how long? (open-ended)."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def crookedness(paths, times):
    """Integral of the squared difference from the straight path's velocity.

    Points at k + 1 times (k + 1, n, d), times (k + 1,) -> (n,).
    """
    steps = times.diff()
    velocity = paths.diff(dim=0) / steps[:, None, None]
    straight = (paths[-1] - paths[0]) / (times[-1] - times[0])
    squares = (velocity - straight).square().sum(2)
    return (squares * steps.abs()[:, None]).sum(0)


def _by_pythagoras(paths, times):
    # the mean of squares less the square of the mean
    along = paths.diff(dim=0).square().sum(-1) / times.diff().abs().unsqueeze(-1)
    whole = (paths[-1] - paths[0]).square().sum(-1) / (times[-1] - times[0]).abs()
    return along.sum(0) - whole


def _by_loops(paths, times):
    found = []
    for i in range(paths.shape[1]):
        points, total = paths[:, i], 0.0
        straight = (points[-1] - points[0]) / (times[-1] - times[0])
        for k in range(1, len(times)):
            step = times[k] - times[k - 1]
            total += abs(float(step)) * float(((points[k] - points[k - 1]) / step - straight).square().sum())
        found.append(total)
    return found


def _by_numpy(paths, times):
    points, t = paths.numpy(), times.numpy()
    velocity = np.diff(points, axis=0) / np.diff(t).reshape(-1, 1, 1)
    weights = np.diff(t) / (t[-1] - t[0])
    straight = np.average(velocity, axis=0, weights=weights)
    spread = np.average(((velocity - straight) ** 2).sum(-1), axis=0, weights=weights)
    return spread * np.abs(t[-1] - t[0])


def _by_gaps(paths, times):
    # what is left when the straight path is taken away
    share = ((times - times[0]) / (times[-1] - times[0]))[:, None, None]
    gaps = paths - torch.lerp(paths[:1], paths[-1:], share)
    return torch.einsum("kni,kni,k->n", gaps.diff(dim=0), gaps.diff(dim=0), 1 / times.diff().abs())


def _other(velocity=None, straight=None, weigh=lambda squares, steps: (squares * steps.abs()[:, None]).sum(0)):
    """Another velocity, another straight path, other weights."""

    def answer(paths, times):
        steps = times.diff()
        each = paths.diff(dim=0) / steps[:, None, None]
        whole = (paths[-1] - paths[0]) / (times[-1] - times[0])
        if velocity:
            each = velocity(paths, steps)
        if straight:
            whole = straight(paths, times, each)
        return weigh((each - whole).square().sum(2), steps)

    return answer


def _changed(change):
    """The right squares, reduced in another way: change(velocity - straight, steps)."""

    def answer(paths, times):
        steps = times.diff()
        straight = (paths[-1] - paths[0]) / (times[-1] - times[0])
        return change(paths.diff(dim=0) / steps[:, None, None] - straight, steps.abs()[:, None])

    return answer


def _places(paths, times):
    share = ((times - times[0]) / (times[-1] - times[0]))[:, None, None]
    gaps = (paths - torch.lerp(paths[:1], paths[-1:], share)).square().sum(2)
    return (gaps[:-1] * times.diff().abs()[:, None]).sum(0)


def _detour(paths, times):
    return paths.diff(dim=0).norm(dim=2).sum(0) / (paths[-1] - paths[0]).norm(dim=1)


def _action(paths, times):
    return (paths.diff(dim=0).square().sum(2) / times.diff().abs()[:, None]).sum(0)


def _walks(g):
    k, n, d = (int(torch.randint(low, high, (), generator=g)) for low, high in ((1, 7), (1, 6), (1, 4)))
    steps = 0.05 + torch.rand(k, generator=g).double()
    times = torch.cat([torch.zeros(1).double(), steps.cumsum(0)]) * 0.4
    if torch.rand((), generator=g) < 0.5:
        times = 1 - times
    paths = torch.randn(k + 1, n, d, generator=g).double()
    paths[:, 0] *= 5
    return paths, times


ZIGZAG = torch.tensor([[[0.0, 0.0]], [[1.0, 2.0]], [[2.0, 1.0]], [[4.0, 3.0]]]).double()
FALLING = torch.tensor([1.0, 0.75, 0.25, 0.0]).double()


def _line(times):
    return torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double() * times[:, None, None] + 1


EXERCISE = Exercise(
    number="18.9",
    title="How crooked, and for how long? (open-ended)",
    difficulty=3,
    minutes=60,
    task=r"""
A sampler has left its points at $k + 1$ times, `paths[i]` at `times[i]`; the times rise or fall, and need not be evenly
spaced nor span a whole unit. Between two times a path is a line, walked at one speed. Return for each of the $n$ paths

$$ S = \int \Big\lVert \dot x_t - \frac{x_{\text{last}} - x_{\text{first}}}{t_{\text{last}} - t_{\text{first}}}
\Big\rVert^2\, \lvert \mathrm dt \rvert , $$

the squares added up over coordinates, shape `(n,)`. It is 0 only for a straight path that is walked evenly, and never
negative; $k$, $n$ and $d$ may be 1.

Then the open part. Train a small network by flow matching on 2-D data of your choice with independent pairs. Draw noise, follow
the ODE with many steps, and train a second network on the pairs (end point, noise) that come out: a reflow. Train a third
with pairs that are matched by optimal transport in each minibatch (`scipy.optimize.linear_sum_assignment`). For the three:
mean $S$, and the distance from Euler's samples in 1, 2, 4 and 8 steps to those in 100 steps, from the same noise, over
several seeds. Write down beforehand which will win with one step. And what did the reflow cost: compare the samples of 100
steps with the data, before and after.""",
    inputs=_walks,
    solution=crookedness,
    explanation=r"""
Each piece has one velocity and counts by the time it takes. The velocity's time-mean is the straight one, so $S$ is the
mean of squares less the square of the mean: $\sum \lVert \Delta x\rVert^2 / \lvert\Delta t\rvert - \lVert x_{\text{last}} -
x_{\text{first}} \rVert^2 / \lvert t_{\text{last}} - t_{\text{first}}\rvert$. If $S = 0$ on the exact paths, one Euler step
is exact. For data from $\mathcal N(m, s^2)$ and independent pairs $\mathbb E[S] = s\,(2 - \pi/2)$, and 0 after a
reflow.""",
    hints=(
        "The velocity of each piece is Δx/Δt, and that of the straight path is the same of the two ends.",
        "An integral over pieces: each square counts by its |Δt|. When times fall, Δt is negative, in both velocities.",
        "`((velocity - straight).square().sum(2) * steps.abs()[:, None]).sum(0)`.",
    ),
    wrong=(
        Wrong(
            "a mean over the pieces",
            "The squares are averaged over the pieces. Each counts by the time it takes.",
            _other(weigh=lambda squares, steps: squares.mean(0)),
        ),
        Wrong(
            "a mean over time",
            "This is divided by the whole time. Asked is the integral.",
            _other(weigh=lambda squares, steps: (squares * steps.abs()[:, None]).sum(0) / steps.abs().sum()),
        ),
        Wrong(
            "a negative time",
            "The result is negative where times fall. Pieces count by |Δt|.",
            _other(weigh=lambda squares, steps: (squares * steps[:, None]).sum(0)),
        ),
        Wrong(
            "velocities with one sign",
            "The pieces are divided by |Δt|, and the whole by its time with its sign. Where times fall the two point apart.",
            _other(velocity=lambda paths, steps: paths.diff(dim=0) / steps.abs()[:, None, None]),
        ),
        Wrong(
            "the straight path's time left out",
            "The straight velocity is the whole way. Divide it by the whole time, which need not be 1.",
            _other(straight=lambda paths, times, each: (paths[-1] - paths[0]) * (times[-1] - times[0]).sign()),
        ),
        Wrong(
            "a mean velocity of equal pieces",
            "The straight velocity is the plain mean of the pieces'. With uneven times it is the way over the time.",
            _other(straight=lambda paths, times, each: each.mean(0)),
        ),
        Wrong(
            "evenly spaced",
            "The pieces are taken as equally long in time.",
            _other(
                velocity=lambda paths, steps: paths.diff(dim=0) / steps.mean(),
                weigh=lambda squares, steps: squares.sum(0) * steps.abs().mean(),
            ),
        ),
        Wrong(
            "ways instead of velocities",
            "The pieces' ways are compared with the whole velocity. Divide each by its time.",
            _other(velocity=lambda paths, steps: paths.diff(dim=0)),
        ),
        Wrong(
            "the first velocity as the straight one",
            "The pieces are compared with the first of them. The straight path leads from the first point to the last.",
            _other(straight=lambda paths, times, each: each[0]),
        ),
        Wrong(
            "the square of the whole velocity",
            "This is the integral of the squared velocity. Subtract the straight velocity first.",
            _action,
        ),
        Wrong(
            "places compared",
            "Places are compared with those of the straight path. S compares velocities.",
            _places,
        ),
        Wrong(
            "the length of the detour",
            "This is the length of the path over the distance of its ends. It does not see a path that is walked unevenly.",
            _detour,
        ),
        Wrong(
            "a mean over coordinates",
            "The squares are averaged over coordinates. They are added up.",
            _changed(lambda error, time: (error.square().mean(2) * time).sum(0)),
        ),
        Wrong(
            "not squared",
            "The lengths of the differences are integrated. Their squares are asked.",
            _changed(lambda error, time: (error.norm(dim=2) * time).sum(0)),
        ),
        Wrong(
            "a root",
            "This is the root of S.",
            _changed(lambda error, time: (error.square().sum(2) * time).sum(0).sqrt()),
        ),
        Wrong(
            "one number for all",
            "This is the mean over the paths. Asked is a number for each.",
            _changed(lambda error, time: (error.square().sum(2) * time).sum(0).mean()),
        ),
    ),
    right=(_by_pythagoras, _by_loops, _by_numpy, _by_gaps),
    probes={
        "a zigzag, from noise to data": lambda f: f(ZIGZAG, FALLING),
        "the same zigzag the other way": lambda f: f(ZIGZAG.flip(0), FALLING.flip(0)),
        "straight paths, walked evenly": lambda f: f(_line(FALLING), FALLING),
        "a straight path that is walked unevenly": lambda f: f(_line(FALLING**2), FALLING),
        "a single piece": lambda f: f(ZIGZAG[:2], FALLING[:2]),
        "the zigzag in twice the time": lambda f: f(ZIGZAG, 2 * FALLING + 5),
        "two paths of one number": lambda f: f(ZIGZAG.permute(0, 2, 1), FALLING),
    },
    discussion=r"""
**For the open part.** In a trial with three seeds (eight heaps of width 0.3 on a circle of radius 3, two layers of 64 units,
3,000 steps of 128 pairs, a reflow on 8,192 pairs) mean $S$ was 1.83 to 1.89 with independent pairs, 0.02 after the reflow and
0.04 with minibatches that were matched. One Euler step missed the samples of 100 steps by 2.7 to 2.9 on average, after
the reflow by 0.19 to 0.22, and with matched pairs by 0.27 to 0.29; eight steps by 0.12 to 0.13, and 0.02 both times.
The reflow's cost did not show: at 100 steps all three were as far from fresh data as other fresh data were, 0.39 to 0.57
by optimal transport of 1,000 points. In two dimensions matching is cheap and nearly as good as a second training; that
says nothing of 784.

For your own work: a reflow learns from the first network's samples, never from data, so it inherits its errors and adds
its own. Report the distance to the data with many steps beside the gain with few, and count the steps that made the
pairs as a cost of training.""",
)
