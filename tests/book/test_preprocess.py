"""Notebooks become chapters; what cannot be rendered is named."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest
from nbformat.v4 import new_output

from genlab.book import BookError, preprocess, reference
from genlab.book.links import Index, slug
from genlab.book.markdown import convert, escape, formula, register

from .conftest import PIXEL, ROOT, code, figure, notebook


def text(source: str, index: Index | None = None, page: str = "a.html") -> str:
    index, place = index or Index(), "a.ipynb, cell 3"
    return convert(register(source, index=index, page=page, place=place), index=index, page=page, place=place)


def book(**chapters: object) -> dict:
    def chapter(name: str, content: object) -> dict:
        path = f"{name}.md" if isinstance(content, str) else f"{name}.ipynb"
        raw = content if isinstance(content, str) else json.dumps(content)
        return {"Chapter": {"name": name, "content": raw, "path": path, "source_path": path, "sub_items": []}}

    return {"items": [{"PartTitle": "Part"}, *(chapter(k, v) for k, v in chapters.items()), "Separator"]}


def rendered(tmp_path: Path, **chapters: object) -> dict[str, str]:
    made = book(**chapters)
    preprocess.convert(made, images=tmp_path / "images")
    return {c["name"]: c["content"] for c in preprocess.chapters(made["items"])}


def test_inline_and_display_become_mathml() -> None:
    got = text("with $x_1$ and\n\n$$ y = \\frac{1}{2} $$\n")
    assert got.count("<math") == 2 and "$" not in got and "<mfrac>" in got
    assert 'display="block"' in got and "\n" not in got[got.index("<span") : got.index("</span></span>")]


@pytest.mark.parametrize(
    "latex",
    [
        r"\begin{aligned} a &= b \\ &= c \end{aligned}",
        r"f(x) = \begin{cases} 1 & x > 0 \\ 0 & \text{otherwise} \end{cases}",
        r"\operatorname*{arg\,max}_\theta \mathbb{E}_{x \sim p}\left[\log p_\theta(x)\right]",
        r"\boxed{\mathcal{L} = -\tfrac12 \sum_{j=1}^d \sigma_j^2} \le \lVert x \rVert_2 \,\|\, q",
    ],
)
def test_the_mathematics_of_the_course_parses(latex: str) -> None:
    assert "<math" in formula(latex, True, "here")


def test_a_formula_that_does_not_parse_names_place_formula_and_reason() -> None:
    with pytest.raises(BookError, match=r"(?s)a\.ipynb, cell 3.*\\fracc\{1\}") as caught:
        text(r"$\fracc{1}{2}$")
    assert "fracc" in str(caught.value).splitlines()[-1] or "command" in str(caught.value)


@pytest.mark.parametrize("untouched", ["`$x$`", "```python\ncost = '$5 and $6'\n```", "~~~\n$$ a $$\n~~~"])
def test_code_is_left_alone(untouched: str) -> None:
    assert text(untouched) == untouched


def test_money_is_no_mathematics() -> None:
    assert "<math" not in text("it costs 5$ or $6, or \\$7 and \\$8")


def test_markdown_cannot_read_inside_a_formula() -> None:
    got = text("$a_1 * b_2 * [c](d) \\sim e$ and $x^*_i$")
    words = re.sub(r"<[^>]*>", "", got)
    assert not re.search(r"[*_\[\]~`]", words)
    assert escape("<mi>a_b*</mi>") == "<mi>a&#95;b&#42;</mi>"


def test_a_formula_in_a_block_quote_loses_the_quote_marks() -> None:
    got = text("> **Note.** so\n> $$ x\n> = y $$\n> end")
    assert "&gt;" not in got and got.startswith("> <strong") and got.endswith("> end")


def test_numbered_equations_and_references_across_chapters(tmp_path: Path) -> None:
    one = notebook("# A\n\n$$ x = 1 \\tag{5.1} $$\n\nsee equation (5.1), and version (2.14)")
    two = notebook("# B\n\nas (5.1) and `(5.1)` say")
    got = rendered(tmp_path, a=one, b=two)
    assert 'id="eq-5.1"' in got["a"] and '<span class="number">(5.1)</span>' in got["a"] and "\\tag" not in got["a"]
    assert "equation [(5.1)](#eq-5.1)" in got["a"] and "version (2.14)" in got["a"]
    assert "as [(5.1)](a.html#eq-5.1) and `(5.1)` say" in got["b"]


def test_a_number_given_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BookError, match=r"b\.ipynb, cell 0.*\(5\.1\).*a\.html"):
        rendered(tmp_path, a=notebook("$$ x \\tag{5.1} $$"), b=notebook("$$ y \\tag{5.1} $$"))


def test_a_reference_to_a_missing_equation_is_an_error() -> None:
    with pytest.raises(BookError, match=r"cell 3.*equation \(5\.9\)"):
        text("see equation (5.9)")


def test_links_between_notebooks(tmp_path: Path) -> None:
    links = "[b](b.ipynb#top), [c](c.md), [web](https://example.org/x.ipynb)"
    got = rendered(tmp_path, a=notebook(links), b=notebook("# Top"), c="y")
    assert got["a"].endswith("[b](b.html#top), [c](c.html), [web](https://example.org/x.ipynb)")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("[`f(x)`](b.ipynb)", "(b.html)"),
        ("[the $x$ case](b.ipynb#top)", "(b.html#top)"),
        ("[of (5.1) and $x$](b.ipynb)", "(b.html)"),
        ('[b](b.ipynb "a title")', '(b.html "a title")'),
        ("[b][1]\n\n[1]: b.ipynb#top", "[1]: b.html#top"),
        ("[up](../book/b.ipynb)", "(b.html)"),
        ("[r](reference/gan.md)", "(reference/gan.html)"),
    ],
)
def test_links_are_read_whatever_their_text_holds(source: str, target: str) -> None:
    index = Index(
        chapters={"book/b.ipynb": "book/b.html", "book/reference/gan.md": "book/reference/gan.html"},
        anchors={"book/b.html": {"top"}},
        equations={"5.1": "book/b.html"},
    )
    got = text(source, index, "book/a.html")
    assert target in got and ".ipynb" not in got and "eq-5.1" not in got


def test_links_from_a_folder_lead_out_of_it() -> None:
    index = Index(chapters={"b.ipynb": "b.html"}, equations={"5.1": "b.html"})
    got = text("[b](../b.ipynb), equation (5.1)", index, "reference/gan.html")
    assert got == "[b](../b.html), equation [(5.1)](../b.html#eq-5.1)"


def test_a_link_to_a_missing_heading_names_cell_link_and_the_nearest_one(tmp_path: Path) -> None:
    message = r"a\.ipynb, cell 0: the link to b\.ipynb#the-los leads to a heading .* did you mean #the-loss\?"
    with pytest.raises(BookError, match=message):
        rendered(tmp_path, a=notebook("[b](b.ipynb#the-los)"), b=notebook("## The loss"))


@pytest.mark.parametrize(
    ("title", "anchor"),
    [
        ("05 · Training a VAE", "05--training-a-vae"),
        ("The $\\beta$-VAE and `kl_x`: *why*?", "the-beta-vae-and-kl_x-why"),
        ("Exercise 5.1 · The [KL](b.ipynb) term (●○○, 3 min)", "exercise-51--the-kl-term--3-min"),
    ],
)
def test_headings_have_the_anchors_of_github(title: str, anchor: str) -> None:
    assert slug(title) == anchor


def test_headings_get_their_ids_once_and_comments_in_code_are_none() -> None:
    index = Index()
    got = register("# Same\n\n## Same ##\n\n```python\n# Same\n```\n", index=index, page="a.html", place="here")
    assert got == "# Same {#same}\n\n## Same {#same-1}\n\n```python\n# Same\n```\n"
    assert index.anchors["a.html"] == {"same", "same-1"}


def test_a_heading_that_mentions_an_equation_holds_no_link() -> None:
    index = Index(equations={"5.1": "a.html"}, anchors={"a.html": {"eq-5.1"}})
    got = text("## Around `x` (5.1)\n\nas (5.1)", index)
    assert got == "## Around `x` (5.1) {#around-x-51}\n\nas [(5.1)](#eq-5.1)"


def test_call_outs_carry_their_kind() -> None:
    got = text("> **Warning.** so\n\n> **Other.** so\n\n**Warning.** so")
    assert got == '> <strong class="warning">Warning.</strong> so\n\n> **Other.** so\n\n**Warning.** so'


def test_attachments_become_files(tmp_path: Path) -> None:
    made = notebook("see ![a dot](attachment:dot.png)")
    made.cells[0]["attachments"] = {"dot.png": {"image/png": PIXEL}}
    image = re.search(r"see !\[a dot\]\((images/\w+\.png)\)", rendered(tmp_path, a=made)["a"])
    assert image and (tmp_path / image[1]).read_bytes().startswith(b"\x89PNG")
    for source, message in (("![](attachment:dot.png)", "no alt text"), ("![x](attachment:y.png)", "not in the cell")):
        made.cells[0].source = source
        with pytest.raises(BookError, match=f"a\\.ipynb, cell 0.*{message}"):
            rendered(tmp_path, a=made)


def test_numbered_equations_of_markdown_pages_count(tmp_path: Path) -> None:
    got = rendered(tmp_path, a=notebook("by equation (2.1)"), b="$$ x \\tag{2.1} $$")
    assert "equation [(2.1)](b.html#eq-2.1)" in got["a"]


def test_commands_that_jupyter_does_not_know_are_errors() -> None:
    with pytest.raises(BookError, match="does not parse"):
        text(r"$\KL(q \| p)$")


def test_a_link_to_a_missing_chapter_names_notebook_cell_and_link(tmp_path: Path) -> None:
    with pytest.raises(BookError, match=r"a\.ipynb, cell 1: the link to nowhere\.ipynb leads to a chapter"):
        rendered(tmp_path, a=notebook("x", "[b](nowhere.ipynb)"))


def test_code_and_outputs(tmp_path: Path) -> None:
    stream = new_output("stream", name="stdout", text="✓ a < b & $c$\n")
    result = new_output("execute_result", {"text/plain": "array([1, *2*])"}, execution_count=1)
    frame = "<style>td {color: red}</style><table class='x' onclick='y'><tr><td>1</td></tr></table><script>z</script>"
    tabled = new_output("execute_result", {"text/plain": "t", "text/html": frame}, execution_count=1)
    got = rendered(tmp_path, a=notebook(code("x = '{{#include y}}'", stream, result, tabled, figure("a dot"))))["a"]
    assert '<pre><code class="language-python">x = &#x27;&#123;&#123;#include y}}&#x27;\n</code></pre>' in got
    assert '<pre class="output stdout"><samp>✓ a &lt; b &amp; $c$</samp></pre>' in got and "array([1, *2*])" in got
    assert "<table><tbody><tr><td>1</td></tr></tbody></table>" in got and "script" not in got and "color" not in got
    image = re.search(r'<img src="images/(\w+\.png)" alt="a dot" width="10" height="10"', got)
    assert image and (tmp_path / "images" / image[1]).read_bytes().startswith(b"\x89PNG")
    assert "Figure:" not in got


def test_markdown_that_code_shows_is_written_as_prose_is(tmp_path: Path) -> None:
    shown = {
        "text/markdown": "| a | $b$ |\n|---|---|\n| 1 | {{#x}} |",
        "text/plain": "<IPython.core.display.Markdown object>",
    }
    page = rendered(tmp_path, a=notebook(code("f()", new_output("display_data", shown))))["a"]
    assert "|---|---|" in page and "<math" in page and r"\{{#x}}" in page and "object" not in page


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (code("f()", figure(None)), "cell 0: a figure has no alt text"),
        (code("f()", new_output("error", ename="E", evalue="", traceback=[])), "cell 0: the stored output is an error"),
        (code("f()", new_output("display_data", {"application/x": "1"})), "application/x cannot be rendered"),
        (
            code(
                "f()",
                new_output("display_data", {"text/html": "<b>", "text/plain": "<IPython.core.display.HTML object>"}),
            ),
            "text/html, text/plain cannot be rendered",
        ),
    ],
)
def test_outputs_that_cannot_be_rendered(tmp_path: Path, cell: object, message: str) -> None:
    with pytest.raises(BookError, match=re.escape(message)):
        rendered(tmp_path, a=notebook(cell))


@pytest.mark.parametrize("content", ['{"cells": [', '{"nbformat": 4}', "[]"])
def test_a_notebook_that_is_not_valid_is_named(tmp_path: Path, content: str) -> None:
    made = book(a=notebook("x"))
    made["items"][1]["Chapter"]["content"] = content
    with pytest.raises(BookError, match=r"a\.ipynb: this is not a valid notebook"):
        preprocess.convert(made, images=tmp_path)


def test_colab_only_with_a_repository(tmp_path: Path) -> None:
    made, other = book(a=notebook("x")), book(a=notebook("x"))
    preprocess.convert(made, images=tmp_path)
    preprocess.convert(other, images=tmp_path, repository="https://github.com/someone/genlab")
    plain, configured = (b["items"][1]["Chapter"]["content"] for b in (made, other))
    assert 'href="a.ipynb" download' in plain and "colab" not in plain
    assert "https://colab.research.google.com/github/someone/genlab/blob/main/notebooks/a.ipynb" in configured


@pytest.mark.parametrize("module", ["vae", "gan", "data", "runs"])
def test_reference_pages_hold_every_public_function(module: str) -> None:
    """Of a file what it defines, of a folder what it hands on; nothing that comes from elsewhere."""
    found = importlib.import_module(f"genlab.{module}")
    names = getattr(found, "__all__", None) or [
        n for n, v in vars(found).items() if getattr(v, "__module__", "") == found.__name__ and n[0] != "_"
    ]
    wanted = {n for n in names if isinstance(getattr(found, n), type | FunctionType)}
    page = reference.page(module)
    assert len(wanted) > 7 and set(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == wanted
    with pytest.raises(BookError, match="no module 'nothing'"):
        reference.page("nothing")


def test_reference_pages_say_where_a_function_is_defined() -> None:
    source = (ROOT / "genlab/gan/objectives.py").read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(source, 1) if text.startswith("def minimax_d("))
    assert f"Defined in genlab/gan/objectives.py, line {line}<" in reference.page("gan")
    linked = reference.page("gan", "https://github.com/someone/genlab/")
    assert 'href="https://github.com/someone/genlab/blob/main/genlab/gan/objectives.py#L' in linked


def test_mdbook_is_answered_before_anything_is_read() -> None:
    command = [sys.executable, "-m", "genlab.book", "preprocess", "supports"]
    assert subprocess.run([*command, "html"], stdin=subprocess.DEVNULL).returncode == 0
    assert subprocess.run([*command, "latex"], stdin=subprocess.DEVNULL).returncode == 1
