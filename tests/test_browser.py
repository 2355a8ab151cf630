"""The page in a real browser: on a laptop, on a phone and on paper."""

import json
import re
import shutil
import socketserver
import subprocess
import threading

import pytest
from pypdf import PdfReader

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium is installed"
)

OURS = ["saved", "sample"]
OWN_CALLS = r"\.(google|googleapis|gvt1|gstatic)\.com\b"

MEASURE = """
<pre id="measured"></pre>
<iframe id="view" style="width: %dpx; height: 800px; border: 0"></iframe>
<script>
const view = document.getElementById("view");
view.onload = () => {
  const page = view.contentDocument;
  const all = (what) => [...page.querySelectorAll(what)];
  const box = (element) => element.getBoundingClientRect();
  const target = (link) => decodeURIComponent(
    link.getAttribute("href").slice(1));
  document.getElementById("measured").textContent = JSON.stringify({
    width: page.documentElement.clientWidth,
    content: Math.max(
      page.documentElement.scrollWidth, page.body.scrollWidth),
    clipped: all("main *").filter((x) => x.scrollWidth > x.clientWidth + 1
      && view.contentWindow.getComputedStyle(x).overflowX == "hidden")
      .map((x) => x.textContent),
    formulas: all("math").map((x) => [
      x.textContent, box(x).width, box(x).height]),
    paragraphs: all("main p").map((x) => box(x).width),
    code: all("pre").filter((x) => !x.closest("details, .result"))
      .map((x) => [x.textContent, x.scrollWidth - x.clientWidth]),
    dead: all('a[href^="#"]').map(target)
      .filter((x) => !page.getElementById(x)),
    links: all('a[href^="#"]').length,
    ink: view.contentWindow.getComputedStyle(page.body).color,
    paper: view.contentWindow.getComputedStyle(page.body).backgroundColor,
  });
};
view.srcdoc = %s;
</script>
"""


def browse(folder, *options):
    """Start the browser without a window; return what it prints."""
    quiet = "--headless --no-sandbox --disable-gpu --disable-sync"
    quiet += " --disable-background-networking --disable-component-update"
    return subprocess.run(
        [BROWSER, *quiet.split(), f"--user-data-dir={folder}", *options],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    ).stdout


@pytest.fixture(scope="session")
def measure(pages, tmp_path_factory):
    """A function that lays out a page at a width and measures it."""
    known = {}

    def measured(which, width, *options):
        if (which, width, options) not in known:
            folder = tmp_path_factory.mktemp("browser")
            text = pages[which].read_text()
            text = re.sub(r"<meta[^>]*Content-Security[^>]*>", "", text)
            text = json.dumps(text).replace("</", r"<\/")
            wrapper = folder / "wrapper.html"
            wrapper.write_text(MEASURE % (width, text))
            shown = browse(
                folder / "profile",
                "--window-size=1400,900",
                "--virtual-time-budget=10000",
                "--dump-dom",
                *options,
                wrapper.as_uri(),
            )
            found = re.search(r'<pre id="measured">(.*?)</pre>', shown, re.S)
            known[which, width, options] = json.loads(unescape(found[1]))
        return known[which, width, options]

    return measured


def unescape(text):
    """Undo what the browser escapes in text."""
    for code, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(code, character)
    return text


@pytest.fixture
def requests(pages, tmp_path):
    """A function that returns what a page asks a network for."""

    def asked(which):
        lines = []

        class Proxy(socketserver.StreamRequestHandler):
            def handle(self):
                lines.append(self.rfile.readline().decode())

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)
        with server:
            threading.Thread(target=server.serve_forever).start()
            browse(
                tmp_path / "profile",
                f"--proxy-server=http://127.0.0.1:{server.server_address[1]}",
                "--virtual-time-budget=5000",
                "--dump-dom",
                pages[which].as_uri(),
            )
            server.shutdown()
        return [line for line in lines if not re.search(OWN_CALLS, line)]

    return asked


