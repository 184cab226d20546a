"""Evaluation of trained networks on held-out images: what `genlab evaluate` and `genlab zoo verify` compute."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genlab import data, metrics, recipes, train, vae


def measure(what: str, value: float, n: str, tolerance: float) -> dict[str, Any]:
    """A metric with its sample size, and how far a recomputation on another processor may lie from it."""
    return {"what": what, "value": value, "n": n, "tolerance": tolerance}


@torch.no_grad()
def evaluate(model: nn.Module, recipe: str, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The metrics of a recipe's network on the test split of its data, from fixed seeds.

    Args:
        model: as `zoo.load` returns it.
        recipe: "vae", "vqvae", "gan" or "classifier".
        settings: of the run.
    """
    split = data.load(settings["data"])
    test = split.test
    if recipe == "classifier":
        right = metrics.accuracy(model, data.to_float(test.x), test.y)
        return {"accuracy": measure("test accuracy", right, f"{len(test.x)} test images", 0.0021)}
    found = {} if recipe == "gan" else _bounds(model, recipe, settings, test)
    fake = samples(model, recipe, settings, len(test.x))
    if fake is None or settings["data"] != "digits":
        return found
    from genlab import zoo  # the classifier is itself an entry

    net = zoo.load("classifier")
    real, made = (metrics.features(net, x) for x in (data.to_float(test.x), fake))
    n = f"{len(made)} samples, {len(real)} test images"
    fcd = metrics.frechet_distance(real, made)
    found["fcd"] = measure("Fréchet classifier distance", fcd, n, 0.02 * fcd)
    pr = metrics.precision_recall(real, made)
    found["precision"] = measure("precision (k = 3)", pr.precision, n, 0.01)
    found["recall"] = measure("recall (k = 3)", pr.recall, n, 0.01)
    train_features = metrics.features(net, data.to_float(split.train.x))
    ratio = (
        metrics.nearest(made, train_features)[0].median() / metrics.nearest(real, train_features)[0].median()
    ).item()
    what = "median distance to the nearest training image, over that of test images (far below 1: copies)"
    found["novelty"] = measure(what, ratio, n, 0.02)
    if settings.get("conditional"):
        labels = torch.arange(len(fake)) % 10
        right = metrics.accuracy(net, fake, labels)
        found["labels"] = measure("samples that the classifier gives their label", right, f"{len(fake)} samples", 0.005)
    return found


def _bounds(model: nn.Module, recipe: str, settings: Mapping[str, Any], test: data.Images) -> dict[str, dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    likelihood = settings.get("likelihood", "bernoulli")
    x = data.to_float(test.x, recipes.pixels_of(likelihood), generator=generator)
    n = f"{len(x)} test images"
    if recipe == "vqvae" or settings["estimator"] == "autoencoder":
        out = model(x)[0] if recipe == "vqvae" else model(x, eps=torch.zeros(len(x), settings["z_dim"])).out
        value = vae.LIKELIHOODS[likelihood].log_prob(x, out).mean().item()
        found = {"log_px": measure("log p(x|z) of reconstructions, nats", value, n, 0.05)}
        if recipe == "vqvae":
            used = len(model(x)[1].codes.unique())
            found["codes"] = measure("codes in use", used, n, 1)
        return found
    y = test.y if settings["conditional"] else None
    rows = vae.evaluate(model, x, y, noise=train.Noise(0), k=100, likelihood=likelihood)
    of = " given the label" if settings["conditional"] else ""
    return {
        "elbo": measure(f"ELBO{of}, nats", rows["elbo"].mean().item(), n, 0.05),
        "iwae": measure(f"IWAE bound{of}, k = 100, nats", rows["iwae"].mean().item(), n, 0.05),
        "kl": measure("KL term, nats", rows["kl"].mean().item(), n, 0.05),
    }


@torch.no_grad()
def samples(
    model: Any, recipe: str, settings: Mapping[str, Any], n: int, *, seed: int = 1, label: int | None = None
) -> Tensor | None:
    """n samples with values in [0, 1] from fixed noise, or None for networks that do not generate.

    A VAE's samples are the means of p(x|z). Conditional models get the labels 0, 1, … 9, 0, …, or `label`.
    """
    if recipe in ("classifier", "vqvae") or settings.get("estimator") == "autoencoder":
        return None
    z = train.Noise(seed).normal(n, settings["z_dim"])
    y = torch.arange(n) % 10 if label is None else torch.full((n,), label)
    rows = []
    for i in range(0, n, 500):
        labels = (y[i : i + 500],) if settings["conditional"] else ()
        if recipe == "gan":
            rows.append((model(z[i : i + 500], *labels) + 1) / 2)
        else:
            rows.append(vae.LIKELIHOODS[settings["likelihood"]].mean(model.decoder(z[i : i + 500], *labels)))
    return torch.cat(rows)
