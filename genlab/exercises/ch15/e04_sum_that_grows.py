"""Exercise 15.4: A sum that grows."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from functools import partial

import numpy as np
import torch
from scipy import special
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def nade(x, W, c, V, b):
    """log p(x) under NADE, in nats: images of 0 and 1 (n, d) -> (n,).

    W (k, d), c (k,), V (d, k), b (d,): weights and biases in, weights and biases out.
    """
    log_p, a = 0, c.expand(len(x), -1)
    for i in range(x.shape[1]):
        logit = a.sigmoid() @ V[i] + b[i]
        log_p = log_p - torch.nn.functional.softplus((1 - 2 * x[:, i]) * logit)
        a = a + x[:, i, None] * W[:, i]  # only now pixel i is known
    return log_p


def _by_sums(x, W, c, V, b):
    steps = x[:, :, None] * W.T  # (n, d, k)
    h = (c + steps.cumsum(1) - steps).sigmoid()
    return -F.binary_cross_entropy_with_logits((h * V).sum(2) + b, x, reduction="none").sum(1)


def _by_masks(x, W, c, V, b):
    before = torch.ones(len(b), len(b), dtype=x.dtype).tril(-1)
    h = torch.sigmoid(torch.einsum("nj,ij,kj->nik", x, before, W) + c)
    return torch.distributions.Bernoulli(logits=torch.einsum("nik,ik->ni", h, V) + b).log_prob(x).sum(1)


def _by_numpy(x, W, c, V, b):
    x, W, c, V, b = (t.double().numpy() for t in (x, W, c, V, b))
    total = np.zeros(len(x))
    for i in range(len(b)):
        logit = special.expit(c + x[:, :i] @ W[:, :i].T) @ V[i] + b[i]
        total += special.log_expit(np.where(x[:, i] > 0, logit, -logit))
    return total


def _by_loops(x, W, c, V, b):
    found = []
    for image in x:
        total = 0.0
        for i in range(len(b)):
            h = torch.stack([torch.sigmoid(c[k] + sum(W[k, j] * image[j] for j in range(i))) for k in range(len(c))])
            total += float(F.logsigmoid((2 * image[i] - 1) * (torch.dot(h, V[i]) + b[i])))
        found.append(total)
    return found


def _logits(x, W, c, V, b, shift=1, act=torch.sigmoid):
    """Logits from the pixels up to `shift` places before each (n, d)."""
    d = len(b)
    before = torch.ones(d, d, dtype=x.dtype).tril(-shift)
    return (act(torch.einsum("nj,ij,kj->nik", x, before, W) + c) * V).sum(2) + b


def _log_p(logits, x):
    return -F.softplus((1 - 2 * x) * logits).sum(1)


def _changed(change):
    """The likelihood with other logits."""
    return lambda x, W, c, V, b: _log_p(change(x, W, c, V, b), x)


def _all_pixels(x, W, c, V, b):
    return (x @ W.T + c).sigmoid() @ V.T + b


def _no_memory(x, W, c, V, b):
    """The pixel before alone."""
    last = F.pad(x, (1, 0))[:, :-1, None] * F.pad(W, (1, 0)).T[:-1]
    return ((c + last).sigmoid() * V).sum(2) + b


def _bias_again(x, W, c, V, b):
    """The bias added with every pixel."""
    d = len(b)
    before = torch.ones(d, d, dtype=x.dtype).tril(-1)
    times = torch.arange(1, d + 1)[:, None]
    return (torch.sigmoid(torch.einsum("nj,ij,kj->nik", x, before, W) + times * c) * V).sum(2) + b


def _carried(x, W, c, V, b):
    """The squashed sum is carried on, and not the sum."""
    a, logits = c.expand(len(x), -1), []
    for i in range(len(b)):
        h = a.sigmoid()
        logits.append(h @ V[i] + b[i])
        a = h + x[:, i, None] * W[:, i]
    return torch.stack(logits, 1)


def _images(g):
    n, d, k = (int(torch.randint(low, high, (), generator=g)) for low, high in ((2, 6), (3, 7), (2, 7)))
    x = torch.randint(2, (n, d), generator=g).double()
    x[0, 0], x[1, 1] = 1.0, 1.0
    sizes = ((k, d), (k,), (d, k), (d,))
    return x, *(1.5 * torch.randn(*size, generator=g).double() for size in sizes)


def _weights(d, k):
    """Weights without chance in them."""
    waves = [
        (torch.arange(float(m)).double() * s).sin() * 2 for m, s in ((k * d, 1.3), (k, 2.1), (d * k, 0.7), (d, 3.1))
    ]
    return waves[0].view(k, d), waves[1], waves[2].view(d, k), waves[3]


def _every(d):
    return torch.tensor([[i >> j & 1 for j in range(d)] for i in range(2**d)]).double()


EXERCISE = Exercise(
    number="15.4",
    title="A sum that grows",
    difficulty=2,
    minutes=12,
    task=r"""
NADE (Larochelle and Murray 2011) is older than MADE and needs no masks. Each pixel has a hidden layer of its own, and all
layers share one matrix:

$$a_i = c + \sum_{j < i} W_{\cdot j}\, x_j, \qquad
\operatorname{logit}\, p(x_i = 1 \mid x_{<i}) = V_{i \cdot} \operatorname{sigmoid}(a_i) + b_i .$$

