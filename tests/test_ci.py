"""What the check of everything reports, tried with stubs in place of what takes long."""

import os
import shutil
import sys

import nbformat
import pytest
from conftest import ENVIRONMENT, PROJECT, call
from nbformat.v4 import new_code_cell, new_notebook, new_output

FILES = (".ci/run", "tests/compare_results.py")
STUB = """
import os, sys, time
import nbformat
kind = os.environ["AVX2" if "ATEN_CPU_CAPABILITY" in os.environ else "FULL"]
if kind == "slow":
    time.sleep(60)
if kind == "failing":
    sys.exit("a cell failed")
if kind != "idle":
    notebook = nbformat.read("autoencoders.ipynb", 4)
    cell = notebook.cells[0]
    cell.execution_count = 2
    if kind == "other":
        cell.outputs[0].metadata["results"]["task1.test_mse.median"] = 2.0
    nbformat.write(notebook, "autoencoders.ipynb")
print("run")
"""
MAKEFILE = """
all: run
env:
\t@mkdir -p .venv/bin
\t@printf '#!/bin/sh\\nexec %s "$$@"\\n' $(REAL) > .venv/bin/python
\t@chmod +x .venv/bin/python
zip test:
\t@echo $@
run:
\t@exec $(REAL) stub.py
"""


@pytest.fixture
def repository(tmp_path):
    """A repository whose notebook, page and make are stubs."""
    if os.cpu_count() < 2 or not shutil.which("taskset"):
        pytest.skip("the check wants two cores, and taskset")
    folder = tmp_path / "repository"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    table = new_output("display_data", metadata={"results": {"task1.test_mse.median": 1.0}})
    notebook = new_notebook(cells=[new_code_cell("1", execution_count=1, outputs=[table])])
    nbformat.write(notebook, folder / "autoencoders.ipynb")
    (folder / "autoencoders.html").write_text("page")
    (folder / "stub.py").write_text(STUB)
    (folder / "Makefile").write_text(MAKEFILE)
    me = ["-c", "user.name=Team", "-c", "user.email=team@example.org"]
    for command in (["init", "-q"], ["add", "."], [*me, "commit", "-qm", "Stubs"]):
        done = call(["git", *command], folder)
        assert done.returncode == 0, done.stderr
    for program in ("unzip", "chromium", "chromedriver", "apt-get"):
        stub = tmp_path / "bin" / program
        stub.parent.mkdir(exist_ok=True)
        stub.write_text("#!/bin/sh\n")
        stub.chmod(0o755)
    return folder


def check(folder, full, avx2, two="yes"):
    """Run the check where the full runs, two or only one, end in given ways."""
    path = os.pathsep.join([str(folder.parent / "bin"), ENVIRONMENT["PATH"]])
    own = {"FULL": full, "AVX2": avx2, "PATH": path, "REAL": sys.executable,
           "TWO_ROUNDINGS": two}
    own |= {"AVX2_LIMIT": "0.02"} if avx2 == "slow" else {}
    return call(["bash", ".ci/run"], folder, TMPDIR=str(folder.parent), **own)


def test_two_runs_that_end_well_are_compared(repository):
    done = check(repository, "well", "well")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The results agree.") == 2
    assert "All is well" in done.stdout


def test_a_run_that_wrote_nothing_is_not_compared(repository):
    done = check(repository, "well", "idle")
    assert done.returncode == 1
    assert "The avx2 run wrote nothing: it is not compared." in done.stderr
    assert done.stdout.count("The results agree.") == 1
    assert "All is well" not in done.stdout


def test_runs_that_are_cut_off_or_fail_are_not_compared(repository):
    done = check(repository, "failing", "slow")
    assert done.returncode == 1
    assert "The avx2 run was cut off after 0.02 min: it is not compared." in done.stderr
    assert "The default run failed with status 2: it is not compared." in done.stderr
    assert "The results agree." not in done.stdout
    assert "All is well" not in done.stdout
    assert sorted(path.name for path in repository.parent.iterdir()) == ["bin", "repository"]


def test_results_that_differ_are_reported(repository):
    done = check(repository, "well", "other")
    assert done.returncode == 1
    assert done.stdout.count("differ by more than") == 2
    assert "Results differ." in done.stderr


def test_where_numbers_are_rounded_in_one_way_only_one_run_is_enough(repository):
    done = check(repository, "well", "failing", two="no")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The results agree.") == 1
    assert "All is well" in done.stdout
