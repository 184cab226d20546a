"""Runs of VQ-VAEs: settings, networks, training, evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.runs.settings import AT_LEAST_0, AT_LEAST_1, Family, Metrics, Settings, Shape, free, number

if TYPE_CHECKING:
    from torch import nn

    from genlab import data


@dataclass(frozen=True, kw_only=True)
class VQVAESettings(Settings):
    """A VQ-VAE with a codebook of moving averages (van den Oord et al. 2017).

    Attributes:
        codes: vectors in the codebook.
        d: length of a vector.
        width: channels of the first convolution.
        commitment: weight of the commitment term.
    """

    out: str = free("runs/vqvae")
    codes: int = number(64, AT_LEAST_1)
    d: int = number(16, AT_LEAST_1)
    width: int = number(32, AT_LEAST_1)
    commitment: float = number(0.25, AT_LEAST_0)


def build(s: VQVAESettings, shape: Shape) -> "nn.ModuleDict":
    """The VQ-VAE of the settings, under the name "model"."""
    from torch import nn

    from genlab import nets, vq

    if shape.size % 4:
        below = shape.size // 4 * 4
        raise ValueError(
            f"size={shape.size}: a VQ-VAE halves the grid twice, so sides are multiples of 4; nearest are {below} and "
            f"{below + 4}; resize the images (--size)"
        )
    encoder, decoder = (
        net(s.d, channels=shape.channels, width=s.width) for net in (nets.GridEncoder, nets.GridDecoder)
    )
    return nn.ModuleDict({"model": vq.VQVAE(encoder, vq.Quantiser(s.codes, s.d), decoder)})


def fit(s: VQVAESettings) -> Path:
    """Train a VQ-VAE on binarised pixels; returns the run's folder. The pictures are reconstructions."""
    import torch

    from genlab import vq
    from genlab.runs.base import Run
    from genlab.runs.judging import quiet

    with Run("vqvae", s, pixels="binary", nats=True) as run:
        model, optimizer, schedule = run.prepare("model", build(s, run.shape)["model"], torch.optim.AdamW)
        player = vq.player(model, optimizer, commitment=s.commitment).replace(schedule=schedule)
        x = (run.split.test.x[:64] > 127).float().to(run.accelerator.device)
        plain = run.parts["model"]
        picture = quiet(plain, lambda: torch.sigmoid(plain(x)[0]))
        return run.fit([player], result={"model": "model"}, picture=picture)


def evaluate(model: Any, s: VQVAESettings, split: "data.Split", net: "nn.Module | None") -> Metrics:
    """Reconstruction of the test images, and the codes that they use."""
    import torch

    from genlab import data
    from genlab.runs.judging import measure
    from genlab.runs.vae import reconstruction

    x = data.to_float(split.test.x, "binary", generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out, quantised = model(x)
    used = len(quantised.codes.unique())
    return {
        "log_px": reconstruction(lambda: out, x, "bernoulli"),
        "codes": measure("codes in use", used, f"{len(x)} test images", 1),
    }


def samples(model: Any, s: VQVAESettings, shape: Shape, n: int, **options: Any) -> None:
    """None: without a prior over codes a VQ-VAE does not generate."""


FAMILY = Family(VQVAESettings, build, fit, evaluate, samples)
