"""Draw the README's picture from the zoo: `.venv/bin/python .ci/picture.py` writes notebooks/pages/readme.png."""

from pathlib import Path

import torch

from genlab import data, plot, runs, zoo

ROOT = Path(__file__).parents[1]
OUT = ROOT / "notebooks/pages/readme.png"
MODELS = {
    "vae16": "Variational autoencoder",
    "dcgan": "Generative adversarial network",
    "cgan": "Conditional GAN, asked for 0 to 9",
}
N = 30  # digits of each, ten in a row


def real() -> torch.Tensor:
    """The first three test images of each class, in columns from 0 to 9."""
    test = data.digits().test
    rows = torch.stack([test.x[test.y == label][: N // 10] for label in range(10)], 1)
    return data.to_float(rows.flatten(0, 1))


def main() -> None:
    """Real digits and the first samples of each model: fixed noise, nothing chosen."""
    panels = [("Real digits (MNIST)", plot.REAL, real())]
    for name, title in MODELS.items():
        images = runs.samples(zoo.trained(name), N)
        assert images is not None, f"{name} does not generate"
        panels.append((f"Drawn by a {title[0].lower() + title[1:]}", plot.FAKE, images))
    fig, axes = plot.figure(2, 2, width=10, height=3.7)
    for ax, (title, colour, images) in zip(axes.flat, panels, strict=True):
        plot.images(ax, images)
        ax.set_title(title, color=colour, weight="bold")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(plot.png(fig, dpi=160))
    print(OUT.relative_to(ROOT))


if __name__ == "__main__":
    main()
