"""Run, export and pack: what they leave behind, and what they refuse."""

import fcntl
import importlib.util
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import zipfile

import nbformat
import pytest
from conftest import (
    ENVIRONMENT,
    PROJECT,
    VENV,
    copy_project,
    executed,
    load,
    make,
    make_command,
    save,
)
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

NOTEBOOK, PAGE, ARCHIVE = (
    "autoencoders.ipynb",
    "autoencoders.html",
    "ex02.zip",
)


def handin(project, command, **environment):
    """Run the script itself and return the finished process."""
    return subprocess.run(
        [sys.executable, "export/handin.py", command],
        cwd=project,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
    )


def contents(project):
    """Return the bytes of the three files, None for one that is not there."""
    paths = [project / name for name in (NOTEBOOK, PAGE, ARCHIVE)]
    return [path.read_bytes() if path.exists() else None for path in paths]


def outputs(project, number):
    """Return the outputs of a saved cell, counted from 1."""
    return load(project).cells[number - 1].outputs


# Run


def test_run_executes_in_place_from_top_to_bottom(project):
    save(project, "x = 2", new_markdown_cell("text"), "", "print(x + 1)")
    done = make(project, "run")
    assert done.returncode == 0, done.stderr
    cells = load(project).cells
    counts = [cell.get("execution_count") for cell in cells]
    assert counts == [1, None, None, 2]
    assert cells[3].outputs[0].text == "3\n"
    assert "cell 4 of 4: print(x + 1)" in done.stderr


def test_two_runs_leave_the_same_bytes(project):
    save(
        project,
        "from IPython.display import Image, display\n"
        "import matplotlib.pyplot as plt\n"
        "plt.plot([1, 2])\n"
        "print({'a', 'b', 'c', 'd'})\n"
        "plt.show()",
        "import time\n"
        "for i in range(4):\n"
        "    print(i, flush=True)\n"
        "    time.sleep(0.05)",
    )
    assert handin(project, "run").returncode == 0
    assert handin(project, "zip").returncode == 0
    first = contents(project)
    assert handin(project, "run").returncode == 0
    assert handin(project, "zip").returncode == 0
    assert contents(project) == first
    assert outputs(project, 2)[0].text == "0\n1\n2\n3\n"
    assert len(outputs(project, 2)) == 1


def test_run_leaves_no_trace_of_machine_or_clock(project):
    path = save(
        project, "1 + 1", kernelspec={"name": "x", "display_name": "y"}
    )
    notebook = json.loads(path.read_text())
    notebook["cells"][0]["metadata"]["execution"] = {"shell": "2024-01-01"}
    notebook["metadata"]["widgets"] = {"state": {}}
    path.write_text(json.dumps(notebook))
    assert handin(project, "run").returncode == 0
    saved = load(project)
    assert saved.cells[0].metadata == {}
    assert set(saved.metadata) == {"kernelspec", "language_info"}
    assert saved.metadata.kernelspec.display_name == "Python 3"
    assert str(project) not in path.read_text()


def test_stderr_reaches_the_log_and_not_the_notebook(project):
    save(
        project,
        "import warnings\n"
        "from tqdm import tqdm\n"
        "for _ in tqdm(range(3), desc='bar'): pass\n"
        "print('out')\n"
        "warnings.warn('careful')",
    )
    done = handin(project, "run")
    assert "UserWarning: careful" in done.stderr
    assert "bar" not in done.stderr
    assert [output.text for output in outputs(project, 1)] == ["out\n"]


