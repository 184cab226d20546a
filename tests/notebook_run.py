"""The code of a notebook, run in this process: only the cells that one cell needs, and trainings of three steps."""

import ast
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import GeneratorType
from typing import Any

import jaxtyping
import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from sklearn.svm import SVC
from torch.optim.optimizer import register_optimizer_step_post_hook

from genlab import data, exercises, plot, train, verify
from tests.notebook_lint import names_read

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TRAINERS = {"train.train", "plot.watch"}
WHOLE = {"01_from_rules_to_generation"}  # notebooks that count on all the digits
STEPS = ("step", "backward")  # methods by which a loop on the page trains
FEW = 20  # rounds of a loop that measures, at the most: trainings have more


@dataclass(frozen=True)
class Cell:
    """A code cell with the global names that it reads and gives values to."""

    number: int
    source: str
    reads: set[str]
    gives: set[str]
    changes: set[str]  # in place: x.append(…), x[…] = …
    functions: dict[str, set[str]]  # the global names that its functions and classes read, when they are called
    calls: set[str]
    calls_of: dict[str, set[str]]

    def needs(self, functions: dict[str, set[str]]) -> set[str]:
        """All names that must have values before the cell runs, also those that the functions it calls read."""
        functions = functions | self.functions
        found, ahead = set(self.reads), self.reads | self.gives
        while ahead:
            ahead = set().union(*(functions.get(name, set()) for name in ahead)) - found - self.gives
            found |= ahead
        return found


