"""The scoreboard: what the command line trains and what trains no network, at equal arithmetic, by one protocol.

A budget is a number of floating-point operations of training, counted as in `genlab.arithmetic`. One core of the
machine on which the rows were made takes about as many seconds as the budget's name says.
Baselines have the budget 0. Nothing was tuned for any entry: settings are the defaults of `genlab vae` and so on, but
for what the entry's name says. A model joins by one line in `ENTRIES`.

Every row holds what `genlab.protocol` asks for: a thousand samples against the thousand test digits. A score is a
number, or three: the value and the ends of an interval at 95 % over other samples of the same generator (jackknife,
standard error, or Wilson's). How far another seed of training lies is told by the three seeds.
"""

import json
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab import autoregressive, data, metrics, protocol, runs, train, vae, zoo
from genlab.studies import Given, Results, Study, baselines
from genlab.studies.baselines import BASELINES

BUDGETS = {30: 1e12, 120: 4e12, 600: 20e12}
"""Operations of training, by about how many seconds one core takes for them."""

SEEDS = 3
FLOOR = "real digits"
ROUND = 16
"""Steps after which everything that is done only now and then (R1) has been done once."""

Draw = Callable[[runs.Trained, int], Tensor]


class Entry(NamedTuple):
    """A model: its family, the settings that are not the defaults, and how it draws, if not as `genlab sample`."""

    family: str
    options: Given
    draw: Draw | None = None


