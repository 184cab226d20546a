"""Recipes: whole runs from settings to weights. The settings' fields are the command line's options.

Each recipe builds its networks from the settings alone (`build`), so that weights and settings are all that one needs
to use a run again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab import data, gan, nets, train, vae
from genlab.runs import Run, Settings

SHAPES = {"digits": (1, 28), "mnist": (1, 28), "fashion_mnist": (1, 28), "cifar10": (3, 32)}


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
        weight_decay: of AdamW.
    """

    out: str = "runs/vae"
    net: Literal["conv", "mlp"] = "conv"
    z_dim: int = 16
    width: int = 32
    conditional: bool = False
    likelihood: Literal["bernoulli", "gaussian", "learned_gaussian", "continuous_bernoulli", "logistic"] = "bernoulli"
    estimator: Literal["elbo", "iwae", "stl", "dreg", "autoencoder"] = "elbo"
    k: int = 1
    beta: float = 1.0
    warmup: int = 0
    free_bits: float = 0.0
    lr: float = 2e-3
    weight_decay: float = 0.01


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
    return run.fit([player], result={"model": model}, picture=_quiet(decoder, lambda: mean(decoder(z, *y))))


def pixels_of(likelihood: str) -> str:
    """A Bernoulli likelihood is one of 0 and 1; all others take grey pixels in [0, 1]."""
    return "binary" if likelihood == "bernoulli" else "unit"


@dataclass(frozen=True, kw_only=True)
class VQVAESettings(Settings):
    """A VQ-VAE with a codebook of moving averages (van den Oord et al. 2017).

    Attributes:
        codes: vectors in the codebook.
        d: length of a vector.
        width: channels of the first convolution.
        commitment: weight of the commitment term.
    """

    out: str = "runs/vqvae"
    codes: int = 64
    d: int = 16
    width: int = 32
    commitment: float = 0.25


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
    return run.fit([player], result={"model": model}, picture=_quiet(plain, lambda: torch.sigmoid(plain(x)[0])))


@dataclass(frozen=True, kw_only=True)
class GANSettings(Settings):
    """A generative adversarial network (Goodfellow et al. 2014) with any of the package's objectives and penalties.

    Attributes:
        net: family of the two networks.
        objective: what the players minimise.
        conditional: both players see the label.
        z_dim: length of the noise z.
        width: of the generator's last hidden layer.
        width_d: of the discriminator's first layer; as `width` when not given.
        n_critic: moves of D for one of G.
        gp: weight of the gradient penalty (10 for WGAN-GP).
        r1: γ of the zero-centred penalty on real images.
        r2: the same on generated images.
        every: steps from one computation of r1 and r2 to the next.
        smooth: one-sided label smoothing.
        instance_noise: standard deviation of noise added to all that D sees.
        consistency: weight of the consistency penalty.
        augmentation: differentiable augmentation of all that D sees.
        spectral_norm: divide D's weights by their largest singular values.
        clip_d: clamp D's weights, as the first WGAN did.
        lr_d: D's learning rate; as `lr` when not given.
        beta1: first moment's decay of Adam.
        beta2: second moment's decay of Adam.
        average: decay of the averaged generator, which is the result.
    """

    out: str = "runs/gan"
    net: Literal["dcgan", "residual", "mlp"] = "dcgan"
    objective: Literal["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"] = (
        "nonsaturating"
    )
    conditional: bool = False
    z_dim: int = 64
    width: int = 32
    width_d: int | None = None
    n_critic: int = 1
    gp: float = 0.0
    r1: float = 0.0
    r2: float = 0.0
    every: int = 1
    smooth: float = 0.0
    instance_noise: float = 0.0
    consistency: float = 0.0
    augmentation: bool = False
    spectral_norm: bool = False
    clip_d: float | None = None
    batch_size: int = 64
    lr_d: float | None = None
    beta1: float = 0.5
    beta2: float = 0.99
    average: float = 0.999


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
    D, opt_d, schedule_d = run.prepare("D", built["D"], torch.optim.Adam, betas=betas, lr=s.lr_d or s.lr)
    G, opt_g, schedule_g = run.prepare("G", built["G"], torch.optim.Adam, betas=betas)
    mean = run.average("average", G)
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
        result={"G": mean},
        picture=lambda: (mean(z, *y) + 1) / 2,
        each=lambda step: train.ema(mean, source, s.average, step),
    )


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings(Settings):
    """The classifier whose features the Fréchet classifier distance uses.

    Attributes:
        width: channels of the first convolution.
        d: features.
        label_smoothing: of the cross-entropy.
        weight_decay: of AdamW.
    """

    out: str = "runs/classifier"
    width: int = 32
    d: int = 128
    label_smoothing: float = 0.05
    lr: float = 3e-3
    weight_decay: float = 0.01


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
    return run.fit([player], result={"model": model}, picture=lambda: x)


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
    "vae": Recipe(VAESettings, build_vae, fit_vae),
    "vqvae": Recipe(VQVAESettings, build_vqvae, fit_vqvae),
    "gan": Recipe(GANSettings, build_gan, fit_gan),
    "classifier": Recipe(ClassifierSettings, build_classifier, fit_classifier),
}
