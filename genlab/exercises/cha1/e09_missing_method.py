"""Exercise A1.9: The method that does not exist."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn

from genlab.exercises import Exercise, Wrong


def decode_prior(decoder, n, z_dim):
    """n images: z from the prior N(0, I), then pixel probabilities from the decoder's logits."""
    z = torch.randn(n, z_dim)
    return torch.sigmoid(decoder(z))


class _Logits(nn.Module):
    def forward(self, z):
        if z.ndim != 2 or z.shape[1] != 3:
            raise ValueError(f"the decoder wants z of shape (n, 3), but got {tuple(z.shape)}")
        return torch.cat([z, -z], 1)


def _spread(f):
    """Standard deviation of what the decoder was given, to a few per cent."""
    p = f(_Logits(), 20_000, 3)[:, :3].double().clamp(1e-9, 1 - 1e-9)
    z = torch.logit(p)
    return [((z.std() - 1).abs() < 0.03).item(), (z.mean().abs() < 0.03).item()]


EXERCISE = Exercise(
    number="A1.9",
    title="The method that does not exist",
    difficulty=1,
    minutes=5,
    task=r"""
The article calls `model.sample`, `compute_reconstruction_loss` and `dataset.train_dataloader`. None of them exists. Write
the sampling: draw $n$ vectors $z$ of length `z_dim` from the prior $\mathcal N(0, I)$, decode them, and return pixel
probabilities. The decoder returns logits.""",
    inputs=lambda g: (_Logits(), 4, 3),
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
    ),
    right=(lambda decoder, n, z_dim: decoder(torch.randn(n, z_dim)).sigmoid(),),
    probes={
        "whether z has mean 0 and standard deviation 1": _spread,
        "whether images differ": lambda f: bool((f(_Logits(), 8, 3).std(0) > 0.01).all()),
    },
)