def _training() -> Tensor:
    """The training digits as such models saw them: binarised, each time with fresh draws."""
    return data.to_float(data.digits().train.x, "binary", generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def from_codes(trained: runs.Trained, seed: int) -> Tensor:
    """A plain autoencoder's pictures of codes from a Gaussian that was fitted to the training digits' codes."""
    model: Any = trained.model
    codes = model.encoder(_training())[0]
    drawn = baselines.gaussian_codes(codes, torch.Generator().manual_seed(seed))
    return model.decoder(drawn).sigmoid()


@torch.no_grad()
def from_frequencies(trained: runs.Trained, seed: int) -> Tensor:
    """A VQ-VAE's pictures of codes drawn independently, at each place with their frequency among training digits."""
    model: Any = trained.model
    codes = model(_training())[1].codes.flatten(1)
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.nn.functional.one_hot(codes).double().mean(0)  # (places, codes)
    drawn = torch.multinomial(frequency, protocol.N, replacement=True, generator=generator).T
    side = round(drawn.shape[1] ** 0.5)
    return model.decoder(model.quantiser.lookup(drawn.reshape(-1, side, side))).sigmoid()


def from_labels(trained: runs.Trained, seed: int) -> Tensor:
    """A conditional model's pictures with classes drawn by chance, as other generators draw theirs: `labels_of`."""
    y = labels_of(seed)
    turn = torch.nn.functional.one_hot(y, 10).cumsum(0).gather(1, y[:, None])[:, 0] - 1  # 0, 1, … in each class
    pool = runs.samples(trained, 10 * (int(turn.max()) + 1), seed=seed)  # of the classes 0, 1, … in turn
    assert pool is not None
    return pool[10 * turn + y]


def labels_of(seed: int) -> Tensor:
    """The classes of a conditional model's samples (N,). As many of each would be less than independent choice."""
    return torch.randint(10, (protocol.N,), generator=torch.Generator().manual_seed(seed))


R1: Given = {"r1": 1.0, "every": ROUND}
ENTRIES = {
    "autoencoder, Gaussian codes": Entry("vae", {"estimator": "autoencoder"}, from_codes),
    "VAE, dense": Entry("vae", {"net": "mlp", "width": 512}),
    "VAE": Entry("vae", {}),
    "VAE, β = 4": Entry("vae", {"beta": 4.0}),
    "IWAE, k = 5": Entry("vae", {"estimator": "iwae", "k": 5}),
    "VAE, labels": Entry("vae", {"conditional": True}, from_labels),
    "VQ-VAE, independent codes": Entry("vqvae", {}, from_frequencies),
    "GAN, dense": Entry("gan", {"net": "mlp", "width": 256}),
    "DCGAN": Entry("gan", {"width": 16}),
    "DCGAN, R1": Entry("gan", {"width": 16, **R1}),
    "DCGAN, relativistic": Entry("gan", {"width": 16, "objective": "relativistic"}),
    "DCGAN, hinge, spectral norm": Entry("gan", {"width": 16, "objective": "hinge", "spectral_norm": True}),
    "WGAN-GP": Entry("gan", {"width": 16, "objective": "wasserstein", "gp": 10.0, "n_critic": 5}),
    "residual GAN, R1": Entry("gan", {"net": "residual", "width": 16, **R1}),
    "DCGAN, labels, R1": Entry("gan", {"width": 16, "conditional": True, **R1}, from_labels),
    "MADE": Entry("ar", {}),
    "flow matching": Entry("diffusion", {}),
    "flow matching, labels": Entry("diffusion", {"conditional": True}, from_labels),
    "flow matching, labels, w = 2": Entry("diffusion", {"conditional": True, "guidance": 2.0}, from_labels),
}


def _settings(entry: Entry, **more: Any) -> Any:
    return runs.family(entry.family).settings(**entry.options, device="cpu", **more)


def flops(entry: Entry) -> float:
    """Floating-point operations of a step of an entry's training, on average over a round."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        runs.family(entry.family).fit(_settings(entry, out=str(out), steps=ROUND, flops=True))
        rows = (out / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(json.loads(row)["flops"] for row in rows) / ROUND


def command(name: str, steps: int, seed: int) -> str:
    """The command that trains a row's model: of a baseline there is none."""
    if name not in ENTRIES:
        return ""
    entry = ENTRIES[name]
    options = {**entry.options, "steps": steps, "seed": seed}
    said = [
        f"--{key} {shlex.quote(str(value).lower() if value is True else str(value))}" for key, value in options.items()
    ]
    return " ".join(["genlab", entry.family, *said])


def run(settings: Given) -> Results:
    """Train and judge one row."""
    name, budget, seed = settings["entry"], settings["budget"], settings["seed"]
    if name == FLOOR:
        return _of_real(seed)
    if name in BASELINES:
        return judged(baselines.samples(name, seed))
    entry = ENTRIES[name]
    steps = max(1, round(budget / flops(entry)))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        runs.family(entry.family).fit(_settings(entry, out=str(out), steps=steps, seed=seed, save_every=10 * steps))
        trained = runs.open_run(out)
    made = entry.draw(trained, 1000 + seed) if entry.draw else runs.samples(trained, protocol.N, seed=1000 + seed)
    assert made is not None  # whoever does not draw has `draw`
    results = judged(made.clamp(0, 1))
    if entry.options.get("conditional"):
        right = metrics.accuracy(zoo.load("classifier"), made, labels_of(1000 + seed))
        results["labels"] = _share(right)
    if entry.family in ("vae", "ar") and entry.draw is not from_codes:  # which has no bound
        results |= _bounds(trained)
    parameters = sum(p.numel() for p in trained.model.parameters())
    return {"steps": steps, "parameters": parameters, **results}


def _bounds(trained: runs.Trained) -> Results:
    """ELBO and IWAE bound of binarised test digits in nats with standard errors; in place of both, log p if exact."""
    test = data.digits().test
    x = data.to_float(test.x, "binary", generator=torch.Generator().manual_seed(0))
    conditional = getattr(trained.settings, "conditional", False)
    y = test.labels if conditional else None
    if trained.family == "ar":
        with torch.no_grad():
            exact = autoregressive.log_prob(trained.model, x, y)
        rows = {"elbo": exact, "iwae": exact}
    else:
        rows = vae.bounds(trained.model, x, y, noise=train.Noise(0), k=100)
    return {
        name: _with_error(rows[name].mean().item(), (rows[name].std() / len(x) ** 0.5).item())
        for name in ("elbo", "iwae")
    }


def judged(images: Tensor) -> Results:
    """All scores of a thousand samples."""
    made = protocol.features(images)
    test = protocol.real()
    return fidelity(test, made) | copying(test, made)


def _of_real(seed: int) -> Results:
    """The floor: a thousand training digits in the place of samples; beside copies, half of the test digits."""
    chosen = protocol.training()[protocol.thousands()[seed]]
    test = protocol.real()
    halves = test[torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))].chunk(2)
    return fidelity(protocol.real(), chosen) | copying(*halves)


