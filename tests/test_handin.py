"""Run, export and pack: what they leave behind, and what they refuse."""

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from importlib.util import module_from_spec, spec_from_file_location

import nbformat
import pytest
from conftest import (
    CLOSED,
    ENVIRONMENT,
    FOLDED,
    PROJECT,
    VENV,
    call,
    claim,
    claims_output,
    copy_project,
    executed,
    load,
    make,
    make_command,
    sample,
    save,
)
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

NOTEBOOK, PAGE, ARCHIVE = "autoencoders.ipynb", "autoencoders.html", "ex02.zip"


def handin(project, command, **environment):
    """Run the script itself and return the finished process."""
    script = [sys.executable, "export/handin.py", command]
    return call(script, project, **environment)


def contents(project):
    """Return the bytes of the three files, None for one that is not there."""
    paths = [project / name for name in (NOTEBOOK, PAGE, ARCHIVE)]
    return [path.read_bytes() if path.exists() else None for path in paths]


def outputs(project, number):
    """Return the outputs of a saved cell, counted from 1."""
    return load(project).cells[number - 1].outputs


# Run


def test_two_runs_leave_the_same_bytes(project):
    save(
        project,
        "import matplotlib.pyplot as plt\n"
        "plt.plot([1, 2])\n"
        "print({'a', 'b', 'c', 'd'})\n"
        "plt.show()",
        "for i in range(4): print(i, flush=True)",
    )
    first, second = ([make(project).returncode, *contents(project)] for _ in range(2))
    assert first == second and first[0] == 0
    assert outputs(project, 2)[0].text == "0\n1\n2\n3\n"
    assert len(outputs(project, 2)) == 1


def test_run_keeps_what_is_folded_and_no_trace_of_machine_or_clock(project):
    kept = FOLDED | {"tags": ["claim"], "id": "a"}
    trace = {"execution": {"shell": "2024-01-01"}, "scrolled": True}
    colab = {"collapsed_sections": ["cell-2"]}
    path = save(
        project,
        new_code_cell("1 + 1", metadata=kept | trace),
        new_markdown_cell("## Helpers", metadata=CLOSED),
        kernelspec={"name": "x", "display_name": "y"},
        widgets={"state": {}},
        colab=colab | {"provenance": []},
    )
    assert handin(project, "run").returncode == 0
    saved = load(project)
    assert saved.cells[0].metadata == kept
    assert saved.cells[1].metadata == CLOSED
    assert set(saved.metadata) == {"colab", "kernelspec", "language_info"}
    assert saved.metadata.colab == colab
    assert saved.metadata.kernelspec.display_name == "Python 3"
    assert str(project) not in path.read_text()


def test_stderr_reaches_the_log_and_not_the_notebook(project):
    save(
        project,
        "import time, warnings\n"
        "from tqdm import tqdm\n"
        "for _ in tqdm(range(8), desc='bar', leave=False): time.sleep(0.1)\n"
        "print('out')\n"
        "warnings.warn('careful')",
        "print('next')",
    )
    done = handin(project, "run")
    assert "UserWarning: careful" in done.stderr
    assert "bar" not in done.stderr
    assert [output.text for output in outputs(project, 1)] == ["out\n"]
    command = f"stty rows 24 cols 80; {shlex.join(make_command('run'))}"
    terminal = ["script", "-qec", command, os.devnull]
    shown = subprocess.check_output(terminal, cwd=project, env=ENVIRONMENT)
    assert len(set(re.findall(rb"bar: +(\d+)%", shown))) > 2, "it is live"
    assert b"\ncell 2 of 2" in shown, "a bar's rest stands before the line"


def test_run_uses_this_python_whatever_kernels_are_installed(project):
    kernel = project / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "", "language": "x"})
    )
    startup = project / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "own.py").write_text("import sys\nsys.executable = 'other'")
    save(project, "import sys\nsys.executable")
    place = str(project)
    done = handin(project, "run", JUPYTER_PATH=place, IPYTHONDIR=place)
    assert done.returncode == 0, done.stderr
    assert outputs(project, 1)[0].data["text/plain"] == repr(sys.executable)


def test_a_display_updated_later_is_saved_in_the_early_cell(project):
    save(
        project,
        "from IPython.display import Markdown, display\n"
        "for x in 'aa': print(x, flush=True)\n"
        "handle = display(Markdown('early'), display_id='table')\n"
        "print('b')",
        "import sys\n"
        "sys.stderr.write('noise')\n"
        "handle.update(Markdown('late'), metadata={'results': {'a': 1.5}})",
    )
    assert handin(project, "run").returncode == 0
    first = outputs(project, 1)
    kinds = [output.output_type for output in first]
    assert kinds == ["stream", "display_data", "stream"]
    assert first[1].data["text/markdown"] == "late"
    assert first[1].metadata["results"] == {"a": 1.5}
    assert outputs(project, 2) == []


