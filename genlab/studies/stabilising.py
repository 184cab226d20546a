"""Chapter 11's study: eleven ways to train one GAN at one budget of arithmetic, and augmentation on little data.

All variants share the networks (DCGAN, 16 channels at the widest grid of D and twice that in G, no BatchNorm in D), the
data, the batch size, the optimiser (Adam with one learning rate and one pair of betas) and the number of floating-point
operations. A variant whose step is dearer makes fewer steps. Nothing was tuned for any of them; learning rates and
penalty weights are those below.
"""

import copy
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from genlab import arithmetic, data, gan, metrics, nets, protocol, train, zoo
from genlab.studies import Given, Results, Study

SEEDS = 5
STEPS = 800  # of the baseline; the budget is what they cost
RATE = 1e-3  # Adam's learning rate for both players
BETAS = (0.5, 0.99)
DECAY = 0.999  # of the averaged weights; the warm-up makes it a mean over about the last ninth of a run
Z_DIM, BATCH, N = 64, 64, 1000
LOOKS = 8  # parts of a run, after each of which its samples are judged

FEW = {"images": 500, "r1": 1.0, "every": 16}
VARIANTS: dict[str, Given] = {
    "non-saturating": {},
    "minimax": {"objective": "minimax"},
    "least squares": {"objective": "least_squares"},
    "hinge": {"objective": "hinge"},
    "hinge + spectral norm": {"objective": "hinge", "spectral_norm": True},
    "WGAN, clipped": {"objective": "wasserstein", "n_critic": 5, "clip_d": 0.01},
    "WGAN-GP": {"objective": "wasserstein", "n_critic": 5, "gp": 10.0},
    "non-saturating + R1": {"r1": 1.0, "every": 16},
    "relativistic": {"objective": "relativistic"},
    "relativistic + R1 + R2": {"objective": "relativistic", "r1": 1.0, "r2": 1.0},
    "two time scales": {"rate_d": 2 * RATE, "rate_g": RATE / 2},
    "R1, 500 images": FEW,
    "R1, 500 images, augmented": FEW | {"augment": {"fill": -1.0}},  # the background of images in [−1, 1]
}


class Game:
    """The networks of a run with their averages, players and batches, all from the seed."""

    def __init__(
        self,
        seed: int,
        *,
        images: int = 4000,
        spectral_norm: bool = False,
        augment: Given | None = None,
        rate_d: float = RATE,
        rate_g: float = RATE,
        objective: str = "nonsaturating",
        n_critic: int = 1,
        gp: float = 0.0,
        r1: float = 0.0,
        r2: float = 0.0,
        every: int = 1,
        clip_d: float | None = None,
    ) -> None:
        train.seed_everything(seed)
        G, D = nets.DCGANGenerator(Z_DIM, width=16), nets.DCGANDiscriminator(width=16)
        self.G, self.D = G, gan.spectral_norm(D) if spectral_norm else D
        self.average = copy.deepcopy(G)
        opt_g, opt_d = (
            torch.optim.Adam(net.parameters(), lr=rate, betas=BETAS)
            for net, rate in ((self.G, rate_g), (self.D, rate_d))
        )
        noise = train.Noise(seed)
        chosen = ((gp, gan.gp(gp, noise=noise)), (r1, gan.r1(r1, every=every)), (r2, gan.r2(r2, every=every)))
        d, g = gan.players(
            *(self.G, self.D, opt_g, opt_d),
            noise=noise,
            z_dim=Z_DIM,
            objective=objective,
            penalties=[penalty for weight, penalty in chosen if weight],
            view=functools.partial(gan.augment, **augment) if augment else lambda x: x,
        )
        clip = None if clip_d is None else lambda: gan.clip_weights(self.D, clip_d)
        self.players = [d.replace(moves=n_critic, after=clip), g]
        self.images = data.digits().train.x[:images]
        self.batches = data.Batches(self.images, BATCH, pixels="symmetric", seed=seed)

    def play(self, steps: int) -> Iterator[int]:
        """Train both players and average G's weights; the number of each step when it is made."""
        for step, _ in train.train(self.players, self.batches, steps):
            train.ema(self.average, self.G, DECAY, step)
            yield step

    def flops(self, every: int) -> float:
        """Floating-point operations of a step, on average over a round of `every` steps. It moves the weights."""
        loop = arithmetic.Counted(train.train(self.players, self.batches, every))
        return sum(loop.flops for _ in loop) / every


