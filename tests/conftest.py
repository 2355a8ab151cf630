"""What the tests share: the saved notebook, a quick run, small projects."""

import base64
import io
import linecache
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOK = PROJECT / "autoencoders.ipynb"
VENV = Path(sys.prefix)
OF_THE_CALLER = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "QUICK"}
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in OF_THE_CALLER}


def tags(cell):
    """Return the tags of a cell."""
    return cell.metadata.get("tags", [])


@pytest.fixture(scope="session")
def notebook():
    """The saved notebook."""
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="session")
def results(notebook):
    """The numbers in the metadata of the saved summary cell's output."""
    found = [
        output.metadata["results"]
        for cell in notebook.cells
        if "summary" in tags(cell)
        for output in cell.outputs
        if "results" in output.get("metadata", {})
    ]
    assert len(found) == 1, "one output of the summary cell holds results"
    return found[0]


@pytest.fixture(scope="session")
def definitions(notebook):
    """A module that the ``definitions`` cells were executed in, in order."""
    module = types.ModuleType("definitions")
    sys.modules[module.__name__] = module
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
    for name in ("Makefile", "requirements.txt", "tests/requirements.txt"):
        shutil.copy(PROJECT / name, project / name)
    return project


def make_command(*goals, **variables):
    """Return a ``make`` command that uses the environment of the tests."""
    variables = {"VENV": VENV, "PYTHON": sys.executable} | variables
    return ["make", *goals, *(f"{k}={v}" for k, v in variables.items())]


def make(project, *goals, environment=None, **variables):
    """Run ``make`` in a project and return the finished process."""
    return subprocess.run(
        make_command(*goals, **variables),
        cwd=project,
        env=ENVIRONMENT | (environment or {}),
        capture_output=True,
        text=True,
    )


def save(project, *cells, **metadata):
    """Save cells (str: code) as the notebook of a project."""
    cells = [new_code_cell(c) if isinstance(c, str) else c for c in cells]
    for number, cell in enumerate(cells, 1):
        cell["id"] = f"cell-{number}"
    path = project / NOTEBOOK.name
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def load(project):
    """Return the saved notebook of a project."""
    return nbformat.read(project / NOTEBOOK.name, as_version=4)


def executed(source, number, *outputs, **options):
    """Return a code cell that looks executed."""
    return new_code_cell(
        source, execution_count=number, outputs=list(outputs), **options
    )


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
    return new_output(
        "display_data",
        data={"image/png": base64.b64encode(data.getvalue()).decode()},
        metadata={"image/png": {"width": width, "height": height, "alt": alt}},
    )


def markdown_output(text):
    """Return displayed Markdown."""
    return new_output("display_data", data={"text/markdown": text})


def sample():
    """Return a small notebook with all that the real one may contain."""
    fold = {"metadata": {"tags": ["fold"]}}
    alt = "Noise without a meaning, as a test of the page"
    wide = "| " + " | ".join(["header"] * 9) + " |\n" + "|---:" * 9 + "|\n"
    wide += "| " + " | ".join(["0.00506"] * 9) + " |\n"
    cells = [
        new_markdown_cell(
            "# A *sample*\n\nSee [all](#fig-all), [the sum](#2-The-sum) and "
            "[the terms](#2.1-Terms-×-code).\n\n" + wide
        ),
        new_markdown_cell(
            "## 1 Figures\n\n> A question about $x_i \\in \\mathbb{R}^d$?"
        ),
        executed(
            "x = 1",
            1,
            figure_output(640, 480, alt),
            markdown_output('<a id="fig-all"></a>**Figure 1.** The $x_1$.'),
        ),
        executed(
            "# Draw\ndef draw():\n    return 'folded'  # " + "x" * 50,
            2,
            figure_output(500, 1600, alt),
            markdown_output("**Figure 2.** [Back](#1-Figures)"),
            **fold,
        ),
        new_markdown_cell(
            "## 2 The sum\n\n$$\\mathrm{MMD}^2 = \\frac{1}{n} \\sum_{i \\ne j}"
            " k(x_i, x_j)$$\n\n\\begin{align}a &= b \\\\ c &= d\\end{align}\n"
        ),
        new_markdown_cell("### 2.1 Terms × `code`\n\nText."),
        executed(
            "print('" + "y" * 70 + "')",
            3,
            new_output("stream", name="stdout", text="z" * 300 + "\n"),
        ),
    ]
    for number, cell in enumerate(cells, 1):
        cell["id"] = f"cell-{number}"
    python = {"language_info": {"name": "python"}}
    return new_notebook(cells=cells, metadata=python)


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
