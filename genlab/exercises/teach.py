"""For teachers: student notebooks, solution notebooks and an nbgrader course, from the same source as everything else.

    genlab teach handout                 all chapters, into handout/
    genlab teach handout --chapter 05    one

- `student/`: the notebooks without outputs, every task as text above its stub. This is what students get.
- `solutions/`: the same with the worked solutions filled in, and their explanations.
- `nbgrader/`: a course folder. `nbgrader generate_assignment` in it makes the students' release, `nbgrader autograde`
  grades what they hand in.

`solutions=False` makes handouts in which `solution()`, and what is folded under a task, say that the teacher keeps the
solution: their imports cell calls `keep_solutions()`. That is a request, no lock: the course is open and brings its
solutions along.

`exercises_only=True` leaves the imports and the exercises, which run in seconds.

A locked nbgrader cell imports the grader afresh, under a private name, from what is installed: names that a submission
rebinds, modules that it changes and files that it brings do not reach it. After an answer was found right, the named
mistakes are judged as well: if one of them passes, something below the grader was changed, and there are no points. A
submission that rewires the Python process itself is beyond this: read what looks odd.
"""

import copy
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from genlab.exercises import shelf, show
from genlab.exercises.engine import RIGHT, STUB, Exercise, judge

IMPORT = re.compile(r"(from genlab\.exercises import .*\bexercise\b)")  # in the imports cell
CONFIG = f"""\
# nbgrader's configuration: run its commands in this folder. Students see the course's own stubs.
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "genlab"
c.ClearSolutions.code_stub = {{"python": "{STUB}"}}
c.ClearSolutions.enforce_metadata = True
c.ExecutePreprocessor.timeout = 900
"""


# What a submission does to names and modules must not reach this: no name is used that a cell above can rebind, and no
# module of genlab that it can have changed, nor one that came with the notebook.
LOCKED = """\
import os as _os, sys as _sys
_kept = {{_n: _sys.modules.pop(_n) for _n in [*_sys.modules] if _n.split(".")[0] == "genlab"}}
_path = _sys.path
_sys.path = [_p for _p in _path if not _os.path.abspath(_p).startswith(_os.getcwd())]
try:
    from genlab.exercises.teach import grade as _grade
    _grade("{number}", {name})
finally:
    _sys.path = _path
    _sys.modules.update(_kept)"""


