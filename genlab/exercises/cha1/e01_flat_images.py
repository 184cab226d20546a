"""Exercise A1.1: Flat images for a convolution."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn

from genlab.exercises import Exercise, Wrong


def judge_images(D, flat):
    """Logits of a convolutional D for images that come as rows of pixels.

    D and (n, 784) -> (n,).
    """
    return D(flat.view(-1, 1, 28, 28)).flatten()


class _PixelD(nn.Module):
    """A tiny convolutional discriminator that tells rows from columns."""

    def __init__(self, generator):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, (3, 5), stride=4)
        self.head = nn.Linear(2 * 7 * 6, 1)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) * 0.2)

    def forward(self, x):
        if x.ndim != 4 or x.shape[1:] != (1, 28, 28):
            raise ValueError(f"D wants images (n, 1, 28, 28), but got {tuple(x.shape)}")
        return self.head(self.conv(x).flatten(1))


def _judge_by_loop(D, flat):
    return torch.stack([D(row.reshape(1, 1, 28, 28))[0, 0] for row in flat])


def _judge_by_layers(D, flat):
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), D, nn.Flatten(0))(flat)


def _images(n):
    """D, and n images whose rows, columns and signs all matter."""
    generator = torch.Generator().manual_seed(4)
    return _PixelD(generator), torch.randn(n, 784, generator=generator)


def _reaches_d(f):
    D, flat = _images(2)
    return [g.abs().sum().item() > 0 for g in torch.autograd.grad(f(D, flat).sum(), list(D.parameters()))]


EXERCISE = Exercise(
    number="A1.1",
    title="Flat images for a convolution",
    difficulty=1,
    minutes=5,
    task=r"""
The article flattens its images before it gives them to a convolutional discriminator, which wants `(n, 1, 28, 28)`. Write
what belongs between: images come as rows `flat` of shape `(n, 784)`, and `D` returns logits of shape `(n, 1)`. Your
function returns one logit per image, shape `(n,)`, for one image too. Rows of pixels stay rows. Both players learn
through it: gradients reach `flat` and the weights of `D`.""",
    inputs=lambda g: (_PixelD(g), torch.randn(int(torch.randint(2, 6, (), generator=g)), 784, generator=g)),
    solution=judge_images,
    explanation=r"""
`view(-1, 1, 28, 28)` only says how the same memory is read: 784 numbers are 28 rows of 28. A convolution without that
shape either raises or, worse, treats the batch as an image. The last `flatten` turns `(n, 1)` into `(n,)`, since
`(n, 1)` beside `(n,)` broadcasts to a square in silence.""",
    hints=(
        "Print the shape that arrives and the shape that `D` asks for. How many numbers has each?",
        "`view` reads the same numbers in another shape: a batch, one channel, 28 rows, 28 columns.",
        "Call `D(flat.view(-1, 1, 28, 28))`, and flatten the `(n, 1)` that it returns.",
    ),
    wrong=(
        Wrong(
            "the images stay flat",
            "The images are still flat when D gets them. A convolution needs to know where the rows are.",
            lambda D, flat: D(flat).flatten(),
        ),
        Wrong(
            "rows and columns swapped",
            "Height and width are swapped: every image lies on its side.",
            lambda D, flat: D(flat.view(-1, 1, 28, 28).transpose(2, 3)).flatten(),
        ),
        Wrong(
            "a column of logits",
            "The logits come as a column (n, 1). Beside targets (n,) they broadcast to (n, n) without a word.",
            lambda D, flat: D(flat.view(-1, 1, 28, 28)),
        ),
        Wrong(
            "probabilities",
            "These have passed a sigmoid: they are probabilities. Logits were asked for, as D returns them.",
            lambda D, flat: torch.sigmoid(D(flat.view(-1, 1, 28, 28))).flatten(),
        ),
        Wrong(
            "one number for the batch",
            "One number for the whole batch came. Every image has a logit of its own.",
            lambda D, flat: D(flat.view(-1, 1, 28, 28)).mean(),
        ),
    ),
    right=(_judge_by_loop, _judge_by_layers, lambda D, flat: D(flat.unflatten(1, (1, 28, 28))).squeeze(1)),
    probes={
        "one image": lambda f: f(*_images(1)),
        "whether gradients reach each of D's weights": _reaches_d,
    },
    gradient=("flat",),
)