def test_quick_run_leaves_the_saved_notebook_alone(project):
    path = save(project, "import os\nprint(os.environ['QUICK'])")
    before = path.read_bytes()
    done = make(project, "run", environment={"QUICK": "1"})
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before
    quick = nbformat.read(project / "build" / NOTEBOOK, as_version=4)
    assert quick.cells[0].outputs[0].text == "1\n"
    done = make(project, "run", environment={"QUICK": "0"})
    assert done.returncode == 0, done.stderr
    assert outputs(project, 1)[0].text == "0\n"


def test_an_error_in_a_cell_is_named_and_nothing_is_saved(project):
    save(project, "print('fine')", "def f():\n    1 / 0", "f()  # here")
    before = contents(project)
    done = make(project)
    assert done.returncode != 0
    assert contents(project) == before
    last = [x for x in done.stderr.splitlines() if "Stopped" in x][-1]
    assert "cell 3 (cell-3: f()  # here) failed with ZeroDivisionError" in last
    assert "1 / 0" in done.stderr, "the traceback is shown"


def test_a_kernel_that_dies_is_named_and_nothing_is_saved(project):
    save(project, "import os\nos._exit(3)")
    before = contents(project)
    done = handin(project, "run")
    assert done.returncode == 1
    assert "The kernel stopped at cell 1 (cell-1: import os)" in done.stderr
    assert contents(project) == before


FALSE = claim("The wide one is better.", 1.25, "below 1", False)
OTHER = claim("None is lost", 3, "exactly 0", False)
CHECKED = """
from IPython.display import HTML, display
display(HTML("a table"), metadata={{"claims": {}}})
"""
LISTED = """\
2 of 3 statements do not hold:
- The wide one is better: 1.25, not below 1
- None is lost: 3, not exactly 0
"""


def test_run_saves_nothing_if_a_statement_does_not_hold(project):
    true = claim("It ends", 1, "above 0", True)
    save(project, CHECKED.format([FALSE, true]), CHECKED.format([OTHER]), "print('the end')")
    before = contents(project)
    done = make(project)
    assert done.returncode != 0
    said = "Stopped, nothing was changed. What ran is in build/. " + LISTED
    assert said in done.stderr
    assert contents(project) == before
    ran = nbformat.read(project / "build" / NOTEBOOK, as_version=4)
    assert ran.cells[2].outputs[0].text == "the end\n"
    assert handin(project, "run", QUICK="1").returncode == 0


LIKE_WINDOWS = """
import runpy, signal, sys
sys.modules["fcntl"] = None
del signal.SIGHUP
sys.argv = ["export/handin.py", sys.argv[1]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_run_and_zip_need_nothing_of_posix(project):
    save(project, "print('ran')")
    for command in ("run", "zip"):
        like = [sys.executable, "-c", LIKE_WINDOWS, command]
        done = call(like, project, PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
    assert outputs(project, 1)[0].text == "ran\n"


# Zip


def test_zip_holds_the_two_files_and_nothing_else(project):
    done = make(project, "zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(project / ARCHIVE) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [NOTEBOOK, PAGE]
        for name in archive.namelist():
            assert archive.read(name) == (project / name).read_bytes()


def tagged(*names):
    """Return the options of a cell with tags."""
    return {"metadata": {"tags": list(names)}}


TIMES = """
from datetime import datetime, timedelta, timezone
from hashlib import sha256
sources = get_ipython().history_manager.input_hist_raw[1:-1]
code = "\\n\\n".join(x.rstrip() for x in sources if x.strip())
ended = datetime.now(timezone.utc) - timedelta(hours=5, minutes=1)
run = {"finished": f"{ended:%Y-%m-%dT%H:%M:%S}",
       "sources": sha256(code.encode()).hexdigest()}
