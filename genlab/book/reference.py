"""Reference pages from docstrings, read by griffe without importing the package."""

from functools import cache
from pathlib import Path
from typing import Any

import griffe

from genlab.book import BookError


@cache
def _package() -> Any:
    return griffe.load("genlab", search_paths=[Path(__file__).parents[2]], docstring_parser="google")


def page(module: str, repository: str | None = None) -> str:
    """The reference of one module of genlab, as Markdown; with a repository's address, linked to the source.

    Raises:
        BookError: there is no such module, or a public member has no docstring.
    """
    package = _package()
    if module not in package.members:
        raise BookError(f"pages/reference/{module}.md: genlab has no module {module!r}")
    found = package.members[module]
    if found.docstring is None:
        raise BookError(f"genlab.{module} has no docstring; its first line opens the page pages/reference/{module}.md")
    parts = [f"# genlab.{module}", found.docstring.value]
    for name, member in _public(found):
        parts.append(_member(f"genlab.{module}", name, member, "##", repository))
        methods = member.members.items() if member.is_class else ()
        parts += [
            _member(f"genlab.{module}.{name}", method, m, "###", repository)
            for method, m in methods
            if m.is_function and not m.is_alias and not method.startswith("_") and m.docstring
        ]
    return "\n\n".join(parts)


def _public(module: Any) -> list[tuple[str, Any]]:
    """Functions and classes that a module defines, or that a folder hands on from its files, in their order."""
    members = [(n, m) for n, m in module.members.items() if n in (module.exports or ()) or not m.is_alias]
    found = [(n, m.final_target if m.is_alias else m) for n, m in members if not n.startswith("_")]
    shown = [(n, m) for n, m in found if m.is_function or m.is_class]
    files = list(dict.fromkeys(m.filepath for _, m in shown))
    return sorted(shown, key=lambda pair: (files.index(pair[1].filepath), pair[1].lineno))


def _member(owner: str, name: str, member: Any, heading: str, repository: str | None) -> str:
    if member.docstring is None:
        raise BookError(f"{owner}.{name} is public and has no docstring; write one or rename it with an underscore")
    parts = [f"{heading} {name}", f"```python\n{_signature(name, member)}\n```"]
    for section in member.docstring.parsed:
        kind = section.kind.value
        if kind == "text":
            parts.append(section.value)
        elif kind in ("parameters", "attributes"):
            rows = "\n".join(f"- `{item.name}`: {_line(item.description)}" for item in section.value)
            parts.append(f"{'Arguments' if kind == 'parameters' else 'Attributes'}:\n\n{rows}")
        elif kind == "raises":
            rows = "\n".join(f"- `{item.annotation}`: {_line(item.description)}" for item in section.value)
            parts.append(f"Raises:\n\n{rows}")
        elif kind == "returns":
            parts.append("Returns: " + " ".join(_line(item.description) for item in section.value))
        else:  # never drop what an author wrote
            raise BookError(
                f"{owner}.{name}: the docstring's section {kind!r} is not rendered; use Args, Returns, Raises"
            )
    parts.append(_source(member, repository))
    return "\n\n".join(parts)


def _source(member: Any, repository: str | None) -> str:
    path = member.filepath.relative_to(Path(__file__).parents[2]).as_posix()
    text = f"{path}, line {member.lineno}"
    if repository:
        address = repository.removesuffix("/").removesuffix(".git")
        text = f'<a href="{address}/blob/main/{path}#L{member.lineno}">{text}</a>'
    return f'<p class="source">Defined in {text}</p>'


def _line(text: str) -> str:
    return " ".join(text.split())


def _signature(name: str, member: Any) -> str:
    """The definition's head, an argument a line when it is long."""
    if member.is_class and not member.parameters:
        return f"class {name}"
    arguments: list[str] = []
    keyword_only = False
    for parameter in member.parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not keyword_only:
            keyword_only = True
            if not any(a.startswith("*") for a in arguments):
                arguments.append("*")
        star = {"variadic positional": "*", "variadic keyword": "**"}.get(parameter.kind.value, "")
        annotation = f": {parameter.annotation}" if parameter.annotation is not None else ""
        default = "" if star or parameter.default is None else f" = {parameter.default}"
        arguments.append(f"{star}{parameter.name}{annotation}{default}")
    returns = getattr(member, "returns", None) if member.is_function else None
    arrow, kind = (f" -> {returns}" if returns is not None else ""), "class " if member.is_class else ""
    line = f"{kind}{name}({', '.join(arguments)}){arrow}"
    if len(line) <= 88:
        return line
    return f"{kind}{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){arrow}"