def read_cells(path: Path) -> list[Cell]:
    """The code cells of a notebook, without its exercises' tasks."""
    notebook = nbformat.read(path, as_version=4)
    numbered = [(i, cell.source) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    return [_cell(i, source) for i, source in numbered if source.strip() and not source.startswith("exercise(")]


def _cell(number: int, source: str) -> Cell:
    tree, table = ast.parse(source), symtable.symtable(source, "cell", "exec")
    defined = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    body = [n for n in tree.body if not isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return Cell(
        number=number,
        source=source,
        reads=_read_first(tree.body),
        gives={s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()},
        changes=_changed(tree),
        functions={
            child.get_name(): names_read(child) for child in table.get_children() if child.get_name() in defined
        },
        calls=_calls(body),
        calls_of={n.name: _calls([n]) for n in tree.body if isinstance(n, ast.FunctionDef)},
    )


def _read_first(body: list[ast.stmt]) -> set[str]:
    """The names that a cell reads before it gives them values; those that its functions read do not count here."""
    found: set[str] = set()
    given: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            given.add(statement.name)
            continue
        within = [n for n in ast.walk(statement) if isinstance(n, ast.Name)]
        bound = {n.id for part in ast.walk(statement) for n in _bound(part)}
        found |= {n.id for n in within if isinstance(n.ctx, ast.Load)} - given - bound
        if isinstance(statement, ast.AugAssign):
            found |= {n.id for n in ast.walk(statement.target) if isinstance(n, ast.Name)} - given
        given |= {n.id for n in within if isinstance(n.ctx, ast.Store)}
    return found


def _bound(node: ast.AST) -> list[ast.Name]:
    """The names that loops, comprehensions and lambdas bind before they are read."""
    if isinstance(node, ast.For | ast.comprehension):
        return [n for n in ast.walk(node.target) if isinstance(n, ast.Name)]
    if isinstance(node, ast.With):
        return [n for i in node.items if i.optional_vars for n in ast.walk(i.optional_vars) if isinstance(n, ast.Name)]
    if isinstance(node, ast.Lambda):
        return [ast.Name(a.arg) for a in (*node.args.args, *node.args.kwonlyargs)]
    return []


def _calls(nodes: Iterable[ast.AST]) -> set[str]:
    """What is called or handed on, as `train.train`, `fit`, and `.step` for a method of that name."""
    found = set()
    for node in (n for top in nodes for n in ast.walk(top)):
        if isinstance(node, ast.Call):
            found.add(ast.unparse(node.func))
            if isinstance(node.func, ast.Attribute) and node.func.attr in STEPS:
                found.add(f".{node.func.attr}")
        elif isinstance(node, ast.Name):
            found.add(node.id)
    return found


def _changed(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            targets = [node.value.func]
        for target in targets:
            while isinstance(target, ast.Subscript | ast.Attribute):
                target = target.value
                if isinstance(target, ast.Name):
                    found.add(target.id)
    return found


def trainings(cells: list[Cell]) -> list[int]:
    """Places of the cells that train, through `train.train`, `plot.watch` or an optimiser, perhaps in a function."""
    known = TRAINERS | {f".{name}" for name in STEPS}
    calls_of = {name: calls for cell in cells for name, calls in cell.calls_of.items()}
    while new := {name for name, calls in calls_of.items() if calls & known} - known:
        known |= new
    return [i for i, cell in enumerate(cells) if cell.calls & known]


def needed(cells: list[Cell], place: int) -> list[int]:
    """Places of the earlier cells without which the cell at this place cannot run, in order."""
    functions = {name: reads for cell in cells[:place] for name, reads in cell.functions.items()}
    modules = {name for cell in cells if "import " in cell.source for name in cell.gives}
    wanted, found = cells[place].needs(functions), []
    for i in reversed(range(place)):
        cell = cells[i]
        if wanted & (cell.gives | (cell.changes - modules)):
            found.append(i)
            wanted = (wanted - cell.gives) | cell.needs(functions)
    return found[::-1]


class FewSteps(ast.NodeTransformer):
    """Lets loops that train on the page end after three rounds: the innermost ones, and those over a range around."""

    def visit_For(self, node: ast.For) -> ast.For:
        inner = {
            n for part in node.body for loop in ast.walk(part) if isinstance(loop, ast.For) for n in ast.walk(loop)
        }
        steps = {n for part in node.body for n in ast.walk(part) if isinstance(n, ast.Attribute) and n.attr in STEPS}
        if steps - inner or (steps and ast.unparse(node.iter).startswith("range(")):
            node.iter = ast.Call(ast.Name("_few", ast.Load()), [node.iter], [])
        self.generic_visit(node)
        return node


def _few(rounds: Iterable[Any]) -> Iterator[Any]:
    """The first three."""
    return islice(iter(rounds), 3)


class Session:
    """A kernel in this process, in which claims say nothing, trainings make three steps, and a fifth of the data do.

    Attributes:
        space: the names of the notebook.
        seen: of every step of the last cell's trainings its losses or weights.
        displayed: what was given to IPython's display.
        stop_at: the number of the step at which the reader interrupts.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, *, live: bool = False) -> None:
        self.space: dict[str, Any] = {"__name__": "__main__", "_few": _few}
        self.seen: list[tuple[float, ...]] = []
        self.displayed: list[Any] = []
        self.stop_at: int | None = None
        patch = monkeypatch.setattr
        for name in ("claim", "agrees", "identity"):
            patch(verify, name, lambda *_, **__: None)
        patch(exercises, "check", lambda *_: None)
        patch(plot, "show", lambda fig, *_, **__: plt.close(fig))
        patch(plot, "watch", self._watch)
        patch(train, "train", self._train(train.train))
        patch(torch.optim, "LBFGS", _short(torch.optim.LBFGS))
        patch(SVC, "fit", lambda machine, x, y, fit=SVC.fit: fit(machine, x[::10], y[::10]))
        patch("IPython.display.display", lambda *shown, **_: self.displayed.extend(shown))
        patch(jaxtyping.config, "jaxtyping_disable", True)  # readers have no beartype, which takes no 4 for a float
        monkeypatch.setenv("GENLAB_LIVE", "1" if live else "0")
        if path.stem not in WHOLE:
            split = data.digits()
            patch(data, "digits", lambda: data.Split(*map(_some, split), split.names))

    def __enter__(self) -> "Session":
        self.hook = register_optimizer_step_post_hook(lambda optimizer, *_: self._saw(_weights(optimizer)))
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()
        plt.close("all")

    def run(self, cell: Cell) -> list[tuple[float, ...]]:
        """Execute a cell; what its trainings did, step by step."""
        self.seen = []
        tree = ast.fix_missing_locations(FewSteps().visit(ast.parse(cell.source)))
        exec(compile(tree, f"cell {cell.number}", "exec"), self.space)
        plt.close("all")
        return self.seen

    def _saw(self, values: tuple[float, ...]) -> None:
        self.seen.append(values)
        if len(self.seen) == self.stop_at:
            raise KeyboardInterrupt

    def _train(self, original: Any) -> Any:
        def three_steps(players: Any, batches: Any, steps: int, accelerator: Any = None, start: int = 0) -> Any:
            """The first two steps and the last; between them only the schedules move, to their ends."""
            loop = original(players, batches, steps, accelerator, start)
            return self._shortened(loop, players, steps)

        return three_steps

    def _shortened(self, loop: Any, players: Any, steps: int) -> Iterator[tuple[int, dict[str, float]]]:
        step = 0
        for step, losses in loop:
            yield step, losses
            if step >= 2:
                break
        loop.close()
        for player in [players] if isinstance(players, train.Player) else players:
            if player.schedule is not None:
                for _ in range((steps - step) * player.moves):
                    player.optimizer._opt_called = True  # or torch warns that no optimiser was stepped
                    player.schedule.step()
        if step < steps:
            yield steps, losses

    def _watch(self, loop: Any, steps: int, **_: Any) -> Iterator[tuple[int, dict[str, float]]]:
        """A loop of `train`, or one of few rounds that measures something, as it is; of another the first two steps."""
        ours = isinstance(loop, GeneratorType) and loop.gi_code is Session._shortened.__code__
        for number, (step, losses) in enumerate(loop, 1):
            if not ours:
                self._saw(tuple(losses.values()))
            yield step, losses
            if not ours and number == 2 and steps > FEW:
                break


def _some(images: data.Images) -> data.Images:
    """A fifth of them, in the same order."""
    return data.Images(images.x[::5], images.y[::5])


def _short(optimizer: Any) -> Any:
    return lambda weights, **settings: optimizer(weights, **settings | {"max_iter": 3})


def _weights(optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
    return tuple(p.detach().double().sum().item() for p in optimizer.param_groups[0]["params"][:2])