So the first pixel sees $c$ alone, and $a_{i+1} = a_i + W_{\cdot i}\, x_i$ costs one column more. Given images of 0 and 1 as
floating-point numbers, `x` $(n, d)$, and `W` $(k, d)$, `c` $(k,)$, `V` $(d, k)$, `b` $(d,)$, return $\log p(x)$ of
each image in nats: shape $(n,)$. Logits may be in the thousands. `W` and `c` must stay as they are.""",
    inputs=_images,
    solution=nade,
    explanation=r"""
The sum is carried on from pixel to pixel, *before* the sigmoid; pixel $i$ enters after its own logit was read off. All $d$
hidden layers cost together what one layer of a dense network costs, $kd$ products, where computing each by itself would cost
$k d^2 / 2$. The log-probability of a pixel is $-\operatorname{softplus}(\mp \text{logit})$, which neither overflows nor
becomes $\log 0$. In a restricted Boltzmann machine the conditionals cannot be computed; NADE began as an
approximation of them, and is trained as a model in its own right.""",
    hints=(
        "Keep a running sum a of shape (n, k). What is it before the first pixel?",
        "For each pixel: read off its logit, add its log-probability, and only then add its column of W to a.",
        "`log_p - softplus((1 - 2 * x[:, i]) * logit)`, then `a = a + x[:, i, None] * W[:, i]`.",
    ),
    wrong=(
        Wrong(
            "its own pixel is in the sum",
            "Pixel i is added before its logit is read off, so it sees itself. The result is no likelihood.",
            _changed(partial(_logits, shift=0)),
        ),
        Wrong(
            "all pixels",
            "Every logit sees the whole image: that is an autoencoder. Pixel i sees the pixels before it.",
            _changed(_all_pixels),
        ),
        Wrong(
            "one pixel too few",
            "The pixel directly before is missing from the sum.",
            _changed(partial(_logits, shift=2)),
        ),
        Wrong(
            "the last pixel alone",
            "The sum starts anew at each pixel: only the one directly before is seen. Carry it on.",
            _changed(_no_memory),
        ),
        Wrong(
            "the sigmoid is carried on",
            "What is carried on went through the sigmoid. Carry on the sum a, and take the sigmoid for the logit alone.",
            _changed(_carried),
        ),
        Wrong(
            "the bias with each pixel",
            "The bias c is added again with every pixel. It is in the sum once, from the start.",
            _changed(_bias_again),
        ),
        Wrong(
            "no sigmoid",
            "The hidden layer is linear here: the sigmoid of a is missing.",
            _changed(partial(_logits, act=torch.clone)),
        ),
        Wrong(
            "tanh",
            "The hidden layer has a tanh. Asked is the sigmoid.",
            _changed(partial(_logits, act=torch.tanh)),
        ),
        Wrong(
            "logits that saturate",
            "The log is taken of a probability that is 0 in floating point. Start from the logit: softplus.",
            lambda x, W, c, V, b: (
                torch.where(x > 0, _logits(x, W, c, V, b).sigmoid(), 1 - _logits(x, W, c, V, b).sigmoid()).log().sum(1)
            ),
        ),
        Wrong(
            "the sign",
            "This is the cost, −log p. Asked is the log-likelihood.",
            lambda x, W, c, V, b: -nade(x, W, c, V, b),
        ),
        Wrong(
            "0 and 1 exchanged",
            "These are the nats of the negative: a logit is that of the pixel being 1.",
            lambda x, W, c, V, b: -F.softplus((2 * x - 1) * _logits(x, W, c, V, b)).sum(1),
        ),
        Wrong(
            "the mean over pixels",
            "The pixels' log-probabilities are averaged. The chain rule adds them up.",
            lambda x, W, c, V, b: nade(x, W, c, V, b) / x.shape[1],
        ),
        Wrong(
            "only pixels that are 1",
            "Pixels that are 0 cost nothing here. Each has the log-probability of being 0.",
            lambda x, W, c, V, b: (x * F.logsigmoid(_logits(x, W, c, V, b))).sum(1),
        ),
    ),
    right=(_by_sums, _by_masks, _by_numpy, _by_loops),
    probes={
        "the log-likelihood of one pixel": lambda f: f(torch.tensor([[1.0], [0.0]]).double(), *_weights(1, 3)),
        "the log-likelihood of one image": lambda f: f(torch.tensor([[1.0, 0.0, 1.0, 1.0]]).double(), *_weights(4, 3)),
        "the log-likelihood with one hidden unit": lambda f: f(_every(2), *_weights(2, 1)),
        "the sum of the probabilities of all images of five pixels": lambda f: (
            f(_every(5), *_weights(5, 4)).exp().sum()
        ),
        "the log-likelihood with logits of thousands": lambda f: f(
            _every(3), *(3000 * t if i > 1 else t for i, t in enumerate(_weights(3, 2)))
        ),
    },
    discussion=r"""
**For your own work.** Enumerate: with random weights the probabilities of all images of ten pixels sum to 1, or the
sum grew too early. Then time both ways, the running sum and a hidden layer for each pixel by itself, for 784 pixels. In
training, the loop over pixels is what MADE's masks do away with: one pass for all conditionals. In sampling both go
pixel by pixel, and there NADE does less work: a column a pixel, where MADE computes the whole network anew.""",
)
