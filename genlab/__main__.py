"""The command line: `genlab vae`, `gan`, `vqvae`, `classifier`, `sample`, `evaluate`, `zoo`,
`progress`, `teach`, `doctor`.

Options come from the signatures of the functions below and from the fields of `genlab.settings`. Whatever imports torch
is imported where it is used, so that help and errors come at once.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter

import genlab
from genlab.settings import SETTINGS


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


def sample(source: str, *, n: int = 64, out: str = "samples.png", seed: int = 1, label: int | None = None) -> None:
    """Draw samples from a run or from the zoo and write them as one PNG.

    Args:
        source: folder of a finished run, or a name in the zoo.
        n: number of samples.
        out: the PNG.
        seed: of the noise.
        label: class of all samples, for conditional models; by default 0, 1, … 9, 0, …
    """
    from genlab import evaluation, plot

    if n < 1:
        raise ValueError(f"n must be at least 1, but is {n}")
    if Path(out).suffix.lower() != ".png" or not Path(out).absolute().parent.is_dir():
        raise ValueError(f"out must be a .png in a folder that exists, but is {out!r}")
    model, recipe, settings = _find(source)
    if label is not None and not (settings.get("conditional") and 0 <= label <= 9):
        raise ValueError(f"label={label} goes with a conditional model and lies between 0 and 9")
    images = evaluation.samples(model, recipe, settings, n, seed=seed, label=label)
    if images is None:
        raise ValueError(f"{source} is a {recipe} that does not generate")
    columns = min(10, n)
    fig, ax = plot.figure(width=0.6 * columns, height=0.6 * -(-n // columns))
    plot.images(ax, images, columns=columns)
    Path(out).write_bytes(plot.png(fig))
    print(out)


def evaluate(source: str) -> None:
    """Print the metrics of a run, or of an entry of the zoo, on the test split, as JSON.

    Args:
        source: folder of a finished run, or a name in the zoo.
    """
    from genlab import evaluation

    model, recipe, settings = _find(source)
    print(json.dumps(evaluation.evaluate(model, recipe, settings), indent=1, ensure_ascii=False))


def _find(source: str) -> tuple[Any, str, dict[str, Any]]:
    from genlab import zoo

    if Path(source).is_dir():
        return zoo.load_run(source)
    record = zoo.entry(source)
    return zoo.load(source), record["recipe"], record["settings"]


def zoo_list() -> None:
    """List the entries with their main metric."""
    from genlab import zoo

    for name in zoo.names():
        first = next(iter(zoo.entry(name)["metrics"].values()))
        print(f"{name:14} {first['what']}: {first['value']:.4g} ({first['n']})")


def zoo_card(name: str) -> None:
    """Print the model card of an entry.

    Args:
        name: of the entry.
    """
    from genlab import zoo

    print(zoo.card(name, zoo.entry(name)))


def zoo_verify(*, name: str | None = None) -> None:
    """Recompute the metrics and fail on a difference.

    Args:
        name: of one entry; all by default.
    """
    from genlab import zoo

    wrong = []
    for one in [name] if name else zoo.names():
        differences = zoo.verify(one)
        print(f"{one}: {'ok' if not differences else 'DIFFERENT'}")
        wrong += differences
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        raise SystemExit(1)


def zoo_add(run: str, name: str, *, command: str, seconds: float, limits: str) -> None:
    """Store a finished run in the zoo.

    Args:
        run: folder of the run.
        name: of the entry.
        command: that made the run, for the card.
        seconds: that it took.
        limits: of the model, for the card.
    """
    from genlab import zoo

    print(zoo.add(run, name, command=command, seconds=seconds, limits=limits))


def doctor() -> None:
    """Show machine, devices, data and versions, and run a self-test of about ten seconds."""
    from genlab.doctor import report

    raise SystemExit(0 if report() else 1)


def progress(*, reset: str | None = None, export: str | None = None, name: str = "") -> None:
    """Show which exercises are solved, forget some, or write a file for a teacher.

    Args:
        reset: forget an exercise ("05.2"), a chapter ("05") or everything ("all").
        export: a JSON file to write.
        name: of the reader, for the export.
    """
    from genlab.exercises import log

    if reset:
        log.reset(reset)
    if export:
        if not Path(export).absolute().parent.is_dir():
            raise ValueError(f"export must be a file in a folder that exists, but is {export!r}")
        log.export(Path(export), name=name)
    print(export or log.text())


def teach(folder: str, *, chapter: str | None = None, notebooks: str = "notebooks") -> None:
    """Write student notebooks, solution notebooks and an nbgrader course.

    Args:
        folder: new or empty.
        chapter: for example "05"; all by default.
        notebooks: the folder of the course's notebooks.
    """
    from genlab.exercises.teach import write

    if not Path(notebooks).is_dir():
        raise ValueError(f"{notebooks} is no folder; run this in the project's folder, or pass --notebooks")
    for path in write(Path(folder), notebooks=Path(notebooks), chapter=chapter):
        print(path)


COMMANDS: dict[str, Callable[..., None]] = {
    "sample": sample,
    "evaluate": evaluate,
    "progress": progress,
    "teach": teach,
    "doctor": doctor,
}
ZOO: dict[str, Callable[..., None]] = {"list": zoo_list, "card": zoo_card, "verify": zoo_verify, "add": zoo_add}
RECIPE_HELP = {
    "vae": "train a variational autoencoder",
    "vqvae": "train a VQ-VAE",
    "gan": "train a generative adversarial network",
    "classifier": "train the feature classifier",
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Wrong input ends in one line and exit status 2, with nothing written; a run that diverges in one line and status 1.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(prog="genlab", description=genlab.__doc__)
    parser.add_argument("--version", action="version", version=f"genlab {genlab.__version__}")
    commands = parser.add_subcommands(dest="command", required=True)
    chosen = arguments[0] if arguments else None
    for name, text in RECIPE_HELP.items():
        # Building one takes longer than all else, so only the one that is asked for is built.
        commands.add_subcommand(name, _recipe_parser(name) if chosen == name else Parser(), help=text)
    for name, function in COMMANDS.items():
        commands.add_subcommand(name, _function_parser(function), help=_first_line(function))
    zoo_parser = Parser(description="Small trained weights, offline, by name.")
    commands.add_subcommand("zoo", zoo_parser, help="list, show, verify or add trained weights")
    actions = zoo_parser.add_subcommands(dest="action", required=True)
    for name, function in ZOO.items():
        actions.add_subcommand(name, _function_parser(function), help=_first_line(function))
    try:
        given = parser.parse_args(arguments).as_dict()
        _run(given["command"], given[given["command"]])
    except (ValueError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail("interrupted; a training run goes on by --resume true", 130)


def _run(command: str, given: dict[str, Any] | None) -> None:
    given = given or {}
    if command in SETTINGS:
        given.pop("config", None)
        _fit(command, SETTINGS[command](**given))
    elif command == "zoo":
        ZOO[given["action"]](**(given[given["action"]] or {}))
    else:
        COMMANDS[command](**given)


def _fit(command: str, settings: Any) -> None:
    from genlab import recipes, train

    try:
        print(recipes.RECIPES[command].fit(settings))
    except train.Diverged as error:
        fail(error, 1)


def _first_line(function: Callable[..., None]) -> str:
    return (function.__doc__ or "").splitlines()[0]


def _function_parser(function: Callable[..., None]) -> Parser:
    parser = Parser(description=_first_line(function))
    parser.add_function_arguments(function, as_positional=True)
    return parser


def _recipe_parser(name: str) -> Parser:
    """Options from the settings' fields; the JSON file that a run leaves gives other defaults, to repeat the run."""
    settings = SETTINGS[name]
    parser = Parser(usage=f"genlab {name} [options]", description=(settings.__doc__ or "").splitlines()[0])
    parser.add_argument("--config", action="config", help=f"{name}.json of a run to repeat; later options override it")
    parser.add_class_arguments(settings, as_group=False)
    return parser


if __name__ == "__main__":
    main()
