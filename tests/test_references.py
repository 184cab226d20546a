"""References: each is cited on its page, each citation has one, and a paper is written alike on all pages."""

import calendar
import re
from collections import defaultdict
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MONTHS = tuple(calendar.month_name)
NAMES = r"[A-Z][\w\-’']+(?:,? (?:[A-Z][\w\-’']+|and|others|de|von|van|den))*"


def page(path: Path) -> tuple[str, list[str]]:
    """Prose and tasks of a chapter, without the addresses of links, and its references, a line each."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    body, _, tail = text.rpartition("## References")
    body += "".join(o.get("data", {}).get("text/markdown", "") for c in cells for o in c.get("outputs", []))  # tasks
    entries = re.findall(r"^- (.+(?:\n  .+)*)", tail, re.MULTILINE)
    return flat(re.sub(r"\]\([^()\s]+\)", "]", body)), list(map(flat, entries))


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def papers(entry: str) -> list[tuple[list[str], str]]:
    """Family names and year of each paper of an entry, which may join two by "And"."""
    found = []
    for authors, year in re.findall(
        r"(?:^|\. And )(?:\*\*[^*]+\*\*: )?([^(]+?) \((?:\d+ \w+ )?((?:1[6-9]|20)\d\d)\)", entry
    ):
        parts = re.split(r", | and ", authors)
        found.append(([re.sub(r"^((?:[A-Z]\.[- ]?)+)", "", part).strip() for part in parts], year))
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_references_are_cited_and_citations_have_one(path: Path) -> None:
    body, entries = page(path)
    assert entries and all(papers(entry) for entry in entries), "authors (year). Title"
    known = [paper for entry in entries for paper in papers(entry)]
    code = flat("\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"))
    for entry in entries:
        label = re.match(r"\*\*([^*]+?)(?:, in the text)?\*\*", entry)
        name = label[1] if label else "no label"
        for names, year in papers(entry):
            by_name = re.search(rf"{re.escape(names[0])}.{{0,100}}?{year}", body)
            by_label = f"{year} {name}" in code or re.search(
                rf"{re.escape(name)}.{{0,100}}?{year}", body, re.IGNORECASE
            )
            assert by_name or by_label, f"{names[0]} {year} is cited nowhere"
    labels = " ".join(re.findall(r"\*\*([^*]+)\*\*", " ".join(entries))).lower()
    for cited, year in re.findall(rf"({NAMES}),? \(?((?:1[6-9]|20)\d\d)\b", body):
        # chapter 01 dates systems, and labels the papers on them
        if cited not in MONTHS and cited.lower() not in labels:
            dated = [name.split()[-1] for names, y in known if y == year for name in names]
            assert any(name in cited for name in dated), f"{cited} {year} has no reference"


def test_a_paper_is_written_alike_on_all_pages() -> None:
    written: dict[str, set[str]] = defaultdict(set)
    for path in NOTEBOOKS:
        for entry in page(path)[1]:
            for paper in re.split(r"\. And ", re.sub(r"^\*\*[^*]+\*\*: ", "", entry)):
                if link := re.search(r"\]\((https?://\S+)\)", paper):
                    written[link[1]].add(paper.removesuffix("."))
    for preprint in ("1312.6114", "2210.02747"):  # by which chapter 01 dates the VAE and flow matching
        written.pop(f"https://arxiv.org/abs/{preprint}")
    assert len(written) > 100
    twice = {link: texts for link, texts in written.items() if len(texts) > 1}
    assert not twice
