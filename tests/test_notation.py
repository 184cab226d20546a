"""One notation for the book: letters with one meaning are used in the chapters that the table names, and only there."""

import re
from pathlib import Path

import nbformat
import pytest

from genlab.exercises import shelf

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ROW = re.compile(r"^\| (.+?) \| (.+) \| ([^|]+) \|$", re.MULTILINE)
WORDS = r"\\(?:text|operatorname|mathrm|texttt|mathtt|tag|label|begin|end)\*?\{[^}]*\}"
LETTER = re.compile(r"\\mathcal ?\{?[A-Za-z]\}?|\\mathbb ?\{?[A-Za-z]\}?|\\[A-Za-z]+|[A-Za-z]")
APPLIED = r"(?<!_)\\sigma(?:_\w|\^\w|')*\s*(?:\\big|\\left)?\("  # σ(t), a function


def mathematics(text: str) -> list[str]:
    """The formulas of a text in Markdown."""
    plain = re.sub(r"```.*?```|`[^`\n]*`", " ", text, flags=re.DOTALL)
    return [a or b for a, b in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", plain, re.DOTALL)]


def letters(formula: str) -> set[str]:
    found = LETTER.findall(re.sub(WORDS, " ", formula)) + re.findall(r"\\operatorname\{JS\}", formula)
    return {re.sub(r"^(\\math\w+) ?\{?(\w)\}?$", r"\1 \2", letter) for letter in found}


def texts(path: Path) -> list[str]:
    """The prose of a chapter and of its exercises."""
    cells = nbformat.read(path, as_version=4).cells
    found = [cell.source for cell in cells if cell.cell_type == "markdown"]
    for e in shelf.of(path.stem[:2]):
        found += [e.task, e.explanation, e.discussion or "", *e.hints, *(w.message for w in e.wrong)]
    return found


def guarded() -> dict[str, set[str]]:
    """The letters with one meaning in the whole book, and their chapters."""
    found: dict[str, set[str]] = {}
    every = {path.stem[:2] for path in NOTEBOOKS}
    page = (FOLDER / "pages/notation.md").read_text(encoding="utf-8")
    part = page.split("## Letters that mean one thing")[1].split("\n## ")[0]
    for names, _, chapters in (row for row in ROW.findall(part) if "$" in row[0]):
        for name in re.findall(r"\$([^$]+)\$", names):
            assert name not in found, f"{name} stands in two rows"
            found[name] = every if chapters == "all" else set(chapters.split(", "))
    assert len(found) > 10 and set().union(*found.values()) <= every
    return found


def faults(chapter: str, formulas: list[str], where: dict[str, set[str]]) -> list[str]:
    found = [f"{x}: JSD is written JS" for x in formulas if "JSD" in x]
    found += [f"{x}: σ is no function here, but a standard deviation" for x in formulas if re.search(APPLIED, x)]
    for letter, chapters in where.items():
        if chapter not in chapters:
            found += [f"{x}: {letter} is not a letter of chapter {chapter}" for x in formulas if letter in letters(x)]
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_letters_mean_what_the_table_says(path: Path) -> None:
    formulas = [formula for text in texts(path) for formula in mathematics(text)]
    assert len(formulas) > 10
    assert faults(path.stem[:2], formulas, guarded()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_table_lists_only_what_is_used(path: Path) -> None:
    formulas = [formula for text in texts(path) for formula in mathematics(text)]
    used = set().union(*map(letters, formulas))
    for letter, chapters in guarded().items():
        if path.stem[:2] in chapters and len(chapters) < len(NOTEBOOKS):
            assert letter in used, f"the table says that chapter {path.stem[:2]} uses {letter}"


@pytest.mark.parametrize(
    ("chapter", "formula"),
    [
        ("08", r"\operatorname{JSD}(p, q)"),
        ("09", r"D = \sigma(\ell)"),
        ("11", r"\sigma\big(W\big)"),
        ("06", r"a R + b\,K"),
        ("06", r"D \log\sigma"),
        ("05", r"\lambda^x"),
        ("03", r"x \in \mathbb R^D"),
        ("08", r"\mathcal D + \beta \mathcal R"),
        ("04", r"\mathcal{F}(q)"),
    ],
)
def test_another_meaning_is_seen(chapter: str, formula: str) -> None:
    assert faults(chapter, [formula], guarded())
    good = [r"\sigma^2 I", r"\operatorname{sigmoid}(\ell)", r"\mathcal N(0, I)", r"p_\sigma(\tilde x)"]
    assert not faults(chapter, good, guarded())
