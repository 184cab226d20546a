"""Kill runs with SIGKILL and let them go on: `python kills.py FOLDER writes` or `… moments SEED` reports in JSON.

Starting Python and torch takes seconds, so this process imports everything once and forks a child for each life of a
run. It trains nothing itself, because threads do not survive a fork.
"""

import faulthandler
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"GENLAB_LIVE": "0", "MPLBACKEND": "agg"}

import torch
import torch._dynamo  # optimisers import it when they are made, which takes seconds
from safetensors.torch import save_file

from genlab import checkpoint, data, plot, runs
from genlab.runs import base
from genlab.runs.gan import GANSettings
from genlab.runs.settings import Settings
from genlab.runs.vae import VAESettings

torch.set_num_threads(1)

# Everything that has a state: BatchNorm, spectral norm, averaged weights, several moves, noise of every generator.
GAN = GANSettings(
    out="",
    steps=24,
    batch_size=8,
    save_every=3,
    z_dim=4,
    width=4,
    n_critic=2,
    gp=1.0,
    instance_noise=0.1,
    augmentation=True,
    spectral_norm=True,
    conditional=True,
    resume=True,
)
VAE = VAESettings(
    out="", steps=6, batch_size=8, save_every=2, z_dim=2, width=4, warmup=4, schedule="cosine", resume=True
)


def start(family: str, settings: Settings, prepare: Callable[[], None] = lambda: None) -> int:
    """Fork a child that makes the run; its process id."""
    if child := os.fork():
        return child
    faulthandler.dump_traceback_later(90, exit=True)  # a life takes seconds: say where it hangs
    status = 1
    try:
        prepare()
        runs.family(family).fit(settings)
        status = 0
    finally:
        os._exit(status)


def finished(child: int) -> bool:
    """Wait for the end of a child: True when it finished, False when it was killed."""
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("a run failed; see above")
    return True


def outcome(folder: Path) -> dict[str, bytes]:
    """All that a run leaves, but for its settings, which name the folder, and a third checkpoint, due to be removed."""
    files = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"}
    files -= set(checkpoint.found(folder / "checkpoints")[:-2])
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


def settings_for(settings: Settings, folder: Path) -> Settings:
    return type(settings)(**{**vars(settings), "out": str(folder)})


def moments(home: Path, seed: int, kills: int = 10) -> dict[str, Any]:
    """Kill a GAN at random moments until it has died `kills` times, then let it end."""
    draw = random.Random(seed)
    began = time.monotonic()
    assert finished(start("gan", settings_for(GAN, home / "whole")))
    length = time.monotonic() - began
    whole, died, lives, at = outcome(home / "whole"), 0, 0, []
    while died < kills:  # a machine may be so quick that a run ends before it has died often enough
        lives += 1
        folder = home / f"life{lives}"
        while True:
            child = start("gan", settings_for(GAN, folder))
            if died < kills:
                time.sleep(length * draw.uniform(0.05, 0.75))
                os.kill(child, signal.SIGKILL)  # a child that has ended already is still there to be waited for
            if finished(child):
                break
            died += 1
            saved = checkpoint.found(folder / "checkpoints")
            at.append(int(saved[-1].stem[5:]) if saved else 0)
        assert outcome(folder) == whole, f"{folder} differs from the run that was left alone"
    return {"kills": died, "at": at, "runs": lives}


def writes(home: Path) -> dict[str, Any]:
    """Kill a VAE at everything that it does to a file, once each, and let it go on in between until it ends.

    Contents are cut in half. Before and after a renaming, a removal and the making of a folder there is a death.
    """
    assert finished(start("vae", settings_for(VAE, home / "whole")))
    whole, died = outcome(home / "whole"), []
    while True:
        note = home / f"note{len(died)}"
        child = start("vae", settings_for(VAE, home / "again"), lambda: die_at_news(died, note))  # noqa: B023 (used now)
        if finished(child):
            break
        died.append(note.read_text(encoding="utf-8"))
    assert outcome(home / "again") == whole, "the run differs from the one that was left alone"
    return {"kills": len(died), "at": died}


def die_at_news(known: list[str], note: Path) -> None:
    """Let this process kill itself at the first change of a file that is not known, and leave a note what it was."""

    def moment(what: str, path: Path, last_act: Callable[[], None] = lambda: None) -> None:
        if (name := f"{what} {path.name}") not in known:
            last_act()
            with open(note, "w", encoding="utf-8") as file:
                file.write(name)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(name: str, function: Callable[..., Any], which: int) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            moment(f"before {name}", Path(arguments[which]))
            result = function(*arguments, **options)
            moment(f"after {name}", Path(arguments[which]))
            return result

        return wrapped

    def within(name: str, function: Callable[..., Any], which: int) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            path = Path(arguments[which])
            moment(f"within {name}", path, lambda: os.truncate(path, path.stat().st_size // 2))
            return result

        return wrapped

    os.replace = around("replace", os.replace, 1)
    for name in ("unlink", "mkdir"):
        setattr(Path, name, around(name, getattr(Path, name), 0))
    for name in ("write_text", "write_bytes"):
        setattr(Path, name, within(name, getattr(Path, name), 0))
    for module in (checkpoint, base):
        setattr(module, "save_file", within("save_file", save_file, 1))  # noqa: B010 (mypy forbids the assignment)


if __name__ == "__main__":
    data.digits()
    plot.png(plot.figure()[0])  # finds the fonts
    folder, mode, began = Path(sys.argv[1]), sys.argv[2], time.monotonic()
    report = writes(folder) if mode == "writes" else moments(folder, int(sys.argv[3]))
    print(json.dumps(report | {"seconds": round(time.monotonic() - began, 1)}))
