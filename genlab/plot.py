"""Pictures: a figure shown with its alt text, image grids, curves, densities, live views of training and of sliders."""

import base64
import io
import math
import os
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from genlab.text import say

# Okabe and Ito's palette, which colour-blind readers can tell apart. Real is always blue, generated always orange.
REAL, FAKE, GREEN, PURPLE, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#666666"
COLOURS = (REAL, FAKE, GREEN, PURPLE, SKY, "#E69F00", GREY)
STYLE: Any = {
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "image.cmap": "gray_r",
    "legend.frameon": False,
}


def figure(rows: int = 1, columns: int = 1, *, width: float = 8.0, height: float = 3.0) -> tuple[Figure, Any]:
    """A figure in the course's style with its axes: one `Axes`, or an array of them. Sizes in inches.

    The style becomes matplotlib's default for the session, since titles and legends take theirs when they are drawn.
    """
    plt.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=(width, height))


def show(fig: Figure, alt: str) -> None:
    """Show a figure with its text alternative, in a notebook and in the book, and close it.

    Args:
        fig: a matplotlib figure.
        alt: what the figure shows, in a sentence or two, for readers who cannot see it.

    Raises:
        ValueError: the text is too short to say anything.
    """
    from IPython.display import display

    if len(alt.split()) < 4:
        raise ValueError(f"alt={alt!r} must say in a sentence what the figure shows")
    width, height = (fig.get_size_inches() * 72).round().astype(int).tolist()
    metadata = {"image/png": {"alt": alt, "width": width, "height": height}}
    content = base64.b64encode(_with_palette(png(fig))).decode()
    display({"image/png": content, "text/plain": f"Figure: {alt}"}, metadata=metadata, raw=True)


def _with_palette(content: bytes) -> bytes:
    """A PNG with at most 256 colours. It has a third of the size, and diagrams and grey images look the same."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def png(fig: Figure, *, dpi: int = 110) -> bytes:
    """The figure as PNG, closed afterwards."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi)
    plt.close(fig)
    return buffer.getvalue()


