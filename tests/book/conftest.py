"""A small project to render, and the real book rendered once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from genlab.book.__main__ import build

ROOT = Path(__file__).parents[2]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def notebook(*cells: str | NotebookNode) -> NotebookNode:
    """A notebook of Markdown texts and ready cells."""
    ready = [new_markdown_cell(c) if isinstance(c, str) else c for c in cells]
    return new_notebook(cells=ready, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def code(source: str, *outputs: NotebookNode) -> NotebookNode:
    """An executed code cell."""
    return new_code_cell(source, outputs=list(outputs), execution_count=1)


def figure(alt: str | None = "a dot") -> NotebookNode:
    """A display output with one pixel."""
    metadata = {"image/png": {"alt": alt, "width": 10, "height": 10}} if alt else {}
    return new_output("display_data", {"image/png": PIXEL, "text/plain": f"Figure: {alt}"}, metadata=metadata)


Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Write a project with the given notebooks (by name) and pages; returns its root."""

    def make(**chapters: NotebookNode | str) -> Path:
        root = tmp_path / "project"
        (root / "notebooks").mkdir(parents=True, exist_ok=True)
        # Not below "genlab": a folder of that name would hide the package from the preprocessor.
        shutil.copytree(ROOT / "genlab/book/assets", root / "style/book/assets", dirs_exist_ok=True)
        (root / "book.toml").write_text(
            (ROOT / "book.toml").read_text(encoding="utf-8").replace("genlab/book/assets", "style/book/assets"),
            encoding="utf-8",
        )
        lines = ["# Summary", ""]
        for name, content in chapters.items():
            suffix = "md" if isinstance(content, str) else "ipynb"
            text = content if isinstance(content, str) else nbformat.writes(content)
            (root / "notebooks" / f"{name}.{suffix}").write_text(text, encoding="utf-8")
            lines.append(f"- [{name}]({name}.{suffix})")
        (root / "notebooks/SUMMARY.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return root

    return make


@pytest.fixture(scope="session")
def real_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course's own book, rendered into a temporary folder."""
    out = tmp_path_factory.mktemp("real") / "book"
    build(ROOT, out)
    return out


def find_browser() -> str | None:
    """An installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    places = [
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        os.path.expandvars(r"%ProgramFiles%\Google\Chrome\Application\chrome.exe"),
    ]
    return next((found for name in names if (found := shutil.which(name))), None) or next(
        (place for place in places if Path(place).exists()), None
    )
