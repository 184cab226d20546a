"""Every living figure can be drawn at every position of its controls; a grid of them where there are many."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genlab import plot
from tests import notebook_run

MANY = 120  # positions of a figure, above which a grid is tried
LIVE = [path for path in notebook_run.NOTEBOOKS if "plot.explore(" in path.read_text(encoding="utf-8")]


def positions(control: Any, most: int) -> list[Any]:
    """What a control can be set to: all, or `most` of them from end to end."""
    if hasattr(control, "options"):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
    else:
        assert {"min", "max", "step"} <= set(control.trait_names()), f"no way is known to move a {type(control)}"
        values = np.arange(control.min, control.max + control.step / 2, control.step).tolist()
        values = [type(control.value)(value) for value in values]
    chosen = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return [values[i] for i in chosen]


def holds_picture(shown: Any) -> bool:
    return bool(getattr(shown, "children", ())) and type(shown.children[-1]).__name__ == "Image"


def visit(box: Any) -> list[bytes]:
    """Move the controls of what `plot.explore` displays through their positions; the pictures that come."""
    *controls, picture = box.children
    most = max(2, int(MANY ** (1 / len(controls))))
    pictures = []
    for values in product(*(positions(control, most) for control in controls)):
        for control, value in zip(controls, values, strict=True):
            control.value = value  # what the drawing raises comes out here
        pictures.append(picture.value)
    return pictures


@pytest.mark.parametrize("path", LIVE, ids=lambda path: path.stem)
def test_figures_are_drawn_at_every_position(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = notebook_run.read_cells(path)
    live = [i for i, cell in enumerate(cells) if "plot.explore" in cell.calls]
    wanted = set(live).union(*(notebook_run.needed(cells, place) for place in live))
    with notebook_run.Session(monkeypatch, path, live=True) as session:
        for place in sorted(wanted):
            session.displayed.clear()
            session.run(cells[place])
            if place in live:
                (box,) = [shown for shown in session.displayed if holds_picture(shown)]
                pictures = visit(box)
                assert len(set(pictures)) > len(pictures) / 4, "moving the controls hardly changes the picture"


def test_figures_are_visited_everywhere() -> None:
    import ipywidgets

    seen = []

    def draw(a: float, b: str) -> Any:
        seen.append((round(a, 6), b))
        if a > 0.9 and b == "y":
            raise ZeroDivisionError("here")
        fig, ax = plot.figure(width=1, height=1)
        ax.plot([0, a])
        return fig

    shown: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", lambda box: shown.append(box))
        slider = ipywidgets.FloatSlider(value=0.5, min=0, max=0.8, step=0.1)
        plot.explore(draw, slider, ipywidgets.Dropdown(options=[("first", "x"), ("second", "y")]))
        pictures = visit(shown[0])
        assert len(pictures) == 18 and {(round(k / 10, 6), b) for k in range(9) for b in "xy"} <= set(seen)
        slider.max = 1.0
        with pytest.raises(ZeroDivisionError, match="here"):
            visit(shown[0])
    assert positions(ipywidgets.IntSlider(min=0, max=1000), 3) == [0, 500, 1000]
    with pytest.raises(AssertionError, match="no way"):
        positions(ipywidgets.Text(), 3)
