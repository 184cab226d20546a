"""Exercise 16.6: Once for each pixel."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def channel_step(x, b, s, W):
    """Scale and shift of channels, then W mixes them: z and log-determinants (n,).

    x (n, c, height, width), b, s (c,), W (c, c) that can be inverted.
    """
    y = s.exp()[:, None, None] * (x + b[:, None, None])
    z = torch.einsum("ij,njhw->nihw", W, y)
    pixel = s.sum() + torch.linalg.slogdet(W).logabsdet
    return z, (x.shape[2] * x.shape[3] * pixel).expand(len(x))


def _by_convolution(x, b, s, W):
    one = W * s.exp()  # columns scaled: one matrix does both
    z = F.conv2d(x, one[:, :, None, None], one @ b)
    log_det = torch.linalg.slogdet(one)[1] * x[0, 0].numel()
    return z, log_det.repeat(x.shape[0])


def _by_numpy(x, b, s, W):
    x, b, s, W = (part.numpy() for part in (x, b, s, W))
    rows = (np.moveaxis(x, 1, -1) + b) * np.exp(s) @ W.T
    each = np.sum(s) + np.log(abs(np.linalg.det(W)))
    return np.moveaxis(rows, -1, 1), np.full(x.shape[0], np.prod(x.shape[2:]) * each)


def _by_loops(x, b, s, W):
    z, log_det = torch.empty_like(x), torch.zeros(x.shape[0]).to(x)
    step = math.log(abs(float(torch.linalg.det(W)))) + sum(s.tolist())
    for i, image in enumerate(x):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                z[i, :, row, column] = W @ ((image[:, row, column] + b) * s.exp())
                log_det[i] += step
    return z, log_det


def _by_triangles(x, b, s, W):
    # |det W| is the product of the diagonal of R, W = Q R
    diagonal = torch.linalg.qr(W).R.diagonal().abs()
    y = (x.movedim(1, -1) + b) * s.exp()
    pixels = torch.ones_like(x[:, 0]).sum((1, 2))
    return (y @ W.T).movedim(-1, 1), pixels * (s + diagonal.log()).sum()


def _log_det(change):
    """The right z with another log-determinant, of x, s and W."""

    def found(x, b, s, W):
        return channel_step(x, b, s, W)[0], change(x, s, W)

    return found


def _z(change):
    """The right log-determinant with another z."""
    return lambda x, b, s, W: (change(x, b[:, None, None], s[:, None, None], W), channel_step(x, b, s, W)[1])


def _mix(W, y):
    return torch.einsum("ij,njhw->nihw", W, y)


def _pixels(x):
    return x.shape[2] * x.shape[3]


def _volume(W):
    return torch.linalg.slogdet(W).logabsdet


def _draw(g):
    n, c, height, width = (int(torch.randint(1, 5, (), generator=g)) for _ in range(4))
    x, b, s = (torch.randn(shape, generator=g).double() for shape in ((n, c, height, width), (c,), (c,)))
    Q, R = torch.linalg.qr(torch.randn(c, c, generator=g).double())
    sizes = 0.3 + 2 * torch.rand(c, generator=g).double()
    W = Q @ (R.triu(1) + sizes.diag())
    x[0] *= 10
    return x, b, 0.5 * s, W


EXERCISE = Exercise(
    number="16.6",
    title="Once for each pixel",
    difficulty=2,
    minutes=10,
    task=r"""
A step of Glow, without its coupling. Images $x$ have the shape $(n, c, \text{height}, \text{width})$. First each channel
is shifted and scaled, $y_k = e^{s_k} (x_k + b_k)$; then a 1 × 1 convolution mixes the channels of every pixel,
$z_i = \sum_j W_{ij}\, y_j$. Return the pair of $z$, in the shape of $x$, and of
$\log \lvert \det \partial z/\partial x \rvert$ in nats, one number for each of the $n$ images. $W$ can be inverted; its
determinant may be negative. Leave the arguments as they are. Before you check: how large is the whole Jacobian of one
image, and why do you not need it?""",
    inputs=_draw,
    solution=channel_step,
    explanation=r"""
