"""Run, export and pack: what they leave behind, and what they refuse."""

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import zipfile
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from unittest.mock import patch

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
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

NOTEBOOK, PAGE, ARCHIVE = "autoencoders.ipynb", "autoencoders.html", "ex02.zip"


def handin(project, command, **environment):
    """Run the script itself and return the finished process."""
    script = [sys.executable, "export/handin.py", command]
    return call(script, project, **environment)


@pytest.fixture(autouse=True)
def own_environment():
    """Let nothing that a command sets in this process outlive the test."""
    with patch.dict(os.environ):
        yield


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


BAR = """
from IPython.display import display
print("before")
def show(text, **update):
    display({"text/plain": text}, raw=True, display_id="b", metadata={"bar": True}, **update)
show("0 of 2 trained")
for i in (1, 2): show(f"{i} of 2 trained", update=True)
display({"text/plain": ""}, raw=True, display_id="b", update=True)
print("after")
"""


def test_stderr_reaches_the_log_and_not_the_notebook(project):
    save(
        project,
        "import time, warnings\n"
        "from tqdm import tqdm\n"
        "for _ in tqdm(range(8), desc='bar', leave=False): time.sleep(0.1)\n"
        "print('out')\n"
        "for _ in tqdm(range(2), desc='left'): pass\n"
        "warnings.warn('careful')",
        BAR + "for _ in tqdm(range(2), desc='left'): pass",
    )
    done = handin(project, "run")
    assert "UserWarning: careful" in done.stderr
    assert "bar" not in done.stderr and "trained" not in done.stderr
    (warning, ran) = done.stdout.splitlines()
    assert warning.startswith("A warning, which is not saved, of cell 1 (cell-1: import ")
    assert warning.endswith(": UserWarning: careful")
    assert ran.startswith("autoencoders.ipynb: run in")
    assert [output.text for output in outputs(project, 1)] == ["out\n"]
    assert [output.text for output in outputs(project, 2)] == ["before\nafter\n"]
    command = f"stty rows 24 cols 80; {shlex.join(make_command('run'))}"
    terminal = ["script", "-qec", command, os.devnull]
    shown = subprocess.check_output(terminal, cwd=project, env=ENVIRONMENT)
    assert len(set(re.findall(rb"bar: +(\d+)%", shown))) > 2, "it is live"
    assert b"\ncell 2 of 2" in shown, "a bar's rest stands before the line"
    trained = re.findall(rb"\r(\d of 2 trained|)(?=\x1b\[K)", shown)
    assert trained == [b"0 of 2 trained", b"1 of 2 trained", b"2 of 2 trained", b""]


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


def test_a_failing_cell_is_named_and_what_ran_is_kept(project):
    save(project, "print('fine')", "def f():\n    1 / 0", "f()  # here", "print('not reached')")
    before = contents(project)
    done = make(project)
    assert done.returncode != 0
    assert contents(project) == before
    last = [x for x in done.stderr.splitlines() if "Stopped" in x][-1]
    assert last.startswith(
        "Stopped, nothing was changed. What ran is in build/autoencoders.ipynb. "
        "cell 3 (cell-3: f()  # here) failed with ZeroDivisionError"
    )
    assert "1 / 0" in done.stderr, "the traceback is shown"
    ran = kept(project)
    nbformat.validate(ran)
    assert [cell.execution_count for cell in ran.cells] == [1, 2, 3, None]
    assert ran.cells[0].outputs[0].text == "fine\n"
    (error,) = ran.cells[2].outputs
    assert "1 / 0" in re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
    assert ran.metadata.kernelspec.name == "python3"


def kept(project):
    """Return the notebook in build/."""
    return nbformat.read(project / "build" / NOTEBOOK, as_version=4)


def test_a_kernel_that_dies_is_named_and_what_ran_is_kept(project, capsys):
    save(project, "print('fine')", "import os\nos._exit(3)")
    before = contents(project)
    assert script(project).main(["run"]) == 1
    assert "The kernel stopped at cell 2 (cell-2: import os)" in capsys.readouterr().err
    assert contents(project) == before
    assert kept(project).cells[0].outputs[0].text == "fine\n"


