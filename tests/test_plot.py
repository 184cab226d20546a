"""Pictures: layout, text alternatives, and a live view that changes nothing."""

import base64
import io
import math
from collections.abc import Iterator
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from IPython import display
from PIL import Image
from torch import Tensor

from genlab import densities, plot


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    """`figure` changes matplotlib's defaults, for a session; not for the tests that follow. No figure stays open."""
    plt.close("all")
    with plt.rc_context():
        yield
    plt.close("all")


# ----------------------------------------------------------------------------------------------------------------- tile


def test_tile_lays_images_out_in_rows_with_a_pixel_between() -> None:
    x = torch.arange(1, 6).view(5, 1, 1, 1).expand(5, 1, 2, 3) / 10
    picture = plot.tile(x, 3)
    expected = np.zeros((2 * 3 - 1, 3 * 4 - 1))
    for i in range(5):
        row, column = divmod(i, 3)
        expected[3 * row : 3 * row + 2, 4 * column : 4 * column + 3] = (i + 1) / 10
    np.testing.assert_allclose(picture, expected, rtol=1e-6)


def test_tile_keeps_rows_columns_and_colours_apart() -> None:
    x = torch.rand(4, 3, 5, 7)
    picture = plot.tile(x, 2)
    assert picture.shape == (11, 15, 3)
    np.testing.assert_allclose(picture[6:, 8:], x[3].permute(1, 2, 0))
    np.testing.assert_allclose(plot.tile(x[:1], 1), x[0].permute(1, 2, 0))


def test_tile_maps_low_and_high_to_zero_and_one_and_cuts_the_rest() -> None:
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 1, 5)
    assert plot.tile(x, 1, low=-1).tolist() == [[0, 0, 0.5, 1, 1]]
    assert plot.tile(x.requires_grad_(), 1).tolist() == [[0, 0, 0, 1, 1]]
    assert plot.tile((x * 127).to(torch.int16), 1, high=255).max() == pytest.approx(254 / 255)


@pytest.mark.parametrize("shape", [(4, 28, 28), (4, 2, 8, 8), (0, 1, 8, 8), (8, 8)])
def test_tile_refuses_what_is_not_a_batch_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images must have shape \(n, 1 or 3, h, w\), but got \("):
        plot.tile(torch.zeros(shape))


def test_a_range_that_would_be_cut_away_is_refused_with_the_remedy() -> None:
    made = torch.tanh(3 * torch.randn(6, 1, 28, 28))
    for draw in (plot.tile, lambda x: plot.images(plot.figure()[1], x)):
        with pytest.raises(ValueError, match=r"far below low=0: if they are in \[-1, 1\].* pass low=-1, or"):
            draw(made)
    assert plot.tile(made, low=-1).min() < 0.01
    assert plot.tile((made + 1) / 2).min() < 0.01
    with pytest.raises(ValueError, match=r"torch.uint8 and reach 250; pass high=255"):
        plot.tile(torch.full((1, 3, 4, 4), 250, dtype=torch.uint8))


@pytest.mark.parametrize("spread", [0.05, 0.5])
def test_noisy_images_are_cut_in_silence(spread: float) -> None:
    x = (torch.rand(10, 1, 28, 28) > 0.8) + spread * torch.randn(10, 1, 28, 28)
    assert plot.tile(x).shape == (28, 289)
    assert plot.tile(torch.rand(4, 1, 8, 8) > 0.5).max() == 1


def test_numpy_images_are_taken_and_other_things_named() -> None:
    x = torch.rand(4, 3, 5, 7)
    np.testing.assert_array_equal(plot.tile(x.numpy()), plot.tile(x))
    np.testing.assert_array_equal(plot.tile(x.numpy()[:, :, ::-1]), plot.tile(x.flip(2)))
    with pytest.raises(ValueError, match=r"images must have shape .* but got a list"):
        plot.tile([x[0], x[1]])  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------- figures


def test_figure_sets_size_and_style() -> None:
    fig, ax = plot.figure(width=5, height=2)
    assert fig.get_size_inches().tolist() == [5, 2] and not ax.spines["top"].get_visible()
    assert [line["color"] for line in plt.rcParams["axes.prop_cycle"]] == list(plot.COLOURS)
    _, axes = plot.figure(2, 3)
    assert axes.shape == (2, 3)


def test_images_are_dark_ink_on_light_ground_in_any_style() -> None:
    _, ax = plt.subplots()  # not the course's figure
    plot.images(ax, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), "two pixels", columns=2)
    (image,) = ax.images
    rgba = image.to_rgba(image.get_array(), bytes=True, norm=True)
    assert rgba[0, 0].tolist() == [255] * 4 and rgba[0, 2].tolist() == [0, 0, 0, 255]
    assert "two pixels" in (ax.get_title(loc) for loc in ("left", "center")) and not ax.axison
    plot.images(ax, torch.full((1, 1, 2, 2), -1.0), low=-1)  # a uniform picture is not stretched
    image = ax.images[-1]
    assert image.get_clim() == (0, 1) and image.get_array().max() == 0


