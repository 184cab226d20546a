"""Runs of variational autoencoders: settings, networks, training, samples, evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genlab.runs.settings import AT_LEAST_0, AT_LEAST_1, RATE, Family, Metrics, Settings, Shape, free, number

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genlab import data


@dataclass(frozen=True, kw_only=True)
class VAESettings(Settings):
    """A variational autoencoder (Kingma and Welling 2014), or with estimator "autoencoder" a plain one.

    Attributes:
        net: convolutional or fully connected.
        z_dim: latent dimensions.
        width: channels of the first convolution, or units of a layer.
        conditional: encoder and decoder see the label.
        likelihood: p(x|z); "bernoulli" binarises the pixels anew for each batch.
        estimator: of the bound.
        k: samples an image, for "iwae", "stl" and "dreg".
        beta: weight of the KL term.
        warmup: steps over which beta rises from 0.
        free_bits: nats a latent dimension may use at no cost.
        weight_decay: pull of the weights towards zero, by AdamW.
    """

    out: str = free("runs/vae")
    net: Literal["conv", "mlp"] = "conv"
    z_dim: int = number(16, AT_LEAST_1)
    width: int = number(32, AT_LEAST_1)
    conditional: bool = False
    likelihood: Literal["bernoulli", "gaussian", "learned_gaussian", "continuous_bernoulli", "logistic"] = "bernoulli"
    estimator: Literal["elbo", "iwae", "stl", "dreg", "autoencoder"] = "elbo"
    k: int = number(1, AT_LEAST_1)
    beta: float = number(1.0, AT_LEAST_0)
    warmup: int = number(0, AT_LEAST_0)
    free_bits: float = number(0.0, AT_LEAST_0)
    lr: float = number(2e-3, RATE)
    weight_decay: float = number(0.01, AT_LEAST_0)


def build(s: VAESettings, shape: Shape) -> "nn.ModuleDict":
    """The VAE of the settings, under the name "model"."""
    from torch import nn

    from genlab import densities, nets, vae

    conv = s.net == "conv"
    encoder: Callable[..., nn.Module] = nets.ConvEncoder if conv else nets.MLPEncoder
    decoder: Callable[..., nn.Module] = nets.ConvDecoder if conv else nets.MLPDecoder
    known: dict[str, Any] = {"size": shape.size, "width": s.width, "classes": shape.classes_if(s.conditional)}
    outputs = shape.channels * densities.LIKELIHOODS[s.likelihood].channels
    model = vae.VAE(encoder(s.z_dim, channels=shape.channels, **known), decoder(s.z_dim, channels=outputs, **known))
    return nn.ModuleDict({"model": model})


def fit(s: VAESettings) -> Path:
    """Train a VAE; returns the run's folder."""
    from torch.optim import AdamW

    from genlab import densities, vae
    from genlab.runs.base import Run
    from genlab.runs.judging import fixed, quiet

    p = densities.LIKELIHOODS[s.likelihood]
    with Run("vae", s, pixels=p.pixels, labels=s.conditional, nats=True) as run:
        built = build(s, run.shape)["model"]
        model, optimizer, schedule = run.prepare("model", built, AdamW, weight_decay=s.weight_decay)
        player = vae.player(
            model,
            optimizer,
            noise=run.noise,
            z_dim=s.z_dim,
            likelihood=s.likelihood,
            estimator=s.estimator,
            k=s.k,
            beta=s.beta,
            warmup=s.warmup,
            minimum=s.free_bits,
        ).replace(schedule=schedule)
        z, y = fixed(64, s.z_dim, run.shape.classes_if(s.conditional), run.accelerator.device)
        decoder = run.parts["model"].decoder
        picture = quiet(decoder, lambda: p.picture(decoder(z, *y)))
        return run.fit([player], result={"model": "model"}, picture=picture)


def samples(model: Any, s: VAESettings, shape: Shape, n: int, *, seed: int, label: int | None) -> "Tensor | None":
    """Pictures of p(x|z) for z from the prior, or None for a plain autoencoder."""
    from genlab import densities
    from genlab.runs.judging import draw

    if s.estimator == "autoencoder":
        return None
    p, classes = densities.LIKELIHOODS[s.likelihood], shape.classes_if(s.conditional)
    return draw(lambda z, *y: p.picture(model.decoder(z, *y)), s.z_dim, classes, n, seed=seed, label=label)


def evaluate(model: Any, s: VAESettings, split: "data.Split", net: "nn.Module | None") -> Metrics:
    """Bounds on the test images, or the reconstruction of a plain autoencoder, and scores of samples."""
    import torch

    from genlab import data, densities, train, vae
    from genlab.runs.base import shape_of
    from genlab.runs.judging import measure, scores

    generator = torch.Generator().manual_seed(0)
    x = data.to_float(split.test.x, densities.LIKELIHOODS[s.likelihood].pixels, generator=generator)
    y, n = split.test.labels if s.conditional else None, f"{len(x)} test images"
    if s.estimator == "autoencoder":
        return {"log_px": reconstruction(lambda: model(x, y, eps=torch.zeros(len(x), s.z_dim)).out, x, s.likelihood)}
    rows = vae.bounds(model, x, y, noise=train.Noise(0), k=100, likelihood=s.likelihood)
    of = " given the label" if s.conditional else ""
    found = {
        "elbo": measure(f"ELBO{of}, nats", rows["elbo"].mean().item(), n, 0.05),
        "iwae": measure(f"IWAE bound{of}, k = 100, nats", rows["iwae"].mean().item(), n, 0.05),
        "kl": measure("KL term, nats", rows["kl"].mean().item(), n, 0.05),
    }
    if net is None:
        return found
    shape = shape_of(split)
    fake = samples(model, s, shape, len(x), seed=1, label=None)
    assert fake is not None  # plain autoencoders were answered above
    labels = torch.arange(len(fake)) % (shape.classes or 1) if s.conditional else None
    return found | scores(fake, split, net, labels=labels)


def reconstruction(run: "Callable[[], Tensor]", x: "Tensor", likelihood: str) -> dict[str, Any]:
    """log p(x|z) of what an autoencoder makes of images."""
    import torch

    from genlab import densities
    from genlab.runs.judging import measure

    with torch.no_grad():
        value = densities.LIKELIHOODS[likelihood].log_prob(x, run()).mean().item()
    return measure("log p(x|z) of reconstructions, nats", value, f"{len(x)} test images", 0.05)


FAMILY = Family(VAESettings, build, fit, evaluate, samples)