def fidelity(real: Tensor, made: Tensor) -> Results:
    """What compares samples with real digits that no generator saw."""
    low, high = metrics.jackknife(metrics.frechet_distance, real, made)
    limit, kernel = metrics.frechet_limit(real, made), metrics.kernel_estimate(real, made)
    pr, dc = metrics.precision_recall(real, made), metrics.density_coverage(real, made)
    p = _probabilities(made)
    told, near = metrics.classifier_test(real, made), metrics.neighbour_test(real, made)
    found = {
        "fcd": [metrics.frechet_distance(real, made), low, high],
        "limit": _with_error(limit.value, limit.error),
        "kernel": _with_error(kernel.value, kernel.error),
        "precision": _share(pr.precision),
        "recall": pr.recall,
        "density": dc.density,
        "coverage": dc.coverage,
        "vendi": metrics.vendi_score(made),
        "sure": metrics.inception_score(p[torch.randperm(len(p), generator=torch.Generator().manual_seed(0))]).value,
        "sliced": metrics.sliced_wasserstein(real, made),
        "classes": 0.5 * (p.argmax(1).bincount(minlength=10) / len(p) - 0.1).abs().sum().item(),
        "told": _share(told.accuracy, len(made)),
        "told_p": told.p,
        "neighbours": near.accuracy,
        "neighbours_p": near.p,
    }
    return _rounded(found)


def copying(test: Tensor, made: Tensor) -> Results:
    """What compares samples with the training digits, beside test digits."""
    seen = protocol.training()
    near = metrics.novelty(seen, made, test=test)
    found = {
        "closer": _share(near.closer, len(made)),
        "nearest": near.ratio,
        "authenticity": metrics.authenticity(seen, made),
        "c_t": metrics.data_copying(seen, test, made),
        "extracted": metrics.extraction(seen, made).memorised,
    }
    return _rounded(found)


@torch.no_grad()
def _probabilities(features: Tensor) -> Tensor:
    head: Any = zoo.load("classifier").head
    return head(features.float()).double().softmax(1)


def _with_error(value: float, error: float) -> list[float]:
    return [round(v, 4) for v in (value, value - 1.96 * error, value + 1.96 * error)]


def _share(share: float, n: int = protocol.N) -> list[float]:
    low, high = metrics.wilson(round(share * n), n)
    return [round(v, 4) for v in (share, low, high)]


def _rounded(found: dict[str, Any]) -> Results:
    return {k: [round(u, 4) for u in v] if isinstance(v, list) else round(v, 4) for k, v in found.items()}


def _rows() -> list[Given]:
    seeds = range(SEEDS)
    free = [{"entry": FLOOR, "budget": 0, "seed": i, "options": {}} for i in range(len(protocol.thousands()))]
    free += [{"entry": name, "budget": 0, "seed": seed, "options": {}} for name in BASELINES for seed in seeds]
    trained = [
        {"entry": name, "budget": budget, "seed": seed, "options": entry.options}
        for budget in BUDGETS.values()
        for seed in seeds
        for name, entry in ENTRIES.items()
    ]
    return free + trained


STUDY = Study(_rows(), run)
