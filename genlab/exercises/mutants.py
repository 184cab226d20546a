"""Mutants of right answers: does a check notice every change of behaviour?

A mutant is a right answer, the worked solution or another, with one change: an operator, a constant, a method, a size
that is always 1 or 2, two arguments swapped, a call left out. One that behaves like the solution on twenty fresh draws
of random arguments, and that the check accepts, is no wrong answer and does not count.
"""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from genlab.exercises import engine
from genlab.exercises.engine import Answer, Exercise

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {
    "sum": "mean",
    "mean": "sum",
    "max": "min",
    "min": "max",
    "maximum": "minimum",
    "minimum": "maximum",
    "exp": "log1p",
    "log": "exp",
    "softmax": "sigmoid",
    "sigmoid": "tanh",
    "tanh": "sigmoid",
    "sin": "cos",
    "cos": "sin",
    "std": "var",
    "var": "std",
    "argmax": "argmin",
    "argmin": "argmax",
    "logsumexp": "mean",
    "softplus": "relu",
    "relu": "abs",
    "ones_like": "zeros_like",
    "zeros_like": "ones_like",
    "cumsum": "cumprod",
}
SIZES: tuple[Callable[[], ast.AST], ...] = (lambda: ast.Constant(1), lambda: ast.Constant(2))
DROPPED = {"detach", "square", "abs", "sqrt", "neg", "exp", "log", "flatten", "clamp", "float", "T", "round"}


Function = ast.FunctionDef | ast.Lambda


class Source(NamedTuple):
    """The code of a right answer: what gives the answer, and the function in it that is changed."""

    answer: ast.expr
    function: Function


def sources(exercise: Exercise) -> list[Source]:
    """The functions of the solution and of the other right answers, as they stand in the exercise's file."""
    file = inspect.getsourcefile(exercise.solution)
    assert file, f"the solution of {exercise.number} has no file"
    module = ast.parse(Path(file).read_text(encoding="utf-8"))
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    keywords = (k for k in ast.walk(module) if isinstance(k, ast.keyword) and k.arg == "right")
    written = [e for k in keywords if isinstance(k.value, ast.Tuple) for e in k.value.elts]
    found = []
    for answer in [ast.Name(exercise.name, ast.Load()), *written]:
        parts = answer.args if isinstance(answer, ast.Call) else [answer]  # of twice(f), it is f that is changed
        for part in parts:
            function = functions.get(part.id) if isinstance(part, ast.Name) else part
            if isinstance(function, Function):
                found.append(Source(answer, function))
    return found


def mutants(tree: Function) -> Iterator[Function]:
    """Every function that differs from this one by one change."""
    for index in range(len(_nodes(tree))):
        for choice in range(8):
            changed = copy.deepcopy(tree)
            node = _nodes(changed)[index]
            options = list(changes(node))
            if choice >= len(options):
                break
            replacement = options[choice]()
            if replacement is not node:
                changed = Replace(node, replacement).visit(changed)
            yield ast.fix_missing_locations(changed)


def _nodes(tree: Function) -> list[ast.AST]:
    """All of a function but its arguments and its docstring."""
    if isinstance(tree, ast.Lambda):
        return list(ast.walk(tree.body))
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    return [node for statement in body for node in ast.walk(statement)]


def changes(node: ast.AST) -> Iterator[Callable[[], ast.AST]]:
    """The ways to change one node; each returns the node to put in its place."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield lambda: edit(node, op=OPERATORS[type(node.op)]())
        if isinstance(node.op, ast.Sub | ast.Div | ast.Pow | ast.MatMult):
            yield lambda: edit(node, left=node.right, right=node.left)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield lambda: edit(node, ops=[OPERATORS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BoolOp):
        yield lambda: edit(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.UnaryOp):
        yield lambda: node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda: edit(node, value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        number = node.value
        yield lambda: edit(node, value=number + 1)
        if number:
            yield lambda: edit(node, value=0 if isinstance(number, int) else -number)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield lambda: edit(node, attr=NAMES[node.attr])
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
        yield from SIZES
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "len":
            yield from SIZES
        if isinstance(node.func, ast.Attribute) and node.func.attr in DROPPED:
            yield lambda: node.func.value  # type: ignore[attr-defined]
        if len(node.args) >= 2:
            yield lambda: edit(node, args=[node.args[1], node.args[0], *node.args[2:]])
        if node.keywords:
            yield lambda: edit(node, keywords=node.keywords[1:])
    elif isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        yield lambda: edit(node, op=OPERATORS[type(node.op)]())


def edit(node: ast.AST, **fields: Any) -> ast.AST:
    """Set fields of a node."""
    for name, value in fields.items():
        setattr(node, name, value)
    return node


class Replace(ast.NodeTransformer):
    """Put one node in another's place."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


class Score(NamedTuple):
    """How many mutants the check rejects, and the code of those that it should have rejected."""

    rejected: int
    survivors: list[str]

    @property
    def share(self) -> float:
        """The part of the mutants that is rejected."""
        return self.rejected / max(1, self.rejected + len(self.survivors))


def score(exercise: Exercise) -> Score:
    """Judge every mutant of an exercise's right answers."""
    rejected, survivors = 0, []
    expected = engine.expected(exercise)
    for source in sources(exercise):
        for mutant in mutants(source.function):
            answer = compiled(exercise, source, mutant)
            with torch.random.fork_rng(devices=[]):
                accepted = engine.accepts(exercise, answer, expected)
            if not accepted:
                rejected += 1
            elif not alike(exercise, answer):
                survivors.append(ast.unparse(mutant))
    return Score(rejected, survivors)


def compiled(exercise: Exercise, source: Source, changed: Function) -> Answer:
    """The answer with a changed function, among the names that the solution sees."""
    space = dict(exercise.solution.__globals__)
    answer = source.answer
    if isinstance(changed, ast.FunctionDef):
        exec(compile(ast.Module([changed], []), "mutant", "exec"), space)
    else:
        answer = _with(answer, source.function, changed)
    return eval(compile(ast.fix_missing_locations(ast.Expression(answer)), "mutant", "eval"), space)


def _with(answer: ast.expr, old: Function, new: ast.Lambda) -> ast.expr:
    """An expression that is a function, or that is called with it, with another in its place."""
    if isinstance(answer, ast.Call):
        return ast.Call(answer.func, [new if part is old else part for part in answer.args], answer.keywords)
    return new


def alike(exercise: Exercise, answer: Answer) -> bool:
    """Whether an answer does what the solution does on twenty draws that the check does not use."""
    with torch.random.fork_rng(devices=[]):
        return engine.accepts(exercise, answer, first=1000, draws=20)
