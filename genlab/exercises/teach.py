"""For teachers: student notebooks, solution notebooks and an nbgrader course, from the same source as everything else.

    genlab teach handout                 all chapters, into handout/
    genlab teach handout --chapter 05    one

- `student/`: the notebooks as they are, without outputs.
- `solutions/`: with the worked solutions filled in, and their explanations.
- `nbgrader/`: a course folder. `nbgrader generate_assignment` in it makes the students' release, `nbgrader autograde`
  grades what they hand in.
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

CONFIG = f"""\
# nbgrader's configuration: run its commands in this folder. Students see the course's own stubs.
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "genlab"
c.ClearSolutions.code_stub = {{"python": "{STUB}"}}
c.ClearSolutions.enforce_metadata = True
c.ExecutePreprocessor.timeout = 900
"""


def write(folder: Path, *, notebooks: Path, chapter: str | None = None) -> list[Path]:
    """Write the three kinds of notebooks below `folder`, whole or not at all.

    Args:
        folder: new or empty.
        notebooks: the folder of the course's notebooks.
        chapter: for example "05"; all by default.

    Raises:
        ValueError: the folder holds something, or no notebook has exercises of that chapter.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty; choose another folder")
    found = {path: nbformat.read(path, as_version=4) for path in sorted(notebooks.glob("*.ipynb"))}
    chosen = {path: n for path, n in found.items() if (c := chapter_of(n)) and chapter in (None, c)}
    if not chosen:
        known = ", ".join(sorted({c for n in found.values() if (c := chapter_of(n))})) or "none"
        raise ValueError(f"no notebook in {notebooks} has exercises of chapter {chapter!r}; there are {known}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".teach-") as scratch:
        fresh = Path(scratch) / "handout"
        written = []
        for path, notebook in chosen.items():
            written += [
                _save(student(notebook), fresh / "student" / path.name),
                _save(solved(notebook), fresh / "solutions" / path.name),
                _save(graded(notebook), fresh / "nbgrader" / "source" / path.stem / path.name),
            ]
        (fresh / "nbgrader" / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        shutil.move(os.fspath(fresh), folder)
    return [folder / path.relative_to(fresh) for path in written]


def chapter_of(notebook: NotebookNode) -> str | None:
    """The chapter whose exercises a notebook has, or None."""
    found = [number for cell in notebook.cells if (number := _checked(cell))]
    return found[0].split(".")[0] if found else None


def _checked(cell: NotebookNode) -> str | None:
    match = show.CHECKED.search(cell.source) if cell.cell_type == "code" else None
    return match[1] if match else None


def _save(notebook: NotebookNode, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return path


def student(notebook: NotebookNode) -> NotebookNode:
    """A notebook without outputs."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


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
        test = new_code_cell(f'grade("{found.number}", {found.name})', id=f"test-{_slug(found)}")
        test.metadata["nbgrader"] = _metadata(f"test-{_slug(found)}", points=found.difficulty)
        return test

    notebook = _filled(notebook, fill)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = re.sub(r"(from genlab\.exercises import .*\bexercise\b)", r"\1, grade", cell.source)
    return notebook


def _filled(notebook: NotebookNode, fill: Callable[[NotebookNode, Exercise], NotebookNode]) -> NotebookNode:
    """A student's notebook in which `fill` has changed every cell with an answer; what it returns follows the cell."""
    notebook = student(notebook)
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
        AssertionError: it is not; the message says what was tested, expected and found.
    """
    verdict = judge(shelf.find(number), answer)
    if verdict.state != RIGHT:
        raise AssertionError(show.told(verdict))
