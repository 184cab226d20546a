"""The command line's parser: errors in one line, and help without repetitions."""

import sys
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter


class Help(DefaultHelpFormatter):
    """Choices stand beside their option, and are not repeated as its type."""

    def _get_type_str(self, action: Any) -> str | None:
        kind = super()._get_type_str(action)
        return None if kind is None or kind == "bool" or kind.startswith("Literal") else kind


class Parser(ArgumentParser):
    """Errors in one line, exit status 2."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, formatter_class=Help, print_config=None, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        fail(message)


def fail(message: object, status: int = 2) -> NoReturn:
    """Say in one line what is wrong, and end."""
    print("genlab: " + " ".join(str(message).split()), file=sys.stderr)
    raise SystemExit(status)
