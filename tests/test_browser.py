"""The page in a real browser: on a laptop, on a phone and on paper."""

import base64
import io
import re
import unicodedata
from functools import cache

import html5lib
import pytest
from axe_core_python.selenium import Axe
from conftest import screen
from pypdf import PdfReader
from selenium.webdriver.support.wait import WebDriverWait

OURS = ["saved", "sample"]
WIDE, PHONE = 1366, 400
PAGES = 40  # of paper, at most

MEASURE = """
const all = (what) => [...document.querySelectorAll(what)];
const box = (element) => element.getBoundingClientRect().toJSON();
const style = (element) => getComputedStyle(element);
const target = (link) => decodeURIComponent(
  link.getAttribute("href").slice(1));
const drawn = (element) => element.checkVisibility();
const bare = (x) => x.textContent.replace(/\\s/g, "");
return {
  width: document.documentElement.clientWidth,
  content: Math.max(
    document.documentElement.scrollWidth, document.body.scrollWidth),
  sideways: all("body *").filter((x) => x.scrollWidth > x.clientWidth + 1
    && style(x).overflowX != "visible" && !x.matches(".wide, .code"))
    .map((x) => x.outerHTML.slice(0, 200)),
  formulas: all("math").filter(drawn).map((x) => [
    x.textContent, box(x).width, box(x).height]),
  paragraphs: all("main p").map((x) => box(x).width),
  figures: all("img").filter(drawn).map((x) => [
    Number(x.getAttribute("width")), box(x).width, style(x).backgroundColor,
    x.parentElement.querySelector("figcaption")?.textContent || ""]),
  tables: all("table").filter((x) => drawn(x) && !x.querySelector("math"))
    .map(bare),
  summaries: all("main details:not([open]) > summary").filter(drawn)
    .map(bare),
  code: all("main pre").filter((x) => drawn(x) && !x.closest(".result"))
    .map((x) => [x.textContent, box(x).height]),
  unreachable: all(".wide, .code").filter((x) => x.tabIndex < 0).map(bare),
  links: all('a[href^="#"]').length,
  dead: all('a[href^="#"]').map(target)
    .filter((x) => !document.getElementById(x)),
  ids: all("[id]").map((x) => x.id),
  unlisted: all("h2, h3").map((x) => x.id)
    .filter((x) => !all("nav a").some((link) => target(link) == x)),
  undescribed: all("img").map((x) => x.alt).filter((x) => x.length < 20),
  text: all(".text, .result, figcaption, summary").map((x) => x.innerText).join(" "),
  policy: document.querySelector("meta[http-equiv]")?.content || "",
  title: box(document.querySelector("h1")),
  contents: box(document.querySelector("nav") || document.body),
  list: all("nav li").map((x) => x.checkVisibility() && box(x)),
  main: box(document.querySelector("main")),
  asked: performance.getEntriesByType("resource").map((x) => x.name)
    .filter((x) => !x.startsWith("data:")),
  paper: style(document.body).backgroundColor,
};
"""


@pytest.fixture(scope="session")
def show(pages, browser):
    """A function that opens a page at a width."""

    def shown(which, width=WIDE, dark=False):
        screen(browser, width, dark=dark)
        browser.get(pages[which].as_uri())
        return browser

    return shown


@pytest.fixture(scope="session")
def measure(show):
    """A function that lays out a page at a width and measures it."""
    return cache(lambda *page: show(*page).execute_script(MEASURE))


@pytest.fixture(scope="session")
def paper(show):
    """A function that prints a page, moved down, and returns the sheets."""

    def printed(which, down=0):
        options = {"preferCSSPageSize": True}
        page = show(which)
        page.execute_script(f"document.body.style.paddingTop = '{down}px'")
        pdf = page.execute_cdp_cmd("Page.printToPDF", options)
        return PdfReader(io.BytesIO(base64.b64decode(pdf["data"]))).pages

    return cache(printed)


