"""Exercise 16.8: Gaussians need no network."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def best_linear_flow(cov):
    """W (d, d), 0 on the diagonal and above, and s (d,), for data from N(0, cov).

    Such that x_i given x_<i is N(sum_j W_ij x_j, e^(2 s_i)).
    """
    L = torch.linalg.cholesky(cov)
    scales = L.diagonal()
    white = torch.linalg.inv(L)  # z = white x
    W = -(scales[:, None] * white).tril(-1)
    return W, scales.log()


def _by_regressions(cov):
    d = len(cov)
    W, s = torch.zeros_like(cov), torch.zeros_like(cov[0])
    for i in range(d):
        if i:
            W[i, :i] = torch.linalg.solve(cov[:i, :i], cov[:i, i])
        s[i] = (cov[i, i] - W[i] @ cov[:, i]).log() / 2
    return W, s


def _by_numpy(cov):
    L = np.linalg.cholesky(cov.numpy())
    unit = L / np.diag(L)  # ones on the diagonal
    return np.eye(len(L)) - np.linalg.inv(unit), np.log(np.diag(L))


def _by_precisions(cov):
    # the last row of the precision of the first i + 1 coordinates
    rows, scales = [], []
    for i in range(len(cov)):
        precision = torch.linalg.inv(cov[: i + 1, : i + 1])[-1]
        row = torch.zeros(len(cov)).to(cov)
        row[:i] = -precision[:-1] / precision[-1]
        rows.append(row)
        scales.append(-0.5 * torch.log(precision[-1]))
    return torch.stack(rows), torch.stack(scales)


def _by_determinants(cov):
    # log det of the first i coordinates grows by the i-th conditional variance
    minors = torch.stack([torch.logdet(cov[: i + 1, : i + 1]) for i in range(len(cov))])
    before = torch.cat([torch.zeros_like(minors[:1]), minors[:-1]])
    W = torch.zeros_like(cov)
    for i in range(1, len(cov)):
        W[i, :i] = torch.linalg.lstsq(cov[:i, :i], cov[:i, i : i + 1]).solution[:, 0]
    return W, (minors - before) / 2


def _w(change):
    """The right log-scales with another W, made of the covariance."""
    return lambda cov: (change(cov), best_linear_flow(cov)[1])


def _s(change):
    """The right W with other log-scales, made of the covariance and of the right ones."""

    def found(cov):
        W, s = best_linear_flow(cov)
        return W, change(cov, s)

    return found


def _on_all_others(cov):
    precision = torch.linalg.inv(cov)
    W = -precision / precision.diagonal()[:, None]
    return W - W.diagonal().diag(), -0.5 * precision.diagonal().log()


def _backwards(cov):
    W, s = best_linear_flow(cov.flip(0, 1))
    return W.flip(0, 1), s.flip(0)


def _draw(g):
    d = int(torch.randint(1, 6, (), generator=g))
    A = torch.randn(d, d, generator=g).double()
    sizes = 0.5 + 2 * torch.rand(d, generator=g).double()
    sizes[0] *= 3
    return (sizes[:, None] * (A @ A.T / d + 0.3 * torch.eye(d).double()) * sizes,)


def _chain(f):
    steps = torch.arange(4)
    return f((0.8 ** (steps[:, None] - steps).abs()).double())


EXERCISE = Exercise(
    number="16.8",
    title="Gaussians need no network",
    difficulty=3,
    minutes=20,
    task=r"""
Data come from $\mathcal N(0, \Sigma)$, and the flow is autoregressive and linear:

$$ z_i = \Big( x_i - \sum_{j < i} W_{ij}\, x_j \Big)\, e^{-s_i} . $$

Return the pair of $W$, of shape $(d, d)$ with 0 on the diagonal and above, and of $s$, of shape $(d,)$, with which the
flow has the highest expected log-likelihood: those that make $z$ exactly $\mathcal N(0, I)$. `cov` is $\Sigma$, positive
definite; $d$ may be 1. Leave it as it is. Before you check: you may reorder the coordinates. Which parts of the
answer change, and does the likelihood?""",
    inputs=_draw,
    solution=best_linear_flow,
    explanation=r"""