display({"text/plain": "times"}, raw=True, metadata={"run": run})
"""


def test_zip_reports_what_is_easily_forgotten(project):
    names = "# Title\n\n**Team:** *(please fill in)*"
    one = claim("It ends", 1, "above 0", True)
    save(
        project,
        new_markdown_cell(names),
        "%matplotlib inline\nx = 'ä'\n\n",
        "",
        new_code_cell(CHECKED.format([one, one]), **tagged("claim")),
        new_code_cell(TIMES, **tagged("timing")),
        "print('after')",
    )
    assert handin(project, "run").returncode == 0
    done = handin(project, "zip")
    assert done.returncode == 0, done.stderr
    packed, held, age, last = done.stdout.splitlines()
    assert re.match(r"ex02\.zip: 0\.\d+ MiB of the 10 MiB allowed", packed)
    assert held == "2 of 2 statements hold."
    assert age.startswith("The run ended 5 hours ago (20")
    assert last.startswith("The names of the team are missing")
    notebook = load(project)
    notebook.cells[0].source = "# Title\n\nAda"
    notebook.cells[-1].source += "  # not before the times"
    nbformat.write(notebook, project / NOTEBOOK)
    assert "names" not in handin(project, "zip").stdout
    assert "old results" not in handin(project, "html").stdout
    notebook.cells[1].source += "x = 3"
    nbformat.write(notebook, project / NOTEBOOK)
    before = contents(project)
    done = handin(project, "zip")
    assert done.returncode == 1
    assert "was changed since it was run: run it again" in done.stderr
    assert contents(project) == before
    assert "It shows old results" in handin(project, "html").stdout


def test_line_ends_of_windows_change_nothing(project):
    notebook = sample()
    texts = [nbformat.writes(notebook)]
    texts.append(texts[0].replace("\n", "\r\n"))
    for cell in notebook.cells:
        cell.source = cell.source.replace("\n", "\r\n")
    texts.append(nbformat.writes(notebook))
    pages = set()
    for text in texts:
        (project / NOTEBOOK).write_bytes(text.encode())
        assert script(project).main(["html"]) == 0
        pages.add((project / PAGE).read_bytes())
    assert len(set(texts)) == 3 and len(pages) == 1


def ran(kind, data, **options):
    """Return an executed cell that shows something."""
    output = new_output("display_data", data={kind: data})
    return [executed("x", 1, output, **options)]


WARNING = new_output("stream", name="stderr", text="UserWarning")
ERROR = new_output("error", ename="E", evalue="v", traceback=["t"])
REFUSED = {  # cells, and a part of the sentence that says why
    "no cell": ([], "it has no cells"),
    "no code": ([new_markdown_cell("x"), ""], "no code cell"),
    "never executed": (["x = 1"], "Not executed: cell 1"),
    "one not executed": (
        [executed("x", 1), "y", executed("z", 2)],
        "Not executed: cell 2 (cell-2: y)",
    ),
    "order swapped": (
        [executed("x", 2), executed("y", 1)],
        "cell 1 (cell-1: x) has number 2, not 1",
    ),
    "an error": ([executed("x", 1, ERROR)], "error is shown by cell 1"),
    "a warning": ([executed("x", 1, WARNING)], "warning is shown by cell 1"),
    "no summary": (
        [executed("x", 1, **tagged("summary"))],
        "Tagged summary, without output: cell 1",
    ),
    "a false statement": (
        [executed("x", 1, claims_output(FALSE, OTHER))],
        LISTED.replace("2 of 3", "2 of 2"),
    ),
    "a quick run": (
        [executed("x", 1, **tagged("claim"))],
        "No statement was checked: this was a run with QUICK=1.",
    ),
    "a script": (ran("text/html", "<script>1</script>"), "file: <script"),
    "a frame": (ran("text/html", "<iframe src='a.html'>"), "file: <iframe"),
    "a picture from outside": (
        ran("text/markdown", "![far](https://far.invalid/a.png)"),
        "not in the file: <img",
    ),
    "an attachment that is missing": (
        [new_markdown_cell("![lost](attachment:lost.png)"), executed("x", 1)],
        "missing attachment",
    ),
    "an unknown formula": (
        [new_markdown_cell("a"), new_markdown_cell("$\\oops$"), executed("x", 1)],
        "text of cell 2",
    ),
    "a formula in an output": (ran("text/markdown", "$\\oops$"), "text of cell 1"),
    "too large": (
        ran("text/plain", "".join(map(chr, range(0x4E00, 0x9000))) * 400),
        "more than the 10 MiB allowed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_zip_refuses(case, project, capsys):
    cells, reason = REFUSED[case]
    save(project, *cells)
    check_refusal(project, "zip", reason, capsys)


VALID = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
BROKEN = {
    "empty": b"",
    "truncated": json.dumps(VALID).encode()[:-9],
    "merge conflict": b"<<<<<<< HEAD\n" + json.dumps(VALID).encode(),
    "cells of no kind": json.dumps(VALID | {"cells": [{}]}).encode(),
    "unknown version": json.dumps(VALID | {"nbformat": 99}).encode(),
}


@pytest.mark.parametrize("command", ["run", "html", "zip"])
@pytest.mark.parametrize("case", BROKEN)
def test_an_invalid_notebook_is_refused(case, command, project, capsys):
    (project / NOTEBOOK).write_bytes(BROKEN[case])
    check_refusal(project, command, "is not a valid notebook", capsys)


@pytest.mark.parametrize("command", ["run", "html", "zip"])
def test_a_missing_notebook_is_refused(command, project, capsys):
    (project / NOTEBOOK).unlink()
    check_refusal(project, command, "autoencoders.ipynb is missing", capsys)


def check_refusal(project, command, reason, capsys):
    """Check that a command fails with one sentence and changes nothing."""
    (project / PAGE).write_text("the old page")
    (project / ARCHIVE).write_text("the old zip")
    before = contents(project)
    assert script(project).main([command]) == 1
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == max(1, reason.count("\n")), said
    assert contents(project) == before


def script(project):
    """Import the script of a project."""
    name = f"handin_{id(project)}"
    spec = spec_from_file_location(name, project / "export" / "handin.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_second_of_two_files_that_fails_takes_back_the_first(project, monkeypatch, capsys):
    (project / PAGE).write_text("the old page")
    before = contents(project)
    module, replace = script(project), os.replace

    def fail(source, target):
        if target.name == ARCHIVE:
            raise PermissionError(13, "in use", str(target))
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", fail)
    assert module.main(["zip"]) == 1
    assert "in use" in capsys.readouterr().err
    assert contents(project) == before
    assert not list(project.glob(".*.tmp"))


# make


def test_help_names_every_target():
    text = make(PROJECT, "help").stdout
    rules = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.M)
    assert {"env", "run", "html", "zip", "test", "lint", "clean"} <= set(rules)
    for target in set(rules) - {"python"}:
        assert re.search(rf"^{target}  +\w.+", text, re.M), target


def test_make_runs_exports_and_packs(project):
    save(project, new_markdown_cell("# Whole"), "x = 42", "", "print(x)")
    done = make(project)
    assert done.returncode == 0, done.stderr
    assert "cell 4 of 4: print(x)" in done.stderr
    counts = [c.get("execution_count") for c in load(project).cells]
    assert counts == [None, 1, None, 2]
    with zipfile.ZipFile(project / ARCHIVE) as archive:
        assert ">42\n</pre>" in archive.read(PAGE).decode()


def test_spaces_and_umlauts_in_the_path(tmp_path):
    folder = tmp_path / "Übung 2 (groß) 'x' $y"
    folder.mkdir()
    project = copy_project(folder)
    (project / "own env").symlink_to(VENV)
    save(project, "print(1)")
    done = make(project, VENV="own env")
    assert done.returncode == 0, done.stderr
    assert (project / ARCHIVE).exists()


def test_clean_keeps_what_is_handed_in(project):
    make(project, "zip")
    (project / ".autoencoders.html.tmp").touch()
    assert make(project, "clean").returncode == 0
    left = {path.name for path in project.iterdir()}
    assert {NOTEBOOK, PAGE, "Makefile"} <= left
    assert not {"build", ARCHIVE, ".autoencoders.html.tmp"} & left


def test_python_that_is_missing(project):
    done = make(project, "env", PYTHON="python-that-is-missing")
    assert done.returncode != 0
    assert "Python ('python-that-is-missing') was not found" in done.stderr


def test_python_that_is_too_old(project):
    old = project / "old python"
    old.write_text(
        f"#!{sys.executable}\n"
        "import runpy, sys\n"
        "sys.version_info = (3, 9, 18, 'final', 0)\n"
        "if sys.argv[1] != '-c':\n"
        "    sys.argv = sys.argv[1:]\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    old.chmod(0o755)
    done = make(project, "env", PYTHON=f"'{old}'")
    assert done.returncode != 0
    assert "Python 3.10 or newer is needed, and this is 3.9" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_network_on_the_first_make(project):
    offline = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "0",
    }
    (project / "requirements.txt").write_text("numpy==2.4.6\n")
    done = make(project, "env", VENV=".venv", environment=offline)
    assert done.returncode != 0
    assert "The packages could not be installed" in done.stderr
    assert "Traceback" not in done.stderr
    (project / "requirements.txt").write_text("")
    done = make(project, "env", VENV=".venv", environment=offline)
    assert done.returncode == 0, done.stderr


def test_verify_compares_with_another_run(project):
    tag = {"metadata": {"tags": ["timing"]}}
    save(project, "x = {'a', 'b', 'c'}\nx", new_code_cell("import time\nprint(time.time())", **tag))
    assert handin(project, "run").returncode == 0
    before = contents(project)
    done = make(project, "verify")
    assert done.returncode == 0, done.stderr
    assert "to the last byte" in done.stdout
    assert contents(project) == before
    save(project, "print(1)", "import os\nos.getpid()")
    assert handin(project, "run").returncode == 0
    done = make(project, "verify")
    assert done.returncode != 0
    assert "Not the same in another run: cell 2 (cell-2:" in done.stderr
