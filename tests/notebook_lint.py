"""Rules that every notebook keeps: each is a function from a notebook to its faults."""

import ast
import builtins
import re
import symtable
from collections.abc import Callable, Iterator
from pathlib import Path

from nbformat import NotebookNode

from genlab.exercises import shelf
from genlab.tools.notebooks import install_cell

ROOT = Path(__file__).parents[1]
SECTIONS = ("You will be able to", "Exercises", "What you now know", "References")
TAGS = {"nbval-ignore-output"}
LIMIT = 1_000_000

Rule = Callable[[NotebookNode], list[str]]


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            yield number, output


def texts(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """Sources and textual outputs with their cells."""
    for number, cell in enumerate(notebook.cells):
        yield number, cell.source
    for number, output in outputs(notebook):
        yield number, output.get("text", "")
        yield from ((number, str(v)) for k, v in output.get("data", {}).items() if k.startswith("text/"))


def printed(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    for number, output in outputs(notebook):
        yield number, output.get("text", "") + output.get("data", {}).get("text/plain", "")


def executed_in_order(notebook: NotebookNode) -> list[str]:
    counts = [cell.execution_count for cell in code(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"execution counts are {counts}, not 1, 2, 3, …"]


def no_errors(notebook: NotebookNode) -> list[str]:
    return [f"cell {n} stores an error" for n, output in outputs(notebook) if output.output_type == "error"]


def no_stderr(notebook: NotebookNode) -> list[str]:
    return [f"cell {n} writes to stderr" for n, output in outputs(notebook) if output.get("name") == "stderr"]


def no_warnings(notebook: NotebookNode) -> list[str]:
    return [f"cell {n} prints a warning" for n, text in printed(notebook) if re.search(r"\w*Warning\b", text)]


def ignored_with_reason(notebook: NotebookNode) -> list[str]:
    tagged = [cell for cell in code(notebook) if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    faults = [f"no reason is given for ignoring: {c.source[:40]!r}" for c in tagged if not c.metadata.get("reason")]
    if len(tagged) > 0.15 * len(code(notebook)):
        faults.append(f"{len(tagged)} of {len(code(notebook))} code cells are ignored, more than 15 %")
    return faults


def known_tags(notebook: NotebookNode) -> list[str]:
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    return [f"tag {tag!r} is not allowed; allowed is {', '.join(TAGS)}" for tag in sorted(tags - TAGS)]


def figures_have_alt_text(notebook: NotebookNode) -> list[str]:
    faults = []
    for number, output in outputs(notebook):
        if any(kind.startswith("image/") for kind in output.get("data", {})):
            alt = output.metadata.get("image/png", {}).get("alt", "")
            if len(alt) < 20 or output.data.get("text/plain") != f"Figure: {alt}":
                faults.append(f"the figure of cell {number} has no alt text of 20 characters that its text repeats")
    return faults


def no_machine_paths(notebook: NotebookNode) -> list[str]:
    # a second backslash tells a folder of Windows from mathematics such as $G:\mathcal{Z}$
    path = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|Users|work|usr|var)/|\b[A-Z]:\\\w+\\")
    return [f"cell {n} has an absolute path: {m[0]!r}" for n, text in texts(notebook) if (m := path.search(text))]


def nothing_that_changes(notebook: NotebookNode) -> list[str]:
    volatile = re.compile(r"\b0x[0-9a-f]{6,}|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|\d(?:it/s|s/it)\b")
    return [f"cell {n} prints {m[0]!r}" for n, text in printed(notebook) if (m := volatile.search(text))]


def plain_python(notebook: NotebookNode) -> list[str]:
    odd = re.compile(
        r"^\s*(?:[%!]|from \S+ import \*|from sympy import)|sys\.path", re.MULTILINE
    )  # sympy's log is not math's
    return [f"code has {m[0].strip()!r}" for cell in code(notebook) if (m := odd.search(cell.source))]


def starts_by_installing(notebook: NotebookNode) -> list[str]:
    """The first code cell installs the package where it is missing, as in Colab and Kaggle."""
    wanted = install_cell(ROOT / "book.toml")
    first = next((cell.source for cell in code(notebook)), "")
    return [] if first == wanted else ["store the first cell by python -m genlab.tools.notebooks --install"]


def one_imports_cell(notebook: NotebookNode) -> list[str]:
    found = [c for c in code(notebook)[1:] if re.search(r"^(?:import|from) ", c.source, re.MULTILINE)]
    return [] if len(found) == 1 else [f"{len(found)} cells import, but one should"]


def imports_are_used(notebook: NotebookNode) -> list[str]:
    """All but the exercises' own functions, which a reader calls from cells of his own."""
    tree = ast.parse("\n\n".join(cell.source for cell in code(notebook)))
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "genlab.exercises":
            names = [(alias.asname or alias.name).split(".")[0] for alias in node.names]
            faults += [f"{name} is imported and not used" for name in names if name not in read]
    return faults


def prose_names_what_is_there(notebook: NotebookNode) -> list[str]:
    """A call that the text names, as `hint("05.1")`, can be made in a cell of the notebook."""
    tree = ast.parse("\n\n".join(cell.source for cell in code(notebook)))
    known = {
        alias.asname or alias.name.split(".")[0]
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom)
        for alias in n.names
    }
    known |= {"genlab"} | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    known |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    prose = re.sub(r"^```.*?^```", "", prose, flags=re.MULTILINE | re.DOTALL)
    called = {m[1].split(".")[0] for m in re.finditer(r"`([A-Za-z_][\w.]*)\([^`]*\)`", prose)}
    return [f"the text names {name}(…), which no cell has" for name in sorted(called - known - set(dir(builtins)))]


def links_lead_somewhere(notebook: NotebookNode) -> list[str]:
    """A link to another file of the course, as `[02](02_title.ipynb)`, names one that is there."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = set(re.findall(r"\]\(([^)#\s:]+\.(?:ipynb|md|png))(?:#[^)]*)?\)", prose))
    return [f"a link leads to {link}, which is not there" for link in links if not (ROOT / "notebooks" / link).exists()]


def short_cells(notebook: NotebookNode) -> list[str]:
    lines = [sum(1 for line in cell.source.splitlines() if line.strip()) for cell in code(notebook)]
    return [f"a code cell has {n} lines, more than 20" for n in lines if n > 20]


def fits_the_column(notebook: NotebookNode) -> list[str]:
    """Readers of the book and of JupyterLab see 88 characters of a line."""
    wide = [line for cell in code(notebook) for line in cell.source.splitlines() if len(line) > 88]
    return [f"a line of code has {len(line)} characters, more than 88: {line.strip()[:60]}" for line in wide]


def sections_in_order(notebook: NotebookNode) -> list[str]:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    first = notebook.cells[0].source if notebook.cells else ""
    faults = []
    if not re.match(r"# (\d\d|A\d) · \S.*\n+[^\n#*]", first):
        faults.append("the first cell must open with '# NN · title' and a promise")
    if not re.search(r"\*\*Read\*\* .*\*\*Run\*\* .*\*\*Difficulty\*\* .*\*\*Needs\*\*", first, re.DOTALL):
        faults.append("the first cell must have the line Read · Run · Difficulty · Needs")
    places = [text.find(f"## {section}") for section in SECTIONS]
    if -1 in places or places != sorted(places):
        faults.append(f"the sections {', '.join(SECTIONS)} must be there in this order")
    elif not re.search(r"doi\.org/|arxiv\.org/abs/", text[places[3] :], re.IGNORECASE):
        faults.append("the references must have a DOI or an arXiv number")
    return faults


def exercises_are_those_of_the_course(notebook: NotebookNode) -> list[str]:
    """Every exercise is shown once and followed by its own stub, which the reader fills in; there are five or more."""
    cells = code(notebook)
    shown = [(i, m[1]) for i, cell in enumerate(cells) if (m := re.fullmatch(r'exercise\("([^"]+)"\)', cell.source))]
    faults = [] if len(shown) >= 5 else [f"there are {len(shown)} exercises, but five or more should be"]
    for i, number in shown:
        if i + 1 == len(cells) or cells[i + 1].source != shelf.find(number).cell:
            faults.append(f"exercise {number} is not followed by its stub and check")
    if chapter := {number.split(".")[0] for _, number in shown}:
        wanted = [e.number for c in sorted(chapter) for e in shelf.of(c)]
        if [number for _, number in shown] != wanted:
            faults.append(f"the exercises shown are {[n for _, n in shown]}, but the chapter has {wanted}")
    return faults


def live_figures_keep_their_names(notebook: NotebookNode) -> list[str]:
    """What a slider calls must not read names that a later cell assigns: readers run all cells, then move it."""
    tables = [symtable.symtable(cell.source, "cell", "exec") for cell in code(notebook)]
    functions: dict[str, symtable.SymbolTable] = {}
    faults = []
    for i, cell in enumerate(code(notebook)):
        functions |= {table.get_name(): table for table in tables[i].get_children()}
        if not re.search(r"\.observe\(|plot\.explore\(", cell.source):
            continue
        read: set[str] = set()
        ahead = set().union(*map(names_read, tables[i].get_children()))
        ahead |= {s.get_name() for s in tables[i].get_symbols() if s.is_referenced()} & functions.keys()
        while ahead:
            read |= ahead
            called = [functions[name] for name in ahead if name in functions]
            ahead = set().union(*map(names_read, called)) - read
        for table in tables[i + 1 :]:
            assigned = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
            faults += [f"a live figure reads {name}, which a later cell assigns" for name in sorted(assigned & read)]
    return faults


def names_read(function: symtable.SymbolTable) -> set[str]:
    """The global names that a function, or one inside it, reads."""
    own = {symbol.get_name() for symbol in function.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return own.union(*map(names_read, function.get_children()))


RULES: list[Rule] = [
    executed_in_order,
    no_errors,
    no_stderr,
    no_warnings,
    ignored_with_reason,
    known_tags,
    figures_have_alt_text,
    no_machine_paths,
    nothing_that_changes,
    plain_python,
    starts_by_installing,
    one_imports_cell,
    imports_are_used,
    prose_names_what_is_there,
    links_lead_somewhere,
    short_cells,
    fits_the_column,
    live_figures_keep_their_names,
    sections_in_order,
    exercises_are_those_of_the_course,
]
