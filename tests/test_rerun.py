"""Every cell that trains can be run again, and after an interruption, and then does what it did at first."""

from pathlib import Path

import pytest

from tests import notebook_run


def faults(session: notebook_run.Session, path: Path) -> list[str]:
    """What goes wrong when training cells are run again: first all in order, then each again, broken off, and again."""
    cells = notebook_run.read_cells(path)
    training = notebook_run.trainings(cells)
    wanted = set(training).union(*(notebook_run.needed(cells, place) for place in training))
    first = {place: session.run(cells[place]) for place in sorted(wanted)}
    found = []
    for place in training:
        for when in ("a second time", "after an interruption"):
            try:
                if when == "after an interruption" and first[place]:
                    interrupt(session, cells[place], at=len(first[place]) // 2 + 1)
                seen = session.run(cells[place])
            except Exception as error:
                found.append(f"cell {cells[place].number}, {when}: {type(error).__name__}: {error}")
                continue
            if not same(seen, first[place]):
                found.append(f"cell {cells[place].number}, {when}: it goes another way: {first[place]}, then {seen}")
    return found


def interrupt(session: notebook_run.Session, cell: notebook_run.Cell, at: int) -> None:
    session.stop_at = at
    with pytest.raises(KeyboardInterrupt):
        session.run(cell)
    session.stop_at = None


def same(one: list[tuple[float, ...]], other: list[tuple[float, ...]]) -> bool:
    return len(one) == len(other) and all(a == pytest.approx(b, rel=1e-9) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("path", notebook_run.NOTEBOOKS, ids=lambda path: path.stem)
def test_training_cells_can_be_run_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with notebook_run.Session(monkeypatch, path) as session:
        assert faults(session, path) == []