def steps_of(options: Given) -> int:
    """Steps that a variant can make at the cost of `STEPS` of the baseline."""
    every = options.get("every", 1)
    return round(STEPS * Game(0).flops(1) / Game(0, **options).flops(every))


def scores(real: Tensor, fake: Tensor) -> Results:
    """Fréchet distance, precision and recall (k = 3), classes with 2 % of the samples, total variation of classes."""
    pr = metrics.precision_recall(real, fake)
    shares = read(fake).bincount(minlength=10) / len(fake)
    return {
        "fcd": round(metrics.frechet_distance(real, fake), 3),
        "precision": round(pr.precision, 3),
        "recall": round(pr.recall, 3),
        "modes": int((shares >= 0.02).sum()),
        "variation": round((0.5 * (shares - 0.1).abs().sum()).item(), 3),
    }


@torch.no_grad()
def read(features: Tensor) -> Tensor:
    """The class that the zoo's classifier reads in features (n, d): (n,)."""
    head: Any = zoo.load("classifier").head
    return head(features.float()).argmax(1)


@torch.no_grad()
def samples(G: nn.Module) -> Tensor:
    """1,000 images in [0, 1] from fixed noise, with BatchNorm's statistics taken anew for the weights as they are.

    Averaged weights need that, since running statistics belong to the weights that ran; the last weights get the same.
    """
    noise = train.Noise(1000)
    update_bn((noise.normal(N, Z_DIM) for _ in range(2)), G)
    G.eval()
    return (torch.cat([G(z) for z in noise.normal(N, Z_DIM).split(250)]) + 1) / 2


def run(settings: Given) -> Results:
    """Train one variant with one seed, and judge it.

    `curve` has a row for each look on the way: the share of the budget that is spent, and the Fréchet distances with
    the last weights and with averaged ones.
    """
    seed, options = settings["seed"], settings["options"]
    steps, game = steps_of(options), Game(seed, **options)
    real, judge = protocol.real(), protocol.features
    looks = {round(steps * i / LOOKS): i / LOOKS for i in range(1, LOOKS)}
    curve = []
    for step in game.play(steps):
        if step in looks:
            pair = (judge(samples(copy.deepcopy(G))) for G in (game.G, game.average))
            curve.append([looks[step], *(round(metrics.frechet_distance(real, made), 3) for made in pair)])
    results: Results = {"steps": steps, "curve": curve}
    for which, G in (("last", game.G), ("average", game.average)):
        row = scores(real, judge(samples(G)))
        results |= {f"{which}_{key}": value for key, value in row.items()}
    return results | logits(game, ranks="images" in options)


@torch.no_grad()
def logits(game: Game, *, ranks: bool) -> Results:
    """Mean logits of D on training images, test images and new samples.

    With `ranks` also how well D's logits order two sets (the area under the ROC curve, 0.5 for a coin): training images
    above test images, which is overfitting, and test images above samples, which is D's task on images it never saw.
    """
    game.D.eval()
    sets = data.to_float(game.images[:N], "symmetric"), data.to_float(data.digits().test.x, "symmetric")
    made = 2 * samples(game.G) - 1
    found = {name: game.D(x) for name, x in zip(("train", "test", "fake"), (*sets, made), strict=True)}
    results = {f"logit_{name}": round(values.mean().item(), 4) for name, values in found.items()}
    if ranks:
        results["train_above_test"] = round(above(found["train"], found["test"]), 3)
        results["test_above_fake"] = round(above(found["test"], found["fake"]), 3)
    return results


def above(first: Tensor, second: Tensor) -> float:
    """Share of pairs in which the first set's value is the larger one; half of a tie counts."""
    difference = first[:, None] - second
    return (0.5 + 0.5 * difference.sign()).mean().item()


STUDY = Study(
    [
        {"variant": name, "seed": seed, "options": options}
        for seed in range(SEEDS)
        for name, options in VARIANTS.items()
    ],
    run,
)
