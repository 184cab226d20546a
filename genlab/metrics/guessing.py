"""The game of real or generated in a notebook, and what the book needs to play it."""

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from genlab import plot
from genlab.metrics.human import Game, Staircase


def play(
    real: torch.Tensor,
    fake: torch.Tensor,
    *,
    each: int = 10,
    seed: int = 0,
    low: float = 0.0,
    staircase: Staircase | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Game:
    """Play a game of real or generated in a notebook, with two buttons, by mouse or by Tab and Enter.

    With a staircase the game begins with a press. Each image comes after half a second and hides after its exposure, a
    style of the page which the browser times to a frame. The game ends with the staircase or with the images.

    With GENLAB_LIVE=0 the first images stand there as a still picture. Its metadata hold a game of up to 120 images,
    which the book plays without a kernel, with a mask after each exposure.

    Args:
        real: images (n, c, h, w).
        fake: generated ones of the same shape.
        each: images of a kind.
        seed: of the choice of images and of their order.
        low: value of a white pixel, −1 for generators with tanh.
        staircase: of exposure times; None: images stay until they are answered.
        clock: in seconds.

    Returns:
        The game, whose `verdict()` can be asked at any time.

    Raises:
        ValueError: as in `Game`, images of different shapes, or what is given are not images.
    """
    if real.shape[1:] != fake.shape[1:]:
        shapes = f"{tuple(real.shape[1:])} and {tuple(fake.shape[1:])}"
        raise ValueError(f"real and generated images are {shapes}, which gives them away; bring them to one size")
    game = Game(real, fake, each=each, seed=seed)
    if plot.live():
        _Player(game, low, staircase, clock).show()
    else:
        _still(game, real, fake, low, staircase or Staircase(), seed)
    return game


MOST = 60  # images of a kind in the book
COLUMNS = 12  # of the picture that holds them
LEVELS = 15  # steps of grey between white and black in it
READY = 0.5  # seconds before an image that is timed


def _still(game: Game, real: torch.Tensor, fake: torch.Tensor, low: float, staircase: Staircase, seed: int) -> None:
    """The game's first images as a picture, without the answers; the book's game lies in its metadata."""
    from IPython.display import display

    first = game.trials[:10]
    shown = torch.stack([(real if trial.real else fake)[trial.place] for trial in first])
    fig, ax = plot.figure(width=8, height=1.5)
    plot.images(ax, shown, "Real or generated?", low=low)
    alt = f"{len(first)} images in random order, some real and some generated; the game asks which are which."
    pool = Game(real, fake, each=min(MOST, len(real), len(fake)), seed=seed)
    width, height = (fig.get_size_inches() * 72).round().astype(int).tolist()
    about = {"alt": alt, "width": width, "height": height, "game": _bundle(pool, real, fake, low, staircase)}
    about["game"]["each"] = len(game.trials) // 2
    content = {"image/png": _small(plot.png(fig)), "text/plain": f"Figure: {alt}"}
    display(content, metadata={"image/png": about}, raw=True)


def _bundle(pool: Game, real: torch.Tensor, fake: torch.Tensor, low: float, staircase: Staircase) -> dict[str, Any]:
    """A game as JSON: one picture of all images in its order, which of them are real, and the staircase's settings."""
    images = torch.stack([(real if trial.real else fake)[trial.place] for trial in pool.trials])
    picture = plot.tile(images, COLUMNS, low=low)
    return {
        "sprite": _small(_png((picture * LEVELS).round() / LEVELS)),
        "columns": COLUMNS,
        "size": list(images.shape[-2:]),
        "real": "".join("1" if trial.real else "0" for trial in pool.trials),
        "staircase": {name: getattr(staircase, name) for name in ("start", "factor", "least", "most", "turns")},
    }


def _png(picture: np.ndarray) -> bytes:
    """A picture with values in [0, 1] as PNG, dark ink on light ground."""
    buffer = io.BytesIO()
    plt.imsave(buffer, picture, cmap="gray_r", vmin=0, vmax=1, format="png")
    return buffer.getvalue()


def _small(content: bytes) -> str:
    """A PNG with at most 256 colours, in base64; with 16 colours a pixel takes four bits."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


class _Player:
    """The widgets of a game, and what happens when a button is pressed."""

    def __init__(self, game: Game, low: float, staircase: Staircase | None, clock: Callable[[], float]) -> None:
        import ipywidgets

        self.game, self.low, self.staircase, self.clock = game, low, staircase, clock
        self.picture, self.words = ipywidgets.HTML(), ipywidgets.HTML()
        self.buttons = [ipywidgets.Button(description=name) for name in ("real", "generated")]
        for button in self.buttons:
            button.on_click(self.press)
        self.box = ipywidgets.VBox([self.picture, ipywidgets.HBox(self.buttons), self.words])
        self.since = 0.0
        self.waiting = staircase is not None  # nobody looks yet when the cell runs
        if self.waiting:
            self.words.value = "Each image is shown for a moment only. Press either button to begin."
        else:
            self.turn()

    def show(self) -> None:
        from IPython.display import display

        display(self.box)

    def press(self, button: Any) -> None:
        if self.waiting:
            self.waiting = False
            self.turn()
            return
        if self.over() or self.clock() < self.since:  # before the image is there
            return
        right = self.game.answer(button.description == "real", self.clock() - self.since)
        if self.staircase is not None:
            self.staircase.answer(right)
        self.turn()

    def over(self) -> bool:
        return self.game.done or (self.staircase is not None and self.staircase.done)

    def turn(self) -> None:
        """Show the next image, or the end."""
        number, total = len(self.game.answers) + 1, len(self.game.trials)
        if not self.over():
            limit = "" if self.staircase is None else f", for {self.staircase.exposure:.0f} ms"
            exposure = None if self.staircase is None else self.staircase.exposure
            self.picture.value = _tag(self.game.image, f"Image {number} of {total}", number, exposure, self.low)
            self.words.value = f"Image {number} of {total}{limit}: real or generated?"
            self.since = self.clock() + (0.0 if exposure is None else READY)
            return
        self.picture.value = ""
        self.words.value = self.ending()
        for button in self.buttons:
            button.disabled = True

    def ending(self) -> str:
        if self.staircase is None:
            return self.game.verdict().words()
        try:
            found = self.staircase.threshold()
        except ValueError:
            return f"Too few turns for a threshold: the last exposure was {self.staircase.exposure:.0f} ms."
        words = f"You are right in 79 of 100 images when you see them for {found.value:.0f} ms"
        return words + (", at a limit of the range: the true time may lie beyond it." if found.cut else ".")


def _tag(image: torch.Tensor, alt: str, number: int, exposure: float | None, low: float) -> str:
    """An image for the page; with an exposure a style shows it. Its name is new each time, so that it starts anew."""
    source = base64.b64encode(_png(plot.tile(image[None], columns=1, low=low))).decode()
    style, moment = "width:196px;height:auto;image-rendering:pixelated", ""
    if exposure is not None:
        moment = f"<style>@keyframes genlab-show-{number} {{from, to {{visibility:visible}}}}</style>"
        style += f";visibility:hidden;animation:genlab-show-{number} {exposure:.0f}ms {1000 * READY:.0f}ms"
    return f'{moment}<img alt="{alt}" src="data:image/png;base64,{source}" style="{style}">'