def write(
    folder: Path,
    *,
    notebooks: Path,
    chapter: str | None = None,
    solutions: bool = True,
    exercises_only: bool = False,
) -> list[Path]:
    """Write the three kinds of notebooks below `folder`, whole or not at all.

    Args:
        folder: new or empty.
        notebooks: the folder of the course's notebooks.
        chapter: for example "05" or "5"; all by default.
        solutions: whether students may see the solution of an exercise when they ask for it.
        exercises_only: leave out everything but the imports and the exercises.

    Raises:
        ValueError: the folder holds something, or no notebook has exercises of that chapter.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty; choose another folder")
    chosen = _chosen(notebooks, None if chapter is None else shelf.written(chapter))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".teach-") as scratch:
        fresh = Path(scratch) / "handout"
        written = []
        for path, notebook in chosen.items():
            notebook = handout(notebook, exercises_only=exercises_only)
            given = notebook if solutions else kept(notebook)
            written += [
                _save(given, fresh / "student" / path.name),
                _save(solved(notebook), fresh / "solutions" / path.name),
                _save(graded(given), fresh / "nbgrader" / "source" / path.stem / path.name),
            ]
        (fresh / "nbgrader" / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        shutil.move(os.fspath(fresh), folder)
    return [folder / path.relative_to(fresh) for path in written]


def _chosen(folder: Path, chapter: str | None) -> dict[Path, NotebookNode]:
    """The notebooks with exercises of a chapter, or of any."""
    found = {path: nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb"))}
    chosen = {path: n for path, n in found.items() if (c := chapter_of(n)) and chapter in (None, c)}
    if not chosen:
        known = ", ".join(sorted({c for n in found.values() if (c := chapter_of(n))})) or "none"
        raise ValueError(f"no notebook in {folder} has exercises of chapter {chapter!r}; there are {known}")
    return chosen


def chapter_of(notebook: NotebookNode) -> str | None:
    """The chapter whose exercises a notebook has, or None."""
    found = [number for cell in notebook.cells if (number := _checked(cell))]
    return found[0].split(".")[0] if found else None


def _checked(cell: NotebookNode) -> str | None:
    match = show.CHECKED.search(cell.source) if cell.cell_type == "code" else None
    return match[1] if match else None


def _imports(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and bool(IMPORT.search(cell.source))


def _save(notebook: NotebookNode, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return path


def handout(notebook: NotebookNode, *, exercises_only: bool = False) -> NotebookNode:
    """A notebook without outputs, in which the text of every task stands above its stub."""
    notebook = copy.deepcopy(notebook)
    cells: list[NotebookNode] = []
    for place, cell in enumerate(notebook.cells):
        shown = show.SHOWN.fullmatch(cell.source.strip()) if cell.cell_type == "code" else None
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if shown:
            found = shelf.find(shown[1])
            cells.append(new_markdown_cell(show.task(found), id=f"task-{_slug(found)}"))
        if not exercises_only or place == 0 or shown or _checked(cell) or _imports(cell):
            cells.append(cell)
    notebook.cells = cells
    return notebook


def kept(notebook: NotebookNode) -> NotebookNode:
    """A handout whose solutions the teacher keeps."""
    notebook = copy.deepcopy(notebook)
    cell = next(cell for cell in notebook.cells if _imports(cell))
    cell.source += "\n\nteach.keep_solutions()"
    cell.source = IMPORT.sub(r"\1, teach", cell.source, count=1)
    return notebook


def keep_solutions() -> None:
    """Let `solution()`, and what is folded under a task, say that the teacher keeps it; until the kernel ends."""
    show._reveal = _withheld


def _withheld(found: Exercise) -> str:
    return f'Your teacher keeps the solution of {found.number}. `hint("{found.number}")` shows a hint.'


def solved(notebook: NotebookNode) -> NotebookNode:
    """A notebook with the worked solution in place of every stub, and what the book says of it below."""

    def fill(cell: NotebookNode, found: Exercise) -> NotebookNode:
        cell.source = f'{found.solution_code}\n\n\ncheck("{found.number}", {found.name})'
        words = "\n\n".join(t for t in (found.explanation.strip(), found.discussion.strip()) if t)
        return new_markdown_cell(words, id=f"solution-{_slug(found)}")

    return _filled(notebook, fill)


def graded(notebook: NotebookNode) -> NotebookNode:
    """A notebook for nbgrader: every answer is a solution cell, followed by a locked cell that tests it for points."""

    def fill(cell: NotebookNode, found: Exercise) -> NotebookNode:
        body = found.solution_code.removeprefix(found.head)
        marked = f"    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
        cell.source = f'{found.head}{marked}\n\n\ncheck("{found.number}", {found.name})'
        cell.metadata["nbgrader"] = _metadata(f"answer-{_slug(found)}", solution=True)
        test = new_code_cell(LOCKED.format(number=found.number, name=found.name), id=f"test-{_slug(found)}")
        test.metadata["nbgrader"] = _metadata(f"test-{_slug(found)}", points=found.difficulty)
        return test

    return _filled(notebook, fill)


def _filled(notebook: NotebookNode, fill: Callable[[NotebookNode, Exercise], NotebookNode]) -> NotebookNode:
    """A handout in which `fill` has changed every cell with an answer; what it returns follows the cell."""
    notebook = copy.deepcopy(notebook)
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        cells.append(cell)
        if number := _checked(cell):
            cells.append(fill(cell, shelf.find(number)))
    notebook.cells = cells
    return notebook


def _metadata(name: str, *, solution: bool = False, points: int | None = None) -> dict[str, Any]:
    """nbgrader's cell metadata, schema version 3."""
    content = {"schema_version": 3, "grade_id": name, "grade": points is not None, "solution": solution}
    content |= {"locked": not solution, "task": False}
    return content if points is None else content | {"points": points}


def _slug(exercise: Exercise) -> str:
    return exercise.number.replace(".", "-")


def grade(number: str, answer: Any) -> None:
    """Do nothing when an answer is right; nbgrader then gives the points.

    Raises:
        AssertionError: it is not; the message says what was tested, expected and found. Or a named mistake passes as
            well, so that the judge cannot be trusted in this process.
    """
    found = shelf.find(number)
    verdict = judge(found, answer)
    if verdict.state != RIGHT:
        raise AssertionError(show.told(verdict))
    for wrong in found.wrong:
        if judge(found, wrong.answer).state == RIGHT:
            told = (
                f"{wrong.name!r}, a mistake, passes here as well: something has changed what the grader computes with"
            )
            raise AssertionError(f"{number} cannot be graded: {told}")
