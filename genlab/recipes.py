"""Recipes: whole runs from settings to weights.

Each recipe builds its networks from the settings alone (`build`), so that weights and settings are all that one needs
to use a run again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab import data, gan, nets, train, vae
from genlab.runs import Run
from genlab.settings import SETTINGS, ClassifierSettings, GANSettings, Settings, VAESettings, VQVAESettings

SHAPES = {"digits": (1, 28), "mnist": (1, 28), "fashion_mnist": (1, 28), "cifar10": (3, 32)}


def build_vae(s: VAESettings) -> nn.ModuleDict:
    """The VAE of the settings, under the name "model"."""
    channels, size = SHAPES[s.data]
    outputs = channels * vae.LIKELIHOODS[s.likelihood].channels
    conv = s.net == "conv"
    encoder: Callable[..., nn.Module] = nets.ConvEncoder if conv else nets.MLPEncoder
    decoder: Callable[..., nn.Module] = nets.ConvDecoder if conv else nets.MLPDecoder
    shape: dict[str, Any] = {"size": size, "width": s.width, "classes": 10 if s.conditional else None}
    model = vae.VAE(encoder(s.z_dim, channels=channels, **shape), decoder(s.z_dim, channels=outputs, **shape))
    return nn.ModuleDict({"model": model})


def fit_vae(s: VAESettings) -> Path:
    """Train a VAE; returns the run's folder."""
    run = Run("vae", s, pixels=pixels_of(s.likelihood), labels=s.conditional)
    model, optimizer, schedule = run.prepare(
        "model", build_vae(s)["model"], torch.optim.AdamW, weight_decay=s.weight_decay
    )
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
        clip=s.clip,
        accumulate=s.accumulate,
        schedule=schedule,
    )
    z, y = fixed(64, s.z_dim, s.conditional, run.accelerator.device)
    decoder = run.parts["model"].decoder
    mean = vae.LIKELIHOODS[s.likelihood].mean
    return run.fit([player], result={"model": "model"}, picture=_quiet(decoder, lambda: mean(decoder(z, *y))))


def pixels_of(likelihood: str) -> str:
    """A Bernoulli likelihood is one of 0 and 1; all others take grey pixels in [0, 1]."""
    return "binary" if likelihood == "bernoulli" else "unit"


def build_vqvae(s: VQVAESettings) -> nn.ModuleDict:
    """The VQ-VAE of the settings, under the name "model"."""
    channels, _ = SHAPES[s.data]
    encoder, decoder = (net(s.d, channels=channels, width=s.width) for net in (nets.GridEncoder, nets.GridDecoder))
    return nn.ModuleDict({"model": vae.VQVAE(encoder, vae.Quantiser(s.codes, s.d), decoder)})


def fit_vqvae(s: VQVAESettings) -> Path:
    """Train a VQ-VAE on binarised pixels; returns the run's folder. The pictures are reconstructions."""
    run = Run("vqvae", s, pixels="binary")
    model, optimizer, schedule = run.prepare("model", build_vqvae(s)["model"], torch.optim.AdamW)
    player = vae.vq_player(
        model, optimizer, commitment=s.commitment, clip=s.clip, accumulate=s.accumulate, schedule=schedule
    )
    x = (run.split.test.x[:64] > 127).float().to(run.accelerator.device)
    plain = run.parts["model"]
    return run.fit([player], result={"model": "model"}, picture=_quiet(plain, lambda: torch.sigmoid(plain(x)[0])))


def build_gan(s: GANSettings) -> nn.ModuleDict:
    """Generator and discriminator of the settings, under the names "G" and "D"."""
    channels, size = SHAPES[s.data]
    shape: dict[str, Any] = {"channels": channels, "size": size, "classes": 10 if s.conditional else None}
    wide: dict[str, Any] = shape | {"width": s.width_d or s.width}
    G: nn.Module
    D: nn.Module
    if s.net == "mlp":
        G = nets.MLPDecoder(s.z_dim, width=s.width, depth=2, output=nn.Tanh(), **shape)
        D = nets.MLPDiscriminator(**wide)
    elif s.net == "dcgan":
        G, D = nets.DCGANGenerator(s.z_dim, width=s.width, **shape), nets.DCGANDiscriminator(**wide)
    else:
        G, D = nets.ResGenerator(s.z_dim, width=s.width, **shape), nets.ResDiscriminator(**wide)
    return nn.ModuleDict({"G": G, "D": gan.spectral_norm(D) if s.spectral_norm else D})


