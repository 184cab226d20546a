"""Runs of generative adversarial networks: settings, networks, training with vital signs, samples, evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genlab.runs.settings import (
    AT_LEAST_0,
    AT_LEAST_1,
    POSITIVE,
    RATE,
    SHARE,
    Family,
    Metrics,
    Settings,
    Shape,
    free,
    number,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genlab import data, gan
    from genlab.runs.base import Run


@dataclass(frozen=True, kw_only=True)
class GANSettings(Settings):
    """A generative adversarial network (Goodfellow et al. 2014) with any of the package's objectives and penalties.

    Attributes:
        net: family of the two networks.
        objective: what the players minimise.
        conditional: both players see the label.
        z_dim: length of the noise z.
        width: of the generator's layers, see the page of the networks.
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

    out: str = free("runs/gan")
    net: Literal["dcgan", "residual", "mlp"] = "dcgan"
    objective: Literal["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"] = (
        "nonsaturating"
    )
    conditional: bool = False
    z_dim: int = number(64, AT_LEAST_1)
    width: int = number(32, AT_LEAST_1)
    width_d: int | None = number(None, AT_LEAST_1)
    n_critic: int = number(1, AT_LEAST_1)
    gp: float = number(0.0, AT_LEAST_0)
    r1: float = number(0.0, AT_LEAST_0)
    r2: float = number(0.0, AT_LEAST_0)
    every: int = number(1, AT_LEAST_1)
    smooth: float = number(0.0, SHARE)
    instance_noise: float = number(0.0, AT_LEAST_0)
    consistency: float = number(0.0, AT_LEAST_0)
    augmentation: bool = False
    spectral_norm: bool = False
    clip_d: float | None = number(None, POSITIVE)
    batch_size: int = number(64, AT_LEAST_1)
    lr_d: float | None = number(None, RATE)
    beta1: float = number(0.5, SHARE)
    beta2: float = number(0.99, SHARE)
    average: float = number(0.999, SHARE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile and (self.gp or self.r1 or self.r2):
            raise ValueError("compile does not go with gp, r1 and r2: torch.compile cannot differentiate a gradient")


def build(s: GANSettings, shape: Shape) -> "nn.ModuleDict":
    """Generator and discriminator of the settings, under the names "G" and "D"."""
    from torch import nn

    from genlab import gan, nets

    known: dict[str, Any] = {
        "channels": shape.channels,
        "size": shape.size,
        "classes": shape.classes_if(s.conditional),
    }
    wide: dict[str, Any] = known | {"width": s.width_d or s.width}
    G: nn.Module
    D: nn.Module
    if s.net == "mlp":
        G = nets.MLPDecoder(s.z_dim, width=s.width, depth=2, output=nn.Tanh(), **known)
        D = nets.MLPDiscriminator(**wide)
    elif s.net == "dcgan":
        G, D = nets.DCGANGenerator(s.z_dim, width=s.width, **known), nets.DCGANDiscriminator(**wide)
    else:
        G, D = nets.ResGenerator(s.z_dim, width=s.width, **known), nets.ResDiscriminator(**wide)
    return nn.ModuleDict({"G": G, "D": gan.spectral_norm(D) if s.spectral_norm else D})


def fit(s: GANSettings) -> Path:
    """Train a GAN; returns the run's folder. The result is the generator with averaged weights."""
    from torch.optim import Adam

    from genlab import gan, train
    from genlab.runs.base import Run
    from genlab.runs.judging import fixed

    objective = gan.smoothed(s.objective, s.smooth) if s.smooth else gan.find_objective(s.objective)
    with Run("gan", s, pixels="symmetric", labels=s.conditional) as run:
        built, betas = build(s, run.shape), (s.beta1, s.beta2)
        D, opt_d, schedule_d = run.prepare("D", built["D"], Adam, moves=s.n_critic, betas=betas, lr=s.lr_d or s.lr)
        G, opt_g, schedule_g = run.prepare("G", built["G"], Adam, betas=betas)
        mean, vitals = run.average("average", "G"), _Vitals(run, s, objective)
        d, g = gan.players(
            *(G, D, opt_g, opt_d),
            noise=run.noise,
            z_dim=s.z_dim,
            objective=objective,
            penalties=penalties_of(s, run),
            view=view_of(s, run),
            watch=vitals.watch,
        )
        clip = None if s.clip_d is None else partial(gan.clip_weights, D, s.clip_d)
        d, g = d.replace(moves=s.n_critic, schedule=schedule_d, after=clip), g.replace(schedule=schedule_g)
        z, y = fixed(64, s.z_dim, run.shape.classes_if(s.conditional), run.accelerator.device)
        source = run.parts["G"]

        def each(step: int, losses: Mapping[str, float]) -> dict[str, float] | None:
            train.ema(mean, source, s.average, step)
            return vitals.check(step, losses)

        return run.fit([d, g], result={"G": "average"}, picture=lambda: (mean(z, *y) + 1) / 2, each=each)


def penalties_of(s: GANSettings, run: "Run") -> "list[gan.Penalty]":
    """The penalties that the settings ask for. Random numbers come from the run's noise, which processes share."""
    from genlab import gan

    chosen = {
        "gp": gan.gp(s.gp, noise=run.noise),
        "r1": gan.r1(s.r1, every=s.every),
        "r2": gan.r2(s.r2, every=s.every),
        "consistency": gan.consistency(s.consistency, lambda x: gan.augment(x, fill=-1.0, noise=run.noise)),
    }
    return [penalty for name, penalty in chosen.items() if getattr(s, name)]


def view_of(s: GANSettings, run: "Run") -> "gan.View":
    """What D sees of an image."""
    from genlab import gan

    noisy = gan.instance_noise(s.instance_noise, noise=run.noise)

    def view(x: "Tensor") -> "Tensor":
        x = noisy(x) if s.instance_noise else x
        return gan.augment(x, fill=-1.0, noise=run.noise) if s.augmentation else x

    return view


class _Vitals:
    """Measures some forty times a run what `genlab doctor RUN` reads. It changes nothing in the run.

    D's answers are those of the first process, in its last move; `loss_d` is what it pays for them, without penalties.
    """

    SHOWN = 128  # real and generated images that are compared

    def __init__(self, run: "Run", s: GANSettings, objective: "gan.Objective") -> None:
        from genlab import data, diagnosis
        from genlab.runs.judging import fixed

        self.every, self.main, self.objective = max(1, s.steps // 40), run.accelerator.is_main_process, objective
        device, classes = run.accelerator.device, run.shape.classes_if(s.conditional)
        z, y = fixed(self.SHOWN, s.z_dim, classes, device)
        real, held_out = (part.x[: self.SHOWN] for part in run.split)
        G, D = run.parts["G"], run.parts["D"]
        if classes:
            G, D = _labelled(G, y[0]), _labelled(D, run.split.test.labels[: self.SHOWN].to(device))
        x, other = (data.to_float(images, "symmetric").to(device) for images in (real, held_out))
        self.vitals, self.answers = diagnosis.Vitals(G, D, x, other, z), [x.new_zeros(1)] * 2
        run.parts["vitals"] = self

    def watch(self, real: "Tensor", fake: "Tensor") -> None:
        """Keep D's logits."""
        self.answers = [real, fake]

    def check(self, step: int, losses: Mapping[str, float]) -> dict[str, float] | None:
        """What `genlab.diagnose` needs of this step, or None between two checks."""
        if not self.main or step % self.every:
            return None
        real, fake = (logits.float() for logits in self.answers)
        right = (real > 0).float().mean() + (fake <= 0).float().mean()
        game = {
            "loss_d": self.objective.d(real, fake).item(),
            "loss_g": losses["G"],
            "accuracy": right.item() / 2,
            "d_real": real.sigmoid().mean().item(),
            "d_fake": fake.sigmoid().mean().item(),
        }
        return game | self.vitals.check()

    def state_dict(self) -> dict[str, Any]:
        """The samples of the last check, from which the next one measures how far they moved."""
        return {"last": self.vitals.last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        last = state["last"]
        self.vitals.last = None if last is None else last.to(self.vitals.z.device)


def _labelled(net: "nn.Module", y: "Tensor") -> "nn.Module":
    """A conditional network with its labels filled in."""
    from torch import nn

    class Labelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: "Tensor") -> "Tensor":
            return self.net(x, y)

    return Labelled()


def samples(model: Any, s: GANSettings, shape: Shape, n: int, *, seed: int, label: int | None) -> "Tensor":
    """Images of the generator, brought to [0, 1]."""
    from genlab.runs.judging import draw

    classes = shape.classes_if(s.conditional)
    return draw(lambda z, *y: (model(z, *y) + 1) / 2, s.z_dim, classes, n, seed=seed, label=label)


def evaluate(model: Any, s: GANSettings, split: "data.Split", net: "nn.Module | None") -> Metrics:
    """Scores of as many samples as there are test images."""
    import torch

    from genlab.runs.base import shape_of
    from genlab.runs.judging import scores

    if net is None:
        return {}
    shape = shape_of(split)
    fake = samples(model, s, shape, len(split.test.x), seed=1, label=None)
    labels = torch.arange(len(fake)) % (shape.classes or 1) if s.conditional else None
    return scores(fake, split, net, labels=labels)


FAMILY = Family(GANSettings, build, fit, evaluate, samples)
