"""Settings of runs: the command line's options, and the keys of the JSON file in a run's folder.

Nothing is imported here that takes time, so that `--help` and a misspelt option are answered at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

# Which numbers are possible, by the names of the fields.
LIMITS: tuple[tuple[str, Callable[[float], bool], frozenset[str]], ...] = tuple(
    (text, possible, frozenset(names.split()))
    for text, possible, names in (
        (
            "at least 1",
            lambda v: v >= 1,
            "steps batch_size accumulate save_every z_dim width width_d k codes d n_critic every",
        ),
        (
            "at least 0",
            lambda v: 0 <= v < math.inf,
            "seed beta warmup free_bits weight_decay commitment gp r1 r2 instance_noise consistency",
        ),
        ("greater than 0", lambda v: 0 < v < math.inf, "clip clip_d"),
        ("at least 0 and less than 1", lambda v: 0 <= v < 1, "beta1 beta2 average smooth label_smoothing"),
        ("greater than 0 and less than 1", lambda v: 0 < v < 1, "lr lr_d"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every run is told. The fields are the command line's options and the keys of the JSON file in its folder.

    Attributes:
        out: folder of the run.
        data: image set.
        download: fetch the set if it is missing.
        steps: steps to make.
        batch_size: images in a batch, over all processes.
        lr: largest learning rate.
        schedule: constant, or falling to zero: linearly over the second half, or as a cosine from the start.
        clip: largest norm of a gradient.
        accumulate: batches whose gradients are averaged before a move.
        precision: "no" is float32; "bf16" runs the networks in bfloat16.
        device: "auto" takes a GPU where there is one.
        compile: run the networks through torch.compile.
        seed: of weights, order, noise.
        save_every: steps between checkpoints.
        resume: go on from the newest checkpoint in `out`, or start there if it has none.
        tensorboard: write TensorBoard files below `out`.
    """

    out: str
    data: Literal["digits", "mnist", "fashion_mnist", "cifar10"] = "digits"
    download: bool = False
    steps: int = 1500
    batch_size: int = 128
    lr: float = 1e-3
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    clip: float | None = None
    accumulate: int = 1
    precision: Literal["no", "bf16"] = "no"
    device: Literal["auto", "cpu"] = "auto"
    compile: bool = False
    seed: int = 0
    save_every: int = 500
    resume: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name in (field.name for field in fields(self)):
            value, choices = getattr(self, name), get_args(hints[name])
            if get_origin(hints[name]) is Literal and value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, but is {value!r}")
            for text, possible, names in LIMITS:
                if name in names and value is not None and not possible(value):
                    raise ValueError(f"{name} must be {text}, but is {value}")


# These say where and how a run is made, not what it computes: a resumed run may change them.
FREE = {"out", "download", "device", "resume", "save_every", "tensorboard"}


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
        clip_d: clamp D's weights to plus or minus this, as the first WGAN did.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile and (self.gp or self.r1 or self.r2):
            raise ValueError("compile does not go with gp, r1 and r2: torch.compile cannot differentiate a gradient")


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings(Settings):
    """The classifier whose features the Fréchet classifier distance uses.

    Attributes:
        width: channels of the first convolution.
        d: number of features.
        label_smoothing: of the cross-entropy.
        weight_decay: pull of the weights towards zero, by AdamW.
    """

    out: str = "runs/classifier"
    width: int = 32
    d: int = 128
    label_smoothing: float = 0.05
    lr: float = 3e-3
    weight_decay: float = 0.01


SETTINGS: dict[str, type[Settings]] = {
    "vae": VAESettings,
    "vqvae": VQVAESettings,
    "gan": GANSettings,
    "classifier": ClassifierSettings,
}
