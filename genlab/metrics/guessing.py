"""The game of real or generated in a notebook."""

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import torch

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

    With a staircase an image hides after its exposure, a style of the page which the browser times to a frame, and the
    game ends with the staircase or with the images. With GENLAB_LIVE=0 the first images stand there as a still picture.

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
        _still(game, real, fake, low)
    return game


def _still(game: Game, real: torch.Tensor, fake: torch.Tensor, low: float) -> None:
    """The game's first images as a picture, without the answers."""
    first = game.trials[:10]
    shown = torch.stack([(real if trial.real else fake)[trial.place] for trial in first])
    fig, ax = plot.figure(width=8, height=1.5)
    plot.images(ax, shown, "Real or generated? Run this cell in JupyterLab to play.", low=low)
    plot.show(fig, f"{len(first)} images in random order, some real and some generated; the game asks which are which.")


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
        self.turn()

    def show(self) -> None:
        from IPython.display import display

        display(self.box)

    def press(self, button: Any) -> None:
        if self.over():
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
            self.since = self.clock()
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
    """An image for the page; with an exposure a style hides it. Its name is new each time, so that it starts anew."""
    buffer = io.BytesIO()
    plt.imsave(buffer, plot.tile(image[None], columns=1, low=low), cmap="gray_r", vmin=0, vmax=1, format="png")
    source = base64.b64encode(buffer.getvalue()).decode()
    style, hide = "width:196px;height:auto;image-rendering:pixelated", ""
    if exposure is not None:
        hide = f"<style>@keyframes genlab-hide-{number} {{to {{visibility:hidden}}}}</style>"
        style += f";animation:genlab-hide-{number} 0s {exposure:.0f}ms forwards"
    return f'{hide}<img alt="{alt}" src="data:image/png;base64,{source}" style="{style}">'
