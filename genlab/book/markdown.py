"""Markdown with mathematics, cut into code, formulas and prose, so that each is treated by its own rules."""

import re
from functools import cache

from math_core import LatexError, LatexToMathML

from genlab.book import BookError
from genlab.book.links import Index, rewrite

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
# A block quote that opens with one of these words in bold is a call-out; the style sheet colours it by its class.
CALL_OUT = re.compile(
    r"^(?P<mark>>[ ]?)\*\*(?P<kind>Note|Warning|Prediction|Exercise)(?P<rest>[^*\n]*)\*\*", re.MULTILINE
)
TAG = re.compile(r"\\tag\{([^}]*)\}")


def register(text: str, *, index: Index, page: str, place: str) -> str:
    """Record a text's headings and numbered equations; returns it with the ids of its headings written out."""
    for token in TOKEN.finditer(text):
        for number in TAG.findall(token["display"] or ""):
            index.add_equation(number, page, place)
    return index.add_headings(text, page)


def convert(text: str, *, index: Index, page: str, place: str) -> str:
    """Markdown with `$…$` to Markdown with MathML, links to rendered pages, and linked equation numbers.

    Args:
        text: of one cell or page, after `register`.
        index: of the whole book.
        page: the page that the text stands on, for relative links.
        place: for messages, for example "05_….ipynb, cell 7".

    Raises:
        BookError: a formula does not parse, a link or an equation leads nowhere.
    """
    # Code and formulas are kept aside while links are read: a link's text may hold both.
    kept: list[str] = []

    def keep(token: re.Match[str]) -> str:
        if token["code"] is not None:
            kept.append(token["code"])
        elif token["dollar"] is not None:
            kept.append("&#36;")
        else:
            kept.append(formula(token["display"] or token["inline"], token["display"] is not None, place))
        return f"\0{len(kept) - 1}\0"

    prose = rewrite(TOKEN.sub(keep, text), index=index, page=page, place=place)
    prose = CALL_OUT.sub(
        lambda m: f'{m["mark"]}<strong class="{m["kind"].lower()}">{m["kind"]}{m["rest"]}</strong>', prose
    )
    return re.sub("\0(\\d+)\0", lambda m: kept[int(m[1])], prose)


@cache
def _latex() -> LatexToMathML:
    return LatexToMathML()  # no macros: JupyterLab and GitHub, which show the same text, would not know them


def formula(latex: str, display: bool, place: str) -> str:
    """One formula as MathML on one line; a display with `\\tag{5.1}` gets its number and the id `eq-5.1`."""
    latex = re.sub(r"\n[ \t]*>[ \t]?", "\n", latex)  # inside a block quote the formula's lines are quoted as well
    numbers = TAG.findall(latex)
    try:
        mathml = _latex().convert_with_local_state(TAG.sub("", latex), displaystyle=display)
    except LatexError as error:
        raise BookError(f"{place}: the formula does not parse:\n  {latex.strip()}\n{error}") from None
    if len(numbers) > 1:
        raise BookError(f"{place}: a display has one number, but this has {', '.join(numbers)}:\n  {latex.strip()}")
    mathml = escape(re.sub(r"\s*\n\s*", " ", mathml))
    if not display:
        return mathml
    name, number = (f' id="eq-{numbers[0]}"', f'<span class="number">({numbers[0]})</span>') if numbers else ("", "")
    return f'<span class="equation"{name}><span class="formula">{mathml}</span>{number}</span>'


def escape(fragment: str) -> str:
    """HTML whose text Markdown leaves alone: between inline tags Markdown is still parsed."""
    pieces = re.split(r"(<[^>]*>)", fragment)
    special = re.compile(r"[*_\[\]~`\\{}|!]")
    return "".join(p if p.startswith("<") else special.sub(lambda m: f"&#{ord(m[0])};", p) for p in pieces)