With $\Sigma = L L^\top$ the row $z = L^{-1} x$ has the covariance $I$, and $L^{-1}$ is lower triangular, as the flow is:
$L^{-1} = \operatorname{diag}(e^{-s})\,(I - W)$. The diagonal gives $s = \log \operatorname{diag} L$, and what is below it
gives $W$. There is only one such factor with a positive diagonal. Read by rows it is a chain of regressions: $W_i$ holds
the coefficients of $x_i$ on those before, and $e^{2 s_i}$ is the variance left. $\sum_i s_i = \tfrac12 \log \det \Sigma$,
so the conditional entropies add up to the entropy: another order has other $W$ and $s$, and the same likelihood. That
last thing is true of Gaussians, where every order can be exact, and not of flows in general.""",
    hints=(
        "What are the best coefficients for predicting x_i from those before it, and what variance is left?",
        "All regressions at once: Σ = L Lᵀ and z = L⁻¹ x. Compare with diag(e^−s) (I − W) x.",
        "s is the log of the diagonal of L. W is minus the part below the diagonal of diag(L) · L⁻¹.",
    ),
    wrong=(
        Wrong(
            "the factor itself",
            "W is the part of L below its diagonal. L makes x from z; here x is predicted from x.",
            _w(lambda cov: torch.linalg.cholesky(cov).tril(-1)),
        ),
        Wrong(
            "the factor with unit columns",
            "W is L with its columns divided by the diagonal. I − W is the inverse of that, not one minus it.",
            _w(lambda cov: (torch.linalg.cholesky(cov) / torch.linalg.cholesky(cov).diagonal()).tril(-1)),
        ),
        Wrong(
            "the inverse, not scaled",
            "W is minus the part of L⁻¹ below its diagonal. The flow subtracts first and scales then: multiply row i by L_ii.",
            _w(lambda cov: -torch.linalg.inv(torch.linalg.cholesky(cov)).tril(-1)),
        ),
        Wrong(
            "the sign of W",
            "W has the wrong sign. The flow subtracts W x, so W holds the coefficients of the prediction itself.",
            _w(lambda cov: -best_linear_flow(cov)[0]),
        ),
        Wrong(
            "each predictor alone",
            "W_ij is Σ_ij/Σ_jj, the slope on x_j alone. Those before i are correlated: they are used together.",
            _w(lambda cov: (cov / cov.diagonal()).tril(-1)),
        ),
        Wrong(
            "predicted from all others",
            "Each coordinate is predicted from all others, later ones too. The Jacobian is then not triangular.",
            _on_all_others,
        ),
        Wrong(
            "the last coordinate first",
            "Each coordinate is predicted from those after it. Asked are those before it.",
            _backwards,
        ),
        Wrong(
            "W transposed",
            "W is transposed: row i must hold the coefficients that predict x_i.",
            _w(lambda cov: best_linear_flow(cov)[0].T),
        ),
        Wrong(
            "the marginal scales",
            "s is made of the variances Σ_ii. What counts is the variance that is left when those before are known.",
            _s(lambda cov, s: cov.diagonal().log() / 2),
        ),
        Wrong(
            "the log of the variances",
            "s is the logarithm of the variances. The scale e^s is a standard deviation.",
            _s(lambda cov, s: 2 * s),
        ),
        Wrong(
            "the scales, not their logarithms",
            "These are the scales themselves. Asked are their logarithms s.",
            _s(lambda cov, s: s.exp()),
        ),
        Wrong(
            "the sign of s",
            "s has the wrong sign. The flow multiplies by e^−s, so s is the logarithm of the standard deviation that is left.",
            _s(lambda cov, s: -s),
        ),
    ),
    right=(_by_regressions, _by_numpy, _by_precisions, _by_determinants),
    probes={
        "a chain of four with correlation 0.8, where only the coordinate before counts": _chain,
        "independent coordinates": lambda f: f(torch.tensor([1.0, 4.0, 0.25]).double().diag()),
        "one coordinate": lambda f: f(torch.tensor([[9.0]]).double()),
        "two coordinates": lambda f: f(torch.tensor([[4.0, 1.0], [1.0, 1.0]]).double()),
    },
    discussion=r"""
**For your own work.** This flow is the baseline that a trained one must beat: a Gaussian with full covariance, found
without a single step. Fit $\Sigma$ on training data, with something small added to its diagonal if there are fewer rows
than dimensions, and compare held-out log-likelihoods, with the same preprocessing. If your network does worse, it has
not learnt the correlations yet; what it gains above is what is not Gaussian about the data.""",
)
