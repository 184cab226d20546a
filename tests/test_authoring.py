"""One exercise a file: found by its name, and told what is missing before readers see it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genlab import exercises
from genlab.exercises import __main__ as command
from genlab.exercises import authoring, log, mutants, shelf
from genlab.exercises.authoring import findings, read

GOOD = shelf.file("05.1")


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    """A chapter's folder with one good exercise, and a notebook that shows it."""
    folder = tmp_path / "ch05"
    folder.mkdir()
    (folder / GOOD.name).write_text(GOOD.read_text(encoding="utf-8"), encoding="utf-8")
    notebook(tmp_path, shelf.find("05.1").cell)
    return folder


def notebook(
    folder: Path, stub: str, imports: str = "import torch\nfrom genlab.exercises import check, exercise"
) -> None:
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
        for i, source in enumerate([imports, 'exercise("05.1")', stub])
    ]
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "05_a.ipynb").write_text(json.dumps(content), encoding="utf-8")


def missing(chapter: Path) -> list[str]:
    return [f.text for f in findings(chapter / GOOD.name, chapter.parent) if f.good is False]


def changed(chapter: Path, *replacements: tuple[str, str]) -> list[str]:
    """What is missing in the good exercise after these replacements."""
    path = chapter / GOOD.name
    text = path.read_text(encoding="utf-8")
    for old, new in replacements:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    return missing(chapter)


def test_a_good_copy_lacks_nothing(chapter: Path) -> None:
    found = list(findings(chapter / GOOD.name, chapter.parent))
    assert [str(f)[0] for f in found] == ["✓"] * 10


