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
    """Something that can be seen of an argument, and how to make it so again."""

    kind: str
    value: Any
    put_back: Callable[[], Any]


def facts(arguments: Mapping[str, Any]) -> dict[str, Fact]:
    """All that can be seen of arguments: values, gradients and modes, of networks and of objects' attributes too."""
    found: dict[str, Fact] = {}
    seen: dict[int, Any] = {}
    for name, value in arguments.items():
        _note(name, value, found, seen)
    return found


def changes(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> frozenset[Change]:
    """What differs."""
    keys = [key for key, fact in before.items() if key not in after or not _alike(fact, after[key])]
    return frozenset(Change(_part(key), before[key].kind) for key in keys)


def put_back(arguments: Mapping[str, Any], before: Mapping[str, Fact]) -> None:
    """Make arguments again what they were."""
    after = facts(arguments)
    for key, fact in before.items():
        if key not in after or not _alike(fact, after[key]):
            fact.put_back()


_SUFFIXES = {"grad": ".grad", "requires_grad": ".requires_grad", "mode": ".training"}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)


def _part(key: str) -> str:
    for suffix in _SUFFIXES.values():
        key = key.removesuffix(suffix)
    return key


def _note(name: str, value: Any, found: dict[str, Fact], seen: dict[int, Any]) -> None:
    if id(value) in seen or isinstance(value, (*_PLAIN, type, ModuleType, FunctionType, BuiltinFunctionType)):
        return
    seen[id(value)] = value
    if isinstance(value, Tensor):
        _note_tensor(name, value, found)
    elif isinstance(value, np.ndarray):
        array = value.copy()
        found[name] = Fact("values", array, lambda: np.copyto(value, array))
    elif isinstance(value, torch.Generator):
        state = value.get_state()
        found[name] = Fact("values", state, lambda: value.set_state(state))
    elif isinstance(value, nn.Module):
        _note_module(name, value, found, seen)
    elif isinstance(value, list):
        members = list(value)
        found[name] = Fact("values", members, lambda: value.__setitem__(slice(None), members))
        _note_all(((f"{name}[{i}]", v) for i, v in enumerate(members)), found, seen)
    elif isinstance(value, tuple | set | frozenset):
        _note_all(((f"{name}[{i}]", v) for i, v in enumerate(value)), found, seen)
    elif isinstance(value, dict):
        _note_names(name, value, found)
        _note_all(((f"{name}[{k!r}]" if type(k) in _PLAIN else name, v) for k, v in value.items()), found, seen)
    elif isinstance(own := getattr(value, "__dict__", None), dict):
        _note_names(name, own, found)
        _note_all(((f"{name}.{k}", v) for k, v in own.items()), found, seen)


def _note_all(values: Iterable[tuple[str, Any]], found: dict[str, Fact], seen: dict[int, Any]) -> None:
    for name, value in list(values):
        _note(name, value, found, seen)


def _note_names(name: str, names: dict[Any, Any], found: dict[str, Fact]) -> None:
    members = dict(names)

    def put() -> None:
        names.clear()
        names.update(members)

    found[name] = Fact("values", members, put)


def _note_tensor(name: str, value: Tensor, found: dict[str, Fact]) -> None:
    data = value.detach().clone()
    found[name] = Fact("values", data, partial(setattr, value, "data", data))
    if value.is_leaf:
        flag, grad = value.requires_grad, None if value.grad is None else value.grad.detach().clone()
        found[f"{name}.requires_grad"] = Fact("requires_grad", flag, partial(value.requires_grad_, flag))
        found[f"{name}.grad"] = Fact("grad", grad, partial(setattr, value, "grad", grad))


def _note_module(name: str, network: nn.Module, found: dict[str, Fact], seen: dict[int, Any]) -> None:
    for key, module in network.named_modules():
        place = f"{name}.{key}" if key else name
        flag = module.training
        found[f"{place}.training"] = Fact("mode", flag, partial(setattr, module, "training", flag))
        own = {k: v for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
        found[place] = Fact("values", own, partial(_put_attributes, module, own))
        _note_all(((f"{place}.{k}", v) for k, v in own.items()), found, seen)
    for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
        _note(f"{name}.{key}", tensor, found, seen)


def _put_attributes(module: nn.Module, own: Mapping[str, Any]) -> None:
    for key in [k for k in vars(module) if not k.startswith("_") and k != "training" and k not in own]:
        delattr(module, key)
    for key, value in own.items():
        setattr(module, key, value)


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
