"""Every page of the real book, opened from disk in a headless browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

# Text and background colours of every visible piece of text, with the contrast ratio that WCAG defines.
CONTRAST = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0.9) return c.slice(0, 3) } return [255, 255, 255] };
  const poor = new Map();
  const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  for (let n; n = walk.nextNode();) {
    const e = n.parentElement;
    if (!n.textContent.trim() || !e.getClientRects().length || e.closest('.buttons, template')) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.set(e.tagName + '.' + e.className, [ratio, n.textContent.trim().slice(0, 30)]);
  }
  return [...poor];
}"""
LEFT_OVER = r"""() => {
  const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT), found = [];
  for (let n; n = walk.nextNode();)
    if (!n.parentElement.closest('pre, code, math') && /\$[^$\n]+\$|\\(frac|log|mathbb|sum|tag)\b/.test(n.textContent))
      found.push(n.textContent.trim().slice(0, 60));
  return found;
}"""


def pages(book: Path) -> list[Path]:
    return sorted(p for p in book.rglob("*.html") if p.name not in ("404.html", "toc.html"))


def test_every_page_loads_with_its_mathematics_and_images(real_book: Path, page: Page) -> None:
    with_math = 0
    for path in pages(real_book):
        page.goto(path.as_uri())
        for image in page.query_selector_all("main img"):
            image.scroll_into_view_if_needed()
        page.wait_for_function("[...document.querySelectorAll('main img')].every(i => i.complete)")
        bad = "[...document.querySelectorAll('main img')].filter(i => !i.naturalWidth || !i.alt.trim()).map(i => i.src)"
        assert page.evaluate(bad) == [], path.name
        assert page.evaluate(LEFT_OVER) == [], path.name
        with_math += page.locator("main math").count() > 0
    assert with_math >= 3, "the chapters have mathematics"


def test_mathematics_is_set_in_the_books_own_font(real_book: Path, page: Page) -> None:
    page.goto((real_book / "05_training_a_vae.html").as_uri())
    page.evaluate("document.fonts.ready")
    assert page.evaluate("[...document.fonts].some(f => f.family.includes('STIX Two Math') && f.status === 'loaded')")


THEMES = ("light", "rust", "coal", "navy", "ayu")


@pytest.mark.parametrize("theme", THEMES)
def test_a_reader_finds_the_theme_that_was_chosen(real_book: Path, page: Page, theme: str) -> None:
    page.add_init_script(f"localStorage.setItem('mdbook-theme', '{theme}')")
    page.goto((real_book / "index.html").as_uri())
    assert page.evaluate(f"document.documentElement.classList.contains('{theme}')")


def test_every_page_is_readable_in_every_theme(real_book: Path, page: Page) -> None:
    """By the page's own buttons: to load each page anew in each theme would take five times as long."""
    for path in pages(real_book):
        if path.name == "print.html":  # the same texts once more
            continue
        page.goto(path.as_uri())
        for theme in THEMES:
            page.evaluate(f"document.getElementById('mdbook-theme-{theme}').click()")
            assert page.evaluate("document.documentElement.classList.contains(localStorage.getItem('mdbook-theme'))")
            assert page.evaluate(f"document.documentElement.classList.contains('{theme}')")
            assert page.evaluate(CONTRAST) == [], f"{path.name} in {theme}"


def test_narrow_windows_do_not_scroll_sideways(real_book: Path, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for path in pages(real_book):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path.name


def test_search_finds_a_word_from_a_notebook(real_book: Path, page: Page) -> None:
    page.goto((real_book / "index.html").as_uri())
    page.keyboard.press("s")
    page.wait_for_function("window.search && window.search.index")
    page.locator("#mdbook-searchbar").press_sequentially("reparameterisation")
    page.wait_for_selector("#mdbook-searchresults li a")
    found = page.eval_on_selector_all("#mdbook-searchresults li a", "links => links.map(a => a.href)")
    assert any("05_training_a_vae" in url for url in found)


def test_next_and_previous_go_through_the_whole_book(real_book: Path, page: Page) -> None:
    page.goto((real_book / "index.html").as_uri())
    visited = []
    while (forward := page.locator("a.nav-chapters.next").first).count():
        page.goto(forward.evaluate("a => a.href"))
        visited.append(page.url)
    assert len(visited) == len(set(visited)) >= 11
    page.goto(page.locator("a.nav-chapters.previous").first.evaluate("a => a.href"))
    assert page.url == visited[-2]


def test_the_scoreboard_sorts_by_any_column_and_keeps_what_is_missing_last(real_book: Path, page: Page) -> None:
    """First upwards, then downwards, with the state where a screen reader finds it."""
    page.goto((real_book / "pages/scoreboard.html").as_uri())
    column = "(i) => [...document.querySelectorAll('table.sortable tbody tr')].map((r) => r.cells[i].dataset.value)"
    heads = page.locator("table.sortable thead th")
    for name in ("FCD", "IWAE"):
        place = heads.all_inner_texts().index(name)
        for way in ("ascending", "descending"):
            heads.nth(place).get_by_role("button").press("Enter")
            shown = page.evaluate(column, place)
            numbers = [float(v) for v in shown if v is not None]
            assert numbers == sorted(numbers, reverse=way == "descending") and len(numbers) > 4
            assert [v is None for v in shown] == sorted(v is None for v in shown)
            assert heads.nth(place).get_attribute("aria-sort") == way
    assert page.locator("table.sortable th[aria-sort]").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
