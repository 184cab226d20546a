"""Headings, links and numbered equations of the whole book: what a text may refer to, and where that stands."""

import difflib
import posixpath
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from genlab.book import BookError

# A fenced block is matched first, so that a comment in code is not taken for a heading.
HEADING = re.compile(
    r"^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[`~]*[ \t]*$"
    r"|^(?P<line>\#{1,6}[ \t]+(?P<title>[^\n]+?))(?:[ \t]+\#+)?[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
# The target of a link alone: its text may hold code and formulas. Reference definitions have targets as well.
TARGET = re.compile(r"(?P<head>\]\(|^\[[^\]^][^\]]*\]:[ \t]*)(?P<path>[^)\s#]*)(?P<anchor>#[^)\s]*)?", re.MULTILINE)
# Not inside a link's text, nor in a heading: both are links already.
EQUATION = re.compile(
    r"(?P<word>\b(?:[Ee]quations?|[Ee]qs?\.)\s+)?\((?P<number>[0-9A-Z]+\.\d+)\)"
    r"(?![^\[\]]*\]\()(?![^\n]*\{\#[^\n}]*\}[ \t]*$)",
    re.MULTILINE,
)
HTML_ID = re.compile(r"<[a-z]+[^>]*\sid=[\"']([^\"']+)")


@dataclass
class Index:
    """Chapters by source path, the anchors of every page, and the page of every numbered equation."""

    chapters: dict[str, str] = field(default_factory=dict)
    anchors: dict[str, set[str]] = field(default_factory=dict)
    equations: dict[str, str] = field(default_factory=dict)

    def add_headings(self, text: str, page: str) -> str:
        """Record a text's anchors; returns it with the ids written out, so that mdBook uses those that GitHub makes."""
        anchors = self.anchors.setdefault(page, set())
        anchors.update(HTML_ID.findall(text))

        def identified(match: re.Match[str]) -> str:
            if match["fence"] or not (name := slug(match["title"])):
                return match[0]
            unique, count = name, 0
            while unique in anchors:
                count += 1
                unique = f"{name}-{count}"
            anchors.add(unique)
            return f"{match['line']} {{#{unique}}}"

        return HEADING.sub(identified, text)

    def add_equation(self, number: str, page: str, place: str) -> None:
        """Record a numbered equation; a number may be given once in the book."""
        if number in self.equations:
            raise BookError(f"{place}: equation ({number}) has that number already in {self.equations[number]}")
        self.equations[number] = page
        self.anchors.setdefault(page, set()).add(f"eq-{number}")


def slug(title: str) -> str:
    """The anchor that GitHub gives a heading: lower case, no punctuation, hyphens for blanks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)|<[^>]*>", r"\1", title).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def rewrite(text: str, *, index: Index, page: str, place: str) -> str:
    """Prose (no code, no formulas) with links to rendered pages and with linked equation numbers.

    Raises:
        BookError: a link leads to no chapter or no heading of the book, or an equation does not exist.
    """
    text = EQUATION.sub(lambda m: _equation(m, index, page, place), text)
    return TARGET.sub(lambda m: _link(m, index, page, place), text)


def _link(match: re.Match[str], index: Index, page: str, place: str) -> str:
    path, anchor = match["path"], match["anchor"] or ""
    if "://" in path or path.startswith("mailto:"):
        return match[0]
    target = page
    if path:
        if not path.endswith((".ipynb", ".md")):
            return match[0]  # a file beside the page; the check of the rendered book looks for it
        source = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(path)))
        if source not in index.chapters:
            raise BookError(f"{place}: the link to {path}{anchor} leads to a chapter that the book does not have")
        target = index.chapters[source]
    name = unquote(anchor[1:])
    if name and name not in index.anchors.get(target, ()):
        near = difflib.get_close_matches(name, index.anchors.get(target, ()), n=1, cutoff=0.4)
        hint = f"; did you mean #{near[0]}?" if near else ""
        raise BookError(f"{place}: the link to {path}{anchor} leads to a heading that {target} does not have{hint}")
    return match["head"] + (_relative(target, page) if path else "") + anchor


def _equation(match: re.Match[str], index: Index, page: str, place: str) -> str:
    number, word = match["number"], match["word"] or ""
    if number not in index.equations:
        if word:
            raise BookError(f"{place}: {match[0]!r} refers to an equation that the book does not have")
        return match[0]
    target = index.equations[number]
    return f"{word}[({number})]({'' if target == page else _relative(target, page)}#eq-{number})"


def _relative(target: str, page: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(page) or ".")
