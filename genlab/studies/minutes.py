"""How good a GAN gets in one and in two minutes on two cores: a conditional DCGAN in bfloat16, with labels and R1.

Steps are fixed, so that a run repeats itself: 5,200 and 7,000 take 60 and 120 seconds on two quiet cores, and longer on
the one thread that a study has. What made the difference, on training images with seed 0: small batches, since at this
budget many steps beat smooth ones, and torch's own start in place of DCGAN's 0.02.

`fcd_train` compares 4,000 samples with the 4,000 training digits, `fcd_test` 1,000 samples with the 1,000 test digits.
`nearest` and `nearest_pixels` are median distances of samples to the nearest training digit over those of test digits,
in features and in pixels: far below 1 would mean copies. `labels` is the share read as asked.
"""

import copy

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from genlab import data, gan, machine, metrics, nets, train, zoo
from genlab.runs.judging import draw
from genlab.studies import Given, Results, Study

Z_DIM, RATE, DECAY = 64, 1e-3, 0.999


def networks(width: int) -> tuple[nn.Module, nn.Module]:
    """G and D with torch's own initial weights."""
    pair = nets.DCGANGenerator(Z_DIM, width=width, classes=10), nets.DCGANDiscriminator(width=32, classes=10)
    for net in pair:
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()
    return pair[0].to(memory_format=torch.channels_last), pair[1].to(memory_format=torch.channels_last)


def fit(width: int, batch: int, steps: int, seed: int) -> nn.Module:
    """The averaged generator after so many steps."""
    train.seed_everything(seed)
    accelerator = Accelerator(mixed_precision="bf16" if machine.fast_bf16("cpu") else "no", cpu=True)
    G, D = networks(width)
    average = copy.deepcopy(G)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=RATE, betas=(0.5, 0.99), fused=True) for net in (G, D))
    warm_g, warm_d = (LambdaLR(opt, lambda t: min(1.0, 2 * (1 - t / steps))) for opt in (opt_g, opt_d))
    g, d = gan.players(
        *(*accelerator.prepare(G, D), opt_g, opt_d),
        noise=train.Noise(seed),
        z_dim=Z_DIM,
        penalties=[gan.r1(1.0, every=16)],
        share=True,
        joint=True,
    )
    players = [g.replace(schedule=warm_g), d.replace(schedule=warm_d)]
    batches = data.Batches(data.digits().train, batch, pixels="symmetric", labels=True, seed=seed)
    for step, _ in train.train(players, batches, steps, accelerator):
        train.ema(average, G, DECAY, step)
    return average.eval()


def run(settings: Given) -> Results:
    """Train and judge one generator."""
    G = fit(settings["width"], settings["batch"], settings["steps"], settings["seed"])
    net = zoo.load("classifier")
    x = draw(lambda z, y: (G(z, y) + 1) / 2, Z_DIM, 10, 4000, seed=1, label=None)
    real_train, real_test = (data.to_float(part.x) for part in data.digits())
    of_train, of_test, made = (metrics.features(net, images) for images in (real_train, real_test, x))
    pr = metrics.precision_recall(of_test, made[:1000])

    def ratio(near: tuple[Tensor, Tensor], all_of: Tensor) -> float:
        own, control = (metrics.nearest(rows.flatten(1), all_of.flatten(1))[0].median() for rows in near)
        return (own / control).item()

    found = {
        "fcd_train": metrics.frechet_distance(of_train, made),
        "fcd_test": metrics.frechet_distance(of_test, made[:1000]),
        "precision": pr.precision,
        "recall": pr.recall,
        "labels": metrics.accuracy(net, x, torch.arange(len(x)) % 10),
        "nearest": ratio((made[:1000], of_test), of_train),
        "nearest_pixels": ratio((x[:1000], real_test), real_train),
    }
    return {name: round(value, 4) for name, value in found.items()}


STUDY = Study(
    [
        {"seconds": seconds, "width": width, "batch": batch, "steps": steps, "seed": seed}
        for seconds, width, batch, steps in ((60, 16, 16, 5200), (120, 24, 24, 7000))
        for seed in (0, 1)
    ],
    run,
)