The Jacobian of an image has $(c \cdot \text{height} \cdot \text{width})^2$ entries, but pixels do not mix: it consists of
one block for each pixel, and every block is $W \operatorname{diag}(e^s)$. So the log-determinant is that of one block,
$\sum_k s_k + \log \lvert \det W \rvert$, times height times width. It depends on no pixel's value, so all images of a
batch have the same (Kingma and Dhariwal 2018).""",
    hints=(
        "What happens to one pixel, a vector of c numbers? It is a linear map: what is its determinant?",
        "Every pixel of an image has the same block, W diag(e^s). The determinant of blocks is the product of theirs.",
        "`height * width * (s.sum() + torch.linalg.slogdet(W).logabsdet)`, the same for all n images.",
    ),
    wrong=(
        Wrong(
            "one pixel",
            "This is the log-determinant of one pixel. An image has height times width of them, and each is mapped.",
            _log_det(lambda x, s, W: (s.sum() + _volume(W)).repeat(len(x))),
        ),
        Wrong(
            "W for one pixel only",
            "The scales are counted for every pixel, but W only once. It acts on every pixel, too.",
            _log_det(lambda x, s, W: (_pixels(x) * s.sum() + _volume(W)).repeat(len(x))),
        ),
        Wrong(
            "the scales for one pixel only",
            "W is counted for every pixel, but the scales only once. They act on every pixel, too.",
            _log_det(lambda x, s, W: (s.sum() + _pixels(x) * _volume(W)).repeat(len(x))),
        ),
        Wrong(
            "the scales are forgotten",
            "This is the log-determinant of W alone. The scales e^s stretch as well.",
            _log_det(lambda x, s, W: (_pixels(x) * _volume(W)).repeat(len(x))),
        ),
        Wrong(
            "the mixing is forgotten",
            "This is the log-determinant of the scales alone. W changes volumes as well.",
            _log_det(lambda x, s, W: (_pixels(x) * s.sum()).repeat(len(x))),
        ),
        Wrong(
            "once for each channel, too",
            "This counts channels as pixels: a pixel is a vector of c numbers and has one block.",
            _log_det(lambda x, s, W: (x[0].numel() * (s.sum() + _volume(W))).repeat(len(x))),
        ),
        Wrong(
            "the sign of the log-determinant",
            "The log-determinant has the wrong sign. Asked is that of x ↦ z.",
            lambda x, b, s, W: (channel_step(x, b, s, W)[0], -channel_step(x, b, s, W)[1]),
        ),
        Wrong(
            "one number for the batch",
            "Only one log-determinant came. It is the same for all images, but each has its own: n numbers.",
            _log_det(lambda x, s, W: _pixels(x) * (s.sum() + _volume(W))),
        ),
        Wrong(
            "the determinant without |·|",
            "The logarithm of a negative determinant is nan. Volumes change by its absolute value.",
            _log_det(lambda x, s, W: (_pixels(x) * (s.sum() + torch.linalg.det(W).log())).repeat(len(x))),
        ),
        Wrong(
            "the diagonal of W",
            "The logarithms of the diagonal of W are added up. That is its determinant only if W is triangular.",
            _log_det(lambda x, s, W: (_pixels(x) * (s.sum() + W.diagonal().abs().log().sum())).repeat(len(x))),
        ),
        Wrong(
            "W transposed",
            "W is transposed: z_i = Σ_j W_ji y_j. Its determinant is the same, so only z shows it.",
            _z(lambda x, b, s, W: _mix(W.T, s.exp() * (x + b))),
        ),
        Wrong(
            "scaled before it is shifted",
            "This is e^s x + b. Asked is the shift first, e^s (x + b).",
            _z(lambda x, b, s, W: _mix(W, s.exp() * x + b)),
        ),
        Wrong(
            "mixed first",
            "The channels are mixed before they are shifted and scaled. Asked is the other order.",
            _z(lambda x, b, s, W: s.exp() * (_mix(W, x) + b)),
        ),
    ),
    right=(_by_convolution, _by_numpy, _by_loops, _by_triangles),
    probes={
        "one pixel of one channel": lambda f: f(
            torch.tensor([[[[2.0]]]]).double(),
            torch.tensor([1.0]).double(),
            torch.tensor([0.5]).double(),
            torch.tensor([[-3.0]]).double(),
        ),
        "two channels that are exchanged": lambda f: f(
            torch.arange(12.0).view(1, 2, 2, 3).double(),
            torch.zeros(2).double(),
            torch.tensor([1.0, -0.5]).double(),
            torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double(),
        ),
        "wide images": lambda f: f(
            torch.ones(3, 2, 1, 5).double(),
            torch.tensor([0.5, -1.0]).double(),
            torch.tensor([0.25, 1.0]).double(),
            torch.tensor([[2.0, 1.0], [0.5, -1.0]]).double(),
        ),
    },
    discussion=r"""
**For your own work.** A forgotten factor height × width stops no training: the loss falls, to a wrong place. For one
Gaussian channel the best $e^s$ then gives $z$ the variance $1/(\text{height} \cdot \text{width})$ in place of 1, and
samples made from $\mathcal N(0, 1)$ come out far too wide. So look at the variance of $z$ on data. Test on images that
are not square and have more than one pixel. Determinants of a large $W$ can underflow: take `slogdet`, and not in
bfloat16.""",
)
