"""One list of dependencies: pyproject.toml, constraints.txt, environment.yml and what is installed agree."""

import importlib.metadata
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GIVEN = {"torch", "torchvision", "jupyterlab", "matplotlib", "nbval", "ipywidgets"}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    listed = [*PROJECT["dependencies"], *extras["book"], *extras["dev"]]
    return [Requirement(line) for line in listed]


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_given_packages_are_dependencies() -> None:
    assert {Requirement(line).name for line in PROJECT["dependencies"]} >= GIVEN


def test_every_dependency_is_pinned_within_its_range() -> None:
    pinned: dict[str, list[Requirement]] = {}
    for pin in pins():
        assert re.fullmatch(r"==[^*]+", str(pin.specifier)), f"{pin} is not an exact version"
        pinned.setdefault(canonicalize_name(pin.name), []).append(pin)
    for requirement in requirements():
        for pin in pinned[canonicalize_name(requirement.name)]:
            version = str(pin.specifier).removeprefix("==")
            assert requirement.specifier.contains(version), f"{pin} is outside {requirement}"


def test_what_is_installed_is_what_is_pinned() -> None:
    wrong = []
    for pin in pins():
        if pin.marker is None or pin.marker.evaluate():
            try:
                version = importlib.metadata.version(pin.name)
            except importlib.metadata.PackageNotFoundError:
                continue  # other platforms need other packages
            if not pin.specifier.contains(version):
                wrong.append(f"{pin.name} is {version}, pinned {pin.specifier}")
    assert wrong == []


def test_the_conda_environment_installs_the_same_list_through_pip() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert sorted(re.split(r"[=<>]", entry)[0] for entry in conda) == ["pip", "python"], "packages come from one list"
    assert pip == ["-c constraints.txt", "-e .[all]"]
    (all_extras,) = [Requirement(line) for line in PROJECT["optional-dependencies"]["all"]]
    assert all_extras.name == PROJECT["name"] == "genlab"
    assert all_extras.extras == set(PROJECT["optional-dependencies"]) - {"all"}
    (python,) = [entry for entry in conda if entry.startswith("python")]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.split("=")[1])


def test_the_make_targets_use_the_constraints_and_ci_calls_them() -> None:
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci/run").read_text()
    assert '-c constraints.txt -e ".[all]"' in makefile
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert targets >= {"book", "serve", "lab", "test", "notebooks", "lint", "clean"}
    assert all(f"make {target}" in ci for target in ("lint", "test", "book"))
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["genlab", "genlab.data"])
def test_importing_the_package_costs_next_to_nothing_beyond_torch(module: str) -> None:
    """Modules that are slow to import must not come with it: the time itself is not asserted, but what is loaded."""
    program = (
        f"import torch, sys; before = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {
        "torchvision",
        "matplotlib",
        "pandas",
        "sklearn",
        "scipy",
        "accelerate",
        "IPython",
        "mlxtend",
        "jsonargparse",
    }
    assert heavy.isdisjoint(done.stdout.split())


def test_nothing_reaches_the_network_on_import() -> None:
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('offline')\n"
        "socket.socket.connect = refuse\n"
        "import genlab\n"
        "for name in genlab._MODULES: getattr(genlab, name)\n"
        "print('ok')"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "ok\n" and time.monotonic() - start < 120
