"""What the tests share: the saved notebook, a quick run, small projects."""

import base64
import io
import linecache
import os
import shutil
import subprocess
import sys
import types
import wave
from pathlib import Path

import cloudpickle
import joblib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from selenium import webdriver

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOK = PROJECT / "autoencoders.ipynb"
VENV = Path(sys.prefix)
OF_THE_CALLER = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "QUICK"}
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in OF_THE_CALLER}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Return how many workers ``pytest -n auto`` gets: one for each core that it may use."""
    return min(joblib.cpu_count(), 4)


def tags(cell):
    """Return the tags of a cell."""
    return cell.metadata.get("tags", [])


def code_cells(notebook):
    """Return the code cells that hold code."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in code if cell.source.strip()]


@pytest.fixture(scope="session")
def notebook():
    """The saved notebook."""
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="session")
def results(notebook):
    """The numbers in the metadata of the saved summary cell's output."""
    (cell,) = (c for c in notebook.cells if "summary" in tags(c))
    shown = (output.get("metadata", {}) for output in cell.outputs)
    (found,) = (each["results"] for each in shown if "results" in each)
    return found


@pytest.fixture(scope="session")
def definitions(notebook):
    """A module that the ``definitions`` cells were executed in, in order."""
    module = types.ModuleType("definitions")
    sys.modules[module.__name__] = module
    cloudpickle.register_pickle_by_value(module)  # as the workers get a notebook's own
    for cell in notebook.cells:
        if "definitions" in tags(cell):
            name = f"<cell {cell.id}>"
            lines = cell.source.splitlines(keepends=True)
            linecache.cache[name] = (len(cell.source), None, lines, name)
            exec(compile(cell.source, name, "exec"), vars(module))
    return module


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory):
    """The path of the notebook that a quick run leaves, run once."""
    project = copy_project(tmp_path_factory.mktemp("quick"))
    shutil.copy(NOTEBOOK, project)
    before = NOTEBOOK.read_bytes()
    done = make(project, "run", QUICK="1")
    assert done.returncode == 0, done.stderr[-4000:]
    assert (project / NOTEBOOK.name).read_bytes() == before
    return project / "build" / NOTEBOOK.name


def copy_project(folder):
    """Copy what ``make`` needs, without the notebook, into a folder."""
    project = folder / "project"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "export", project / "export", ignore=ignore)
    (project / "tests").mkdir()
    for name in ("Makefile", "constraints.txt", "requirements.txt", "tests/requirements.txt"):
        shutil.copy(PROJECT / name, project / name)
    return project


def make_command(*goals, **variables):
    """Return a ``make`` command that uses the environment of the tests."""
    variables = {"VENV": VENV, "PYTHON": sys.executable} | variables
    return ["make", *goals, *(f"{k}={v}" for k, v in variables.items())]


def call(command, folder, **environment):
    """Run a command in a folder and return the finished process."""
    environment = ENVIRONMENT | environment
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def make(project, *goals, environment=None, **variables):
    """Run ``make`` in a project and return the finished process."""
    command = make_command(*goals, **variables)
    return call(command, project, **(environment or {}))


def save(project, *cells, **metadata):
    """Save cells (str: code) as the notebook of a project."""
    cells = [new_code_cell(c) if isinstance(c, str) else c for c in cells]
    path = project / NOTEBOOK.name
    notebook = new_notebook(cells=numbered(cells), metadata=metadata)
    nbformat.write(notebook, path)
    return path


def numbered(cells):
    """Return cells with their places as ids."""
    for number, cell in enumerate(cells, 1):
        cell["id"] = f"cell-{number}"
    return cells


def load(project):
    """Return the saved notebook of a project."""
    return nbformat.read(project / NOTEBOOK.name, as_version=4)


def executed(source, number, *outputs, **options):
    """Return a code cell that looks executed."""
    return new_code_cell(source, execution_count=number, outputs=list(outputs), **options)


@pytest.fixture
def project(tmp_path):
    """A copy of the project with a tiny notebook, saved and executed."""
    copy = copy_project(tmp_path)
    save(copy, new_markdown_cell("# Tiny"), executed("x = 1", 1))
    return copy