def test_a_run_that_cannot_be_written_is_kept(project, monkeypatch, capsys):
    save(project, "print('fine')")
    before = contents(project)
    module = script(project)
    fail_to_replace(module, monkeypatch, project / NOTEBOOK)
    assert module.main(["run"]) == 1
    assert "What ran is in build/autoencoders.ipynb. [Errno 13]" in capsys.readouterr().err
    assert contents(project) == before
    assert kept(project).cells[0].outputs[0].text == "fine\n"


def fail_to_replace(module, monkeypatch, path):
    """Let a file be in use, so that it cannot be replaced."""
    replace = os.replace

    def fail(source, target):
        if target == path:
            raise PermissionError(13, "in use", str(target))
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", fail)


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
    said = "Stopped, nothing was changed. What ran is in build/autoencoders.ipynb. " + LISTED
    assert said in done.stderr
    assert contents(project) == before
    assert kept(project).cells[2].outputs[0].text == "the end\n"
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
ran = [x.rstrip() for x in get_ipython().history_manager.input_hist_raw[1:-1] if x.strip()]
ended = datetime.now(timezone.utc) - timedelta(hours=5, minutes=1)
run = {"finished": f"{ended:%Y-%m-%dT%H:%M:%S}", "quick": QUICK,
       "sources": [sha256(x.encode()).hexdigest() for x in ran]}
