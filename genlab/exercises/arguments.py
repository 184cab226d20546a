"""Arguments of an answer's calls: fresh ones for every call, what became of them, and how they are named in words."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

_equal, _isnan = torch.equal, torch.isnan  # held: an answer may replace torch's
_array_equal = np.array_equal


def copied(arguments: Sequence[Any]) -> list[Any]:
    """Deep copies that share among each other what the arguments shared; as it is, what cannot be copied."""
    memo: dict[int, Any] = {}
    found = []
    for value in arguments:
        try:
            found.append(copy.deepcopy(value, memo))
        except Exception:  # a tensor with a history, an open file
            found.append(value)
    return found


def fresh(value: Any) -> Any:
    """Copies of tensors, arrays and their containers, for one call of an answer.

    What has an identity that a test may rely on is handed out as it is: tensors that are differentiated, networks,
    other objects.
    """
    if type(value) is Tensor and not value.requires_grad:
        return value.clone()
    if type(value) is np.ndarray:
        return value.copy()
    if type(value) in (list, tuple, set):
        return type(value)(fresh(v) for v in value)
    if type(value) is dict:
        return {k: fresh(v) for k, v in value.items()}
    return value


# ------------------------------------------------------------------------------------------------- what became of them


class Change(NamedTuple):
    """What an answer did to an argument: which part of it, and whether "values", "grad", "requires_grad" or "mode"."""

    part: str
    kind: str


class Fact(NamedTuple):
    """Something that can be seen of an object in an argument, and how to make it so again."""

    of: Any
    part: str
    kind: str
    value: Any
    put_back: Callable[[], Any]


Facts = dict[str, Fact]


def facts(arguments: Mapping[str, Any]) -> Facts:
    """All that can be seen of arguments: values, gradients and modes, of networks and of objects' attributes too."""
    found: Facts = {}
    seen: dict[int, Any] = {}
    _note_all(arguments.items(), found, seen)
    return found


def changes(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> frozenset[Change]:
    """What differs.

    Of what is no longer in its place only the place has changed: its values, or those of the list or the network that
    it has left.
    """
    here = {key: key in after and fact.of is after[key].of for key, fact in before.items() if fact.kind != HOOKS}
    found = {
        Change(before[key].part, before[key].kind)
        for key, stays in here.items()
        if stays and not _alike(before[key], after[key])
    }
    left = {before[key].part for key, stays in here.items() if not stays}
    held = tuple(change.part + mark for change in found if change.kind == "values" for mark in ".[")
    return frozenset(found | {Change(part, "values") for part in left if not part.startswith(held)})


def put_back(arguments: Mapping[str, Any], before: Mapping[str, Fact]) -> None:
    """Make arguments again what they were, as far as that is possible."""
    after = facts(arguments)
    for key, fact in before.items():
        stays = key in after and fact.of is after[key].of and _alike(fact, after[key])
        if not stays or isinstance(fact.of, nn.Module):
            with contextlib.suppress(Exception):  # a view with a history, an object that refuses its attributes
                fact.put_back()


HOOKS = "hooks"  # put back, but not held against an answer: what they did shows in the results
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)


def _note(name: str, value: Any, found: Facts, seen: dict[int, Any]) -> None:
    if id(value) in seen or isinstance(value, (*_PLAIN, type, ModuleType, FunctionType, BuiltinFunctionType)):
        return
    seen[id(value)] = value
    if isinstance(value, Tensor):
        _note_tensor(name, value, found)
    elif isinstance(value, np.ndarray):
        array = value.copy()
        found[name] = Fact(value, name, "values", array, lambda: np.copyto(value, array))
    elif isinstance(value, torch.Generator):
        state = value.get_state()
        found[name] = Fact(value, name, "values", state, lambda: value.set_state(state))
    elif isinstance(value, nn.Module):
        _note_module(name, value, found, seen)
    elif isinstance(value, list):
        members = list(value)
        found[name] = Fact(value, name, "values", members, lambda: value.__setitem__(slice(None), members))
        _note_all(((f"{name}[{i}]", v) for i, v in enumerate(members)), found, seen)
    elif isinstance(value, tuple | frozenset):
        _note_all(((f"{name}[{i}]", v) for i, v in enumerate(value)), found, seen)
    elif isinstance(value, set):
        held = set(value)
        found[name] = Fact(value, name, "values", held, lambda: value.symmetric_difference_update(value ^ held))
        _note_all(((f"{name}[{i}]", v) for i, v in enumerate(held)), found, seen)
    elif isinstance(value, dict):
        found[name] = _of_names(value, name, value)
        _note_all(((f"{name}[{k!r}]" if type(k) in _PLAIN else name, v) for k, v in value.items()), found, seen)
    elif isinstance(own := getattr(value, "__dict__", None), dict):
        found[name] = _of_names(value, name, own)
        _note_all(((f"{name}.{k}", v) for k, v in own.items()), found, seen)


