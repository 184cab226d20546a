"""A small project to render, the real book rendered once, and a browser to open them."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Browser, Page, sync_playwright

from genlab.book.__main__ import build

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
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


def write_project(root: Path, **chapters: NotebookNode | str) -> Path:
    """Write a project with the given notebooks (by name) and pages into a folder; returns the folder."""
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


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Write a project with the given notebooks (by name) and pages; returns its root."""
    return lambda **chapters: write_project(tmp_path / "project", **chapters)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        message = "no Chromium or Chrome is installed (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that records console errors, failed requests and requests that leave the disk."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
    opened.on("pageerror", lambda e: faults.append(f"error: {e}"))
    # Leaving a page aborts what it was still loading; that is no failure.
    opened.on("requestfailed", lambda r: None if "ABORTED" in (r.failure or "") else faults.append(f"failed: {r.url}"))
    opened.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else faults.append(f"network: {r.url}"))
    yield opened
    context.close()
    assert faults == []
