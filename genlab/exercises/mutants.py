"""Mutants of worked solutions: does a check notice every change of behaviour?

A mutant is a solution with one change: an operator, a constant, a method, two arguments swapped, a call left out. One
that behaves like the solution on twenty fresh draws of random arguments, and that the check accepts, is no wrong answer
and does not count.
"""

import ast
import copy
from collections.abc import Callable, Iterator
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
DROPPED = {"detach", "square", "abs", "sqrt", "neg", "exp", "log", "flatten", "clamp", "float", "T", "round"}


def mutants(tree: ast.FunctionDef) -> Iterator[ast.FunctionDef]:
    """Every function that differs from this one by one change."""
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    count = len([node for statement in body for node in ast.walk(statement)])
    start = len(tree.body) - len(body)
    for index in range(count):
        for choice in range(8):
            changed = copy.deepcopy(tree)
            nodes = [(s, node) for s in changed.body[start:] for node in ast.walk(s)]
            _, node = nodes[index]
            options = list(changes(node))
            if choice >= len(options):
                break
            replacement = options[choice]()
            if replacement is not node:
                changed = Replace(node, replacement).visit(changed)
            yield ast.fix_missing_locations(changed)


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
    elif isinstance(node, ast.Call):
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
    """Judge every mutant of an exercise's solution."""
    rejected, survivors = 0, []
    for mutant in mutants(parsed(exercise)):
        answer = compiled(exercise, mutant)
        with torch.random.fork_rng(devices=[]):
            accepted = engine.accepts(exercise, answer)
        if not accepted:
            rejected += 1
        elif not alike(exercise, answer):
            survivors.append(ast.unparse(mutant))
    return Score(rejected, survivors)


def parsed(exercise: Exercise) -> ast.FunctionDef:
    """The syntax tree of the worked solution."""
    tree = ast.parse(exercise.solution_code).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree


def compiled(exercise: Exercise, tree: ast.FunctionDef) -> Answer:
    """The function of a tree, among the names that the solution sees."""
    space = dict(exercise.solution.__globals__)
    exec(compile(ast.Module([tree], []), "mutant", "exec"), space)
    return space[exercise.name]


def alike(exercise: Exercise, answer: Answer) -> bool:
    """Whether an answer does what the solution does on twenty draws that the check does not use."""
    with torch.random.fork_rng(devices=[]):
        return engine.accepts(exercise, answer, first=1000, draws=20)