def _note_all(values: Iterable[tuple[str, Any]], found: Facts, seen: dict[int, Any]) -> None:
    """What can be seen of each; nothing of foreign objects that fail when they are looked at."""
    for name, value in list(values):
        with contextlib.suppress(Exception):
            _note(name, value, found, seen)


def _of_names(of: Any, part: str, names: dict[Any, Any], kind: str = "values") -> Fact:
    """A fact of the names that a dictionary has, and of what they stand for."""
    members = dict(names)

    def put() -> None:
        names.clear()
        names.update(members)

    return Fact(of, part, kind, members, put)


def _note_tensor(name: str, value: Tensor, found: Facts) -> None:
    data, leaf = value.detach().clone(), value.is_leaf
    # What an operation in place has made of a leaf has a history, and no gradient of its own.
    flag = leaf and value.requires_grad
    grad = value.grad.detach().clone() if leaf and value.grad is not None else None
    found[name] = Fact(value, name, "values", data, partial(setattr, value, "data", data))
    found[f"{name}.is_leaf"] = Fact(value, name, "values", leaf, value.detach_)
    found[f"{name}.requires_grad"] = Fact(value, name, "requires_grad", flag, partial(value.requires_grad_, flag))
    found[f"{name}.grad"] = Fact(value, name, "grad", grad, partial(setattr, value, "grad", grad))


def _note_module(name: str, network: nn.Module, found: Facts, seen: dict[int, Any]) -> None:
    for key, module in network.named_modules():
        place = f"{name}.{key}" if key else name
        own, names = vars(module), {k: v for k, v in vars(module).items() if _public(k)}
        flag, put = module.training, partial(_put_attributes, module, type(module), dict(own))
        found[f"{place}.training"] = Fact(module, place, "mode", flag, partial(own.__setitem__, "training", flag))
        found[place] = Fact(module, place, "values", names, put)
        for k, v in own.items():
            if k.startswith("_") and isinstance(v, dict):  # weights, buffers, parts, and hooks
                kind = "values" if k in ("_parameters", "_buffers", "_modules") else HOOKS
                found[f"{place}.{k}"] = _of_names(module, place, v, kind)
        _note_all(((f"{place}.{k}", v) for k, v in names.items()), found, seen)
    _note_all(((f"{name}.{k}", v) for k, v in [*network.named_parameters(), *network.named_buffers()]), found, seen)


def _public(name: str) -> bool:
    return not name.startswith("_") and name != "training"


def _put_attributes(module: nn.Module, kind: type, own: Mapping[str, Any]) -> None:
    vars(module).clear()
    vars(module).update(own)
    module.__class__ = kind


def _alike(a: Fact, b: Fact) -> bool:
    try:
        return _same(a.value, b.value)
    except Exception:  # values that cannot be compared, as on the meta device, are not called changed
        return True


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        a, b = (x.to_dense() if x.layout != torch.strided else x for x in (a, b))
        return _equal(a, b) or bool(((a == b) | (_isnan(a) & _isnan(b))).all())
    if isinstance(a, np.ndarray):
        return _array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_member, a, b))
    if isinstance(a, set):
        return {id(v) for v in a} == {id(v) for v in b}
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_member(v, b[k]) for k, v in a.items())
    return type(a) is type(b) and isinstance(a, _PLAIN) and a == b


def _member(a: Any, b: Any) -> bool:
    """Whether a place of a container still holds the same; what is in it is a fact of its own."""
    return a is b or (isinstance(a, _PLAIN) and type(a) is type(b) and bool(a == b or (a != a and b != b)))


# --------------------------------------------------------------------------------------------------------------- words


def described(arguments: Mapping[str, Any]) -> str:
    """Shapes, and what is a single value: " of shape (5, 3) and k = 2"."""
    shapes = [str(tuple(a.shape)) for a in arguments.values() if isinstance(a, Tensor | np.ndarray) and a.ndim]
    single = [f"{name} = {_single(a)}" for name, a in arguments.items() if _single(a) is not None]
    words = [f"of shape {', '.join(shapes)}"] if shapes else []
    return "".join(f" {part}" for part in [" and ".join(words + ([", ".join(single)] if single else []))] if part)


def _single(value: Any) -> str | None:
    if isinstance(value, Tensor) and value.ndim == 0:
        with contextlib.suppress(Exception):  # on the meta device there is no value
            value = value.item()
    if isinstance(value, float):
        return f"{value:.6g}"
    return repr(value) if isinstance(value, bool | int | str) else None
