"""Markdown of notebooks and pages: mathematics, links, references to equations.

A text is cut into code, formulas and prose, so that each is treated by its own rules.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from math_core import LatexError, LatexToMathML

from genlab.book import BookError

TOKEN = re.compile(
    r"""
      (?P<code>^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$   # a fenced block
      | (?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))            # a code span
    | (?P<dollar>\\\$)
    | \$\$(?P<display>.+?)\$\$
    | (?<![\\\w$])\$(?=\S)(?P<inline>(?:[^$\\\n]|\\.|\n(?!\s*\n))+?)(?<=\S)\$(?!\d)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
TAG = re.compile(r"\\tag\{([^}]*)\}")
LINK = re.compile(r"(?P<text>\[[^\]]*\])\((?P<target>[^)\s#]*?)(?P<anchor>#[^)\s]*)?\)")
EQUATION = re.compile(r"(?P<word>\b(?:[Ee]quations?|[Ee]q\.)\s+)?\((?P<number>[0-9A-Z]+\.\d+)\)")
MACROS = {"E": r"\mathbb{E}", "KL": r"\operatorname{KL}", "argmin": r"\operatorname*{arg\,min}"}


@dataclass
class Index:
    """What the whole book holds: its chapters by source path, and the page of every numbered equation."""

    chapters: dict[str, str] = field(default_factory=dict)
    equations: dict[str, str] = field(default_factory=dict)

    def add_equations(self, text: str, page: str, place: str) -> None:
        """Record the `\\tag{…}` of every display in a text; a number may be given once."""
        for token in TOKEN.finditer(text):
            for number in TAG.findall(token["display"] or ""):
                if number in self.equations:
                    raise BookError(f"{place}: equation ({number}) has that number already in {self.equations[number]}")
                self.equations[number] = page


def convert(text: str, *, index: Index, page: str, place: str) -> str:
    """Markdown with `$…$` to Markdown with MathML, links to rendered pages, and linked equation numbers.

    Args:
        text: of one cell or page.
        index: of the whole book.
        page: the page that the text stands on, for relative links.
        place: for messages, for example "05_….ipynb, cell 7".

    Raises:
        BookError: a formula does not parse, a link or an equation leads nowhere.
    """
    parts, end = [], 0
    for token in TOKEN.finditer(text):
        parts.append(_prose(text[end : token.start()], index, page, place))
        if token["code"] is not None:
            parts.append(token["code"])
        elif token["dollar"] is not None:
            parts.append("&#36;")
        else:
            parts.append(formula(token["display"] or token["inline"], token["display"] is not None, place))
        end = token.end()
    return "".join([*parts, _prose(text[end:], index, page, place)])


def formula(latex: str, display: bool, place: str) -> str:
    """One formula as MathML on one line; a display with `\\tag{5.1}` gets its number and the id `eq-5.1`."""
    latex = re.sub(r"\n[ \t]*>[ \t]?", "\n", latex)  # inside a block quote the formula's lines are quoted as well
    numbers = TAG.findall(latex)
    try:
        mathml = LatexToMathML(macros=MACROS).convert_with_local_state(TAG.sub("", latex), displaystyle=display)
    except LatexError as error:
        raise BookError(f"{place}: the formula does not parse:\n  {latex.strip()}\n{error}") from None
    if len(numbers) > 1:
        raise BookError(f"{place}: a display has one number, but this has {', '.join(numbers)}:\n  {latex.strip()}")
    mathml = escape(re.sub(r"\s*\n\s*", " ", mathml))
    if not display:
        return mathml
    name, number = (f' id="eq-{numbers[0]}"', f'<span class="number">({numbers[0]})</span>') if numbers else ("", "")
    return f'<span class="equation"{name} tabindex="0"><span class="formula">{mathml}</span>{number}</span>'


def escape(fragment: str) -> str:
    """HTML whose text Markdown leaves alone: between inline tags Markdown is still parsed."""
    pieces = re.split(r"(<[^>]*>)", fragment)
    special = re.compile(r"[*_\[\]~`\\{}|!]")
    return "".join(p if p.startswith("<") else special.sub(lambda m: f"&#{ord(m[0])};", p) for p in pieces)


def _prose(text: str, index: Index, page: str, place: str) -> str:
    text = LINK.sub(_outside_images(text, lambda m: _link(m, index, place)), text)
    pieces = re.split(r"(\[[^\]]*\]\([^)]*\))", text)  # no links inside links
    pieces[::2] = [EQUATION.sub(lambda m: _equation(m, index, page, place), piece) for piece in pieces[::2]]
    return "".join(pieces)


def _outside_images(text: str, replace: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
    return lambda m: m[0] if text[max(0, m.start() - 1) : m.start()] == "!" else replace(m)


def _link(match: re.Match[str], index: Index, place: str) -> str:
    target, anchor = match["target"], match["anchor"] or ""
    if "://" in target or target.startswith("mailto:") or not target:
        return match[0]
    suffix = PurePosixPath(target).suffix
    if suffix not in (".ipynb", ".md"):
        return match[0]
    known = str(PurePosixPath(target))
    if known not in index.chapters:
        raise BookError(f"{place}: the link {match[0]} leads to a chapter that the book does not have")
    return f"{match['text']}({target.removesuffix(suffix)}.html{anchor})"


def _equation(match: re.Match[str], index: Index, page: str, place: str) -> str:
    number, word = match["number"], match["word"] or ""
    if number not in index.equations:
        if word:
            raise BookError(f"{place}: {match[0]!r} refers to an equation that the book does not have")
        return match[0]
    target = "" if index.equations[number] == page else index.equations[number]
    return f"{word}[({number})]({target}#eq-{number})"


def table(content: str) -> str:
    """An HTML table with nothing but the table: no scripts, styles or classes."""
    import bleach

    content = re.sub(r"<(style|script)\b.*?</\1>", "", content, flags=re.DOTALL)
    tags = {"table", "thead", "tbody", "tr", "th", "td", "caption", "b", "em", "strong", "code", "sub", "sup", "br"}
    attributes = {"th": ["scope", "colspan", "rowspan"], "td": ["colspan", "rowspan"]}
    clean = bleach.clean(content, tags=tags, attributes=attributes, strip=True)
    return re.sub(r"\n\s*\n", "\n", f'<div class="table-wrapper">\n{clean.strip()}\n</div>')


def pre(text: str, kind: str) -> str:
    """Text as it is, in a block that Markdown does not look into."""
    return f'<pre class="{kind}"><samp>{html.escape(text.rstrip())}</samp></pre>'