def test_curves_draw_values_and_running_means() -> None:
    history = [{"step": 10 * i, "a": float(i), "b": float(i % 2)} for i in range(1, 7)]
    _, ax = plot.figure()
    plot.curves(ax, history, ["a", "b"])
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [10, 20, 30, 40, 50, 60])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [1, 0, 1, 0, 1, 0])
    assert ax.get_xlabel() == "step"
    _, ax = plot.figure()
    plot.curves(ax, history, ["a"], smooth=3)
    raw, mean = ax.lines
    assert raw.get_alpha() == 0.2 and raw.get_color() == mean.get_color()
    np.testing.assert_array_equal(mean.get_xdata(), [30, 40, 50, 60])
    np.testing.assert_allclose(mean.get_ydata(), [2, 3, 4, 5])
    legend = ax.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["a"]


def test_curves_refuse_to_smooth_over_more_than_there_is() -> None:
    _, ax = plot.figure()
    history = [{"step": 1, "a": 0.0}, {"step": 2, "a": 1.0}]
    with pytest.raises(ValueError, match="smooth=3 is more than the 2 entries"):
        plot.curves(ax, history, ["a"], smooth=3)
    plot.curves(ax, history, ["a"], smooth=2)


def test_density_draws_the_density_the_right_way_up() -> None:
    _, ax = plot.figure()
    p = densities.mixture([[1.5, -0.5]], 0.4)
    plot.density(ax, p.log_prob, limit=2, n=80)
    (image,) = ax.images
    values = np.asarray(image.get_array())
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert image.origin == "lower" and tuple(image.get_extent()) == (-2, 2, -2, 2)
    assert (-2 + (column + 0.5) / 20, -2 + (row + 0.5) / 20) == pytest.approx((1.5, -0.5), abs=0.03)
    assert values.max() == pytest.approx(1 / (2 * math.pi * 0.16), rel=0.01)
    assert values.sum() / 20**2 == pytest.approx(0.894, abs=0.01)  # Φ(1.25) of the mass lies left of x₁ = 2