@pytest.fixture
def paper(pages, tmp_path):
    """A function that prints a page and returns the sheets."""

    def printed(which):
        target = tmp_path / "page.pdf"
        browse(
            tmp_path / "profile",
            f"--print-to-pdf={target}",
            "--no-pdf-header-footer",
            pages[which].as_uri(),
        )
        return PdfReader(target).pages

    return printed


def check_formulas(measured):
    """Formulas are there, and drawn."""
    assert measured["formulas"]
    for text, width, height in measured["formulas"]:
        assert width > 4 and height > 4, text


def check_no_sideways_scrolling(measured):
    """Nothing stands out of the page, nothing is clipped."""
    assert measured["content"] <= measured["width"]
    assert measured["clipped"] == []


def check_text_is_readable(measured):
    """Lines of text are not longer than an eye can follow."""
    assert measured["paragraphs"]
    assert max(measured["paragraphs"]) <= 800


def check_code_fits(measured):
    """Code of 79 columns needs no scrolling."""
    assert measured["code"]
    for text, hidden in measured["code"]:
        if max(map(len, text.splitlines())) <= 79:
            assert hidden <= 0, text


def check_figures_are_whole(sheets):
    """Each picture is on one sheet, and not larger than it."""
    seen = []
    for sheet in sheets:
        width, height = sheet.mediabox.width, sheet.mediabox.height
        for box in picture_boxes(sheet):
            seen.append(box)
            left, bottom, right, top = box
            assert left >= -1 and bottom >= -1, box
            assert right <= width + 1 and top <= height + 1, box
    assert seen


def picture_boxes(sheet):
    """Return the corners of each picture on a printed sheet."""
    boxes = []
    names = sheet["/Resources"].get("/XObject", {})

    def note(operator, operands, matrix, _):
        if operator == b"Do" and names[operands[0]]["/Subtype"] == "/Image":
            a, _, _, d, x, y = matrix
            boxes.append(
                (min(x, x + a), min(y, y + d), max(x, x + a), max(y, y + d))
            )

    sheet.extract_text(visitor_operand_before=note)
    return boxes


@pytest.mark.parametrize("which", OURS)
def test_nothing_is_asked_of_a_network(which, requests):
    assert requests(which) == []


def test_requests_of_the_stock_export_are_seen(requests):
    assert any("cdnjs" in line for line in requests("stock"))


@pytest.mark.parametrize("which", OURS)
def test_formulas_are_drawn(which, measure):
    check_formulas(measure(which, 1280))


@pytest.mark.parametrize("which", OURS)
def test_links_lead_somewhere(which, measure):
    assert measure(which, 1280)["links"] > 3
    assert measure(which, 1280)["dead"] == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("which", OURS)
def test_no_sideways_scrolling(which, width, measure):
    check_no_sideways_scrolling(measure(which, width))
    check_text_is_readable(measure(which, width))


@pytest.mark.parametrize("which", OURS)
def test_code_fits(which, measure):
    check_code_fits(measure(which, 1280))


@pytest.mark.parametrize("which", OURS)
def test_figures_are_whole_on_paper(which, paper):
    check_figures_are_whole(paper(which))


def test_dark_mode_has_light_text_on_dark_paper(measure):
    dark = "--blink-settings=preferredColorScheme=0"
    for options, paper_is_light in (((), True), ((dark,), False)):
        measured = measure("sample", 1280, *options)
        ink, paper = (
            sum(map(int, re.findall(r"\d+", measured[name])[:3])) / 3
            for name in ("ink", "paper")
        )
        assert abs(ink - paper) > 150
        assert (paper > ink) == paper_is_light


def test_folded_code_is_on_paper(paper):
    text = "".join(sheet.extract_text() for sheet in paper("sample"))
    assert "folded" in text.replace("\n", "")


def test_the_stock_export_fails(measure, paper):
    for check in (check_formulas, check_text_is_readable):
        with pytest.raises(AssertionError):
            check(measure("stock", 1280))
    with pytest.raises(AssertionError):
        check_no_sideways_scrolling(measure("stock", 400))
    with pytest.raises(AssertionError):
        check_figures_are_whole(paper("stock"))