display({"text/plain": "times"}, raw=True, metadata={"run": run})
"""


def test_zip_reports_what_is_easily_forgotten(project):
    names = "# Title\n\n**Team:** *(please fill in)*"
    one = claim("It ends", 1, "above 0", True)
    save(
        project,
        new_markdown_cell(names),
        "%matplotlib inline\nQUICK = 'ä' == ''\n\n",
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
    notebook.cells[3].source += "x = 4"
    nbformat.write(notebook, project / NOTEBOOK)
    before = contents(project)
    done = handin(project, "zip")
    assert done.returncode == 1
    assert (
        "was changed since it was run: cell 2 (cell-2: %matplotlib inline) is another. "
        "'make run' runs it again; what was trained before by the same code is not "
        "trained again. (Text cells, with the names in the first, can be changed"
    ) in done.stderr
    assert contents(project) == before
    said = handin(project, "html").stdout
    assert "It shows old results: cell 2 (cell-2: %matplotlib inline) is another." in said


def timed(*sources, quick=False, finished="2026-08-01T10:20:30", now=None):
    """Return cells that a run left, whose code may be another ``now``."""
    digests = [sha256(x.encode()).hexdigest() for x in sources]
    run = {"finished": finished, "quick": quick, "sources": digests}
    times = new_output("display_data", data={"text/plain": "-"}, metadata={"run": run})
    cells = [executed(x, n) for n, x in enumerate(now or sources, 1)]
    return [*cells, executed("times()", len(cells) + 1, times, **tagged("timing"))]


@pytest.mark.parametrize(("now", "change"), [
    ("axc", "cell 2 (cell-2: x) is another"),
    ("axbc", "cell 2 (cell-2: x) is new"),
    ("ac", "what stood before cell 2 (cell-2: c) is gone"),
    ("ab", "what stood before cell 3 (cell-3: times()) is gone"),
])
def test_the_first_changed_cell_is_named(now, change, project, capsys):
    save(project, *timed(*"abc", now=now))
    check_refusal(project, "zip", change, capsys)


@pytest.mark.parametrize("command", ["html", "zip"])
def test_a_quick_run_does_not_replace_a_full_page(command, project, capsys):
    save(project, *timed("a", quick=True))
    check_refusal(project, command, "shows a quick run (QUICK=1)", capsys)
    save(project, *timed("a"))
    assert script(project).main([command]) == 0


def test_a_quick_run_by_the_notebook_itself_is_not_saved(project, capsys):
    save(project, "QUICK = True", new_code_cell(TIMES, **tagged("timing")))
    before = contents(project)
    assert script(project).main(["run"]) == 1
    said = capsys.readouterr().err
    assert "What ran is in build/autoencoders.ipynb. This was a quick run" in said
    assert contents(project) == before


def test_a_bar_that_jupyterlab_saved_is_left_out(project):
    bar = new_output("display_data", data={"text/plain": "37 %"}, metadata={"bar": True})
    save(project, executed("fit()", 1, bar))
    assert script(project).main(["zip"]) == 0
    assert "37 %" not in (project / PAGE).read_text()


@pytest.mark.parametrize("finished", ["2026-08-01T10:20:30", "2026-08-01T12:20:30+02:00", None])
def test_the_zip_can_be_packed_again_anywhere(finished, project):
    save(project, *(timed("a", finished=finished) if finished else [executed("x", 1)]))
    assert script(project).main(["zip"]) == 0
    with zipfile.ZipFile(project / ARCHIVE) as archive:
        for member in archive.infolist():
            assert stat.filemode(member.external_attr >> 16) == "-rw-r--r--"
            assert member.create_system == 3, "modes are those of Unix"
            assert not finished or member.date_time == (2026, 8, 1, 10, 20, 30)
    code = f"""if True:
        import pathlib, shutil, zipfile, os, time
        for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
            os.environ["TZ"] = zone
            time.tzset()
            if not pathlib.Path("x").exists():
                shutil.unpack_archive("{ARCHIVE}", "x")
                for path in pathlib.Path("x").iterdir():  # as other programs do
                    date = zipfile.ZipFile("{ARCHIVE}").getinfo(path.name).date_time
                    os.utime(path, (time.mktime((*date, 0, 0, -1)),) * 2)
        shutil.make_archive("again", "zip", "x")
    """
    done = call([sys.executable, "-c", code], project)
    assert done.returncode == 0, done.stderr


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
    "nothing checked": (
        [executed("x", 1, **tagged("claim"))],
        "No statement was checked.",
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
    name = "handin"
    spec = spec_from_file_location(name, project / "export" / "handin.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_second_file_that_cannot_follow_is_named(project, monkeypatch, capsys):
    (project / ARCHIVE).write_text("the old zip")
    module = script(project)
    fail_to_replace(module, monkeypatch, project / ARCHIVE)
    assert module.main(["zip"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"Stopped. {ARCHIVE} is older than {PAGE}, as it could not be replaced")
    assert (project / ARCHIVE).read_text() == "the old zip"
    assert "</html>" in (project / PAGE).read_text()
    assert not list(project.glob(".*.tmp"))


@pytest.mark.parametrize("command", ["run", "verify", "html", "zip"])
def test_every_command_waits_for_the_one_at_work(command, project, monkeypatch, capsys):
    class Impatient(FileLock):
        def acquire(self, blocking=True):
            if blocking:
                raise KeyboardInterrupt
            return super().acquire(blocking=False)

    before = contents(project)
    (project / "build").mkdir()
    module = script(project)
    monkeypatch.setattr(module, "FileLock", Impatient)
    with FileLock(project / "build" / "run.lock"):
        assert module.main([command]) == 128 + signal.SIGINT
    said = capsys.readouterr()
    assert "Another make is at work here: waiting for it." in said.out
    assert said.err == "Interrupted, nothing was changed.\n"
    assert contents(project) == before


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


def test_clean_keeps_what_is_handed_in_and_waits_for_no_run(project):
    make(project, "zip")
    (project / ".autoencoders.html.tmp").touch()
    (project / "build" / "kept").mkdir()
    (project / "build" / "kept" / "training").touch()
    (project / "export" / "__pycache__").mkdir(exist_ok=True)
    with FileLock(project / "build" / "run.lock"):
        done = make(project, "clean")
    assert done.returncode != 0
    assert "Nothing was removed: another make is at work here." in done.stderr
    assert (project / ARCHIVE).exists() and (project / "build" / "kept" / "training").exists()
    assert make(project, "clean").returncode == 0
    left = {path.name for path in project.rglob("*")}
    assert {NOTEBOOK, PAGE, "Makefile", "handin.py"} <= left
    assert not {"build", ARCHIVE, ".autoencoders.html.tmp", "__pycache__"} & left


def test_python_that_is_missing(project):
    done = make(project, "env", PYTHON="python-that-is-missing")
    assert done.returncode != 0
    assert "Python ('python-that-is-missing') was not found" in done.stderr


def test_python_that_is_too_old(project):
    old = project / "old python"
    old.write_text(
        f"#!{sys.executable}\n"
        "import runpy, sys\n"
        "sys.version_info = (3, 10, 13, 'final', 0)\n"
        "if sys.argv[1] != '-c':\n"
        "    sys.argv = sys.argv[1:]\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    old.chmod(0o755)
    done = make(project, "env", PYTHON=f"'{old}'")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed, and this is 3.10" in done.stderr
    assert "Traceback" not in done.stderr


OFFLINE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_RETRIES": "0",
}


def test_no_network_on_the_first_make_and_a_dead_environment_later(project):
    (project / "requirements.txt").write_text("numpy==2.4.6\n")
    done = make(project, "env", VENV=".venv", environment=OFFLINE)
    assert done.returncode != 0
    assert "The packages could not be installed" in done.stderr
    assert "Traceback" not in done.stderr
    (project / "requirements.txt").write_text("")
    done = make(project, "env", VENV=".venv", environment=OFFLINE)
    assert done.returncode == 0, done.stderr
    said = make(project, "env", VENV=".venv", environment=OFFLINE)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", ""), "nothing is left to do"
    with (project / "constraints.txt").open("a") as file:
        file.write("# another\n")
    said = make(project, "env", VENV=".venv", environment=OFFLINE).stdout
    assert said == "Installing what requirements.txt lists\n"
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python")
    said = make(project, "env", VENV=".venv", environment=OFFLINE).stdout
    assert said == "Creating .venv\nInstalling what requirements.txt lists\n"
    assert call([python, "-m", "pip", "--version"], project).returncode == 0


def half_an_environment(path):
    """Make a folder that has a stamp and a dead Python, and something else."""
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").symlink_to("/nonexistent/python")
    texts = [(PROJECT / x).read_bytes() for x in ("requirements.txt", "constraints.txt")]
    (path / "requirements.txt").write_bytes(b"".join(texts))


@pytest.mark.parametrize(("put", "what"), [
    (half_an_environment, "is a folder, but not a Python environment"),
    (lambda path: path.symlink_to("gone"), "is a link to 'gone', which is missing"),
    (lambda path: path.symlink_to("Makefile"), "is not a folder"),
    (lambda path: path.write_text("mine"), "is not a folder"),
])
def test_what_stands_in_the_way_of_the_environment_is_named(put, what, project):
    put(project / ".venv")
    before = sorted(os.walk(project / ".venv"))
    done = make(project, "env", VENV=".venv")
    assert done.returncode != 0
    assert f"'.venv' {what}: remove it, or name another folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.path.lexists(project / ".venv") and sorted(os.walk(project / ".venv")) == before


def test_verify_compares_with_another_run_that_uses_nothing_kept(project):
    tag = {"metadata": {"tags": ["timing"]}}
    save(project, "x = {'a', 'b', 'c'}\nx", new_code_cell("import time\nprint(time.time())", **tag))
    assert script(project).main(["run"]) == 0
    before = contents(project)
    done = make(project, "verify")
    assert done.returncode == 0, done.stderr
    assert "to the last byte" in done.stdout
    assert contents(project) == before
    save(project, "import os", "assert os.environ['KEPT'] in ('here', '')\nos.environ['KEPT']")
    assert handin(project, "run", KEPT="here").returncode == 0
    done = make(project, "verify", environment={"KEPT": "here"})
    assert done.returncode != 0
    assert "Not the same in another run: cell 2 (cell-2:" in done.stderr
