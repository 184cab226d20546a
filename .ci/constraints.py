"""Write constraints.txt from what is installed here: upgrade packages in .venv first, then `make constraints`.

Pins for Python 3.10 and for other platforms cannot be seen from here and are kept as they are. A package whose
installed version needs a newer Python than 3.10 gets a marker, and must have a pin of its own for 3.10.
"""

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

FILE = Path(__file__).parents[1] / "constraints.txt"
OLDEST = "3.10.0"
OLD, NEW = 'python_version < "3.11"', 'python_version >= "3.11"'
LEFT_OUT = {"genlab", "pip", "setuptools", "wheel"}  # the project itself, and what makes environments


def kept(lines: list[str]) -> list[str]:
    """The pins that this machine cannot see: for Python 3.10 and for other platforms."""
    return [line for line in lines if line.endswith(f"; {OLD}") or "sys_platform" in line]


def installed() -> dict[str, tuple[str, str]]:
    """Name -> (version, range of Python)."""
    found = {}
    for package in importlib.metadata.distributions():
        name = canonicalize_name(package.metadata["Name"])
        if name not in LEFT_OUT:
            found[name] = (package.version.split("+")[0], package.metadata.get("Requires-Python") or "")
    return found


def constraints(lines: list[str], packages: dict[str, tuple[str, str]]) -> list[str]:
    """The new lines, sorted.

    Raises:
        ValueError: a package needs a pin for Python 3.10.
    """
    old = kept(lines)
    names = {canonicalize_name(Requirement(line).name) for line in old if OLD in line}
    pins = list(old)
    for name, (version, python) in packages.items():
        if SpecifierSet(python).contains(OLDEST) and name not in names:
            pins.append(f"{name}=={version}")
        elif name in names:
            pins.append(f"{name}=={version} ; {NEW}")
        else:
            raise ValueError(
                f"{name} {version} needs Python {python}: add a line '{name}==<version> ; {OLD}' to constraints.txt "
                f"(`python3.10 -m pip install --dry-run --no-deps {name}` names it)"
            )
    return sorted(pins)


if __name__ == "__main__":
    text = FILE.read_text(encoding="utf-8").splitlines()
    header = [line for line in text if line.startswith("#")]
    try:
        pins = constraints([line for line in text if line and not line.startswith("#")], installed())
    except ValueError as error:
        sys.exit(f"constraints: {error}")
    FILE.write_text("\n".join([*header, *pins]) + "\n", encoding="utf-8", newline="\n")
