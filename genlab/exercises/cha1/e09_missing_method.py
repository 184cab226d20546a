"""Exercise A1.9: The method that does not exist."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import special
from torch import nn

from genlab.exercises import Exercise, Wrong


def decode_prior(decoder, n, z_dim):
    """n images from the prior: z from N(0, I), then pixel probabilities.

    The decoder returns logits.
    """
    z = torch.randn(n, z_dim)
    return torch.sigmoid(decoder(z))


class _Decoder(nn.Module):
    """Its logits are z and −z, so that its images show which z came."""

    def __init__(self, z_dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(z_dim))

    def forward(self, z):
        if z.ndim != 2 or z.shape[1] != len(self.weight):
            raise ValueError(f"the decoder wants z of shape (n, {len(self.weight)}), but got {tuple(z.shape)}")
        return torch.cat([z * self.weight, -z * self.weight], 1)


class _Threes(nn.Linear):
    """Its logits tell that it was the one that was called, whatever z is."""

    def forward(self, z):
        return 0 * super().forward(z) + 3


def _decode_in_numpy(decoder, n, z_dim):
    logits = decoder(torch.tensor(np.random.default_rng().normal(size=(n, z_dim)), dtype=torch.float32))
    return special.expit(logits.detach().numpy())


def _decode_by_loop(decoder, n, z_dim):
    device = next(decoder.parameters()).device
    with torch.no_grad():
        return [torch.sigmoid(decoder(torch.randn(1, z_dim, device=device)))[0] for _ in range(n)]


def _decode_by_distributions(decoder, n, z_dim):
    z = torch.distributions.Normal(0.0, 1.0).sample((n, z_dim))
    return torch.distributions.Bernoulli(logits=decoder(z)).mean


def _shape(p):
    """Shape and range: of random images all the rest is a matter of statistics."""
    if not isinstance(p, torch.Tensor):
        return p
    return f"images of shape {tuple(p.shape)}, {'all' if ((p >= 0) & (p <= 1)).all() else 'not all'} of it in [0, 1]"


def _shares(f):
    """Of the z that the decoder was given, read from its images."""
    z = torch.logit(f(_Decoder(2000), 50, 2000)[:, :2000].clamp(1e-6, 1 - 1e-6))
    found = z > 0, z.abs() > 1, z.abs() > 2.5
    return [round(part.float().mean().item(), digits) for part, digits in zip(found, (1, 1, 2), strict=True)]


def _opposites(f):
    p = f(_Decoder(4), 6, 4)
    return bool(((p[:, :4] + p[:, 4:] - 1).abs() < 1e-4).all())


def _differ(f):
    decoder = _Decoder(4)
    first, second = (torch.logit(f(decoder, 6, 4)[:, :4].clamp(1e-6, 1 - 1e-6)) for _ in range(2))
    return [len(first.unique()) == 24, bool(first.norm(dim=1).std() > 1e-3), not torch.equal(first, second)]


def _inputs(g):
    n, z_dim = ((3, 4), (5, 2), (2, 7), (4, 3))[int(torch.randint(4, (), generator=g))]
    return _Decoder(z_dim), n, z_dim


EXERCISE = Exercise(
    number="A1.9",
    title="The method that does not exist",
    difficulty=1,
    minutes=5,
    task=r"""
The article calls `model.sample`, `compute_reconstruction_loss` and `dataset.train_dataloader`. None of them exists. Write
the sampling: draw $n$ vectors $z$ of length `z_dim` from the prior $\mathcal N(0, I)$, decode them, and return pixel
probabilities, and not pixels that are drawn with them. The decoder returns logits. Every call draws anew.""",
    inputs=_inputs,
    solution=decode_prior,
    explanation=r"""
A VAE generates by its own definition: $z \sim p(z)$, then $x \sim p(x \mid z)$. No encoder is involved. What is shown as
"samples" are usually the means of $p(x \mid z)$, that is the probabilities of the pixels; the logits pass a sigmoid once.""",
    hints=(
        "Which distribution does a VAE draw z from when there is no image?",
        "From the prior: standard normal. Then the decoder, and from logits to probabilities.",
        "`torch.sigmoid(decoder(torch.randn(n, z_dim)))`.",
    ),
    wrong=(
        Wrong(
            "logits for pixels",
            "These are logits, not probabilities: they lie outside of [0, 1].",
            lambda decoder, n, z_dim: decoder(torch.randn(n, z_dim)),
        ),
        Wrong(
            "uniform z",
            "z is drawn uniformly from [0, 1). The prior is the standard normal.",
            lambda decoder, n, z_dim: torch.sigmoid(decoder(torch.rand(n, z_dim))),
        ),
        Wrong(
            "the same z",
            "All images come from one z.",
            lambda decoder, n, z_dim: torch.sigmoid(decoder(torch.randn(1, z_dim).expand(n, z_dim))),
        ),
        Wrong(
            "z = 0",
            "z is the prior's mean every time, so every sample is the same.",
            lambda decoder, n, z_dim: torch.sigmoid(decoder(torch.zeros(n, z_dim))),
        ),
        Wrong(
            "a seed inside",
            "Two calls give the same images: a fixed seed is set inside. A program sets its seed once, outside.",
            lambda decoder, n, z_dim: torch.sigmoid(
                decoder(torch.randn(n, z_dim, generator=torch.Generator().manual_seed(0)))
            ),
        ),
        Wrong(
            "drawn pixels",
            "These pixels are 0 or 1, drawn with the probabilities. The probabilities themselves were asked for.",
            lambda decoder, n, z_dim: torch.bernoulli(torch.sigmoid(decoder(torch.randn(n, z_dim)))),
        ),
        Wrong(
            "a sigmoid too many",
            "The logits have passed a sigmoid twice: no probability is below one half.",
            lambda decoder, n, z_dim: torch.sigmoid(torch.sigmoid(decoder(torch.randn(n, z_dim)))),
        ),
    ),
    right=(_decode_in_numpy, _decode_by_loop, _decode_by_distributions),
    look=_shape,
    probes={
        "one image": lambda f: _shape(f(_Decoder(3), 1, 3)),
        "the shares of 100,000 coordinates of z above 0, beyond ±1 and beyond ±2.5": _shares,
        "whether pixels with opposite logits have probabilities that add up to 1": _opposites,
        "whether six z differ in all numbers, in their lengths, and from those of another call": _differ,
        "a decoder whose logits are all 3": lambda f: f(_Threes(4, 5), 2, 4),
    },
)
