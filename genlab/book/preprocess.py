"""mdBook's preprocessor: a book on stdin, the book with its notebooks turned into chapters on stdout."""

import base64
import hashlib
import html
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
from nbformat import NotebookNode

from genlab.book import BookError, markdown, reference

IMAGES = "GENLAB_BOOK_IMAGES"  # the folder that the build copies into the book once mdBook has made it


def main() -> int:
    """Read, convert, write. Whatever goes wrong is said on stderr, where mdBook shows it."""
    if "supports" in sys.argv:
        return 0 if sys.argv[-1] == "html" else 1
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
    """Convert a book in place.

    Raises:
        BookError: naming notebook, cell and reason.
    """
    index = markdown.Index()
    notebooks: dict[str, NotebookNode] = {}
    for chapter in chapters(book["items"]):
        source, page = chapter["source_path"], _page(chapter)
        index.chapters[source] = page
        if source.endswith(".ipynb"):
            notebooks[source] = _read(chapter["content"], source)
            for number, cell in enumerate(notebooks[source].cells):
                if cell.cell_type == "markdown":
                    index.add_equations(cell.source, page, f"{source}, cell {number}")
    for chapter in chapters(book["items"]):
        source, page = chapter["source_path"], _page(chapter)
        if source in notebooks:
            chapter["content"] = _notebook(notebooks[source], source, page, index, images, repository)
        else:
            text = reference.page(PurePosixPath(source).stem) if source.startswith("reference/") else chapter["content"]
            chapter["content"] = markdown.convert(text, index=index, page=page, place=source)


def _page(chapter: dict[str, Any]) -> str:
    return str(PurePosixPath(chapter["path"]).with_suffix(".html"))


def _read(content: str, source: str) -> NotebookNode:
    try:
        notebook = nbformat.reads(content, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises what json, its schema and its own reader raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BookError(f"{source}: this is not a valid notebook ({reason}); restore or repair the file") from None
    return notebook


def _notebook(
    notebook: NotebookNode, source: str, page: str, index: markdown.Index, images: Path, repository: str | None
) -> str:
    name = PurePosixPath(source).name
    links = [f'<a href="{name}" download>Download this notebook</a>']
    if match := re.match(r"https://github\.com/([^/]+/[^/]+?)(\.git)?/?$", repository or ""):
        colab = f"https://colab.research.google.com/github/{match[1]}/blob/main/notebooks/{source}"
        links.append(f'<a href="{colab}">Open in Colab</a>')
    parts = [f'<nav class="notebook-bar" aria-label="This notebook">{" ".join(links)}</nav>']
    for number, cell in enumerate(notebook.cells):
        place = f"{source}, cell {number}"
        if cell.cell_type == "markdown":
            parts.append(markdown.convert(cell.source, index=index, page=page, place=place))
        elif cell.cell_type == "code" and cell.source.strip():
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", cell.source)), default=0))
            parts.append(f"{fence}python\n{cell.source}\n{fence}")
            parts += [_output(output, place, images, len(PurePosixPath(page).parts) - 1) for output in cell.outputs]
    # Notebooks do not include files: what looks like mdBook's include is text.
    return "\n\n".join(part for part in parts if part).replace("{{#", r"\{{#")


def _output(output: NotebookNode, place: str, images: Path, depth: int) -> str:
    """One stored output as Markdown or HTML."""
    if output.output_type == "stream":
        return markdown.pre(output.text, f"output {output.name}")
    if output.output_type == "error":
        raise BookError(f"{place}: the stored output is an error ({output.ename}); run `make notebooks`")
    data = output.data
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return _image(data[kind], output.metadata.get(kind, {}), kind, place, images, depth)
    if "<table" in data.get("text/html", ""):
        return markdown.table(data["text/html"])
    if "text/plain" in data:
        return markdown.pre(data["text/plain"], "output")
    raise BookError(f"{place}: an output of type {', '.join(data)} cannot be rendered; store text or an image as well")


def _image(content: str, metadata: Any, kind: str, place: str, images: Path, depth: int) -> str:
    alt = metadata.get("alt", "").strip()
    if not alt:
        raise BookError(f"{place}: a figure has no alt text; show it with plot.show(fig, alt=…)")
    raw = base64.b64decode(content)
    name = f"{hashlib.sha256(raw).hexdigest()[:16]}.{kind.split('/')[1]}"
    images.mkdir(parents=True, exist_ok=True)
    (images / name).write_bytes(raw)
    size = "".join(f' {side}="{int(metadata[side])}"' for side in ("width", "height") if side in metadata)
    path = "../" * depth + f"images/{name}"
    return f'<figure><img src="{path}" alt="{html.escape(alt)}"{size} loading="lazy"></figure>'