def tile(x: Tensor | np.ndarray, columns: int = 10, *, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Images (n, c, h, w) with values in [low, high] as one picture (H, W) or (H, W, 3) in [0, 1], a pixel between.

    Values outside are cut, as those of noisy images should be.

    Raises:
        ValueError: x is not a batch of images with one or three channels, or its values are clearly those of another
            range: bytes, or [−1, 1] where `low` is greater.
    """
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(x))
    if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] not in (1, 3) or not len(x):
        got = tuple(x.shape) if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise ValueError(f"images must have shape (n, 1 or 3, h, w), but got {got}")
    _check_range(x, low, high)
    x = ((x.detach().float().cpu() - low) / (high - low)).clamp(0, 1)
    n, c, h, w = x.shape
    rows = -(-n // columns)
    canvas = torch.zeros(rows * columns, c, h + 1, w + 1)
    canvas[:n, :, :h, :w] = x
    picture = (
        canvas.view(rows, columns, c, h + 1, w + 1).permute(2, 0, 3, 1, 4).reshape(c, rows * (h + 1), columns * (w + 1))
    )
    picture = picture[:, :-1, :-1]
    return picture[0].numpy() if c == 1 else picture.permute(1, 2, 0).numpy()


def _check_range(x: Tensor, low: float, high: float) -> None:
    """Raise a ValueError for bytes, and for images that fill [−1, 1] and so lose a tenth of their pixels or more."""
    least, greatest = (value.item() for value in torch.aminmax(x.detach()))
    if not x.is_floating_point() and greatest > high == 1:
        raise ValueError(f"the images are of {x.dtype} and reach {greatest}; pass high=255, or convert them to [0, 1]")
    if low > -0.5 and least >= -1.001 and greatest <= 1.001:
        lost = (x < low - 0.25 * (high - low)).float().mean().item()
        if lost > 0.1:
            raise ValueError(
                f"the images range from {least:.2f} to {greatest:.2f}, and {lost:.0%} of their values lie far below "
                f"low={low:g}: if they are in [-1, 1], as a tanh gives them, pass low=-1, or convert them, (x + 1) / 2"
            )


def images(
    ax: Axes, x: Tensor | np.ndarray, title: str = "", *, columns: int = 10, low: float = 0.0, high: float = 1.0
) -> None:
    """Draw images (n, c, h, w) with values in [low, high] as a grid, dark ink on light ground."""
    ax.imshow(tile(x, columns, low=low, high=high), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title(title)
    ax.axis("off")


def curves(ax: Axes, history: Sequence[Mapping[str, float]], names: Sequence[str], *, smooth: int = 1) -> None:
    """Draw entries of a history of losses over its `step`, as running means of `smooth` entries, with a legend.

    Raises:
        ValueError: the history is shorter than `smooth`.
    """
    if smooth > max(1, len(history)):
        raise ValueError(f"smooth={smooth} is more than the {len(history)} entries of the history; use less")
    steps = np.array([row["step"] for row in history])
    for name in names:
        values = np.array([row[name] for row in history], dtype=float)
        (line,) = ax.plot(steps, values, alpha=0.2 if smooth > 1 else 1.0, label=name if smooth == 1 else None)
        if smooth > 1:
            means = np.convolve(values, np.ones(smooth) / smooth, mode="valid")
            ax.plot(steps[smooth - 1 :], means, color=line.get_color(), label=name)
    ax.set_xlabel("step")
    ax.legend()


def density(ax: Axes, log_prob: Callable[[Tensor], Tensor], *, limit: float = 3.0, n: int = 200) -> None:
    """Draw exp(log_prob) of a 2-D distribution over [−limit, limit]²."""
    line = (torch.arange(n) + 0.5) / n * 2 * limit - limit
    y, x = torch.meshgrid(line, line, indexing="ij")
    values = log_prob(torch.stack([x, y], -1).view(-1, 2)).exp().view(n, n)
    ax.imshow(values.detach().numpy(), extent=(-limit, limit, -limit, limit), origin="lower", cmap="Blues")
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")


def live() -> bool:
    """Whether progress bars and live pictures are on: always, unless GENLAB_LIVE=0."""
    return os.environ.get("GENLAB_LIVE", "1") != "0"


def watch(
    loop: Iterable[tuple[int, dict[str, float]]],
    steps: int,
    *,
    batch_size: int | None = None,
    picture: Callable[[], Tensor] | None = None,
    every: float = 2.0,
    low: float = 0.0,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Pass a training loop through, with a progress bar, its losses, images per second and a picture now and then.

    In a notebook these are widgets; at the end they give way to a line with steps, seconds and losses, and to the last
    picture, which stay. In a terminal it is a text bar; with GENLAB_LIVE=0 nothing at all. Watching does not touch the
    random numbers of the run, as long as `picture` draws none.

    Args:
        loop: yields (step, losses), as `train` does.
        steps: number of the last step.
        batch_size: images in a step, for the rate.
        picture: makes images (n, c, h, w) from fixed noise, every `every` seconds and after the last step.
        every: seconds between two looks.
        low: value of a white pixel, −1 for generators with tanh.
    """
    if not live():
        yield from loop
        return
    from tqdm.auto import tqdm

    view = _View(steps) if in_notebook() else None
    last = -every
    try:
        with tqdm(total=steps, leave=False, dynamic_ncols=True) as bar:
            for step, losses in loop:
                if bar.n == 0 and step > 1:
                    bar.update(step - 1)  # a resumed run
                    bar.unpause()
                bar.update(1)
                if view is not None:
                    view.seen = [*view.seen[:1], (step, losses)]
                if time.monotonic() - last > every or step == steps:
                    last = time.monotonic()
                    rate = bar.format_dict["rate"]
                    shown = {name: f"{value:.3f}" for name, value in losses.items()}
                    bar.set_postfix(shown | ({"images/s": f"{rate * batch_size:,.0f}"} if rate and batch_size else {}))
                    if view is not None and picture is not None:
                        view.update(tile(picture(), low=low))
                yield step, losses
    finally:  # also when the caller breaks off
        if view is not None:
            view.close()


def explore(draw: Callable[..., Figure], *controls: Any) -> None:
    """Show widgets with a picture below them: draw(value, …), drawn anew whenever one of them is moved.

    What `draw` raises is written into the picture, where the reader looks, and raised as well.

    Args:
        draw: makes the figure from the widgets' values, in their order.
        controls: widgets of ipywidgets that have a value.
    """
    import ipywidgets
    from IPython.display import display

    picture = ipywidgets.Image(format="png", layout={"align_self": "flex-start"})

    def redraw(change: Any = None) -> None:
        try:
            picture.value = png(draw(*(control.value for control in controls)))
        except Exception as error:
            plt.close("all")  # what was half drawn would appear below the reader's next cell
            picture.value = png(_words(f"This picture could not be drawn.\n\n{type(error).__name__}: {error}"))
            raise

    redraw()
    for control in controls:
        control.observe(redraw, "value")
    display(ipywidgets.VBox([*controls, picture]))


def _words(text: str) -> Figure:
    fig, ax = figure(width=8, height=2)
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, 90) or [""]]
    ax.text(0, 1, "\n".join(lines[:9]), va="top", color=FAKE, parse_math=False)
    ax.axis("off")
    return fig


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code, so that it can show more than text."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class _View:
    """A picture in a notebook that is redrawn in place, and what stays of it and of the losses."""

    def __init__(self, steps: int) -> None:
        self.steps, self.start = steps, time.monotonic()
        self.seen: list[tuple[int, dict[str, float]]] = []
        self.widget: Any = None

    def update(self, picture: np.ndarray) -> None:
        buffer = io.BytesIO()
        plt.imsave(buffer, np.asarray(picture), cmap="gray_r", vmin=0, vmax=1, format="png")
        if self.widget is None:
            import ipywidgets
            from IPython.display import display

            self.widget = ipywidgets.Image(format="png", width=420)
            display(self.widget)
        self.widget.value = buffer.getvalue()

    def close(self) -> None:
        if self.seen:
            (_, first), (step, last) = self.seen[0], self.seen[-1]
            losses = [f"{name} {first.get(name, math.nan):.4g} → {value:.4g}" for name, value in last.items()]
            seconds = f"{time.monotonic() - self.start:.1f} s"
            say(" · ".join([f"{step:,} of {self.steps:,} steps in {seconds}", *losses]))
        if self.widget is not None:
            from IPython.display import display

            self.widget.close()
            content = base64.b64encode(self.widget.value).decode()
            text = "The last picture of the training"
            display({"image/png": content, "text/plain": text}, metadata={"image/png": {"width": 420}}, raw=True)