def test_bars_are_live_on_a_terminal(project):
    save(
        project,
        "import time\n"
        "from tqdm import tqdm\n"
        "for _ in tqdm(range(8), desc='bar', leave=False): time.sleep(0.1)",
        "print('out')",
    )
    ours, theirs = pty.openpty()
    rows_and_columns = struct.pack("HHHH", 24, 80, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, rows_and_columns)
    process = subprocess.Popen(
        make_command("run"),
        cwd=project,
        env=ENVIRONMENT,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # Linux: the other end was closed
        pass
    os.close(ours)
    assert process.wait() == 0
    assert len(set(re.findall(rb"bar: +(\d+)%", shown))) > 2
    assert b"\ncell 2 of 2" in shown, "a bar's rest stands before the line"
    assert outputs(project, 1) == []


def test_run_uses_this_python_whatever_kernels_are_installed(project):
    kernel = project / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "", "language": "x"})
    )
    startup = project / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "own.py").write_text("import sys\nsys.executable = 'other'")
    save(project, "import sys\nsys.executable")
    done = handin(
        project,
        "run",
        JUPYTER_PATH=str(project / "jupyter"),
        IPYTHONDIR=str(project / "ipython"),
    )
    assert done.returncode == 0, done.stderr
    assert outputs(project, 1)[0].data["text/plain"] == repr(sys.executable)


def test_a_display_updated_later_is_saved_in_the_early_cell(project):
    save(
        project,
        "from IPython.display import Markdown, display\n"
        "print('a', flush=True)\n"
        "handle = display(Markdown('early'), display_id='table')\n"
        "print('b')",
        "import sys\n"
        "sys.stderr.write('noise')\n"
        "handle.update(Markdown('late'), metadata={'results': {'a': 1.5}})",
    )
    assert handin(project, "run").returncode == 0
    first = outputs(project, 1)
    assert [o.output_type for o in first] == [
        "stream",
        "display_data",
        "stream",
    ]
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


# Zip


