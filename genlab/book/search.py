"""The search index of the book: mdBook's own, without what stands in it twice."""

import json
import re
from pathlib import Path
from typing import Any

from genlab.book import BookError

LIMIT = 9_000_000
"""Bytes that the index may take; a reader loads it with the first search."""

Node = dict[str, Any]  # of elasticlunr's tree: a child for each letter, "docs" by number with their "tf", and "df"


def slim(book: Path) -> None:
    """Write the index anew, with only a section's headings in the field of headings.

    mdBook 0.5 counts the words of a section's text in the field of its headings ("breadcrumbs") as well. The text has a
    field of its own, so every word is found as before.

    Raises:
        BookError: there is not one index, or it is too large still.
    """
    found = list(book.glob("searchindex*.js"))
    if len(found) != 1:
        raise BookError(f"{book} should hold one searchindex….js, but has {len(found)}")
    before, middle, after = re.split(r"(?<=JSON\.parse\(')|(?='\)\);\s*\Z)", found[0].read_text(encoding="utf-8"))
    content = json.loads(re.sub(r"\\(['\\])", r"\1", middle))
    fields = content["index"]["index"]
    _without(fields["breadcrumbs"]["root"], fields["body"]["root"])
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("\\", "\\\\").replace("'", "\\'")
    found[0].write_text(before + text + after, encoding="utf-8")
    if (size := found[0].stat().st_size) > LIMIT:
        raise BookError(f"the search index takes {size:,} bytes, and may take {LIMIT:,}; leave pages or code out of it")


def _without(headings: Node, body: Node) -> None:
    """Take out of a tree the words that a section has in its text alone, and the branches that are then empty.

    A word that is in the headings as well is counted more often there than in the text.
    """
    known = body.get("docs", {})
    headings["docs"] = {k: v for k, v in headings.get("docs", {}).items() if v != known.get(k)}
    headings["df"] = len(headings["docs"])
    for letter in [key for key in headings if key not in ("docs", "df")]:
        child = headings[letter]
        _without(child, body.get(letter, {}))
        if not child["df"] and len(child) == 2:
            del headings[letter]