def fit_gan(s: GANSettings) -> Path:
    """Train a GAN; returns the run's folder. The result is the generator with averaged weights."""
    run = Run("gan", s, pixels="symmetric", labels=s.conditional)
    built, betas = build_gan(s), (s.beta1, s.beta2)
    D, opt_d, schedule_d = run.prepare(
        "D", built["D"], torch.optim.Adam, moves=s.n_critic, betas=betas, lr=s.lr_d or s.lr
    )
    G, opt_g, schedule_g = run.prepare("G", built["G"], torch.optim.Adam, betas=betas)
    mean = run.average("average", "G")
    players = gan.players(
        G,
        D,
        opt_g,
        opt_d,
        noise=run.noise,
        z_dim=s.z_dim,
        objective=s.objective,
        n_critic=s.n_critic,
        gp=s.gp,
        r1=s.r1,
        r2=s.r2,
        every=s.every,
        smooth=s.smooth,
        instance_noise=s.instance_noise,
        consistency=s.consistency,
        augmentation=gan.augment if s.augmentation else None,
        clip_d=s.clip_d,
        clip=s.clip,
        accumulate=s.accumulate,
        schedules=(schedule_d, schedule_g),
    )
    z, y = fixed(64, s.z_dim, s.conditional, run.accelerator.device)
    source = run.parts["G"]
    return run.fit(
        players,
        result={"G": "average"},
        picture=lambda: (mean(z, *y) + 1) / 2,
        each=lambda step: train.ema(mean, source, s.average, step),
    )


def build_classifier(s: ClassifierSettings) -> nn.ModuleDict:
    """The classifier of the settings, under the name "model"."""
    return nn.ModuleDict({"model": nets.Classifier(channels=SHAPES[s.data][0], width=s.width, d=s.d)})


def fit_classifier(s: ClassifierSettings) -> Path:
    """Train the classifier on shifted images in [0, 1]; returns the run's folder."""
    run = Run("classifier", s, pixels="unit", labels=True)
    model, optimizer, schedule = run.prepare(
        "model", build_classifier(s)["model"], torch.optim.AdamW, weight_decay=s.weight_decay
    )

    def loss(batch: Tensor | data.Batch, step: int) -> Tensor:
        x, y = data.unpack(batch)
        assert y is not None
        return F.cross_entropy(model(gan.augment(x)), y, label_smoothing=s.label_smoothing)

    player = train.Player("classifier", model, loss, optimizer, 1, s.accumulate, s.clip, schedule)
    x = data.to_float(run.split.test.x[:64])
    return run.fit([player], result={"model": "model"}, picture=lambda: x)


def fixed(n: int, z_dim: int, conditional: bool, device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Noise z (n, z_dim) that is always the same, and labels 0, 1, … 9, 0, … for conditional models."""
    z = torch.randn(n, z_dim, generator=torch.Generator().manual_seed(0)).to(device)
    return z, ((torch.arange(n, device=device) % 10,) if conditional else ())


def _quiet(module: nn.Module, draw: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`draw` in evaluation mode and without gradients."""

    @torch.no_grad()
    def picture() -> Tensor:
        was_training = module.training
        module.eval()
        images = draw()
        module.train(was_training)
        return images

    return picture


@dataclass(frozen=True)
class Recipe:
    """Settings, the networks that follow from them, and the run."""

    settings: type[Settings]
    build: Callable[[Any], nn.ModuleDict]
    fit: Callable[[Any], Path]


RECIPES = {
    "vae": Recipe(SETTINGS["vae"], build_vae, fit_vae),
    "vqvae": Recipe(SETTINGS["vqvae"], build_vqvae, fit_vqvae),
    "gan": Recipe(SETTINGS["gan"], build_gan, fit_gan),
    "classifier": Recipe(SETTINGS["classifier"], build_classifier, fit_classifier),
}
