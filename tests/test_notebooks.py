"""Every notebook keeps the rules; every rule catches what it is for; nbval turns red on a wrong output."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from genlab.exercises import shelf
from genlab.tools import notebooks
from tests import notebook_lint as lint

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_there_are_notebooks_and_the_summary_lists_them_all() -> None:
    listed = re.findall(r"\(([^)]+\.ipynb)\)", (FOLDER / "SUMMARY.md").read_text(encoding="utf-8"))
    assert len(NOTEBOOKS) >= 3 and sorted(listed) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("rule", lint.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_keeps_the_rules(path: Path, rule: lint.Rule) -> None:
    assert rule(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_is_small_and_tidy(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert path.stat().st_size < lint.LIMIT
    assert notebooks.tidy(copy.deepcopy(notebook)) == notebook, "store it with `make notebooks`"


TITLE = (
    "# 99 · A test\n\nA promise.\n\n**Read** 1 min · **Run** 1 s · **Difficulty** ●○○ · **Needs** nothing\n\n"
    "## You will be able to\n\n- see"
)
END = "## Exercises\n\nx\n\n## What you now know\n\nx\n\n## References\n\n[arXiv](https://arxiv.org/abs/1312.6114)"


def good() -> NotebookNode:
    """A small notebook that keeps every rule."""
    alt = "A line that rises from left to right."
    metadata = {"image/png": {"alt": alt}}
    figure = new_output("display_data", {"image/png": "AAAA", "text/plain": f"Figure: {alt}"}, metadata=metadata)
    tasks = [source for e in shelf.of("05") for source in (f'exercise("{e.number}")', e.cell)]
    cells = [
        new_markdown_cell(TITLE),
        new_code_cell(notebooks.install_cell(FOLDER.parent / "book.toml"), execution_count=1),
        new_code_cell("import math", execution_count=2),
        new_code_cell(
            "print(math.floor(2.5))", execution_count=3, outputs=[new_output("stream", name="stdout", text="2\n")]
        ),
        new_code_cell("f()", execution_count=4, outputs=[figure]),
        *(new_code_cell(source, execution_count=i) for i, source in enumerate(tasks, 5)),
        new_markdown_cell(END),
    ]
    return new_notebook(cells=cells)


def say(notebook: NotebookNode, text: str, name: str = "stdout") -> None:
    notebook.cells[3].outputs = [new_output("stream", name=name, text=text)]


def change(name: str, notebook: NotebookNode) -> None:
    """Break one rule."""
    title, install, *rest = notebook.cells
    cells = [title, *rest]
    if name == "executed_in_order":
        cells[2].execution_count = None
    elif name == "no_errors":
        cells[2].outputs = [new_output("error", ename="ValueError", evalue="x", traceback=[])]
    elif name == "no_stderr":
        say(notebook, "x", "stderr")
    elif name == "no_warnings":
        say(notebook, "UserWarning: x")
    elif name == "ignored_with_reason":
        cells[2].metadata = {"tags": ["nbval-ignore-output"]}
    elif name == "known_tags":
        cells[2].metadata = {"tags": ["nbval-skip"]}
    elif name == "figures_have_alt_text":
        cells[3].outputs[0].metadata = {}
    elif name == "no_machine_paths":
        say(notebook, "/home/me/x")
    elif name == "nothing_that_changes":
        say(notebook, "<object at 0x7f2b3c4d5e6f>")
    elif name == "plain_python":
        cells[2].source = "%matplotlib inline"
    elif name == "one_imports_cell":
        cells[2].source = "from math import pi"
    elif name == "starts_by_installing":
        install.source += "\nprint(1)"
    elif name == "imports_are_used":
        cells[1].source = "import math\nfrom math import pi"
    elif name == "prose_names_what_is_there":
        cells[0].source += '\n\nCall `hint("05.1")`.'
    elif name == "links_lead_somewhere":
        cells[0].source += "\n\nSee [02](02_probability.ipynb)."
    elif name == "short_cells":
        cells[2].source = "x = 1\n" * 21
    elif name == "fits_the_column":
        cells[2].source = f"x = {'1' * 85}"
    elif name == "live_figures_keep_their_names":
        cells[2].source = "a = 1\n\n\ndef f():\n    return a\n\n\nslider.observe(lambda change: f())"
        cells[3].source += "\na = 2"
    elif name == "sections_in_order":
        cells[-1].source = END.replace("## Exercises", "## Problems")
    elif name == "exercises_are_those_of_the_course":
        cells[5].source = cells[5].source.replace("return NotImplemented", "return 0")


@pytest.mark.parametrize("rule", lint.RULES, ids=lambda rule: rule.__name__)
def test_every_rule_passes_a_good_notebook_and_catches_a_bad_one(rule: lint.Rule) -> None:
    assert rule(good()) == []
    bad = good()
    change(rule.__name__, bad)
    assert rule(bad) != []


WRONG_TEXTS = {
    "no_machine_paths": ["/root/x", "saved to /tmp/y.png", "C:\\Users\\me\\x.png", "/work/a", "'/Users/me/x'"],
    "nothing_that_changes": ["0x7f2b3c4d5e6f", "123e4567-e89b-42d3-a456-426614174000", "200/200 [00:01, 150it/s]"],
    "no_warnings": ["Warning: x", "DeprecationWarning: old"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, every in WRONG_TEXTS.items() for text in every])
def test_rules_on_what_is_printed_catch_each_kind(name: str, text: str) -> None:
    notebook = good()
    say(notebook, text)
    assert getattr(lint, name)(notebook) != []


def test_mathematics_and_web_addresses_are_no_paths() -> None:
    notebook = good()
    notebook.cells[0].source += "\n\n$G:\\mathcal{Z} \\to X$, [a page](https://a.org/home/b), n/tmp"
    assert lint.no_machine_paths(notebook) == []


@pytest.mark.parametrize("source", ["from math import *", "import sys\nsys.path.append('x')", "!ls", "%%time\nx = 1"])
def test_code_that_is_no_plain_python_is_caught(source: str) -> None:
    notebook = good()
    notebook.cells[3].source = source
    assert lint.plain_python(notebook) != []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# 99 · A test", "# A test"),
        ("A promise.", ""),
        ("**Run** 1 s · ", ""),
        ("## You will be able to", "## Goals"),
        ("## What you now know", "## Summary"),
        ("## References", "## Further reading"),
        ("arxiv.org/abs/1312.6114", "example.org"),
        ("## Exercises", "## Problems"),
    ],
)
def test_each_missing_part_of_a_chapter_is_caught(old: str, new: str) -> None:
    notebook = good()
    for cell in (notebook.cells[0], notebook.cells[-1]):
        cell.source = cell.source.replace(old, new)
    assert lint.sections_in_order(notebook) != []


def test_sections_in_another_order_are_caught() -> None:
    notebook = good()
    head, tail = notebook.cells[-1].source.split("## What you now know")
    notebook.cells[-1].source = f"## What you now know{tail}\n\n{head}"
    assert lint.sections_in_order(notebook) != []


def test_alt_text_that_is_short_or_not_repeated_is_caught() -> None:
    short, other = good(), good()
    short.cells[4].outputs[0].metadata["image/png"]["alt"] = "A line."
    short.cells[4].outputs[0].data["text/plain"] = "Figure: A line."
    other.cells[4].outputs[0].data["text/plain"] = "<Figure size 800x300>"
    assert lint.figures_have_alt_text(short) and lint.figures_have_alt_text(other)


def test_more_than_15_percent_ignored_is_caught() -> None:
    notebook = good()
    for cell in notebook.cells[1:5]:
        cell.metadata = {"tags": ["nbval-ignore-output"], "reason": "x"}
    assert "15 %" in lint.ignored_with_reason(notebook)[0]


def test_an_exercise_that_is_missing_or_out_of_order_is_caught() -> None:
    short, swapped, few = good(), good(), good()
    del short.cells[5:7]
    swapped.cells[5:9] = [*swapped.cells[7:9], *swapped.cells[5:7]]
    del few.cells[5:-1]
    for notebook, fault in ((short, "the chapter has"), (swapped, "the chapter has"), (few, "five or more")):
        assert fault in lint.exercises_are_those_of_the_course(notebook)[-1]


def write(folder: Path, *sources: str) -> Path:
    path = folder / "99_small.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "-q",
        str(path),
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=path.parent, encoding="utf-8")


def test_nbval_is_green_on_a_stored_notebook_and_red_when_an_output_is_corrupted(tmp_path: Path) -> None:
    path = write(tmp_path, "x = 20", "print('✓', x + 1)\nx + 2")
    notebooks.store(path)
    green = nbval(path)
    assert green.returncode == 0 and "2 passed" in green.stdout
    path.write_text(path.read_text(encoding="utf-8").replace("✓ 21", "✓ 22"), encoding="utf-8")
    red = nbval(path)
    assert red.returncode == 1 and "1 failed" in red.stdout


def test_nbval_is_red_when_an_output_of_a_real_notebook_is_corrupted(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    notebook.cells = notebook.cells[:7]  # up to the first claims: quick, and it imports what the course imports
    claim = next(o for c in notebook.cells for o in c.get("outputs", []) if "✓" in o.get("text", ""))
    path = tmp_path / NOTEBOOKS[0].name
    nbformat.write(notebook, path)
    assert nbval(path).returncode == 0
    claim.text = claim.text.replace("✓", "✗", 1)
    nbformat.write(notebook, path)
    assert nbval(path).returncode == 1


def test_a_notebook_that_fails_is_named_and_left_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "x = 1", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(notebooks.Failed, match=r"(?s)99_small\.ipynb, cell 1:.*1 / 0.*ZeroDivisionError"):
        notebooks.store(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_notebook_that_writes_to_stderr_is_refused(tmp_path: Path) -> None:
    with pytest.raises(notebooks.Failed, match="writes to stderr"):
        notebooks.store(write(tmp_path, "import sys\nprint('x', file=sys.stderr)"))


@pytest.mark.parametrize(
    ("source", "error"), [("import os\nos._exit(3)", "DeadKernelError"), ("while True: pass", "CellTimeoutError")]
)
def test_a_cell_that_ends_the_kernel_or_takes_for_ever_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: str
) -> None:
    monkeypatch.setattr(notebooks, "TIMEOUT", 2)
    with pytest.raises(notebooks.Failed, match=rf"(?s)99_small\.ipynb, cell 1:.*{error}"):
        notebooks.execute(write(tmp_path, "x = 1", source, "x = 2"))


def test_notebooks_run_in_this_interpreter_whatever_kernels_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["no-such-python"], "display_name": "another", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    notebook = notebooks.execute(write(tmp_path, "import sys\nprint(sys.executable)"))
    assert notebook.cells[0].outputs[0].text.strip() == sys.executable


def test_a_folder_without_notebooks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert notebooks.main([]) == 2


def test_an_unknown_notebook_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert notebooks.main(["77"]) == 2
    error = capsys.readouterr().err
    assert "'77'" in error and error.count("\n") == 1
