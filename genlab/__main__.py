"""The command line: `genlab vae`, `vqvae`, `gan`, `ar`, `flow`, `diffusion`, `classifier`, `sample`, `evaluate`,
`compare`, `doctor`, `zoo`, `progress`, `teach`, `gather`, `scoreboard`.

Options come from the signatures of the functions below and from the settings of the families in `genlab.runs`. Whatever
imports torch is imported where it is used, so that help and errors come at once.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import genlab
from genlab import machine, runs
from genlab.text import forgive
from genlab.tools.parser import Parser, fail


def sample(source: str, *, n: int = 64, out: str = "samples.png", seed: int = 1, label: int | None = None) -> None:
    """Draw samples from a run or from the zoo: one PNG with all of them, a PNG each, or a .npy file.

    Args:
        source: folder of a finished run, its model.safetensors, or a name in the zoo.
        n: number of samples.
        out: a .png for a grid, a .npy for an array (n, c, h, w) in [0, 1], or a folder for a PNG each.
        seed: of the noise.
        label: class of all samples, for conditional models; by default 0, 1, … in turn.
    """
    path = _target(out)
    trained = _find(source)
    images = runs.samples(trained, n, seed=seed, label=label)
    if images is None:
        raise ValueError(f"{source} is a {trained.family} that does not generate")
    from genlab.runs.judging import write_images

    write_images(images, path)
    print(str(path))


def _target(out: str) -> Path:
    """Where samples go, checked before they are drawn."""
    path = Path(out)
    if path.suffix.lower() in (".png", ".npy"):
        good = path.absolute().parent.is_dir() and not path.is_dir()
    else:
        empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        good = bool(path.name) and not path.suffix and empty
    if not good:
        raise ValueError(
            f"out must be a .png or .npy in a folder that exists, or a new or empty folder, but is {out!r}"
        )
    return path


def evaluate(source: str) -> None:
    """Print the metrics of a run, or of an entry of the zoo, on the test split, as JSON.

    Args:
        source: folder of a finished run, its model.safetensors, or a name in the zoo.
    """
    from genlab import zoo

    trained = _find(source)
    found = runs.evaluate(trained, zoo.judge_for(trained))
    if not found:
        print(
            "genlab: no network of the zoo judges such images; write samples by genlab sample, and compare them with "
            "real ones by genlab compare",
            file=sys.stderr,
        )
    print(json.dumps(found, indent=1, ensure_ascii=False))


def _find(source: str) -> runs.Trained:
    from genlab import zoo

    if Path(source).is_dir() or Path(source).suffix == ".safetensors":
        return runs.open_run(source)
    return zoo.trained(source)


def compare(
    real: str,
    fake: str,
    *,
    net: str = "classifier",
    size: int | None = None,
    channels: int | None = None,
    pixels: Literal["unit", "symmetric"] = "unit",
) -> None:
    """Compare two folders of images, real and generated, in the features of a network; print the metrics as JSON.

    Args:
        real: folder of real images, or a .npy file with an array (n, c, h, w), bytes or in [0, 1].
        fake: the same of generated ones.
        net: classifier (the zoo's, for images like its digits), inception:FILE, or package.module:factory of your own.
        size: side to which the images of folders are resized, in pixels.
        channels: 1 for grey, 3 for colour; those of the images when not given.
        pixels: the range that the network wants, unit for [0, 1] or symmetric for [-1, 1].
    """
    from genlab import metrics, zoo

    judge = zoo.judge(net) if net in zoo.names() else metrics.resolve_net(net)
    a, b = (_images(source, size, channels) for source in (real, fake))
    found = metrics.compare(a, b, judge.net, name=judge.name, pixels=pixels)
    print(json.dumps(found, indent=1, ensure_ascii=False))


def _images(source: str, size: int | None, channels: int | None) -> Any:
    """All images of a folder or of a .npy file."""
    import numpy as np

    from genlab import data

    if Path(source).suffix.lower() == ".npy":
        return np.load(source, allow_pickle=False)
    return data.read_images(source, size=size, channels=channels)


def zoo_list() -> None:
    """List the entries with their main metric."""
    for name in genlab.zoo.names():
        first = next(iter(genlab.zoo.entry(name)["metrics"].values()), None)
        print(f"{name:14} {first['what']}: {first['value']:.4g} ({first['n']})" if first else f"{name:14} no metrics")


def zoo_card(name: str) -> None:
    """Print the model card of an entry.

    Args:
        name: of the entry.
    """
    print(genlab.zoo.card(name, genlab.zoo.entry(name)))


def zoo_audit(*, name: str | None = None) -> None:
    """Recompute the metrics and fail on a difference.

    Args:
        name: of one entry; all by default.
    """
    wrong = []
    for one in [name] if name else genlab.zoo.names():
        differences = genlab.zoo.audit(one)
        print(f"{one}: {'ok' if not differences else 'DIFFERENT'}")
        wrong += differences
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        raise SystemExit(1)


def zoo_add(run: str, name: str, *, command: str, seconds: float, limits: str, overwrite: bool = False) -> None:
    """Store a finished run in the zoo.

    Args:
        run: folder of the run.
        name: of the entry.
        command: that made the run, for the card.
        seconds: that it took.
        limits: of the model, for the card.
        overwrite: replace an entry of that name.
    """
    print(str(genlab.zoo.add(run, name, command=command, seconds=seconds, limits=limits, overwrite=overwrite)))


def doctor(run: str | None = None) -> None:
    """Show machine, devices, data and versions with a self-test; or diagnose the log of a GAN's run.

    Args:
        run: folder of a run of `genlab gan`, or its history.jsonl.
    """
    if run is None:
        from genlab.tools.doctor import report

        raise SystemExit(0 if report() else 1)
    path = Path(run) if Path(run).suffix == ".jsonl" else Path(run) / "history.jsonl"
    kind = next((name for name in runs.FAMILIES if (path.parent / f"{name}.json").exists()), None)
    if kind not in ("gan", None):
        raise ValueError(f"{run} is a run of genlab {kind}, which plays no game; the doctor reads those of genlab gan")
    from genlab import diagnosis
    from genlab.runs.settings import read_json

    settings = read_json(path.parent / "gan.json") if kind else {}

    found = diagnosis.diagnose(diagnosis.read(path), objective=settings.get("objective", "nonsaturating"))
    print(str(found))


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


def teach(
    folder: str,
    *,
    chapter: str | None = None,
    notebooks: str = "notebooks",
    solutions: bool = True,
    exercises_only: bool = False,
) -> None:
    """Write student notebooks, solution notebooks and an nbgrader course.

    Args:
        folder: new or empty.
        chapter: for example "05"; all by default.
        notebooks: the folder of the course's notebooks.
        solutions: let students see an exercise's solution when they ask for it.
        exercises_only: leave out everything but the imports and the exercises.
    """
    from genlab.exercises.teach import write

    if not Path(notebooks).is_dir():
        raise ValueError(f"{notebooks} is no folder; run this in the project's folder, or pass --notebooks")
    options: dict[str, Any] = {"chapter": chapter, "solutions": solutions, "exercises_only": exercises_only}
    for path in write(Path(folder), notebooks=Path(notebooks), **options):
        print(str(path))


def gather(folder: str, *, out: str = "class.csv") -> None:
    """Gather what learners exported by `genlab progress --export` into one table.

    Args:
        folder: of the exported .json files.
        out: the table, a .csv for a spreadsheet.
    """
    from genlab.exercises import log

    if Path(out).suffix.lower() != ".csv" or not Path(out).absolute().parent.is_dir():
        raise ValueError(f"out must be a .csv in a folder that exists, but is {out!r}")
    learners, refused = log.gather(Path(folder))
    for line in refused:
        print(f"genlab: left out: {line}", file=sys.stderr)
    log.write_table(learners, Path(out))
    print(f"{out}: {len(learners)} learners")


def scoreboard(
    *,
    budget: Literal["0", "30", "120", "600"] | None = None,
    entry: str | None = None,
    processes: int = 1,
    folder: str | None = None,
    show: bool = False,
) -> None:
    """Make the rows of the scoreboard that are missing, or go on with it, and print it.

    Args:
        budget: only rows of this many seconds, 0 for what is not trained; all by default.
        entry: only this model.
        processes: rows made at the same time, one thread each.
        folder: where scoreboard.json lies; the package's by default.
        show: make nothing.
    """
    from genlab.studies import board

    print(board.fill(budget=budget, entry=entry, processes=processes, folder=folder, show=show))


COMMANDS: dict[str, Callable[..., None]] = {
    "sample": sample,
    "evaluate": evaluate,
    "compare": compare,
    "progress": progress,
    "teach": teach,
    "gather": gather,
    "doctor": doctor,
    "scoreboard": scoreboard,
}
ZOO: dict[str, Callable[..., None]] = {"list": zoo_list, "card": zoo_card, "audit": zoo_audit, "add": zoo_add}


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Wrong input ends in one line and exit status 2, with nothing written; a run that diverges in one line and status 1.
    """
    machine.spin_little(os.environ)
    forgive(sys.stdout)
    arguments = _arranged(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(prog="genlab", description=genlab.__doc__)
    parser.add_argument("--version", action="version", version=f"genlab {genlab.__version__}")
    commands = parser.add_subcommands(dest="command", required=True)
    chosen = arguments[0] if arguments else None
    for name, text in runs.FAMILIES.items():
        # Building one takes longer than all else, so only the one that is asked for is built.
        commands.add_subcommand(name, _run_parser(name) if chosen == name else Parser(), help=text)
    for name, function in COMMANDS.items():
        commands.add_subcommand(name, _function_parser(function), help=_first_line(function))
    zoo_parser = Parser(description="Small trained weights, offline, by name.")
    commands.add_subcommand("zoo", zoo_parser, help="list, show, audit or add trained weights")
    actions = zoo_parser.add_subcommands(dest="action", required=True)
    for name, function in ZOO.items():
        actions.add_subcommand(name, _function_parser(function), help=_first_line(function))
    try:
        given = parser.parse_args(arguments).as_dict()
        _run(given["command"], given[given["command"]])
    except (ValueError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail("interrupted; a training run goes on by --resume", 130)


def _arranged(arguments: list[str]) -> list[str]:
    """The arguments in jsonargparse's order: --config goes first, so that options override it wherever they stand.

    A switch without a value is on: `--resume` is `--resume true`.
    """
    command, rest = arguments[:1], arguments[1:]
    for i, one in enumerate(rest):
        if one.split("=")[0] == "--config":
            end = i + 1 + ("=" not in one)
            rest = rest[i:end] + rest[:i] + rest[end:]
            break
    switches, found = {f"--{name}" for name in _switches("".join(command))}, command
    for one, following in zip_longest(rest, rest[1:], fillvalue=""):
        on = one in switches and not re.fullmatch("true|false|yes|no", following, re.IGNORECASE)
        found += [one, "true"] if on else [one]
    return found


def _switches(command: str) -> set[str]:
    """The options of a command that are true or false."""
    if command in runs.FAMILIES:
        return {one.name for one in fields(runs.family(command).settings) if one.type in (bool, "bool")}
    functions = ZOO.values() if command == "zoo" else [COMMANDS[command]] if command in COMMANDS else []
    return {name for function in functions for name, kind in function.__annotations__.items() if kind is bool}


def _run(command: str, given: dict[str, Any] | None) -> None:
    given = given or {}
    if command in runs.FAMILIES:
        given.pop("config", None)
        found = runs.family(command)
        _fit(found, found.settings(**given))
    elif command == "zoo":
        ZOO[given["action"]](**(given[given["action"]] or {}))
    else:
        COMMANDS[command](**given)


def _fit(found: runs.Family, settings: Any) -> None:
    from genlab import train

    try:
        print(str(found.fit(settings)))
    except train.Diverged as error:
        fail(error, 1)


def _first_line(function: Callable[..., None]) -> str:
    return (function.__doc__ or "").splitlines()[0]


def _function_parser(function: Callable[..., None]) -> Parser:
    parser = Parser(description=_first_line(function))
    if function is doctor:  # an optional place, which a signature cannot say
        parser.add_argument("run", nargs="?", help="folder of a run of `genlab gan`, or its history.jsonl")
        return parser
    parser.add_function_arguments(function, as_positional=True)
    return parser


def _run_parser(name: str) -> Parser:
    """Options from the settings' fields; the JSON file that a run leaves gives other defaults, to repeat the run."""
    settings = runs.family(name).settings
    parser = Parser(usage=f"genlab {name} [options]", description=(settings.__doc__ or "").splitlines()[0])
    parser.add_argument("--config", action="config", help=f"{name}.json of a run to repeat; options override it")
    parser.add_class_arguments(settings, as_group=False)
    return parser


if __name__ == "__main__":
    main()