def check_formulas(measured):
    """Formulas are there, and drawn."""
    assert measured["formulas"]
    for text, width, height in measured["formulas"]:
        assert width > 4 and height > 4, text
    assert not re.search(r"\$[^$]+\$|\\[a-zA-Z]{3}", measured["text"])


def check_no_sideways_scrolling(measured):
    """Nothing stands out of the page; only tables, formulas and code scroll."""
    assert measured["content"] <= measured["width"]
    assert measured["sideways"] == []


def check_text_is_readable(measured):
    """Lines of text are not longer than an eye can follow."""
    assert measured["paragraphs"]
    assert max(measured["paragraphs"]) <= 46 * 16


def check_figures_are_large(measured):
    """Figures are as large as they were drawn, on white."""
    assert max(wanted for wanted, *_ in measured["figures"]) >= 800
    for wanted, width, background, caption in measured["figures"]:
        assert width == wanted, caption
        assert background == "rgb(255, 255, 255)"


def check_contents_stand_beside_the_text(measured):
    """Wide: the contents are open, left of the title and of the text."""
    assert measured["list"] and all(measured["list"])
    assert measured["contents"]["right"] <= measured["title"]["left"]
    assert measured["contents"]["right"] <= measured["main"]["left"]
    assert measured["title"]["top"] < 40


def check_contents_follow_the_title(measured):
    """Narrow: first the title, then the contents, closed, then the text."""
    assert measured["title"]["bottom"] <= measured["contents"]["top"]
    assert measured["contents"]["bottom"] <= measured["main"]["top"]
    assert 0 < measured["contents"]["height"] < 60


def check_code_fits(measured):
    """Code of 79 columns is not broken into more lines."""
    assert measured["code"]
    for text, height in measured["code"]:
        lines = text.rstrip("\n").split("\n")
        if max(map(len, lines)) <= 79:
            assert height <= 13 * 1.45 * len(lines) + 1, text


def check_sheets(sheets, measured):
    """Paper of A4: pictures with their captions and tables are whole."""
    texts = [words(sheet) for sheet in sheets]
    figures = iter(measured["figures"])
    for sheet, text in zip(sheets, texts, strict=True):
        width, height = sheet.mediabox.width, sheet.mediabox.height
        assert (round(width), round(height)) == (595, 842)
        for box in picture_boxes(sheet):
            left, bottom, right, top = box
            assert left >= -1 and bottom >= -1, box
            assert right <= width + 1 and top <= height + 1, box
            *_, caption = next(figures)
            number = re.match(r"\s*(Figure \d+\.|)", caption)[1]
            assert number.replace(" ", "") in text, caption
    assert next(figures, None) is None
    for table in measured["tables"]:
        assert any(unicodedata.normalize("NFKC", table) in text for text in texts)
    for summary in measured["summaries"]:
        assert any(unicodedata.normalize("NFKC", summary) in text for text in texts), summary


def words(sheet):
    """Return the text of a sheet, without spaces and ligatures."""
    text = unicodedata.normalize("NFKC", sheet.extract_text())
    return re.sub(r"\s", "", text)


def picture_boxes(sheet):
    """Return the corners of each picture on a printed sheet."""
    boxes = []
    names = sheet["/Resources"].get("/XObject", {})

    def note(operator, operands, matrix, _):
        if operator == b"Do" and names[operands[0]]["/Subtype"] == "/Image":
            a, _, _, d, x, y = matrix
            boxes.append((min(x, x + a), min(y, y + d), max(x, x + a), max(y, y + d)))

    sheet.extract_text(visitor_operand_before=note)
    return boxes


def check_nothing_is_loaded(measured):
    """The page asks for nothing, and forbids itself to."""
    assert measured["asked"] == []
    assert "default-src 'none'" in measured["policy"]
    assert "script-src" not in measured["policy"]


