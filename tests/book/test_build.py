"""The build fails loudly: mdBook's silent failures are found, and a failed build leaves the old book."""

import html
import http.server
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
    page = (out / "a.html").read_text(encoding="utf-8")
    assert (
        "<math" in page
        and 'href="b.html#some-heading"' in page
        and "STIXTwoMath" in "".join(sheet.read_text(encoding="utf-8") for sheet in out.rglob("*.css"))
    )
    assert (out / "fonts/STIXTwoMath-Regular.ttf").exists() and len(list((out / "images").glob("*.png"))) == 1
    assert (out / "a.ipynb").exists(), "the notebook can be downloaded"


def test_a_failed_build_leaves_the_old_book(project: Project, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(project(a=notebook("# Before")), out)
    before = (out / "a.html").read_text(encoding="utf-8")
    for wrong in ("# A\n\n$\\nonsense{x}$", "# A\n\n![picture](missing.png)"):  # before and after mdBook's rendering
        with pytest.raises(BookError, match=r"a\."):
            build(project(a=notebook(wrong)), out)
        assert (out / "a.html").read_text(encoding="utf-8") == before
        assert not list(tmp_path.glob(".book-*")), "nothing half written is left"


def test_the_preprocessors_message_is_the_whole_message(project: Project, tmp_path: Path) -> None:
    with pytest.raises(BookError) as caught:
        build(project(a=notebook("# A\n\n[here](#nowhere)")), tmp_path / "out")
    assert str(caught.value) == "a.ipynb, cell 0: the link to #nowhere leads to a heading that a.html does not have"


def test_every_fault_of_a_page_is_named(project: Project, tmp_path: Path) -> None:
    """What only the rendered page shows; all of it is found in one go."""
    faults = {
        "<a href='#nowhere'>x</a>": "the link #nowhere leads to a heading or an equation that does not exist",
        "<a href='a.ipynb'>x</a>": "the link a.ipynb opens a notebook's raw JSON; link to its chapter",
        "<a href='../../../../etc'>x</a>": "the link ../../../../etc leads to a page that does not exist",
        "<object data='https://example.org/x'></object>": "loads https://example.org/x from the network",
        "<p style='background: url(//example.org/y)'>x</p>": "loads //example.org/y from the network",
        "![picture](missing.png)": "missing.png does not exist",
        "![](https://example.org/z.png)": "loads https://example.org/z.png from the network",
        "<img src='a.ipynb' alt=' '>": "the image a.ipynb has no alt text",
        "an odd $x and \\frac left": "LaTeX was left over: '\\\\frac'",
    }
    with pytest.raises(BookError) as caught:
        build(project(a=notebook("\n\n".join(["# A", *faults]))), tmp_path / "out")
    said = str(caught.value).splitlines()
    for fault in faults.values():
        assert f"  a.html: {fault}" in said


def test_a_broken_include_of_a_page_fails_though_mdbook_exits_with_0(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"), b="# B\n\n{{#include missing.md}}")
    with pytest.raises(BookError, match=r"missing\.md"):
        build(root, tmp_path / "out")


def test_an_environment_that_silences_mdbook_hides_no_error(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MDBOOK_LOG", "off")
    monkeypatch.setenv("RUST_LOG", "off")
    with pytest.raises(BookError, match=r"missing\.md"):
        build(project(a=notebook("# A"), b="# B\n\n{{#include missing.md}}"), tmp_path / "out")


def test_code_and_text_that_look_like_mdbooks_own_commands_are_shown(project: Project, tmp_path: Path) -> None:
    source = "x = '{{#'\ny = '{{#include a}} {{#include b}}'\nz = '{{ #title t }}'"
    cells = ["# A\n\n## The $\\beta$ case\n\nwith `{{#include c}}`, \\$7 and \\$8", code(source)]
    build(project(a=notebook(*cells)), tmp_path / "out")
    page = (tmp_path / "out/a.html").read_text(encoding="utf-8")
    assert html.escape(source, quote=False) in page and "<code>{{#include c}}</code>, $7 and $8" in page
    assert 'id="the-beta-case"' in page and "<title>a - genlab" in page


def test_a_folder_that_is_no_book_is_never_replaced(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"))
    for out in (root, root / "notebooks", root / "book.toml"):
        with pytest.raises(BookError, match="is no book, so it is left alone"):
            build(root, out)
    assert (root / "notebooks/a.ipynb").exists() and (root / "book.toml").exists()
    build(root, tmp_path / "new/folder/out")
    build(root, tmp_path / "new/folder/out")
    assert (tmp_path / "new/folder/out/a.html").exists()


def test_what_lies_beside_the_notebooks_stays_out_and_their_images_come_in(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A\n\n![a dot](images/mine.png)", code("f()", figure())))
    (root / "notebooks/images").mkdir()
    (root / "notebooks/images/mine.png").write_bytes(b"x")
    (root / "notebooks/conftest.py").write_text("", encoding="utf-8")
    (root / "notebooks/.ipynb_checkpoints").mkdir()
    (root / "notebooks/.ipynb_checkpoints/a-checkpoint.ipynb").write_text("{}", encoding="utf-8")
    build(root, tmp_path / "out")
    assert len(list((tmp_path / "out/images").iterdir())) == 2
    assert not list((tmp_path / "out").rglob("*.py")) and not (tmp_path / "out/.ipynb_checkpoints").exists()


def test_the_server_listens_on_this_machine_only(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve until the first look at the sources, which here is Ctrl-C."""
    seen = []
    real = http.server.ThreadingHTTPServer

    def server(address: tuple[str, int], handler: type) -> object:
        made = real(address, handler)
        seen.append(made)
        return made

    def stop(root: Path) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(http.server, "ThreadingHTTPServer", server)
    monkeypatch.setattr(__main__, "_newest", stop)
    root = project(a=notebook("# A"))
    with pytest.raises(KeyboardInterrupt):
        __main__.serve(root, root, 0)
    with pytest.raises(BookError, match=r"choose another with --port"):
        __main__.serve(root, root, seen[0].server_port)
    assert seen[0].server_address[0] == "127.0.0.1"
    seen[0].shutdown()
    seen[0].server_close()


def test_a_style_sheet_without_its_font_is_found(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text('@font-face { src: url("fonts/gone.ttf") format("truetype"); }', encoding="utf-8")
    assert check.check(tmp_path, []) == ["x.css: fonts/gone.ttf does not exist"]


def test_a_warning_of_mdbook_fails_the_build(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"))
    (root / "book.toml").write_text(
        (root / "book.toml").read_text(encoding="utf-8")
        + '\n[preprocessor.other]\ncommand = "no-such-command"\noptional = true\n',
        encoding="utf-8",
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
    (tmp_path / "a.html").write_text('<p>{"cells": [{"cell_type": "markdown"}], "nbformat": 4}</p>', encoding="utf-8")
    assert "raw JSON" in check.check(tmp_path, ["a.html"])[0]


def test_a_page_that_is_missing_and_a_style_sheet_that_calls_out_are_found(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text('@import "https://example.org/font.css"', encoding="utf-8")
    faults = check.check(tmp_path, ["a.html"])
    assert faults[0] == "a.html: the page was not rendered" and "from the network" in faults[1]


def test_a_summary_that_names_a_missing_notebook_fails(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"))
    (root / "notebooks/SUMMARY.md").write_text("# Summary\n\n- [a](a.ipynb)\n- [b](b.ipynb)\n", encoding="utf-8")
    with pytest.raises(BookError, match=r"b\.ipynb"):
        build(root, tmp_path / "out")


def test_invalid_json_fails_with_the_name_on_the_command_line(project: Project, tmp_path: Path) -> None:
    root = project(a=notebook("# A"))
    (root / "notebooks/a.ipynb").write_text('{"cells": [', encoding="utf-8")
    command = [sys.executable, "-m", "genlab.book", "build", "--root", str(root), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
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