# ----------------------------------------------------------------------------------------------------------------- show


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What is displayed, instead of displaying it."""
    calls: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(display, "display", lambda content, **options: calls.append((content, options)))
    return calls


def test_show_stores_the_text_alternative_and_closes_the_figure(shown: list[tuple[Any, dict[str, Any]]]) -> None:
    fig, ax = plot.figure(width=4, height=2)
    ax.plot([0, 1])
    plot.show(fig, alt="A line that rises from 0 to 1.")
    ((content, options),) = shown
    assert options["metadata"] == {"image/png": {"alt": "A line that rises from 0 to 1.", "width": 288, "height": 144}}
    assert options["raw"] is True and content["text/plain"] == "Figure: A line that rises from 0 to 1."
    with Image.open(io.BytesIO(base64.b64decode(content["image/png"]))) as picture:
        assert picture.format == "PNG" and picture.size == (440, 220)
    assert plt.get_fignums() == []


def test_a_shown_figure_is_small_and_keeps_greys_exactly(shown: list[tuple[Any, dict[str, Any]]]) -> None:
    def draw() -> Any:
        fig, ax = plot.figure(width=3, height=3)
        ax.imshow(np.linspace(0, 1, 64).reshape(8, 8), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        return fig

    plot.show(draw(), alt="Sixty-four squares from black to white.")
    small = base64.b64decode(shown[0][0]["image/png"])
    with Image.open(io.BytesIO(plot.png(draw()))) as full, Image.open(io.BytesIO(small)) as palette:
        assert palette.mode == "P"
        assert np.array_equal(np.asarray(full.convert("RGB")), np.asarray(palette.convert("RGB")))
    assert len(small) < len(plot.png(draw()))


@pytest.mark.parametrize("alt", ["", "A line", "loss by step", "   plot   of   loss  "])
def test_text_that_says_nothing_is_refused(alt: str, shown: list[tuple[Any, dict[str, Any]]]) -> None:
    fig, _ = plot.figure()
    with pytest.raises(ValueError, match="must say in a sentence what the figure shows"):
        plot.show(fig, alt)
    assert shown == []


def test_png_is_the_same_each_time() -> None:
    def draw() -> bytes:
        fig, ax = plot.figure(width=3, height=2)
        ax.plot([1, 3, 2])
        return plot.png(fig, dpi=50)

    first = draw()
    assert first == draw() and plt.get_fignums() == []
    with Image.open(io.BytesIO(first)) as picture:
        assert picture.size == (150, 100)


# ---------------------------------------------------------------------------------------------------------------- watch


def steps(first: int, last: int, closed: list[bool] | None = None) -> Iterator[tuple[int, dict[str, float]]]:
    try:
        for step in range(first, last + 1):
            yield step, {"G": step + torch.rand(()).item(), "D": 0.5}
    finally:
        if closed is not None:
            closed.append(True)


def plainly(first: int, last: int) -> list[tuple[int, dict[str, float]]]:
    torch.manual_seed(1)
    return list(steps(first, last))


@pytest.mark.parametrize("value", [None, "1", "0"])
def test_live_is_on_unless_switched_off(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENLAB_LIVE", raising=False)
    if value is not None:
        monkeypatch.setenv("GENLAB_LIVE", value)
    assert plot.live() is (value != "0")


def picture() -> Tensor:
    return torch.linspace(-1, 1, 2 * 16).view(2, 1, 4, 4).requires_grad_()


@pytest.mark.parametrize("live", ["0", "1"])
def test_watch_passes_everything_through_and_draws_no_random_numbers(
    live: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENLAB_LIVE", live)
    expected = plainly(1, 6)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    watched = list(plot.watch(steps(1, 6), 6, batch_size=64, picture=picture, every=0.0, low=-1.0))
    assert watched == expected and torch.equal(torch.get_rng_state(), state)
    out, err = capfd.readouterr()
    assert out == ""
    assert (err == "") is (live == "0")


def test_in_a_terminal_there_is_a_bar_with_losses_and_rate(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENLAB_LIVE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    for _ in plot.watch(steps(1, 4), 4, batch_size=64, every=0.0):
        pass
    err = capfd.readouterr().err
    assert "/4" in err and "G=1." in err and "D=0.500" in err
    assert "images/s" not in next(part for part in err.split("\r") if "0/4" in part)


def test_the_bar_of_a_resumed_run_starts_where_the_run_does(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENLAB_LIVE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    assert [step for step, _ in plot.watch(steps(8, 10), 10, every=0.0)] == [8, 9, 10]
    err = capfd.readouterr().err
    assert "8/10" in err and "1/10" not in err.replace("10/10", "")


def test_breaking_off_closes_the_training_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train` makes all weights trainable again when it is closed."""
    for live in ("0", "1"):
        monkeypatch.setenv("GENLAB_LIVE", live)
        closed: list[bool] = []
        for step, _ in plot.watch(steps(1, 100, closed), 100):
            if step == 2:
                break
        assert closed == [True]


