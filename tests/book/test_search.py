"""The search index is made smaller, and finds what it found."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from genlab.book import BookError, search


def tree(words: dict[str, dict[str, float]]) -> dict[str, Any]:
    """elasticlunr's tree of words, with their frequencies by section."""
    root: dict[str, Any] = {"docs": {}, "df": 0}
    for word, sections in words.items():
        node = root
        for letter in word:
            node = node.setdefault(letter, {"docs": {}, "df": 0})
        node |= {"docs": {k: {"tf": tf} for k, tf in sections.items()}, "df": len(sections)}
        # `|=` makes no new dict, so the tree holds it
    return root


def write(folder: Path, body: dict[str, Any], headings: dict[str, Any], more: str = "") -> Path:
    content = {
        "index": {"index": {"body": {"root": body}, "breadcrumbs": {"root": headings}}},
        "said": f"it's \\ {more}",
    }
    text = json.dumps(content).replace("\\", "\\\\").replace("'", "\\'")
    path = folder / "searchindex-1.js"
    path.write_text(f"window.search = Object.assign(window.search, JSON.parse('{text}'));", encoding="utf-8")
    return path


def read(path: Path) -> dict[str, Any]:
    match = re.search(r"JSON\.parse\('(.*)'\)\);", path.read_text(encoding="utf-8"))
    assert match
    content: dict[str, Any] = json.loads(re.sub(r"\\(['\\])", r"\1", match[1]))
    return content


def test_words_of_the_text_leave_the_field_of_headings_and_headings_stay(tmp_path: Path) -> None:
    text = {"elbo": {"1": 2.0, "2": 1.0}, "el": {"1": 1.0}, "gan": {"2": 1.0}}
    both = {"elbo": {"1": 2.5, "2": 1.0}, "el": {"1": 1.0}, "gan": {"2": 1.0}, "game": {"3": 1.0}}
    path = write(tmp_path, tree(text), tree(both))
    search.slim(tmp_path)
    fields = read(path)["index"]["index"]
    assert fields["body"]["root"] == tree(text)
    assert fields["breadcrumbs"]["root"] == tree({"elbo": {"1": 2.5}, "game": {"3": 1.0}})
    assert read(path)["said"] == "it's \\ "


def test_an_index_that_is_missing_or_too_large_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BookError, match=r"one searchindex….js, but has 0"):
        search.slim(tmp_path)
    monkeypatch.setattr(search, "LIMIT", 500)
    write(tmp_path, tree({}), tree({}), "x" * 500)
    with pytest.raises(BookError, match="and may take 500; leave pages or code out of it"):
        search.slim(tmp_path)
