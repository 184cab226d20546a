"""What an installation brings: every file of the package, and the cell with which notebooks install it elsewhere."""

import importlib.util
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from packaging.requirements import Requirement

from genlab.tools import notebooks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
ADDRESS = "https://github.com/someone/genlab"
CELL = notebooks.INSTALL.replace("ADDRESS", ADDRESS)


def test_a_wheel_holds_every_file_of_the_package() -> None:
    """Folders with code are packages, and all that is no code fits a pattern of the package's data."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    patterns = settings["package-data"]["genlab"]
    files = [p for p in (ROOT / "genlab").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert len(files) > 100
    for path in files:
        name = path.relative_to(ROOT / "genlab").as_posix()
        if path.suffix == ".py":
            assert (path.parent / "__init__.py").exists(), f"genlab/{name} is in no package"
        else:
            assert any(fnmatch(name, p) and name.count("/") == p.count("/") for p in patterns), f"no wheel has {name}"


@pytest.mark.parametrize("line", ['git-repository-url = "{}"', '# git-repository-url = "{}" adds a link.'])
def test_the_address_is_the_one_that_the_book_names(line: str, tmp_path: Path) -> None:
    book = tmp_path / "book.toml"
    book.write_text(f"[output.html]\n{line.format(ADDRESS)}\n", encoding="utf-8")
    assert notebooks.install_cell(book) == CELL
    book.write_text("[output.html]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"book\.toml names no git-repository-url"):
        notebooks.install_cell(book)


@pytest.mark.parametrize("here", [True, False])
def test_the_cell_installs_where_the_package_is_missing_and_does_nothing_else(
    here: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    called: list[list[str]] = []
    found = importlib.util.find_spec

    def run(command: list[str], *, check: bool) -> None:
        assert check
        called.append(command)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found(name) if here else None)
    before = set(sys.modules)
    exec(compile(CELL, "cell", "exec"), {})
    assert set(sys.modules) == before and "".join(capfd.readouterr()) == ""
    if here:
        assert called == []
    else:
        ((*pip, requirement),) = called
        assert pip == [sys.executable, "-m", "pip", "install", "--quiet"]
        assert Requirement(requirement).name == "genlab" and Requirement(requirement).url == f"git+{ADDRESS}"


def write(folder: Path, *sources: str) -> Path:
    path = folder / "99_small.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A title"), *map(new_code_cell, sources)]), path)
    return path


def test_the_cell_changes_a_stored_notebook_as_a_run_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = ("x = 20", "print('✓', x)", "x + 2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book.toml").write_text(f'git-repository-url = "{ADDRESS}"\n', encoding="utf-8")
    stored = write(tmp_path / "notebooks", *sources)
    notebooks.store(stored)
    assert notebooks.main(["--install"]) == 0
    found = nbformat.read(stored, as_version=4)
    assert found == notebooks.execute(write(tmp_path, CELL, *sources))
    assert [cell.execution_count for cell in found.cells[1:]] == [1, 2, 3, 4]
    assert found.cells[4].outputs[0].execution_count == 4 and found.cells[1].outputs == []
    once = stored.read_bytes()
    assert notebooks.main(["--install", "99"]) == 0
    assert stored.read_bytes() == once


def test_another_address_replaces_the_one_in_the_cell() -> None:
    notebook: Any = new_notebook(cells=[new_code_cell(CELL, execution_count=1), new_code_cell("x", execution_count=2)])
    other = CELL.replace("someone", "another")
    changed = notebooks.with_install_cell(notebook, other)
    assert [(cell.source, cell.execution_count) for cell in changed.cells] == [(other, 1), ("x", 2)]


def test_without_a_book_nothing_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert notebooks.main(["--install"]) == 2
    assert "book.toml" in capsys.readouterr().err


def test_the_cell_keeps_the_rules_of_every_cell() -> None:
    lines = CELL.splitlines()
    assert len(lines) <= 8 and max(map(len, lines)) <= 88
