"""The notebook in a real JupyterLab, as a student opens it."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import ENVIRONMENT, NOTEBOOK, PROJECT, code_cells, numbered, sample, screen
from nbformat.v4 import new_markdown_cell, new_notebook
from selenium.webdriver.support.wait import WebDriverWait
from test_handin import script
from test_page import MARKDOWN

TRACKER = "@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
MEASURE = """
const all = (what) => [...document.querySelectorAll(".jp-Notebook " + what)];
const seen = (element) => element.checkVisibility();
return {
  cells: all(".jp-Cell").length,
  hidden: all(".jp-Cell").filter((x) => !seen(x)).length,
  code: all(".jp-CodeCell").filter(seen)
    .map((x) => x.querySelector(".jp-InputArea-editor"))
    .map((x) => Boolean(x) && seen(x)),
  figures: all(".jp-OutputArea img").filter(seen).map((x) => [
    x.getAttribute("width"), x.getBoundingClientRect().width]),
  captions: all(".jp-OutputArea .jp-RenderedMarkdown").filter(seen)
    .map((x) => x.textContent).filter((x) => x.startsWith("Figure ")).length,
  tables: all("table").filter(seen).length,
  formulas: all("mjx-container").filter(seen).length,
  tex: all(".jp-RenderedMarkdown").map((x) => x.innerText)
    .filter((x) => /\\$[^$]+\\$/.test(x)),
  errors: all('[data-mime-type="application/vnd.jupyter.error"],'
    + '[data-mime-type="application/vnd.jupyter.stderr"]')
    .map((x) => x.textContent),
};
"""

KNOBS = {  # each row of "Changing it" in the README: cell, then what for what
    "parameters": {"1, 2, 3": "21, 22, 23", "(2, 4, 8)": "(2, 3, 4, 8)",
                   "TREES = 500": "TREES = 30"},
    "t1-sweep": {"\"hidden_size\": 64, \"layers\": 3": "\"hidden_size\": 48, \"layers\": 2"},
    "t1-grid": {"(8, 16, 32, 64, 128)": "(8, 16, 32, 64, 128, 160)"},
    "t1-rates": {"0.016, 0.032": "0.02"},
    "t1-lengths": {"5, 15, 50": "5, 20, 50"},
    "t1-points": {"100, 300": "100, 400"},
    "t1-finalists": {"budget(50)": "budget(40)", "\"lr\": 0.001": "\"lr\": 0.002"},
    "t2-plain-mmd": {"doubling(1 / 32)": "doubling(1 / 16, 5)"},
    "t2-plain": {"\"layers\": 3": "\"layers\": 2"},
    "t2-sums": {"doubling(0.002)": "doubling(0.004, 5)"},
    "t2-weights": {"(0.1, 1.0, 10.0)": "(0.1, 1.0, 5.0)", "\"blocks\": 4": "\"blocks\": 3"},
    "t2-bandwidths": {"0.002, 0.02": "0.001, 0.01"},
    "t2-short": {"SMALLER[:3]": "SMALLER[:4]"},
    "t3-sweep": {"\"hidden_size\": 256": "\"hidden_size\": 128",
                 "(128, 256, 384)": "(96, 128, 160)"},
    "t3-noisy": {"PIXEL_NOISE = 0.2": "PIXEL_NOISE = 0.25"},
    "t3-denoising": {"budget(150)": "budget(100)"},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab, the folder that it shows, and its address."""
    folder = tmp_path_factory.mktemp("lab")
    nbformat.write(sample(), folder / "sample.ipynb")
    shutil.copy(NOTEBOOK, folder / "saved.ipynb")
    settings = folder / ".settings" / TRACKER
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))
    own = {"HOME": str(folder), "JUPYTER_RUNTIME_DIR": str(folder / "run")}
    own["JUPYTERLAB_SETTINGS_DIR"] = str(folder / ".settings")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser"]
    command += ["--allow-root", "--port=0"]
    command += ["--LabApp.expose_app_in_browser=True"]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=ENVIRONMENT | own | {"QUICK": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        about = folder / "run" / f"jpserver-{server.pid}.json"
        WebDriverWait(about, 60).until(lambda path: path.exists())
        about = json.loads(about.read_text())
        token = f"?reset&token={about['token']}"
        yield server, folder, f"{about['url']}lab/tree/{{}}{token}"
    finally:
        server.kill()  # the kernels see it and end


@pytest.fixture
def measure(lab, browser):
    """A function that opens a notebook and measures what is shown of it."""

    def opened(name):
        _, folder, address = lab
        notebook = nbformat.read(folder / name, as_version=4)
        formulas = any("$" in cell.source for cell in notebook.cells)
        screen(browser, 1366)
        browser.get(address.format(name))

        def ready(browser):
            found = browser.execute_script(MEASURE)
            whole = found["cells"] == len(notebook.cells)
            return whole and bool(found["formulas"]) >= formulas and found

        return notebook, WebDriverWait(browser, 60).until(ready)

    return opened


@pytest.mark.parametrize("name", ["sample.ipynb", "saved.ipynb"])
def test_jupyterlab_shows_what_was_saved(name, measure):
    notebook, found = measure(name)
    assert found["errors"] == []
    assert found["tex"] == []
    assert found["hidden"] > 0, "nothing is in a collapsed section"
    assert found["code"].count(False) > 0, "no code is folded"
    shown = [c for c in notebook.cells if c.cell_type == "code"]
    opened = sum("jupyter" not in c.metadata for c in shown)
    assert found["code"].count(True) <= opened
    assert found["tables"] > 0
    assert found["captions"] > 0
    assert found["figures"]
    for wanted, width in found["figures"]:
        assert width == int(wanted)


def skeleton(text):
    """Return HTML as its elements and words, without what only the look needs."""
    soup = BeautifulSoup(re.sub(r"(?s)<!--.*?-->", "", text), "html.parser")
    for link in soup.select(".jp-InternalAnchorLink, .numbering-entry"):
        link.decompose()
    for formula in soup.find_all(["mjx-container", "math"]):
        math = formula if formula.name == "math" else formula.find("math")
        formula.replace_with(f"[{math.get_text()}]")
    for frame in soup.find_all(["span", "tbody"]) + soup.select("div.wide"):
        frame.unwrap()
    for element in soup.find_all(True):
        element.attrs = {}
        element.name = "s" if element.name == "del" else element.name
    return re.sub(r"[\s\u2061]", "", str(soup))


def test_the_page_shows_markdown_as_jupyterlab_does(lab, measure, browser):
    cells = [new_markdown_cell(text) for text in ("# Title", *MARKDOWN)]
    _, folder, _ = lab
    nbformat.write(new_notebook(cells=numbered(cells)), folder / "markdown.ipynb")
    measure("markdown.ipynb")
    shown = "return [...document.querySelectorAll('.jp-Notebook .jp-MarkdownOutput')]"
    theirs = WebDriverWait(browser, 60).until(
        lambda lab: (found := lab.execute_script(f"{shown}.map((x) => x.innerHTML)"))
        and len(found) == len(cells) and found
    )
    page = BeautifulSoup(script(PROJECT).export(new_notebook(cells=cells)), "html.parser")
    ours = [text.decode_contents() for text in page.select(".text")]
    for source, their, our in zip(MARKDOWN, theirs[1:], ours[1:], strict=True):
        assert skeleton(our) == skeleton(their), source


@pytest.mark.skipif(not os.environ.get("CI"), reason="takes a minute: CI=true")
def test_each_knob_can_be_changed_and_all_cells_run(lab, measure, browser):
    server, folder, _ = lab
    changed = nbformat.read(NOTEBOOK, as_version=4)
    for cell in changed.cells:
        for old, new in KNOBS.get(cell.id, {}).items():
            assert old in cell.source, f"{cell.id} has no {old}"
            cell.source = cell.source.replace(old, new, 1)
    nbformat.write(changed, folder / "run.ipynb")
    notebook, _ = measure("run.ipynb")
    context = "jupyterapp.shell.currentWidget.sessionContext"
    idle = f"return {context}?.session?.kernel?.status == 'idle'"
    WebDriverWait(browser, 60).until(lambda lab: lab.execute_script(idle))
    browser.execute_script(
        "const { commands } = jupyterapp;"
        "commands.execute('notebook:clear-all-cell-outputs')"
        "  .then(() => commands.execute('notebook:run-all-cells'))"
        "  .then(() => { window.ended = 'well'; },"
        "        (error) => { window.ended = String(error); });"
    )

    def ended(browser):
        assert server.poll() is None, "the server stopped"
        return browser.execute_script("return window.ended")

    assert WebDriverWait(browser, 900, 1).until(ended) == "well"
    found = browser.execute_script(MEASURE)
    assert found["errors"] == []
    assert browser.execute_script(
        "return jupyterapp.shell.currentWidget.content.widgets"
        ".filter((cell) => cell.model.executionCount).length") == len(code_cells(notebook))
