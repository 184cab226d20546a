"""One list of dependencies: pyproject.toml, constraints.txt, environment.yml and what is installed agree."""

import importlib.metadata
import importlib.util
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from jaxtyping import TypeCheckError
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import genlab
from genlab import gan

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GIVEN = {"torch", "torchvision", "jupyterlab", "matplotlib", "nbval", "ipywidgets"}

_spec = importlib.util.spec_from_file_location("constraints", ROOT / ".ci/constraints.py")
assert _spec and _spec.loader
constraints = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(constraints)


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
    makefile, ci = (ROOT / "Makefile").read_text(encoding="utf-8"), (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert '-c constraints.txt -e ".[all]"' in makefile
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert targets >= {"book", "serve", "lab", "test", "notebooks", "lint", "clean"}
    assert all(f"make {target}" in ci for target in ("lint", "test", "book"))
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["genlab", "genlab.data", "genlab.metrics"])
def test_importing_the_package_costs_next_to_nothing_beyond_torch(module: str) -> None:
    """Modules that are slow to import must not come with it: the time itself is not asserted, but what is loaded."""
    program = (
        f"import torch, sys; before = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, encoding="utf-8")
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
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout == "ok\n"


def test_what_needs_a_newer_python_has_a_pin_for_3_10() -> None:
    old = {canonicalize_name(pin.name) for pin in pins() if str(pin.marker) == constraints.OLD}
    packages = constraints.installed()
    newer = {name for name, (_, python) in packages.items() if not SpecifierSet(python).contains(constraints.OLDEST)}
    assert newer and newer <= old


def test_make_constraints_writes_what_is_there() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert all(line in lines for line in constraints.constraints(lines, constraints.installed()))
    with pytest.raises(ValueError, match=r"numpy 9\.0 needs Python >=3\.12: add a line 'numpy=="):
        constraints.constraints([], {"numpy": ("9.0", ">=3.12")})


def test_no_file_names_a_package_index() -> None:
    files = ("pyproject.toml", "constraints.txt", "environment.yml", "Makefile", ".ci/run", "README.md")
    named = r"--(?:extra-)?index-url|--find-links|pypi\.|files\.pythonhosted"
    assert [name for name in files if re.search(named, (ROOT / name).read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_the_network_is_closed_and_this_machine_is_open(method: str) -> None:
    with socket.socket() as away, pytest.raises(OSError, match="tests are offline"):
        getattr(away, method)(("192.0.2.1", 80))  # an address that documentation may use
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not getattr(client, method)(server.getsockname())


def test_shapes_are_checked_while_tests_run_on_one_thread() -> None:
    with pytest.raises(TypeCheckError):
        gan.minimax_d(torch.zeros(3, 1), torch.zeros(3))  # the broadcast that jaxtyping is there to catch
    assert torch.get_num_threads() == 1


def test_the_citation_and_the_changelog_name_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software" and citation["authors"]
    assert citation["title"] and citation["message"] and citation["license"] == PROJECT["license"] == "MIT"
    assert citation["version"] == genlab.__version__
    assert f"## [{genlab.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_readme_trains_saves_loads_and_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 2 and "steps=2000" in programs[0] and "step % 200" in programs[0]
    for program in programs:
        short = program.replace("steps=2000", "steps=10").replace("step % 200", "step % 10")
        exec(compile(short, "README.md", "exec"), {})
    assert re.match(r"10 \{'D': [\d.]+, 'G': [\d.]+\}", capsys.readouterr().out)
    assert (tmp_path / "samples.png").stat().st_size > 1000


def test_listings_fit_the_column_of_the_book() -> None:
    pages = sorted((ROOT / "notebooks").rglob("*.md"))
    found = 0
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages):
        listings = re.findall(r"^```\w+\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        found += len(listings)
        wide = [line for listing in listings for line in listing.splitlines() if len(line) > 88]
        assert wide == [], path
    assert found > 20


def test_links_and_pictures_of_the_documents_exist() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "LICENSE-text.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
        assert [link for link in links if not (ROOT / link).exists()] == [], name