def test_zip_holds_the_two_files_and_nothing_else(project):
    done = make(project, "zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(project / ARCHIVE) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [NOTEBOOK, PAGE]
        for name in archive.namelist():
            assert archive.read(name) == (project / name).read_bytes()
    kind = ["file", "--brief", "--mime-type", project / ARCHIVE]
    assert subprocess.check_output(kind, text=True) == "application/zip\n"


def test_zip_exports_a_stale_page_again(project):
    (project / PAGE).write_text("older")
    os.utime(project / PAGE, (2**31, 2**31))  # newer than the notebook
    assert handin(project, "zip").returncode == 0
    assert "Tiny" in (project / PAGE).read_text()


def test_zip_is_the_same_for_the_same_input(project):
    assert handin(project, "zip").returncode == 0
    first = (project / ARCHIVE).read_bytes()
    os.utime(project / NOTEBOOK, (1e9, 1e9))
    assert handin(project, "zip").returncode == 0
    assert (project / ARCHIVE).read_bytes() == first


def error():
    """Return an error output."""
    return new_output("error", ename="E", evalue="v", traceback=["t"])


def stderr():
    """Return an output on stderr."""
    return new_output("stream", name="stderr", text="UserWarning")


def shown(kind, content):
    """Return a displayed output of one kind."""
    return new_output("display_data", data={kind: content})


def tagged(*names):
    """Return the options of a cell with tags."""
    return {"metadata": {"tags": list(names)}}


NOISE = "".join(map(chr, range(0x4E00, 0x9000)))

REFUSED = {
    "no cell": ([], "it has no cells"),
    "text alone": ([new_markdown_cell("x")], "no code cell"),
    "empty code alone": ([""], "no code cell"),
    "never executed": (["x = 1"], "Not executed: cell 1"),
    "one not executed": (
        [executed("x", 1), "y", executed("z", 2)],
        "Not executed: cell 2 (cell-2: y)",
    ),
    "last not executed": ([executed("x", 1), "y"], "Not executed: cell 2"),
    "order swapped": (
        [executed("x", 2), executed("y", 1)],
        "cell 1 (cell-1: x) has number 2, not 1",
    ),
    "a number skipped": (
        [executed("x", 1), executed("y", 3)],
        "has number 3, not 2",
    ),
    "a number twice": (
        [executed("x", 1), executed("y", 1)],
        "has number 1, not 2",
    ),
    "numbers from 5": ([executed("x", 5)], "has number 5, not 1"),
    "an error": ([executed("x", 1, error())], "error is shown by cell 1"),
    "a warning": ([executed("x", 1, stderr())], "warning is shown by cell 1"),
    "no summary": (
        [executed("x", 1, **tagged("summary"))],
        "Tagged summary, without output: cell 1",
    ),
    "no times": (
        [executed("x", 1, **tagged("timing"))],
        "Tagged timing, without output: cell 1",
    ),
    "a script": (
        [executed("x", 1, shown("text/html", "<script>1</script>"))],
        "not in the file: <script",
    ),
    "javascript": (
        [executed("x", 1, shown("application/javascript", "1"))],
        "not in the file: <script",
    ),
    "a frame": (
        [executed("x", 1, shown("text/html", "<iframe src='a.html'>"))],
        "not in the file: <iframe",
    ),
    "a picture from outside": (
        [
            new_markdown_cell("![far](https://far.invalid/a.png)"),
            executed("x", 1),
        ],
        "not in the file: <img",
    ),
    "a picture that is missing": (
        [new_markdown_cell("![lost](lost.png)"), executed("x", 1)],
        "not in the file: <img",
    ),
    "an attachment that is missing": (
        [new_markdown_cell("![lost](attachment:lost.png)"), executed("x", 1)],
        "missing attachment",
    ),
    "an unknown formula": (
        [
            new_markdown_cell("a"),
            new_markdown_cell(r"$\oops$"),
            executed("x", 1),
        ],
        "text of cell 2",
    ),
    "a broken formula": (
        [new_markdown_cell(r"$$\frac{1}{$$"), executed("x", 1)],
        "text of cell 1",
    ),
    "a formula in an output": (
        [executed("x", 1, shown("text/markdown", r"$\oops$"))],
        "text of cell 1",
    ),
    "too large": (
        [executed("x", 1, shown("text/plain", NOISE * 400))],
        "more than the 10 MiB allowed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_zip_refuses(case, project, capsys):
    cells, reason = REFUSED[case]
    save(project, *cells)
    check_refusal(project, "zip", reason, capsys)


VALID = {
    "cells": [],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
BROKEN = {
    "empty": b"",
    "not JSON": b"hello",
    "truncated": json.dumps(VALID).encode()[:-9],
    "merge conflict": b"<<<<<<< HEAD\n" + json.dumps(VALID).encode(),
    "a picture": b"\x89PNG\r\n\x1a\n\x00\xff",
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "no cells": json.dumps({"nbformat": 4, "nbformat_minor": 5}).encode(),
    "no version": b'{"cells": []}',
    "cells of no kind": json.dumps(VALID | {"cells": [{}]}).encode(),
    "cells that are text": json.dumps(VALID | {"cells": "x"}).encode(),
    "output of no kind": json.dumps(
        VALID
        | {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": 1,
                    "id": "a",
                    "metadata": {},
                    "outputs": [{"output_type": "x"}],
                    "source": "x",
                }
            ]
        }
    ).encode(),
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
    name = f"handin_{id(project)}"
    path = project / "export" / "handin.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main([command]) == 1
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1, said
    assert contents(project) == before


def test_a_refusal_is_one_sentence_in_the_terminal_too(project):
    save(project, "x = 1")
    done = make(project, "zip")
    assert done.returncode != 0
    said = done.stderr.splitlines()
    assert len(said) == 2
    assert said[0].startswith("Stopped, nothing was changed. Not executed")
    assert said[1].startswith("make: ")


# make


def test_help_names_every_target():
    text = make(PROJECT, "help").stdout
    rules = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.M)
    assert {"env", "run", "html", "zip", "test", "lint", "clean"} <= set(rules)
    for target in set(rules) - {"python"}:
        assert re.search(rf"^{target}  +\w.+", text, re.M), target


def test_make_runs_exports_and_packs(project):
    save(project, new_markdown_cell("# Whole"), "print(6 * 7)")
    done = make(project)
    assert done.returncode == 0, done.stderr
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
    (project / "build").mkdir()
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
    save(
        project,
        "x = {'a', 'b', 'c'}\nx",
        new_code_cell("import time\nprint(time.time())", **tag),
    )
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
