"""One notebook as a chapter: prose, code, and what the code printed and drew."""

import base64
import hashlib
import html
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import bleach
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from genlab.book import BookError, markdown
from genlab.book.links import Index
from genlab.exercises import Exercise, shelf, show

ATTACHMENT = re.compile(r"!\[([^\]]*)\]\(attachment:([^)\s]+)\)")
OBJECT = re.compile(r"<[\w.]+ object( at 0x[0-9a-f]+)?>")  # the text of an object that has none
TABLE_TAGS = {"table", "thead", "tbody", "tr", "th", "td", "caption", "b", "em", "strong", "code", "sub", "sup", "br"}
TABLE_ATTRIBUTES = {"th": ["scope", "colspan", "rowspan"], "td": ["colspan", "rowspan"]}


def read(content: str, source: str) -> NotebookNode:
    """A notebook from its JSON, with the task of every exercise in place of the cell that shows it.

    Raises:
        BookError: the file is no valid notebook.
    """
    try:
        notebook = nbformat.reads(content, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # json, the schema and nbformat's own reader raise errors of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BookError(f"{source}: this is not a valid notebook ({reason}); restore or repair the file") from None
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (match := show.SHOWN.fullmatch(cell.source.strip())):
            task = show.task(_exercise(match[1], f"{source}, cell {number}"))
            notebook.cells[number] = new_markdown_cell(task)
    return notebook


def _exercise(number: str, place: str) -> Exercise:
    try:
        return shelf.find(number)
    except ValueError as error:
        raise BookError(f"{place}: {error}") from None


def _folded(found: Exercise) -> str:
    """Hints and solution of an exercise, each to be opened by a click."""
    parts = [(f"Hint {i}", hint.strip()) for i, hint in enumerate(found.hints, 1)]
    parts.append(("Solution", show.worked(found)))
    return "\n\n".join(f"<details><summary>{head}</summary>\n\n{text}\n\n</details>" for head, text in parts)


def chapter(
    notebook: NotebookNode, *, source: str, page: str, index: Index, images: Path, repository: str | None
) -> str:
    """A registered notebook as Markdown and HTML; writes its images into the folder `images`."""
    parts = [_bar(source, repository)]
    depth = len(PurePosixPath(page).parts) - 1

    def prose(text: str, place: str) -> str:
        text = markdown.convert(text, index=index, page=page, place=place)
        # Notebooks do not include files: what mdBook would read as an include is text. It undoes one escape a line.
        return re.sub(r"\{\{#.*\}\}", r"\\\g<0>", text)

    for number, cell in enumerate(notebook.cells):
        place = f"{source}, cell {number}"
        if cell.cell_type == "markdown":
            parts.append(prose(_attached(cell, place, images, depth), place))
        elif cell.cell_type == "code" and cell.source.strip() and 'find_spec("genlab")' not in cell.source:
            # Without the cell that installs the package. HTML, not a fence: Markdown and includes leave it alone.
            parts.append(f'<pre><code class="language-python">{quote(cell.source)}\n</code></pre>')
            if answer := show.CHECKED.search(cell.source):
                folded = _folded(_exercise(answer[1], place))
                parts.append(markdown.convert(folded, index=index, page=page, place=place))
            else:
                for output in cell.outputs:
                    written = output.get("data", {}).get("text/markdown")
                    parts.append(prose(written, place) if written else _output(output, place, images, depth))
    return "\n\n".join(part for part in parts if part)


def quote(text: str) -> str:
    """Text as HTML that mdBook does not read either: `{{#include …}}` is expanded wherever it stands."""
    return html.escape(text).replace("{", "&#123;")


def _bar(source: str, repository: str | None) -> str:
    links = [f'<a href="{PurePosixPath(source).name}" download>Download this notebook</a>']
    if match := re.match(r"https://github\.com/([^/]+/[^/]+?)(\.git)?/?$", repository or ""):
        colab = f"https://colab.research.google.com/github/{match[1]}/blob/main/notebooks/{source}"
        links.append(f'<a href="{colab}">Open in Colab</a>')
    return f'<nav class="notebook-bar" aria-label="This notebook">{" ".join(links)}</nav>'


def _attached(cell: NotebookNode, place: str, images: Path, depth: int) -> str:
    """A cell's Markdown with its attachments as files."""

    def link(match: re.Match[str]) -> str:
        alt, name = match[1], match[2]
        kinds = cell.get("attachments", {}).get(name)
        if not kinds:
            raise BookError(f"{place}: the attachment {name} is not in the cell")
        if not alt.strip():
            raise BookError(f"{place}: the attachment {name} has no alt text; write it as ![what it shows](…)")
        kind, content = next(iter(kinds.items()))
        return f"![{alt}]({_save(content, kind, images, depth)})"

    return ATTACHMENT.sub(link, cell.source)


def _output(output: NotebookNode, place: str, images: Path, depth: int) -> str:
    """One stored output as HTML."""
    if output.output_type == "stream":
        return _pre(output.text, f"output {output.name}")
    if output.output_type == "error":
        raise BookError(f"{place}: the stored output is an error ({output.ename}); run `make notebooks`")
    data = output.data
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            about = output.metadata.get(kind, {})
            figure = picture(data[kind], about, kind, place, images, depth)
            return _game(about["game"], figure, images, depth) if "game" in about else figure
    if "<table" in data.get("text/html", ""):
        return _table(data["text/html"])
    if "text/plain" in data and not OBJECT.fullmatch(data["text/plain"]):
        return _pre(data["text/plain"], "output")
    raise BookError(
        f"{place}: an output of type {', '.join(data)} cannot be rendered; store text, Markdown or an image as well"
    )


def _pre(text: str, kind: str) -> str:
    return f'<pre class="{kind}"><samp>{quote(text.rstrip())}</samp></pre>'


def _table(content: str) -> str:
    """An HTML table with nothing but the table: no scripts, styles or classes."""
    content = re.sub(r"<(style|script)\b.*?</\1>", "", content, flags=re.DOTALL)
    clean = bleach.clean(content, tags=TABLE_TAGS, attributes=TABLE_ATTRIBUTES, strip=True).replace("{", "&#123;")
    # A blank line would end the block, and Markdown would read the rest.
    return re.sub(r"\n\s*\n", "\n", f'<div class="table-wrapper">\n{clean.strip()}\n</div>')


def picture(content: str, metadata: Any, kind: str, place: str, images: Path, depth: int) -> str:
    """A picture (base64) as a figure with its alt text; written into the folder `images`.

    Raises:
        BookError: there is no alt text.
    """
    alt = " ".join(metadata.get("alt", "").split())
    if not alt:
        raise BookError(f"{place}: a figure has no alt text; show it with plot.show(fig, alt=…)")
    size = "".join(f' {side}="{int(metadata[side])}"' for side in ("width", "height") if side in metadata)
    return f'<figure><img src="{_save(content, kind, images, depth)}" alt="{quote(alt)}"{size}></figure>'


def _game(game: Any, figure: str, images: Path, depth: int) -> str:
    """A game of `genlab.metrics.guessing` around its still picture, which assets/game.js makes playable."""
    told = dict(game) | {"sprite": _save(game["sprite"], "image/png", images, depth)}
    return f'<div class="game" data-game="{quote(json.dumps(told))}">\n{figure}\n</div>'


def _save(content: str, kind: str, images: Path, depth: int) -> str:
    """Write an image under a name made from its content; returns its path from the page."""
    raw = base64.b64decode(content)
    name = f"{hashlib.sha256(raw).hexdigest()[:16]}.{kind.split('/')[1].split('+')[0]}"
    images.mkdir(parents=True, exist_ok=True)
    (images / name).write_bytes(raw)
    return "../" * depth + f"images/{name}"
