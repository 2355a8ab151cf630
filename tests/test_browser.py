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
from PIL import Image
from pypdf import PdfReader
from selenium.webdriver.support.wait import WebDriverWait

OURS = ["saved", "sample"]
WIDE, PHONE = 1366, 400
PAGES = 49  # of paper, at most

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
  rows: all("tr").filter((x) => drawn(x) && !x.querySelector("math")).map(bare),
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

    def shown(which, width=WIDE, dark=False, height=800):
        screen(browser, width, height, dark=dark)
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
        return [Sheet(each) for each in PdfReader(io.BytesIO(base64.b64decode(pdf["data"]))).pages]

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


def check_code_is_not_broken(measured):
    """A line of code is one on the screen, so that its indentation shows."""
    assert measured["code"]
    for text, height in measured["code"]:
        lines = text.rstrip("\n").split("\n")
        assert height <= 13 * 1.45 * len(lines) + 1, text


class Sheet:
    """What is on a printed sheet: words, corners of pictures, where it ends."""

    def __init__(self, sheet):
        self.width, self.height = sheet.mediabox.width, sheet.mediabox.height
        self.pictures, self.ends = [], []
        self.names = sheet["/Resources"].get("/XObject", {})
        text = sheet.extract_text(visitor_operand_before=self.note, visitor_text=self.note_text)
        self.text = unicodedata.normalize("NFKC", text)
        self.words = re.sub(r"\s", "", self.text)
        self.lowest = min(self.ends + [bottom for _, bottom, _, _ in self.pictures])

    def note(self, operator, operands, matrix, _):
        """Note the corners of a picture."""
        if operator == b"Do" and self.names[operands[0]]["/Subtype"] == "/Image":
            a, _, _, d, x, y = matrix
            self.pictures.append((min(x, x + a), min(y, y + d), max(x, x + a), max(y, y + d)))

    def note_text(self, text, matrix, place, *_):
        """Note how far above the lower edge a text stands."""
        if text.strip():
            self.ends.append(matrix[1] * place[4] + matrix[3] * place[5] + matrix[5])


def check_sheets(sheets, measured):
    """Paper of A4: pictures with their captions and rows of tables are whole."""
    figures = iter(measured["figures"])
    for sheet in sheets:
        assert (round(sheet.width), round(sheet.height)) == (595, 842)
        for box in sheet.pictures:
            left, bottom, right, top = box
            assert left >= -1 and bottom >= -1, box
            assert right <= sheet.width + 1 and top <= sheet.height + 1, box
            *_, caption = next(figures)
            number = re.match(r"\s*(Figure \d+\.|)", caption)[1]
            assert number.replace(" ", "") in sheet.words, caption
    assert next(figures, None) is None
    for part in measured["rows"] + measured["summaries"]:
        assert any(unicodedata.normalize("NFKC", part) in sheet.words for sheet in sheets), part


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
    check_code_is_not_broken(measured)


@pytest.mark.parametrize("width", [PHONE, 800])
@pytest.mark.parametrize("which", OURS)
def test_a_narrow_screen(which, width, measure):
    measured = measure(which, width)
    check_no_sideways_scrolling(measured)
    check_contents_follow_the_title(measured)
    check_code_is_not_broken(measured)
    assert max(width for _, width, *_ in measured["figures"]) <= width


def test_a_table_of_sentences_becomes_cards_on_a_phone(show):
    page = show("sample", PHONE)
    table = page.find_element("css selector", "table.cards")
    cells = [cell.rect for cell in table.find_elements("css selector", "td")]
    assert len({cell["x"] for cell in cells}) == 1, "cells stand below each other"
    assert max(cell["x"] + cell["width"] for cell in cells) <= PHONE
    label = "getComputedStyle(arguments[0].querySelector('td:nth-child(3)'), '::before').content"
    assert page.execute_script(f"return {label}", table) == '"MSE: "'
    page = show("sample")
    table = page.find_element("css selector", "table.cards")
    assert page.execute_script(f"return {label}", table) == "none"


@pytest.mark.parametrize("dark", [False, True])
def test_what_scrolls_on_a_phone_has_a_shade_where_it_goes_on(dark, show):
    page = show("sample", PHONE, dark)
    parts = page.execute_script(
        "return [...document.querySelectorAll('.wide, .code')].filter("
        "(x) => x.checkVisibility() && x.scrollWidth > x.clientWidth + 20)"
    )
    assert {part.tag_name for part in parts} == {"span", "div"}, "formulas, tables and code"
    assert len(parts) == 3
    for part in parts:
        for place, sides in (("0", (False, True)), ("1e6", (True, False))):
            page.execute_script(f"arguments[0].scrollLeft = {place}", part)
            picture = Image.open(io.BytesIO(part.screenshot_as_png)).convert("L")
            places = (picture.width // 2, 1, picture.width - 2)
            paper, *ends = (picture.getpixel((x, 2)) for x in places)
            assert tuple(abs(end - paper) > 40 for end in ends) == sides


def test_a_sound_can_be_played(show):
    ready = "return document.querySelector('audio').readyState > 0"
    WebDriverWait(show("sample"), 5).until(lambda page: page.execute_script(ready))


@pytest.mark.parametrize("which", OURS)
def test_paper(which, measure, paper):
    sheets = paper(which)
    assert len(sheets) <= PAGES
    check_sheets(sheets, measure(which))


def test_few_sheets_of_paper_have_a_gap(paper):
    sheets = paper("saved")[:-1]
    gaps = [number for number, sheet in enumerate(sheets, 1) if sheet.lowest > 0.4 * 842]
    assert len(gaps) <= len(sheets) / 20, gaps


def test_nothing_is_larger_than_the_text_on_paper(show, browser):
    page = show("sample")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    size = "parseFloat(getComputedStyle(document.querySelector(%r)).fontSize)"
    names = (".text p", "figcaption p", "pre", "td", "summary")
    text, *others = (page.execute_script("return " + size % name) for name in names)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert max(others) < text


def test_nothing_is_split_wherever_a_sheet_ends(measure, paper):
    for down in range(0, 1000, 90):
        check_sheets(paper("sample", down), measure("sample"))


def test_closed_parts_stay_closed_and_say_how_long_they_are(measure, paper):
    closed = measure("sample")["summaries"]
    assert "Helpersclosed:3linesofcode" in closed
    assert "Theanswers(1lineofcode)" in closed
    assert "✓1statementschecked" in closed
    text = "".join(sheet.text for sheet in paper("sample"))
    assert "Figure 1." in text
    for hidden in ("folded", "plumbing", "Figure 2.", "read()", "above 1"):
        assert hidden not in text


@pytest.mark.parametrize("which", OURS)
def test_a_link_to_a_figure_lands_at_the_top_of_its_picture(which, show):
    page = show(which, height=768)
    seen = 0
    for figure in page.find_elements("css selector", "figure[id]"):
        name = figure.get_attribute("id")
        links = page.find_elements("css selector", f"a[href='#{name}']")
        if links and figure.is_displayed():
            page.execute_script("arguments[0].click()", links[0])
            top = "return arguments[0].querySelector('img').getBoundingClientRect().top"
            assert 0 <= page.execute_script(top, figure) < 768 / 2, name
            seen += 1
    assert seen > 1


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
