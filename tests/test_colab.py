"""The notebook with the packages of Google Colab, which are older than the pinned ones."""

import json
import os
import shutil
import sys

import html5lib
import pytest
from conftest import NOTEBOOK, PROJECT, VENV, call, code_cells, copy_project, load
from test_dependencies import canonical, imported, pins

REQUIREMENTS = "tests/requirements-colab.txt"
COLAB = VENV / "colab"  # an environment of its own, inside that of the tests
ANY_VERSION = {"pillow", "scipy", "tqdm"}  # what is used of them is in all versions of today


def test_the_oldest_versions_are_those_of_colab_or_older(notebook, definitions):
    oldest = {canonical(name): least for name, least in definitions.OLDEST.items()}
    there = pins(REQUIREMENTS)
    used = imported(*(cell.source for cell in code_cells(notebook)))
    assert used <= there.keys(), "not among Colab's packages"
    assert used <= oldest.keys() | ANY_VERSION, "the oldest version is not said"
    too_old = [name for name, least in oldest.items()
               if tuple(map(int, there[name].split("."))) < least]
    assert too_old == []


@pytest.fixture(scope="module")
def on_colab(tmp_path_factory):
    """A project with what a quick run with Colab's packages leaves, and what it complained of."""
    if not os.environ.get("CI"):
        pytest.skip("installs Colab's packages, then runs for minutes: make colab, or CI=true")
    install = [sys.executable, "export/environment.py", COLAB, REQUIREMENTS]
    installed = call(install, PROJECT, CONSTRAINTS=str(REQUIREMENTS))
    assert installed.returncode == 0, installed.stderr
    project = copy_project(tmp_path_factory.mktemp("colab"))
    shutil.copy(NOTEBOOK, project)
    kernel = project / "kernels" / "colab" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command = [COLAB / "bin" / "python", "-X", "frozen_modules=off"]  # else the debugger complains
    command += ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": [*map(str, command)], "display_name": "Colab"}))
    run = [sys.executable, "-m", "nbconvert", "--execute", "--inplace", "--to=notebook"]
    run += ["--ExecutePreprocessor.kernel_name=colab", "--log-level=WARN", NOTEBOOK.name]
    own = {"JUPYTER_PATH": project, "IPYTHONDIR": project / "ipython", "QUICK": "1", "KEPT": ""}
    done = call(run, project, **{name: str(value) for name, value in own.items()})
    assert done.returncode == 0, done.stderr[-4000:]
    return project, done.stderr


def test_all_cells_run_without_a_warning(on_colab):
    project, complaints = on_colab
    assert complaints == ""
    cells = code_cells(load(project))
    assert all(cell.execution_count for cell in cells)
    streams = (o for cell in cells for o in cell.outputs if o.output_type == "stream")
    assert [o.text for o in streams if o.name == "stderr"] == []


def test_figures_keep_their_sizes_and_alternative_texts(on_colab):
    project, _ = on_colab
    outputs = [o for cell in code_cells(load(project)) for o in cell.outputs]
    about = [o.metadata.get("image/png", {}) for o in outputs if "image/png" in o.get("data", {})]
    assert about, "no figures"
    wanted = sorted((a.get("alt", ""), a.get("width", 0), a.get("height", 0)) for a in about)
    assert all(alt.strip() and width > 0 and height > 0 for alt, width, height in wanted)
    script = ("import sys; sys.path.insert(0, 'export'); import handin\n"  # html: not of quick runs
              "print(handin.export(handin.read_notebook(handin.NOTEBOOK)[1]).decode())")
    exported = call([sys.executable, "-c", script], project)
    assert exported.returncode == 0, exported.stderr
    page = html5lib.parse(exported.stdout, namespaceHTMLElements=False)
    shown = [image.attrib for image in page.iter("img")]
    assert wanted == sorted((a["alt"], int(a["width"]), int(a["height"])) for a in shown)
