"""Chapter 14's study: a VAE and a GAN on 250 digits, and what each remedy does to their overfitting.

Each seed draws its own training digits from the first 3,000; the last 1,000 training digits validate, and the 1,000
test digits judge, and nothing is chosen by them. Every arm changes one thing of the baseline. Strengths were chosen
from three by the validation digits, with a seed that is not among those of the arms: the runs "tune" are stored too.
"""

import copy
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from genlab import data, gan, metrics, nets, protocol, train, vae
from genlab.nets.common import evaluating
from genlab.studies import Given, Results, Study
from genlab.studies.stabilising import above

SEEDS, TUNING_SEED, SWEEP_SEEDS = 4, 100, 2
POOL, IMAGES, LOOKS, N, DRAWS = 3000, 250, 8, 1000, 20
STEPS = {"VAE": 1500, "GAN": 800}
RATES = {"VAE": 2e-3, "GAN": 1e-3}
BATCH, Z_DIM = {"VAE": 50, "GAN": 32}, {"VAE": 16, "GAN": 64}
WIDTH = {"VAE": 200, "GAN": 128}  # of the VAE's hidden layers; of the GAN's discriminator
SWEEP = (4, 12, 25, 100, 400)  # further widths of the VAE

GRID: dict[str, dict[str, tuple[float, float, float]]] = {  # gentle, middle, strong
    "VAE": {
        "l1": (1e-4, 1e-3, 1e-2),
        "l2": (1e-2, 1e-1, 1.0),
        "decay": (0.1, 1.0, 10.0),
        "dropout": (0.1, 0.3, 0.5),
        "shift": (1, 2, 3),
    },
    "GAN": {
        "l1": (1e-5, 1e-4, 1e-3),
        "l2": (1e-3, 1e-2, 1e-1),
        "decay": (0.1, 1.0, 10.0),
        "dropout": (0.1, 0.3, 0.5),
        "shift": (1, 2, 3),
    },
}
CHOSEN: dict[str, dict[str, float]] = {  # the best of each row on the validation digits
    "VAE": {"l1": 1e-3, "l2": 1e-1, "decay": 1.0, "dropout": 0.1, "shift": 1},
    "GAN": {"l1": 1e-4, "l2": 1e-2, "decay": 1.0, "dropout": 0.1, "shift": 1},
}
OTHERS: dict[str, Given] = {
    "baseline": {},
    "twice the data": {"images": 2 * IMAGES},
    "8 times the data": {"images": 8 * IMAGES},
    "50 digits, 5 views": {"images": IMAGES // 5, "views": 5},
    "20 images": {"images": 20},
    "50 images": {"images": 50},
    "100 images": {"images": 100},
}


# ---------------------------------------------------------------------------------------------------------------- data


def chosen_images(seed: int, images: int = IMAGES, views: int = 1) -> Tensor:
    """Training images (images · views, 1, 28, 28), bytes: the first in the seed's order.

    With `views` each comes as often, shifted at random by up to two pixels.
    """
    order = torch.randperm(POOL, generator=torch.Generator().manual_seed(seed))
    x = data.digits().train.x[order[:images]]
    if views == 1:
        return x
    return gan.augment(x.repeat(views, 1, 1, 1), shift=2 / 28, cutout=0.0, noise=train.Noise(seed)).to(torch.uint8)


def held_out() -> tuple[Tensor, Tensor]:
    """The validation digits and the test digits, bytes."""
    split = data.digits()
    return split.train.x[POOL:], split.test.x


@functools.cache
def valid_features() -> Tensor:
    """Features of the validation digits."""
    return protocol.features(data.to_float(held_out()[0]))


def binary(x: Tensor) -> Tensor:
    """Bytes as black and white pixels, the same ones at each call."""
    return data.to_float(x, "binary", generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------------------------------------------------ remedies


def weights(net: nn.Module) -> list[nn.Parameter]:
    """The matrices and filters of a network, without biases: what penalties and decay act on."""
    return [p for p in net.parameters() if p.ndim > 1]


def optimizer(net: nn.Module, rate: float, *, decay: float = 0.0, **options: Any) -> torch.optim.Optimizer:
    """Adam; with `decay` the weights also shrink by rate · decay at each step (Loshchilov and Hutter 2019)."""
    ids = {id(p) for p in weights(net)}
    others = [p for p in net.parameters() if id(p) not in ids]
    groups = [{"params": weights(net), "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, rate, fused=True, **options)  # fused: half the time on a processor


def penalised(player: train.Player, net: nn.Module, l1: float, l2: float) -> train.Player:
    """The player with l1 Σ|w| + ½ l2 Σw² of the net's weights in its loss."""

    def loss(batch: Any, step: int) -> Tensor:
        total = player.loss(batch, step)
        for w in weights(net):
            total = total + l1 * w.abs().sum() + 0.5 * l2 * w.square().sum()
        return total

    return player.replace(loss=loss) if l1 or l2 else player


def with_dropout(body: nn.Sequential, share: float) -> nn.Sequential:
    """A dense network whose hidden activations are dropped with this probability as it trains."""
    parts = [(m, nn.Dropout(share)) if isinstance(m, nn.ReLU | nn.LeakyReLU) else (m,) for m in body]
    return nn.Sequential(*(m for pair in parts for m in pair)) if share else body


def shifting(pixels: int, fill: float) -> Callable[[Tensor], Tensor]:
    """Random shifts by up to so many pixels, with the background coming in."""
    return functools.partial(gan.augment, shift=pixels / 28, cutout=0.0, fill=fill) if pixels else lambda x: x


# ----------------------------------------------------------------------------------------------------------- two models


class VAERun:
    """A dense VAE on binarised digits; `held` is minus its mean ELBO on validation digits, in nats."""

    def __init__(
        self, x: Tensor, seed: int, *, width: int, dropout: float, shift: int, l1: float, l2: float, decay: float
    ) -> None:
        train.seed_everything(seed)
        encoder, decoder = nets.MLPEncoder(Z_DIM["VAE"], width=width), nets.MLPDecoder(Z_DIM["VAE"], width=width)
        encoder.body, decoder.body = (with_dropout(net.body, dropout) for net in (encoder, decoder))
        self.x, self.net = x, vae.VAE(encoder, decoder)
        adam = optimizer(self.net, RATES["VAE"], decay=decay)
        player = vae.player(self.net, adam, noise=train.Noise(seed), z_dim=Z_DIM["VAE"])
        view = shifting(shift, 0.0)
        batches = data.Batches(x, min(BATCH["VAE"], len(x)), pixels="binary", seed=seed)
        self.players, self.batches = (
            penalised(player, self.net, l1, l2),
            (view(data.unpack(batch)[0]) for batch in batches),
        )

    def bounds(self, x: Tensor, k: int = 1) -> dict[str, Tensor]:
        """ELBO and importance-weighted bound of images given as bytes."""
        return vae.bounds(self.net, binary(x), noise=train.Noise(0), k=k)

    def held(self) -> float:
        return -self.bounds(held_out()[0])["elbo"].mean().item()

    def look(self) -> list[float]:
        """Minus the mean ELBO on training and on validation digits."""
        return [round(-self.bounds(self.x)["elbo"].mean().item(), 2), round(self.held(), 2)]

    @torch.no_grad()
    def samples(self) -> Tensor:
        with evaluating(self.net):
            z = train.Noise(1000).normal(N, Z_DIM["VAE"])
            return torch.sigmoid(self.net.decoder(z))

    def results(self) -> Results:
        """Bounds of training and test digits in nats, and the attack by the importance-weighted bound."""
        inside, outside = (self.bounds(x, DRAWS) for x in (self.x, held_out()[1]))
        found: Results = {
            f"{name}_{side}": round(-values[name].mean().item(), 2)
            for name in ("elbo", "iwae")
            for side, values in (("train", inside), ("test", outside))
        }
        return found | attack(inside["iwae"], outside["iwae"])


class GANRun:
    """A DCGAN generator against a dense discriminator; `held` is the Fréchet distance to validation digits."""

    def __init__(
        self, x: Tensor, seed: int, *, width: int, dropout: float, shift: int, l1: float, l2: float, decay: float
    ) -> None:
        train.seed_everything(seed)
        G, D = nets.DCGANGenerator(Z_DIM["GAN"], width=8), nets.MLPDiscriminator(width=width)
        D.body = with_dropout(D.body, dropout)
        self.x, self.net, self.G, self.D = x, nn.ModuleList([G, D]), G, D
        opt_g, opt_d = (optimizer(n, RATES["GAN"], decay=w, betas=(0.5, 0.99)) for n, w in ((G, 0.0), (D, decay)))
        options: Any = {"noise": train.Noise(seed), "z_dim": Z_DIM["GAN"], "view": shifting(shift, -1.0)}
        g, d = gan.players(G, D, opt_g, opt_d, share=True, joint=True, **options)
        self.players = [g, penalised(d, D, l1, l2)]
        self.batches = iter(data.Batches(x, min(BATCH["GAN"], len(x)), pixels="symmetric", seed=seed))

    @torch.no_grad()
    def samples(self) -> Tensor:
        with evaluating(self.net):
            return (self.G(train.Noise(1000).normal(N, Z_DIM["GAN"])) + 1) / 2

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """D's logits of images given as bytes."""
        with evaluating(self.net):
            return self.D(data.to_float(x, "symmetric"))

    def held(self) -> float:
        return metrics.frechet_distance(valid_features(), protocol.features(self.samples()))

    def look(self) -> list[float]:
        """How well D's logits order training above validation digits, and the Fréchet distance to the latter."""
        return [round(above(self.logits(self.x), self.logits(held_out()[0])), 3), round(self.held(), 1)]

    @torch.no_grad()
    def results(self) -> Results:
        """D's mean logits, and the attack by them."""
        sets = {"train": self.logits(self.x), "test": self.logits(held_out()[1])}
        with evaluating(self.net):
            sets["fake"] = self.D(2 * self.samples() - 1)
        found: Results = {f"logit_{name}": round(values.mean().item(), 3) for name, values in sets.items()}
        return found | attack(sets["train"], sets["test"])


# ------------------------------------------------------------------------------------------------------------- judging


def caught(members: Tensor, strangers: Tensor, rate: float = 0.01) -> float:
    """True positive rate: the share of members above the score that at most a share `rate` of strangers exceeds."""
    limit = strangers.sort(descending=True).values[int(rate * len(strangers))]
    return (members > limit).double().mean().item()


def attack(members: Tensor, strangers: Tensor, name: str = "attack") -> Results:
    """Membership inference by a score: the area under its curve, and its true positive rate at 1 % false ones."""
    return {f"{name}_auc": round(above(members, strangers), 3), f"{name}_tpr": round(caught(members, strangers), 3)}


def c_t(train_rows: Tensor, test_rows: Tensor, made: Tensor) -> float:
    """C_T in five cells; in one where samples are so narrow that no cell has enough of both kinds."""
    try:
        return metrics.data_copying(train_rows, test_rows, made)
    except ValueError:
        return metrics.data_copying(train_rows, test_rows, made, cells=1)


def copies(train_rows: Tensor, test_rows: Tensor, made: Tensor) -> Results:
    """C_T in five cells, authenticity with that of test rows, the ratio of median distances, extraction."""
    k = min(50, len(train_rows) // 2)
    found = metrics.extraction(train_rows, made, neighbours=k)
    return {
        "c_t": round(c_t(train_rows, test_rows, made), 2),
        "authentic": round(metrics.authenticity(train_rows, made), 3),
        "authentic_test": round(metrics.authenticity(train_rows, test_rows), 3),
        "ratio": round(metrics.novelty(train_rows, made, test=test_rows).ratio, 3),
        "memorised": round(found.memorised, 3),
        "extracted": round(found.extracted, 3),
    }


def judged(made: Tensor, members: Tensor) -> Results:
    """Fréchet distance, precision and recall against the test digits; copies in features and in pixels; an attack.

    The attack is that of the nearest sample: whose nearest of the samples lies nearer, in pixels.
    """
    known, unseen = (data.to_float(x).flatten(1) for x in (members, held_out()[1]))
    seen, real, features = protocol.features(data.to_float(members)), protocol.real(), protocol.features(made)
    near_by = metrics.precision_recall(real, features)
    spaces = {"features": (seen, real, features), "pixels": (known, unseen, made.flatten(1))}
    inside, outside = (-metrics.nearest(x, made.flatten(1))[0] for x in (known, unseen))
    return {
        "fcd": round(metrics.frechet_distance(real, features), 2),
        "precision": round(near_by.precision, 3),
        "recall": round(near_by.recall, 3),
        **{f"{space}_{key}": value for space, sets in spaces.items() for key, value in copies(*sets).items()},
        **attack(inside, outside, name="nearest"),
    }


# ----------------------------------------------------------------------------------------------------------------- runs


def begin(settings: Given) -> VAERun | GANRun:
    """The run of these settings before its first step."""
    given: Given = {"l1": 0.0, "l2": 0.0, "decay": 0.0, "dropout": 0.0, "shift": 0, "width": WIDTH[settings["model"]]}
    options = settings["options"]
    which = {key: options[key] for key in ("images", "views") if key in options}
    given |= {key: value for key, value in options.items() if key not in which}
    x = chosen_images(settings["seed"], **which)
    return (VAERun if settings["model"] == "VAE" else GANRun)(x, settings["seed"], **given)


def steps_with_looks(run: VAERun | GANRun, steps: int) -> Iterator[int]:
    """Train, and stop by at each of the looks."""
    looks = {round(steps * i / LOOKS) for i in range(1, LOOKS + 1)}
    for step, _ in train.train(run.players, run.batches, steps):
        if step in looks:
            yield step


def run(settings: Given) -> Results:
    """Train one model with one seed, and judge its last state and the one that the validation digits liked best.

    `curve` has a row for each look: the step and what `look` says.
    """
    steps, tune = STEPS[settings["model"]], settings["arm"] == "tune"
    game = begin(settings)
    curve, best = [], game.net
    for step in steps_with_looks(game, steps):
        if not tune or step == steps:
            curve.append([step, *game.look()])
            if curve[-1][2] < min((row[2] for row in curve[:-1]), default=math.inf):
                best = copy.deepcopy(game.net)
    if tune:
        return {"held": curve[-1][2]}
    results = {"curve": curve, **judged(game.samples(), game.x), **game.results()}
    game.net.load_state_dict(best.state_dict())
    early = {"step": min(curve, key=lambda row: row[2])[0], **game.results()}
    early["fcd"] = round(protocol.fcd(game.samples()), 2)
    return results | {"early": early}


def arms(model: str) -> dict[str, Given]:
    """What each arm changes of the baseline of a model."""
    names = {"l1": "L1", "l2": "L2", "decay": "weight decay", "dropout": "dropout", "shift": "augmentation"}
    width = WIDTH[model]
    return (
        OTHERS
        | {name: {key: CHOSEN[model][key]} for key, name in names.items()}
        | {"a quarter of the width": {"width": width // 4}, "4 times the width": {"width": 4 * width}}
    )


def settings() -> list[Given]:
    """All runs: the choice of strengths, the arms with each seed, and further widths of the VAE."""
    tuning = [
        {"model": model, "arm": "tune", "seed": TUNING_SEED, "options": {key: value}}
        for model, grid in reversed(GRID.items())
        for key, values in grid.items()
        for value in values
    ]
    main = [
        {"model": model, "arm": arm, "seed": seed, "options": options}
        for seed in range(SEEDS)
        for model in GRID
        for arm, options in arms(model).items()
    ]
    sweep = [
        {"model": "VAE", "arm": "width", "seed": seed, "options": {"width": width}}
        for seed in range(SWEEP_SEEDS)
        for width in SWEEP
    ]
    return tuning + main + sweep


STUDY = Study(settings(), run)
