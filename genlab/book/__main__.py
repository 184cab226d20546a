"""`python -m genlab.book build|serve|preprocess`: render, serve on localhost, be mdBook's preprocessor."""

import argparse
import contextlib
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from genlab.book import IMAGES, BookError, check, search
from genlab.text import forgive


def build(root: Path, out: Path) -> None:
    """Render the book below `root` into `out`. A failed build leaves the old book as it was.

    Raises:
        BookError: with mdBook's log, or with what is wrong with the pages that came out.
    """
    if not (root / "book.toml").exists():
        raise BookError(f"{root} has no book.toml; run this in the project's folder, or pass --root")
    # The old book is removed, so it must be one: mdBook writes toc.html into every book.
    if out.exists() and not (out / "toc.html").exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BookError(f"{out} exists and is no book, so it is left alone; give --out a new or an empty folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".book-") as scratch:
        fresh, images = Path(scratch) / "book", Path(scratch) / "images"
        _mdbook(root, fresh, images)
        if images.exists():
            shutil.copytree(images, fresh / "images", dirs_exist_ok=True)
        _font(fresh)
        _tidy(fresh)
        search.slim(fresh)
        if faults := check.check(fresh, _pages(root)):
            raise BookError("the book was rendered, but not whole:\n  " + "\n  ".join(faults))
        old = Path(scratch) / "old"
        if out.exists():
            out.rename(old)
        fresh.rename(out)


def _mdbook(root: Path, fresh: Path, images: Path) -> None:
    binary = shutil.which("mdbook", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if binary is None:
        raise BookError('mdbook is missing; install it with: pip install "genlab[book]"')
    environment = os.environ | {
        IMAGES: str(images),
        # mdBook runs the preprocessor by name; it must be this interpreter, not the first python on the path.
        "MDBOOK_PREPROCESSOR__GENLAB__COMMAND": f'"{sys.executable}" -m genlab.book preprocess',
    }
    for name in ("RUST_LOG", "MDBOOK_LOG"):  # they could silence the log, which is the only sign of some errors
        environment.pop(name, None)
    done = subprocess.run(
        [binary, "build", root, "-d", fresh], capture_output=True, text=True, env=environment, encoding="utf-8"
    )
    log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    log = re.sub(r"^.*WARN.* search index is very large .*\n?", "", log, flags=re.MULTILINE)  # `search.slim` sees to it
    if done.returncode or re.search(r"\b(ERROR|WARN)\b", log):  # a missing include is no more than an ERROR in the log
        ours = re.search(r"^genlab\.book: (.*?)(?=^ *ERROR|\Z)", log, re.MULTILINE | re.DOTALL)
        raise BookError(ours[1].strip() if ours else f"mdbook failed:\n{log.strip()}")


def _pages(root: Path) -> list[str]:
    """The pages that SUMMARY.md promises."""
    text = (root / "notebooks" / "SUMMARY.md").read_text(encoding="utf-8")
    return [re.sub(r"\.(md|ipynb)$", ".html", path) for path in re.findall(r"\]\(([^)]+)\)", text)]


def _font(book: Path) -> None:
    """MathML needs an OpenType font with a mathematics table; ziamath ships STIX Two Math (SIL Open Font License)."""
    spec = importlib.util.find_spec("ziamath")
    if spec is None or spec.origin is None:
        raise BookError('ziamath is missing; install it with: pip install "genlab[book]"')
    shutil.copy(Path(spec.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf", book / "fonts")


def _tidy(book: Path) -> None:
    """mdBook copies every file beside the sources; those of tests and editors are no part of the book."""
    for path in [*book.rglob("*.py"), *book.rglob("__pycache__"), *book.rglob(".ipynb_checkpoints")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def serve(root: Path, out: Path, port: int) -> None:
    """Serve the book on localhost, and build it again when a source changes."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(out))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise BookError(f"port {port} cannot be had ({error.strerror}); choose another with --port") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"the book is at http://127.0.0.1:{server.server_port}/ (stop with Ctrl-C)", flush=True)
    seen = _newest(root)
    while True:
        time.sleep(1)
        if (now := _newest(root)) != seen:
            seen = now
            try:
                build(root, out)
                print("built again", flush=True)
            except BookError as error:
                print(error, file=sys.stderr)


def _newest(root: Path) -> float:
    newest = (root / "book.toml").stat().st_mtime
    for path in (root / "notebooks").rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # JupyterLab saves by way of temporary files
            newest = max(newest, path.stat().st_mtime)
    return newest


def _preprocess() -> int:
    """mdBook asks first whether a renderer is supported; the answer does not wait for slow imports."""
    if "supports" in sys.argv:
        return 0 if sys.argv[-1] == "html" else 1
    from genlab.book import preprocess

    return preprocess.main()


def main() -> int:
    """Run one command; exit status 1 with one message when the book is not whole."""
    if "preprocess" in sys.argv[1:]:
        return _preprocess()
    parser = argparse.ArgumentParser(prog="python -m genlab.book", description="Render the course as a book.")
    parser.add_argument("command", choices=["build", "serve"])
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder")
    parser.add_argument("--out", type=Path, help="where the book goes (default: _book below the root)")
    parser.add_argument("--port", type=int, default=3000, help="of serve")
    given = parser.parse_args()
    root = given.root.resolve()
    out = (given.out or root / "_book").resolve()
    try:
        start = time.monotonic()
        build(root, out)
        print(f"the book is in {out}: open {out / 'index.html'} ({time.monotonic() - start:.1f} s)")
        if given.command == "serve":
            serve(root, out, given.port)
    except BookError as error:
        print(f"genlab.book: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    forgive(sys.stdout)
    raise SystemExit(main())