@pytest.mark.parametrize("broken_off", [False, True])
def test_in_a_notebook_the_picture_is_redrawn_and_the_last_one_stays_with_time_and_losses(
    broken_off: bool,
    monkeypatch: pytest.MonkeyPatch,
    shown: list[tuple[Any, dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GENLAB_LIVE", "1")
    monkeypatch.setattr(plot, "in_notebook", lambda: True)
    closed = []
    monkeypatch.setattr(ipywidgets.Image, "close", lambda self: closed.append(self))
    expected, seen = plainly(1, 5), []
    torch.manual_seed(1)
    for row in plot.watch(steps(1, 5), 5, picture=picture, every=-1.0, low=-1.0):
        seen.append(row)
        ((widget, _),) = shown  # one widget, displayed once
        assert closed == []
        with Image.open(io.BytesIO(widget.value)) as drawn:
            grey = np.asarray(drawn.convert("L"))
        assert grey.shape == (4, 49) and grey[0, 0] == 255  # ten columns; the lowest value is white
        if broken_off and row[0] == 3:
            break
    assert seen == expected[: len(seen)] and len(seen) == (3 if broken_off else 5)
    assert closed == [shown[0][0]]
    (left, options) = shown[1]
    assert len(shown) == 2 and base64.b64decode(left["image/png"]) == shown[0][0].value and options["raw"]
    line = capsys.readouterr().out
    assert line.startswith(f"{len(seen)} of 5 steps in ") and line.count("\n") == 1
    assert f" · G {seen[0][1]['G']:.4g} → {seen[-1][1]['G']:.4g} · D 0.5 → 0.5\n" in line


def test_the_last_step_has_its_picture_though_the_one_before_was_just_drawn(
    monkeypatch: pytest.MonkeyPatch, shown: list[tuple[Any, dict[str, Any]]]
) -> None:
    monkeypatch.setenv("GENLAB_LIVE", "1")
    monkeypatch.setattr(plot, "in_notebook", lambda: True)
    drawn = []

    def counted() -> Tensor:
        drawn.append(picture())
        return drawn[-1]

    for step, _ in plot.watch(steps(1, 5), 5, picture=counted, every=99, low=-1.0):
        assert len(drawn) == (2 if step == 5 else 1)


# -------------------------------------------------------------------------------------------------------------- explore


@pytest.fixture
def slider(shown: list[tuple[Any, dict[str, Any]]]) -> ipywidgets.FloatSlider:
    """Of a live figure that fails at 2 and below."""
    slider = ipywidgets.FloatSlider(3.0, min=0, max=6)

    def draw(value: float) -> plt.Figure:
        fig, ax = plot.figure()
        if value <= 2:
            raise ZeroDivisionError(f"no $x of {value}")
        ax.plot([0, value])
        return fig

    plot.explore(draw, slider)
    return slider


def test_a_live_figure_is_drawn_at_once_and_whenever_a_slider_moves(
    slider: ipywidgets.FloatSlider, shown: list[tuple[Any, dict[str, Any]]]
) -> None:
    ((box, _),) = shown
    control, image = box.children
    assert control is slider
    first = image.value
    slider.value = 5.0
    second = image.value
    slider.value = 3.0
    assert first != second and image.value == first and plt.get_fignums() == []


def test_an_error_appears_in_the_live_figure_and_goes_with_the_next_good_value(
    slider: ipywidgets.FloatSlider, shown: list[tuple[Any, dict[str, Any]]]
) -> None:
    image = shown[0][0].children[1]
    good = image.value
    with pytest.raises(ZeroDivisionError):
        slider.value = 1.0
    first_error = image.value
    with pytest.raises(ZeroDivisionError):
        slider.value = 2.0
    assert len({good, first_error, image.value}) == 3  # the words say what was wrong
    assert plt.get_fignums() == []
    slider.value = 3.0
    assert image.value == good


def test_a_test_is_not_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plot.in_notebook() is False
    import IPython.core.getipython as getipython

    class Shell:
        kernel = object()

    monkeypatch.setattr(getipython, "get_ipython", lambda: Shell())
    assert plot.in_notebook() is True
    monkeypatch.delattr(getipython, "get_ipython")
    assert plot.in_notebook() is False
