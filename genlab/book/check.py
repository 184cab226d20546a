"""What came out of mdBook, checked page by page: mdBook can fail in silence, and exit with status 0."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# A formula by the rule of markdown.TOKEN (so that "$7 and $8" is money), or any LaTeX command.
LATEX = re.compile(r"\$\$|(?<![\w$])\$(?=\S)[^$\n]{1,200}(?<=\S)\$(?![\d$])|\\[a-zA-Z]{2,}")
# What a page loads when it opens: by tag, the attributes with an address.
LOADED = {
    **dict.fromkeys(
        ("script", "img", "iframe", "source", "video", "audio", "embed", "track", "input"), ("src", "poster")
    ),
    "link": ("href",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
STYLE_URL = re.compile(r"""(?:url\(|@import\s+)\s*['"]?([^'")\s;]+)""")
# mdBook's own pages that repeat or list the others.
SKIPPED = {"404.html", "print.html", "toc.html"}


@dataclass
class Page(HTMLParser):
    """What a check needs of an HTML page."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._silent = 0
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
            if given["href"].split("#")[0].endswith(".ipynb") and "download" not in given and ":" not in given["href"]:
                self.raw.append(given["href"])
        if tag == "img":
            self.images.append((given.get("src", ""), given.get("alt", "")))
        self.resources += [given[name] for name in LOADED.get(tag, ()) if given.get(name)]
        self.resources += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.resources += STYLE_URL.findall(given.get("style", ""))
        if tag in ("script", "style", "pre", "code", "math"):
            self._silent += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "pre", "code", "math"):
            self._silent -= 1

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text.append(data)


def check(folder: Path, expected: list[str]) -> list[str]:
    """Everything that is wrong with a rendered book, a line each.

    Args:
        folder: the rendered book.
        expected: pages that must be there, one for each chapter of SUMMARY.md.
    """
    faults = [f"{name}: the page was not rendered" for name in expected if not (folder / name).exists()]
    pages = {p.relative_to(folder).as_posix(): Page(p) for p in sorted(folder.rglob("*.html")) if p.name not in SKIPPED}
    for name, page in pages.items():
        faults += [f"{name}: {fault}" for fault in _page(page, folder, pages)]
    for sheet in folder.rglob("*.css"):
        name = sheet.relative_to(folder).as_posix()
        faults += [
            f"{name}: {fault}"
            for url in STYLE_URL.findall(sheet.read_text("utf-8"))
            if (fault := _resource(sheet, url))
        ]
    return faults


def _page(page: Page, folder: Path, pages: dict[str, Page]) -> list[str]:
    text = "".join(page.text)
    faults = []
    if '"cell_type"' in text or '"nbformat"' in text:
        faults.append("a notebook's raw JSON was rendered; the preprocessor did not run")
    if found := LATEX.search(text):
        faults.append(f"LaTeX was left over: {found[0]!r}")
    if "{{#" in text:
        faults.append("an include was left over")
    faults += [f"the image {src} has no alt text" for src, alt in page.images if not alt.strip()]
    faults += [f"the link {url} opens a notebook's raw JSON; link to its chapter" for url in page.raw]
    faults += [fault for url in page.resources if (fault := _resource(page.path, url))]
    for url in page.links:
        fault = _link(page, url, folder, pages)
        faults += [f"the link {url} {fault}"] if fault else []
    return faults


def _resource(path: Path, url: str) -> str | None:
    """What is wrong with an address that a page or style sheet loads."""
    if url.startswith(("data:", "#")):
        return None
    if urlsplit(url).scheme or url.startswith("//"):
        return f"loads {url} from the network"
    return None if _resolve(path, url).exists() else f"{url} does not exist"


def _resolve(path: Path, url: str) -> Path:
    return (path.parent / unquote(urlsplit(url).path)).resolve()


def _link(page: Page, url: str, folder: Path, pages: dict[str, Page]) -> str | None:
    parts = urlsplit(url)
    if parts.scheme or url.startswith("//"):
        return None
    target = _resolve(page.path, url) if parts.path else page.path.resolve()
    if not target.exists() or not target.is_relative_to(folder.resolve()):
        return "leads to a page that does not exist"
    name = target.relative_to(folder.resolve()).as_posix()
    if parts.fragment and name in pages and unquote(parts.fragment) not in pages[name].ids:
        return "leads to a heading or an equation that does not exist"
    return None
