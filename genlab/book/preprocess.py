"""mdBook's preprocessor: a book on stdin, the book with its notebooks turned into chapters on stdout."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from nbformat import NotebookNode

from genlab.book import IMAGES, BookError, board, cells, markdown, reference
from genlab.book.links import Index


def main() -> int:
    """Read, convert, write. Whatever goes wrong is said on stderr, where mdBook shows it."""
    try:
        context, book = json.load(sys.stdin)
        if IMAGES not in os.environ:
            raise BookError("the book is built by `make book` (python -m genlab.book build), not by mdbook alone")
        repository = context["config"].get("output", {}).get("html", {}).get("git-repository-url")
        convert(book, images=Path(os.environ[IMAGES]), repository=repository)
    except BookError as error:
        print(f"genlab.book: {error}", file=sys.stderr)
        return 1
    json.dump(book, sys.stdout)
    return 0


def chapters(items: list[Any]) -> Iterator[dict[str, Any]]:
    """All chapters with a source file, in the book's order."""
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            chapter = item["Chapter"]
            if chapter.get("source_path"):
                yield chapter
            yield from chapters(chapter["sub_items"])


def convert(book: dict[str, Any], *, images: Path, repository: str | None = None) -> None:
    """Convert a book in place: read all of it first, because a text may refer to what comes later.

    Raises:
        BookError: naming notebook, cell and reason.
    """
    index = Index()
    notebooks: dict[str, NotebookNode] = {}
    for chapter in chapters(book["items"]):
        source, page = chapter["source_path"], _page(chapter)
        index.chapters[source] = page
        if source.endswith(".ipynb"):
            notebooks[source] = cells.read(chapter["content"], source)
            for number, cell in enumerate(notebooks[source].cells):
                if cell.cell_type == "markdown":
                    place = f"{source}, cell {number}"
                    cell.source = markdown.register(cell.source, index=index, page=page, place=place)
        else:
            if PurePosixPath(source).parent.name == "reference":
                chapter["content"] = reference.page(PurePosixPath(source).stem, repository)
            chapter["content"] = markdown.register(chapter["content"], index=index, page=page, place=source)
    for chapter in chapters(book["items"]):
        source, page = chapter["source_path"], _page(chapter)
        if source in notebooks:
            chapter["content"] = cells.chapter(
                notebooks[source], source=source, page=page, index=index, images=images, repository=repository
            )
        else:
            text = markdown.convert(chapter["content"], index=index, page=page, place=source)
            depth = len(PurePosixPath(page).parts) - 1
            chapter["content"] = board.fill(text, place=source, images=images, depth=depth)


def _page(chapter: dict[str, Any]) -> str:
    return str(PurePosixPath(chapter["path"]).with_suffix(".html"))