def figure_output(width, height, alt):
    """Return a displayed figure of a size in points of the screen."""
    data = io.BytesIO()
    noise = np.random.default_rng(0).random((height // 20, width // 20))
    plt.imsave(data, noise, cmap="viridis", format="png")
    data = {"image/png": base64.b64encode(data.getvalue()).decode()}
    about = {"image/png": {"width": width, "height": height, "alt": alt}}
    return new_output("display_data", data=data, metadata=about)


def sound():
    """Return a short silence as a data address."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    return f"data:audio/wav;base64,{base64.b64encode(data.getvalue()).decode()}"


def markdown_output(text):
    """Return displayed Markdown."""
    return new_output("display_data", data={"text/markdown": text})


def claim(sentence, value, threshold, holds):
    """Return a statement as a claim cell records it."""
    names = ("sentence", "value", "threshold", "holds")
    return dict(zip(names, (sentence, value, threshold, holds), strict=True))


def claims_output(*claims):
    """Return the closed table of all statements."""
    rows = "".join(
        f"<tr><td>{'✓' if c['holds'] else '✗'} {c['sentence']}</td>"
        f"<td>{c['value']}</td><td>{c['threshold']}</td></tr>"
        for c in claims
    )
    table = f"<table><tbody>{rows}</tbody></table>"
    summary = f"<summary>✓ {len(claims)} statements checked</summary>"
    data = {"text/html": f'<details class="claims">{summary}{table}</details>'}
    metadata = {"claims": list(claims)}
    return new_output("display_data", data=data, metadata=metadata)


FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}
CLOSED = {"jp-MarkdownHeadingCollapsed": True}


def caption(text, number):
    """Return a caption as the notebook shows it."""
    return markdown_output(f"**Figure {number}.** {text}")


def figure(text, number, *size):
    """Return the outputs of a figure: its name, the picture and the caption."""
    alt = "Noise without a meaning, as a test of the page"
    name = markdown_output(f'<a id="figure-{number}"></a>')
    return [name, figure_output(*size, alt), caption(text, number)]


def sample():
    """Return a small notebook with all that the real one may contain."""
    wide = "| " + " | ".join(["header"] * 12) + " |\n" + "|---:" * 12 + "|\n"
    wide += ("| " + " | ".join(["0.00506"] * 12) + " |\n") * 3
    answers = "| Question | Answer | MSE | Figure |\n|---|---|---:|---|\n" + "".join(
        f"| Does {row} fit? | {'Words are longer than numbers. ' * 8} | 0.00506 "
        "| [1](#figure-1) |\n"
        for row in ("one", "another", "the last")
    )
    terms = " + ".join(f"\\mathrm{{term}}_{{{n}}}" for n in range(12))
    cells = [
        new_markdown_cell(
            "# A *sample*\n\nSee [the answers](#Answers), [all](#figure-1), "
            "[the sum](#2-The-sum), [the closed one](#figure-2), "
            "[the last](#figure-3) and [the terms](#2.1-Terms-×-code)."
        ),
        new_markdown_cell("## 1 Figures\n\n> A question about $x_i \\in \\mathbb{R}^d$?"),
        executed("y = 1", 1, *figure("The $x_1$.", 1, 880, 480)),
        executed(
            "# @title What is read off\nread()",
            2,
            markdown_output('<a id="reading-1.1"></a>' + "A reading of **two** words. " * 20),
            metadata=FOLDED,
        ),
        new_markdown_cell("## Helpers\n\nThe *plumbing*.", metadata=CLOSED),
        executed(
            "# @title Drawing\n\ndef draw():\n    return 'folded'",
            3,
            *figure("[Back](#1-Figures)", 2, 500, 1600),
            metadata=FOLDED,
        ),
        new_markdown_cell("### More helpers"),
        executed("z = 'not folded'", 4),
        new_markdown_cell(
            "## 2 The sum\n\n$$\\mathrm{MMD}^2 = \\frac{1}{n} \\sum_{i \\ne j}"
            " k(x_i, x_j)$$\n\n\\begin{align}a &= b \\\\ c &= d\\end{align}\n\n"
            f"$${terms}$$\n\n{wide}"
        ),
        new_markdown_cell("### 2.1 Terms × `code`\n\nText." + "\n\nMore text." * 9),
        executed(
            "def print_all():\n    print('" + "y" * 70 + "')",
            5,
            new_output("stream", name="stdout", text="z" * 300 + "\n"),
        ),
        executed("last = 1", 6, *figure("The last.", 3, 880, 700)),
        executed(
            "Audio(0)",
            7,
            new_output("display_data", data={"text/html": f"<audio controls src='{sound()}'>"}),
            new_output("display_data", data={"text/latex": "$\\displaystyle \\frac12$"}),
        ),
        executed(
            "# @title The checks\nshow_checks()",
            8,
            claims_output(claim("Above", 1.5, "above 1", True)),
            metadata=FOLDED,
        ),
        executed(
            "# @title The answers\nx = 1",
            9,
            *figure("All.", 4, 880, 240),
            markdown_output('<a id="Answers"></a>\n\n' + answers),
            metadata=FOLDED | {"tags": ["overview"]},
        ),
    ]
    python = {"language_info": {"name": "python"}}
    return new_notebook(cells=numbered(cells), metadata=python)


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Pages by name: the saved one, the sample's, and its stock export."""
    project = copy_project(tmp_path_factory.mktemp("pages"))
    notebook = sample()
    nbformat.write(notebook, project / NOTEBOOK.name)
    done = make(project, "html")
    assert done.returncode == 0, done.stderr
    stock = project / "stock.html"
    stock.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    return {
        "saved": PROJECT / "autoencoders.html",
        "sample": project / "autoencoders.html",
        "stock": stock,
    }


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window, driven by selenium."""
    program, driver = map(shutil.which, ("chromium", "chromedriver"))
    if not (program and driver):
        pytest.skip("no chromium with its driver is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in ("headless=new", "no-sandbox", "disable-gpu"):
        options.add_argument(f"--{option}")
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options, service) as chromium:
        chromium.set_script_timeout(300)
        yield chromium


def screen(browser, width, height=800, dark=False):
    """Give the browser a screen of a size, with a scroll bar."""
    size = {"width": width, "height": height}
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", size | {"deviceScaleFactor": 1, "mobile": False}
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" * dark}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