def check_links_and_descriptions(measured):
    """Links lead somewhere, and nothing is without a name or a way to it."""
    assert measured["links"] > 3
    for name in ("dead", "unlisted", "undescribed", "unreachable"):
        assert measured[name] == []
    assert len(measured["ids"]) == len(set(measured["ids"]))


@pytest.mark.parametrize("which", OURS)
def test_a_wide_screen(which, measure):
    measured = measure(which)
    check_nothing_is_loaded(measured)
    check_links_and_descriptions(measured)
    check_formulas(measured)
    check_no_sideways_scrolling(measured)
    check_text_is_readable(measured)
    check_figures_are_large(measured)
    check_contents_stand_beside_the_text(measured)
    check_code_fits(measured)


@pytest.mark.parametrize("width", [PHONE, 800])
@pytest.mark.parametrize("which", OURS)
def test_a_narrow_screen(which, width, measure):
    measured = measure(which, width)
    check_no_sideways_scrolling(measured)
    check_contents_follow_the_title(measured)
    assert max(width for _, width, *_ in measured["figures"]) <= width


@pytest.mark.parametrize("which", OURS)
def test_paper(which, measure, paper):
    sheets = paper(which)
    assert len(sheets) <= PAGES
    check_sheets(sheets, measure(which))


def test_nothing_is_split_wherever_a_sheet_ends(measure, paper):
    for down in range(0, 1000, 20):
        check_sheets(paper("sample", down), measure("sample"))


def test_closed_parts_stay_closed_and_say_how_long_they_are(measure, paper):
    closed = measure("sample")["summaries"]
    assert "Helpersclosed:3linesofcode" in closed
    assert "Theanswers(1lineofcode)" in closed
    assert "✓1statementschecked" in closed
    text = "".join(sheet.extract_text() for sheet in paper("sample"))
    assert "Figure 1." in text
    for hidden in ("folded", "plumbing", "Figure 2.", "read()", "above 1"):
        assert hidden not in text


def test_a_link_opens_the_section_that_it_leads_into(show):
    page = show("sample")
    page.find_element("css selector", "header [href='#figure-2']").click()
    opened = "return document.querySelectorAll('.section[open] img').length"
    WebDriverWait(page, 5).until(lambda page: page.execute_script(opened) == 1)


@pytest.mark.parametrize("dark", [False, True])
def test_dark_mode_has_dark_paper_and_white_figures(dark, measure):
    measured = measure("sample", WIDE, dark)
    red, green, blue = map(int, re.findall(r"\d+", measured["paper"])[:3])
    assert (red + green + blue < 150) == dark
    check_figures_are_large(measured)


@pytest.mark.parametrize(("width", "dark"), [(WIDE, 0), (WIDE, 1), (PHONE, 0)])
@pytest.mark.parametrize("which", OURS)
def test_axe_finds_nothing_serious(which, width, dark, show):
    page = show(which, width, dark)
    for part in page.find_elements("css selector", "main details"):
        page.execute_script("arguments[0].open = true", part)
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert len(found["passes"]) > 10
    assert [
        (each["id"], node["html"][:200])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ] == []


@pytest.mark.parametrize("which", OURS)
def test_html_is_valid(which, pages):
    page, parser = pages[which].read_text(), html5lib.HTMLParser(strict=True)
    parser.parse(page)
    with pytest.raises(html5lib.html5parser.ParseError):
        parser.parse(page.replace("</figcaption>", "", 1))


def test_the_stock_export_fails(measure, paper):
    stock = measure("stock")
    for check in (
        check_nothing_is_loaded,
        check_links_and_descriptions,
        check_formulas,
        check_text_is_readable,
        check_contents_stand_beside_the_text,
        check_contents_follow_the_title,
    ):
        with pytest.raises(AssertionError):
            check(stock)
    with pytest.raises(AssertionError):
        check_no_sideways_scrolling(measure("stock", PHONE))
    with pytest.raises(AssertionError):
        check_sheets(paper("stock"), stock)