SOLUTION = "return 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)\n"
TASK = shelf.find("05.1").task
INPUTS = "torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)"
# A fault, how to make it, and what is said of it.
FAULTS: dict[str, tuple[list[tuple[str, str]], str]] = {
    "number": ([('"05.1"', '"05.2"')], "the file's name says 05.1, but number='05.2'"),
    "short task": ([(TASK, "Write the KL.")], "the task has ten words or fewer"),
    "short hint": ([(shelf.find("05.1").hints[0].replace("\\", "\\\\"), "Think.")], "a hint is shorter"),
    "minutes": ([("minutes=5", "minutes=0")], "minutes must be positive"),
    "no docstring": ([('    """KL(N(mu', '    # """KL(N(mu')], "the solution has no docstring"),
    "long line": ([("per example: (n, d)", f"per example: {'(n, d) ' * 9}")], "longer than 88 characters"),
    "same name": ([('"the wrong sign"', '"one half is missing"')], "two mistakes have the same name"),
    "short message": (
        [("This is twice the KL: the one half is missing.", "Twice the KL.")],
        "the message of 'one half is missing' has four words or fewer",
    ),
    "arguments": ([(INPUTS, INPUTS + ", 1")], "kl_to_standard() takes 2 positional arguments but 3 were given"),
    "stub": (
        [("def kl_to_standard(mu, logvar)", "def kl_to_standard(mu, logvar, turn=torch.pi)")],
        "it cannot be checked: NameError: name 'torch' is not defined",
    ),
    "inputs": (
        [(INPUTS, "torch.randn(5, 3, generator=g)[7]")],
        "the solution fails: exercise 05.1 is broken: IndexError",
    ),
    "error": ([(SOLUTION, SOLUTION.replace("mu**2", "nu**2"))], "NameError: name 'nu' is not defined"),
    "random": (
        [
            (SOLUTION, SOLUTION.rstrip() + " + next(_COUNT)\n"),
            ("def kl_to", "_COUNT = iter(range(10**9))\n\n\ndef kl_to"),
        ],
        "the solution does not pass",
    ),
    "right": (
        [("return torch.distributions.kl_divergence(q, p).sum(1)", "return mu.sum(1)")],
        "the right answer _kl_by_distributions is not accepted",
    ),
    "wrong accepted": (
        [("lambda mu, logvar: (logvar.exp() + mu**2 - 1 - logvar).sum(1)", "kl_to_standard")],
        "the mistake 'one half is missing' is right: add a probe",
    ),
    "two alike": (
        [("lambda mu, logvar: -0.5 * (", "lambda mu, logvar: (")],
        "'the wrong sign' gets the message of 'one half is missing'",
    ),
    "helper": (
        [(SOLUTION, "return _half(logvar.exp() + mu**2 - 1 - logvar)\n\n\ndef _half(x):\n    return 0.5 * x.sum(1)\n")],
        "the solution uses _half of its file",
    ),
    "import": (
        [("import torch\n", "import math\n\nimport torch\n"), (SOLUTION, SOLUTION.replace("0.5", "math.cos(0) / 2"))],
        "imports cell lacks what the solution uses: math",
    ),
    "stub of the notebook": (
        [("per example: (n, d)", "for every example: (n, d)")],
        "another stub; it must be\n\n    def kl",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_told_with_its_remedy(chapter: Path, fault: str) -> None:
    replacements, said = FAULTS[fault]
    told = changed(chapter, *replacements)
    assert any(said in text for text in told), told


def test_a_check_that_looks_away_is_told_which_changes_it_accepts(
    chapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survivor = "def kl_to_standard(mu, logvar):\n    return 0"
    monkeypatch.setattr(authoring.mutants, "score", lambda exercise: mutants.Score(18, [survivor]))
    (told,) = missing(chapter)
    assert told.startswith("less than 95% is too little: add probes, or inputs that vary more. 18 of 19 changes")
    assert survivor.replace("\n", "\n    ") in told
    monkeypatch.setattr(authoring.mutants, "score", lambda exercise: mutants.Score(19, [survivor]))
    assert missing(chapter) == []


def test_numbers_that_do_not_follow_each_other_are_named(chapter: Path) -> None:
    for name in ("e02_a.py", "e02_b.py", "e04_c.py"):
        (chapter / name).write_text("", encoding="utf-8")
    assert "numbers that two files have: 2" in missing(chapter)[0]
    (chapter / "e02_b.py").unlink()
    assert "numbers that no file has: 3" in missing(chapter)[0]


def test_a_file_with_another_name_is_told_how_to_be_called(chapter: Path) -> None:
    path = chapter / "kl.py"
    (chapter / GOOD.name).rename(path)
    found = [f.text for f in findings(path, chapter.parent)]
    assert found[0] == "the file is ch05/kl.py: name it ch05/e01_short_title.py"


def test_the_notebook_must_show_it_once(chapter: Path) -> None:
    (chapter.parent / "05_a.ipynb").rename(chapter.parent / "06_a.ipynb")
    assert "there is no notebook" in missing(chapter)[0]
    notebook(chapter.parent, "pass")
    assert "is followed by another stub" in missing(chapter)[0]
    content = json.loads((chapter.parent / "05_a.ipynb").read_text(encoding="utf-8"))
    content["cells"].pop(1)
    (chapter.parent / "05_a.ipynb").write_text(json.dumps(content), encoding="utf-8")
    assert 'shows it 0 times: show it once, by a cell exercise("05.1")' in missing(chapter)[0]
    *_, last = findings(chapter / GOOD.name, chapter / "none")
    assert last.good is None and "in the project's folder" in last.text


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "syntax": (lambda text: text.replace("EXERCISE = Exercise(", "EXERCISE = = Exercise("), "SyntaxError"),
    "name": (lambda text: text + "\nmissing\n", "NameError: name 'missing' is not defined"),
    "field": (lambda text: text.replace("    minutes=5,\n", ""), "'minutes'"),
    "hints": (lambda text: text.replace("difficulty=1", "difficulty=7"), "a difficulty of 1, 2 or 3"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(chapter: Path, kind: str) -> None:
    path = chapter / GOOD.name
    breaks, said = BROKEN[kind]
    path.write_text(breaks(path.read_text(encoding="utf-8")), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").splitlines()
    wanted = len(lines) if kind == "name" else 1 + next(i for i, x in enumerate(lines) if x.startswith("EXERCISE"))
    with pytest.raises(ValueError, match=rf"e01_kl_term\.py, line {wanted}: ") as error:
        read(path)
    assert said in str(error.value)


def test_a_file_without_an_exercise_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "e01_a.py").write_text("EXERCISES = []", encoding="utf-8")
    with pytest.raises(ValueError, match=r"has no EXERCISE; end it with"):
        read(tmp_path / "e01_a.py")


def test_the_command_ends_with_1_when_anything_is_missing(
    chapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(chapter.parent)
    (chapter.parent / "notebooks").mkdir()
    (chapter.parent / "05_a.ipynb").rename(chapter.parent / "notebooks" / "05_a.ipynb")
    assert command.main([f"ch05/{GOOD.name}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing is missing"
    assert command.main(["05.99"]) == 1
    assert "✗ there is no exercise '05.99'; chapter 05 has 05.1" in capsys.readouterr().out
    assert command.main(["nowhere.py", "5.1"]) == 1
    said = capsys.readouterr().out
    assert "✗ there is no file nowhere.py" in said and "✓ the stub is not attempted" in said, "the others are checked"
    assert command.main([]) == 2


# ------------------------------------------------------------------------------------------------- where they are found


def test_every_file_of_a_chapter_is_an_exercise_whose_number_is_its_name() -> None:
    folder = Path(exercises.__file__).parent
    paths = {path for path in folder.glob("ch*/*.py") if path.name != "__init__.py"}
    assert {shelf.file(e.number) for e in shelf.every()} == paths
    assert all(shelf.number_of(shelf.file(e.number)) == e.number for e in shelf.every())


def test_one_chapter_is_imported_without_the_others_and_counting_imports_none() -> None:
    program = """
import sys
from genlab.exercises import log, shelf
mine = lambda: sorted(n for n in sys.modules if n.startswith("genlab.exercises.ch"))
log.table()
print(len(mine()))
shelf.find("05.1")
print(*mine())
shelf.of("A1")
print({n.split(".")[2] for n in mine()} == {"ch05", "cha1"})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout == "0\ngenlab.exercises.ch05 genlab.exercises.ch05.e01_kl_term\nTrue\n"


@pytest.mark.parametrize(
    ("typed", "number"),
    [("5.1", "05.1"), (5.1, "05.1"), (" 05.1 ", "05.1"), ("a1.1", "A1.1"), ("9.10", "09.10"), ("9.1", "09.1")],
)
def test_numbers_are_found_as_people_type_them(typed: object, number: str) -> None:
    assert shelf.find(typed).number == number


def test_a_chapter_is_found_as_people_type_it() -> None:
    assert shelf.of(5) == shelf.of("5") == shelf.of(" 05") and shelf.numbers("a1") == shelf.numbers("A1")


def test_a_float_that_may_be_two_numbers_is_refused_and_nonsense_too() -> None:
    with pytest.raises(ValueError, match=r"9\.1 may be 09\.1 or 09\.10; write the number in quotes"):
        shelf.find(9.1)
    for nonsense in ("five", "", "5.", "005.1", None):
        with pytest.raises(ValueError, match=r"is no number of an exercise or chapter; write it like 05\.2"):
            shelf.find(nonsense)
    with pytest.raises(ValueError, match=r"there is no exercise '05'; chapter 05 has 05\.1"):
        shelf.find(5)


def test_an_event_is_kept_under_the_number_as_the_course_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_PROGRESS", str(tmp_path / "progress.jsonl"))
    exercises.check("5.1", shelf.find("05.1").solution)
    assert log.states()["05.1"].solved
    log.reset("5")
    assert log.states() == {}


def test_the_decorator_keeps_name_message_and_function() -> None:
    made = exercises.mistake("a name", "a message")(abs)
    assert made == exercises.Wrong("a name", "a message", abs)


def test_the_share_of_mutants_is_judged_within_a_second_each(chapter: Path) -> None:
    before = authoring.engine.LIMIT
    missing(chapter)
    assert before == authoring.engine.LIMIT
