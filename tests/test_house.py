"""The house: imports go down, no circles, short files and functions, encodings named, one meaning a name."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from genlab import runs

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "genlab"
FILES = sorted(PACKAGE.rglob("*.py"))
# From the ground up; a file may import from its own floor and from those below it.
FLOORS = (
    ("machine", "text", "processes"),
    (
        "arithmetic",
        "densities",
        "data",
        "nets",
        "linear",
        "vae",
        "vq",
        "gan",
        "autoregressive",
        "coding",
        "flows",
        "diffusion",
        "samplers",
        "policy",
        "train",
        "checkpoint",
        "metrics",
        "diagnosis",
        "verify",
        "plot",
    ),
    ("runs",),
    ("zoo", "protocol", "studies"),
    ("exercises", "figures"),
    ("book", "tools"),
    ("__main__",),
)
FREE = {"__init__"}  # it imports each module when it is asked for
LONG_FILES: dict[str, str] = {}  # path: why it may have more than 400 lines
LONG_FUNCTIONS: dict[str, str] = {}  # path:name: why it may have more than 40 lines of code
SOLUTIONS = re.compile(r"genlab/exercises/ch\w+/")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST, *, late: bool) -> Iterator[str]:
    """The modules of genlab that a file imports; with `late` also those that a function imports when it runs."""
    for node in ast.iter_child_nodes(tree):
        if is_typing(node):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("genlab."))
        elif isinstance(node, ast.ImportFrom) and node.module == "genlab":
            yield from (
                f"genlab.{alias.name}"
                for alias in node.names
                if (PACKAGE / alias.name).exists() or (PACKAGE / f"{alias.name}.py").exists()
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genlab."):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (i if (ROOT / Path(*i.split("."))).with_suffix(".py").exists() else node.module for i in inner)
        elif late or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports(node, late=late)


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}


def test_every_room_has_a_floor() -> None:
    rooms = {room(name_of(path)) for path in FILES} - FREE
    assert rooms <= FLOOR.keys(), f"give {sorted(rooms - FLOOR.keys())} a floor in this test and in CONTRIBUTING.md"


def test_imports_go_down() -> None:
    against = [
        f"{path.relative_to(ROOT)} imports {target}"
        for path, tree in TREES.items()
        if (mine := room(name_of(path))) not in FREE
        for target in imports(tree, late=True)
        if FLOOR[room(target)] > FLOOR[mine]
    ]
    assert against == []


def test_nothing_imports_in_a_circle() -> None:
    """Neither file by file, nor room by room, nor by an import inside a function, which only hides a circle."""
    by_file = {name_of(path): set(imports(tree, late=True)) - {name_of(path)} for path, tree in TREES.items()}
    # A folder's __init__ hands on what its files define, and its files may ask the list of families for their own.
    by_room: dict[str, set[str]] = {}
    for name, targets in by_file.items():
        by_room.setdefault(room(name), set()).update(room(t) for t in targets if room(t) != room(name))
    eager = {name_of(path): set(imports(tree, late=False)) - {name_of(path)} for path, tree in TREES.items()}
    for graph in (eager, by_room):
        assert circle(graph) == []


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A path that leads back to its start, or nothing."""
    state: dict[str, int] = {}

    def walk(node: str, path: list[str]) -> list[str]:
        state[node] = 1
        for target in sorted(graph.get(node, ())):
            if state.get(target) == 1:
                return [*path, node, target]
            if target not in state and (found := walk(target, [*path, node])):
                return found
        state[node] = 2
        return []

    return next((found for node in sorted(graph) if node not in state and (found := walk(node, []))), [])


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the definition to the end, without the docstring."""
    doc = function.body[0] if ast.get_docstring(function) is not None else None
    return (
        (function.end_lineno or 0)
        - function.lineno
        + 1
        - ((doc.end_lineno or 0) - doc.lineno + 1 if doc is not None else 0)
    )


def test_files_and_functions_are_short() -> None:
    long = []
    for path, tree in TREES.items():
        name, lines = path.relative_to(ROOT).as_posix(), len(path.read_text(encoding="utf-8").splitlines())
        if lines > 400 and name not in LONG_FILES:
            long.append(f"{name}: {lines} lines")
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        long += [
            f"{name}:{node.name}: {code_lines(node)} lines of code"
            for node in functions
            if code_lines(node) > 40 and f"{name}:{node.name}" not in LONG_FUNCTIONS
        ]
    assert long == []


OPENERS = {"open", "read_text", "write_text"}


def unnamed(tree: ast.AST) -> list[int]:
    """Lines that open a text file, or read a process as text, and leave the encoding to the machine."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        keywords = {k.arg: k.value for k in node.keywords}
        words = [
            v.value
            for v in [*node.args, *keywords.values()]
            if isinstance(v, ast.Constant) and isinstance(v.value, str)
        ]
        named = "encoding" in keywords or "utf-8" in words
        binary = any(re.fullmatch(r"[rwaxt+]*b[rwaxt+]*", word) for word in words)
        of_a_library = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in (
            "Image",
            "gzip",
            "os",
            "webbrowser",
        )
        if called in OPENERS and not named and not binary and not of_a_library:
            found.append(node.lineno)
        if "text" in keywords and not named and called in ("run", "Popen", "check_output"):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("folder", ["genlab", "tests", ".ci"])
def test_text_is_read_and_written_as_utf_8_by_name(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in unnamed(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert wrong == []


def test_the_search_for_encodings_sees_what_it_should() -> None:
    for bad in ("open(p)", "p.open('a')", "p.read_text()", "p.write_text(x)", "subprocess.run(c, text=True)"):
        assert unnamed(ast.parse(bad)) == [1], bad
    for good in ("open(p, 'rb')", "p.open('ab')", "p.read_text(encoding='utf-8')", "Image.open(p)", "p.read_bytes()"):
        assert unnamed(ast.parse(good)) == [], good


SPLIT = ("load", "evaluate", "player", "players", "Recipe", "Run", "Settings", "diagnosis", "verify")


@pytest.mark.parametrize("name", SPLIT)
def test_a_name_means_one_thing(name: str) -> None:
    """Public functions, classes and modules of one name stand in one place, or are the same thing of several models."""
    found = [name_of(path) for path in FILES if path.stem == name]
    for path, tree in TREES.items():
        if SOLUTIONS.search(path.as_posix()):
            continue
        found += [
            f"{name_of(path)}.{node.name}"
            for node in ast.iter_child_nodes(tree)
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
        ]
    one = {
        "load": {"genlab.zoo.load"},
        "evaluate": {  # the metrics of a trained network: the command, the function, and each family's part in it
            "genlab.__main__.evaluate",
            "genlab.runs.evaluate",
            *(f"genlab.runs.{family}.evaluate" for family in runs.FAMILIES),
        },
        "player": {  # a model as one player
            *(f"genlab.{room}.player" for room in ("vae", "vq", "autoregressive", "flows", "diffusion", "policy")),
        },
        "players": {"genlab.gan.game.players"},
        "Run": {"genlab.runs.base.Run"},
        "Settings": {"genlab.runs.settings.Settings"},
        "diagnosis": {"genlab.diagnosis"},
        "verify": {"genlab.verify"},
    }
    assert set(found) == one.get(name, set())


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_git_ignores_no_file_of_the_package() -> None:
    """A rule for what runs leave behind, "runs/", also meant genlab/runs: only the copy at hand had it."""
    names = [path.relative_to(ROOT).as_posix() for path in FILES]
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.stdout.split() == []
