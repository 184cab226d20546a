"""Execute notebooks and store them: one clean run each, in a fixed order, without anything that changes by itself.

python -m genlab.tools.notebooks              all
python -m genlab.tools.notebooks 05 09        those whose names start so
python -m genlab.tools.notebooks --install    put the cell that installs the package into all, without a run
"""

import asyncio
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets import default

from genlab import machine
from genlab.text import say

FOLDER = Path("notebooks")
# Stored outputs come from the quick profile, without progress bars and live pictures.
ENVIRONMENT = {"GENLAB_LIVE": "0", "GENLAB_PROFILE": "quick", "PYTHONHASHSEED": "0", "MPLBACKEND": "agg"}
TIMEOUT = 900  # seconds a cell may take
# The first code cell of every notebook: in Colab and Kaggle it installs the package, and elsewhere it does nothing.
INSTALL = """import importlib.util
import subprocess
import sys

if importlib.util.find_spec("genlab") is None:  # in Colab and Kaggle
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "genlab @ git+ADDRESS"], check=True)"""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class Failed(Exception):
    """A notebook that did not run cleanly; the message names notebook, cell and error."""


class OwnKernel(AsyncKernelManager):
    """The kernel of this interpreter, whatever kernels of the name python3 the reader has installed elsewhere."""

    @default("kernel_spec_manager")
    def _only_the_native_one(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def execute(path: Path) -> NotebookNode:
    """Run a notebook in a clean kernel of this interpreter and return it, tidied; the file is not touched.

    Raises:
        Failed: a cell raised, took too long, ended the kernel, or wrote to stderr.
    """
    os.environ |= ENVIRONMENT
    machine.spin_little(os.environ)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    started: list[int] = []
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        kernel_manager_class=OwnKernel,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],
        coalesce_streams=True,
        on_cell_start=lambda cell, cell_index: started.append(cell_index),
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        where = f"cell {started[-1]}:\n{notebook.cells[started[-1]].source}" if started else "before the first cell"
        raise Failed(f"{path.name}, {where}\n{type(error).__name__}: {error}") from None
    for number, cell in enumerate(notebook.cells):
        if any(output.get("name") == "stderr" for output in cell.get("outputs", [])):
            raise Failed(f"{path.name}, cell {number} writes to stderr:\n{cell.source}\n{cell.outputs}")
    return tidy(notebook)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Remove what changes from run to run: timings, random cell ids, versions, widget state."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        kept: dict[str, Any] = {key: cell.metadata[key] for key in ("tags", "reason") if cell.metadata.get(key)}
        cell["metadata"] = kept
    return notebook


def store(path: Path) -> float:
    """Execute a notebook and write it whole or not at all; returns the seconds it took."""
    start = time.monotonic()
    _write(execute(path), path)
    return time.monotonic() - start


def _write(notebook: NotebookNode, path: Path) -> None:
    nbformat.validate(notebook)
    partial = path.with_suffix(".partial")
    partial.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    os.replace(partial, path)


def install_cell(book: Path = Path("book.toml")) -> str:
    """The source of the first code cell, with the repository's address that the book's configuration names.

    Raises:
        ValueError: it names none.
    """
    named = re.search(r'^#? *git-repository-url *= *"([^"]+)"', book.read_text(encoding="utf-8"), re.MULTILINE)
    if named is None:
        raise ValueError(f"{book} names no git-repository-url, from which notebooks could install the package")
    return INSTALL.replace("ADDRESS", named[1])


def with_install_cell(notebook: NotebookNode, source: str) -> NotebookNode:
    """The same notebook with this first code cell, or with the source of the one that it has brought up to date.

    The cell prints nothing. So the stored outputs stay what a run makes, and only the counts of the others rise by one.
    """
    code = [number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    if code and 'find_spec("genlab")' in notebook.cells[code[0]].source:
        notebook.cells[code[0]].source = source
        return notebook
    for numbered in [part for i in code for part in (notebook.cells[i], *notebook.cells[i].outputs)]:
        if numbered.get("execution_count"):
            numbered.execution_count += 1
    first = code[0] if code else len(notebook.cells)
    notebook.cells.insert(first, nbformat.v4.new_code_cell(source, execution_count=1))
    return tidy(notebook)


def find(prefixes: list[str], folder: Path = FOLDER) -> list[Path]:
    """The notebooks whose names start with one of the prefixes, or all, in order.

    Raises:
        ValueError: a prefix fits none, or there are no notebooks.
    """
    every = sorted(folder.glob("*.ipynb"))
    if not every:
        raise ValueError(f"there are no notebooks in {folder}/; run this in the folder of the project")
    for prefix in prefixes:
        if not any(path.name.startswith(prefix) for path in every):
            known = ", ".join(path.stem for path in every)
            raise ValueError(f"no notebook in {folder}/ starts with {prefix!r}; there are {known}")
    return [path for path in every if not prefixes or path.name.startswith(tuple(prefixes))]


def main(arguments: list[str]) -> int:
    """Store the notebooks named; exit status 1 when one fails, 2 when a name is unknown."""
    if sys.platform == "win32":  # zmq needs a selector loop there
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    try:
        if arguments[:1] == ["--install"]:
            source = install_cell()
            for path in find(arguments[1:]):
                _write(with_install_cell(nbformat.read(path, as_version=4), source), path)
            return 0
        for path in find(arguments):
            say(f"{path.name:40} {store(path):6.1f} s")
            sys.stdout.flush()
    except (ValueError, FileNotFoundError) as error:
        say(f"genlab.tools.notebooks: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        say(str(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
