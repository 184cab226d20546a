"""The build fails loudly: mdBook's silent failures are found, and a failed build leaves the old book."""

import subprocess
import sys
from pathlib import Path

import pytest

from genlab.book import BookError, __main__, check
from genlab.book.__main__ import build

from .conftest import ROOT, Project, code, figure, notebook


def test_a_book_is_rendered_whole(project: Project, tmp_path: Path) -> None:
    root = project(
        a=notebook("# A\n\n$$ x^2 \\tag{1.1} $$\n\n[b](b.ipynb#some-heading)", code("f()", figure())),
        b=notebook("# Some heading"),
    )
    out = tmp_path / "out"
    build(root, out)
    page = (out / "a.html").read_text()
    assert (
        "<math" in page
        and 'href="b.html#some-heading"' in page
        and "STIXTwoMath" in "".join(sheet.read_text() for sheet in out.rglob("*.css"))
    )
    assert (out / "fonts/STIXTwoMath-Regular.ttf").exists() and len(list((out / "images").glob("*.png"))) == 1
    assert (out / "a.ipynb").exists(), "the notebook can be downloaded"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# A\n\n$\\nonsense{x}$", "the formula does not parse"),
        ("# A\n\n[gone](gone.ipynb)", "a chapter that the book does not have"),
        ("# A\n\n[here](#nowhere)", "a heading or an equation that does not exist"),
        ("# A\n\n![picture](missing.png)", "missing.png does not exist"),
        ("# A\n\n![](https://example.org/x.png)", "from the network"),
        ("# A\n\nan odd $x and \\frac left", "LaTeX was left over"),
    ],
)
def test_what_is_wrong_is_named_and_the_old_book_stays(
    project: Project, tmp_path: Path, content: str, message: str
) -> None:
    out = tmp_path / "out"
    build(project(a=notebook("# Before")), out)
    before = (out / "a.html").read_text()
    with pytest.raises(BookError, match=message) as caught:
        build(project(a=notebook(content)), out)
    assert "a." in str(caught.value) and (out / "a.html").read_text() == before
    assert not list(tmp_path.glob(".book-*")), "nothing half written is left"


def test_a_broken_include_of_a_page_fails_though_mdbook_exits_with_0(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"), b="# B\n\n{{#include missing.md}}")
    with pytest.raises(BookError, match=r"missing\.md"):
        build(root, tmp_path / "out")


def test_a_warning_of_mdbook_fails_the_build(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"))
    (root / "book.toml").write_text(
        (root / "book.toml").read_text() + '\n[preprocessor.other]\ncommand = "no-such-command"\noptional = true\n'
    )
    with pytest.raises(BookError, match="mdbook failed"):
        build(root, tmp_path / "out")


def test_a_preprocessor_that_crashes_at_its_first_question_is_found(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mdBook then skips it in silence, renders raw JSON and exits with 0; the pages give it away."""
    crash = subprocess.run

    def run(command: list, **options: object) -> object:
        options["env"] = options["env"] | {
            "MDBOOK_PREPROCESSOR__GENLAB__COMMAND": f'"{sys.executable}" -c "raise SystemExit(1)"'
        }
        return crash(command, **options)

    monkeypatch.setattr(__main__.subprocess, "run", run)
    with pytest.raises(BookError, match=r"raw JSON|mdbook failed"):
        build(project(a=notebook("# A")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_page_of_raw_json_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<p>{"cells": [{"cell_type": "markdown"}], "nbformat": 4}</p>')
    assert "raw JSON" in check.check(tmp_path, ["a.html"])[0]


def test_a_page_that_is_missing_and_a_style_sheet_that_calls_out_are_found(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text('@import "https://example.org/font.css"')
    faults = check.check(tmp_path, ["a.html"])
    assert faults[0] == "a.html: the page was not rendered" and "from the network" in faults[1]


def test_a_summary_that_names_a_missing_notebook_fails(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"))
    (root / "notebooks/SUMMARY.md").write_text("# Summary\n\n- [a](a.ipynb)\n- [b](b.ipynb)\n")
    with pytest.raises(BookError, match=r"b\.ipynb"):
        build(root, tmp_path / "out")


def test_invalid_json_fails_with_the_name_on_the_command_line(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"))
    (root / "notebooks/a.ipynb").write_text('{"cells": [')
    command = [sys.executable, "-m", "genlab.book", "build", "--root", str(root), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (
        done.returncode == 1
        and "a.ipynb: this is not a valid notebook" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_a_folder_without_a_book_is_said(tmp_path: Path) -> None:
    with pytest.raises(BookError, match=r"no book\.toml"):
        build(tmp_path, tmp_path / "out")


def test_the_real_book_has_every_chapter(real_book: Path) -> None:
    pages = __main__._pages(ROOT)
    assert len(pages) >= 12 and all((real_book / page).exists() for page in pages)
    assert check.check(real_book, pages) == []
