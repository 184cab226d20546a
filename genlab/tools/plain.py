"""The plain ways: literal scripts as tutorials write them, which `make bench` compares the package with.

torchvision's data set, ToTensor, DataLoader, float32, default memory layout, sigmoid and binary cross-entropy; for the
Fréchet distance SciPy's matrix square root.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from genlab import data, vae

Way = Callable[[int], float]  # makes that many steps and returns the last loss


def write_mnist(root: Path) -> None:
    """The digits, over and over, as MNIST's 60,000 training and 1,000 test images, in the files torchvision reads."""
    split, folder = data.digits(), root / "MNIST/raw"
    folder.mkdir(parents=True)
    for name, images, copies in (("train", split.train, 15), ("t10k", split.test, 1)):
        for kind, numbers in (("images-idx3", images.x.squeeze(1)), ("labels-idx1", images.labels.byte())):
            array = numbers.numpy()
            header = [8 << 8 | array.ndim, len(array) * copies, *array.shape[1:]]  # 8: unsigned bytes
            content = np.array(header, dtype=">i4").tobytes() + array.tobytes() * copies
            (folder / f"{name}-{kind}-ubyte").write_bytes(content)


def plain_loader(root: Path, batch_size: int, *, size: int = 28, symmetric: bool = False) -> DataLoader:
    """MNIST as tutorials load it."""
    from torchvision import datasets, transforms  # costs two seconds

    steps = [transforms.ToTensor()]
    if symmetric:  # as the GANs' scripts do, whatever the size
        steps = [transforms.Resize(size), *steps, transforms.Normalize([0.5], [0.5])]
    dataset = datasets.MNIST(root, train=True, transform=transforms.Compose(steps))
    return DataLoader(dataset, batch_size=batch_size, shuffle=True)


def plain_vae(model: vae.VAE, loader: DataLoader) -> Way:
    """A VAE as tutorials train it; the loss is per image."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run(steps: int) -> float:
        for x, _ in islice(loader, steps):
            optimizer.zero_grad()
            mu, logvar = model.encoder(x)
            std = torch.exp(0.5 * logvar)
            picture = torch.sigmoid(model.decoder(mu + torch.randn_like(std) * std))
            bce = F.binary_cross_entropy(picture, x, reduction="sum")
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss = bce + kl
            loss.backward()
            optimizer.step()
            mean = loss.item() / len(x)
        return mean

    return run


def plain_gan(G: nn.Module, D: nn.Module, loader: DataLoader) -> Way:
    """A GAN as tutorials train it: G moves, and D judges the same images; the loss is D's.

    Both gradients belong to the old weights: the lean ways make the same updates.
    """
    bce = nn.BCELoss()
    opt_d, opt_g = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (D, G))

    def run(steps: int) -> float:
        for x, _ in islice(loader, steps):
            real, fake = torch.ones(len(x)), torch.zeros(len(x))
            opt_g.zero_grad()
            made = G(torch.randn(len(x), 100))
            loss_g = bce(torch.sigmoid(D(made)), real)
            loss_g.backward()
            opt_g.step()
            opt_d.zero_grad()
            loss_d = bce(torch.sigmoid(D(x)), real) + bce(torch.sigmoid(D(made.detach())), fake)
            loss_d.backward()
            opt_d.step()
            last, _ = loss_d.item(), loss_g.item()
        return last

    return run


def plain_frechet(mu1: np.ndarray, cov1: np.ndarray, mu2: np.ndarray, cov2: np.ndarray) -> float:
    """The formula as it is written, with SciPy's matrix square root."""
    from scipy.linalg import sqrtm

    return float(np.square(mu1 - mu2).sum() + np.trace(cov1 + cov2 - 2 * sqrtm(cov1 @ cov2).real))


def fidelity_frechet(x: torch.Tensor, y: torch.Tensor) -> float:
    """torch-fidelity's distance of two sets of features (n, d)."""
    from torch_fidelity.metric_fid import (  # type: ignore[import-untyped]
        KEY_METRIC_FID,
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )

    statistics = (fid_features_to_statistics(v) for v in (x, y))
    return float(fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID])
