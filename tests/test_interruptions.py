"""Interruptions and failing writes: what is saved stays whole."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, call, executed, load, make, make_command, save

FILES = ("autoencoders.ipynb", "autoencoders.html", "ex02.zip")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]

SLOW_WRITE = """
import os, pathlib, time
if "export/handin.py" in open("/proc/self/cmdline").read().split("\\0"):
    fsync, files = os.fsync, []
    def slow(handle):
        fsync(handle)
        files.append(handle)
        if len(files) == int(os.environ["STOP_AT_WRITE"]):
            pathlib.Path("writing").touch()
            time.sleep(60)
    os.fsync = slow
"""


def contents(project):
    """Return the bytes of the saved files."""
    return [(project / name).read_bytes() for name in FILES]


@pytest.fixture
def saved(project):
    """A project with a page and a zip of an older notebook."""
    for name in FILES[1:]:
        (project / name).write_text("older")
    return project


def start(project, goal, **environment):
    """Start ``make`` in a process group of its own."""
    return subprocess.Popen(
        make_command(goal),
        cwd=project,
        env=ENVIRONMENT | environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(what, seconds=30):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def is_alive(process_id):
    """Tell whether a process runs."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", SIGNALS)
def test_stopped_while_a_cell_runs(number, saved):
    save(
        saved,
        "import os, pathlib, time\n"
        "pathlib.Path('kernel').write_text(str(os.getpid()))\n"
        "if pathlib.Path('wait').exists(): time.sleep(60)",
    )
    (saved / "wait").touch()
    before = contents(saved)
    process = start(saved, "all")
    kernel = saved / "kernel"
    wait_for(lambda: kernel.exists() and kernel.read_text())
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert contents(saved) == before
    wait_for(lambda: not is_alive(kernel.read_text()))
    if number != signal.SIGKILL:
        assert "Interrupted, nothing was changed." in said
        assert "Traceback" not in said
    (saved / "wait").unlink()
    recovers(saved, "all")
    assert load(saved).cells[0].execution_count == 1


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("goal", "write"), [("run", 1), ("html", 1), ("zip", 1), ("zip", 2)])
def test_stopped_while_a_file_is_written(goal, write, number, saved):
    save(saved, executed("print('new')", 1))
    before = contents(saved)
    patch = saved / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(SLOW_WRITE)
    process = start(saved, goal, PYTHONPATH=str(patch), STOP_AT_WRITE=str(write))
    wait_for((saved / "writing").exists)
    os.killpg(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert contents(saved) == before
    if number != signal.SIGKILL:
        assert not list(saved.glob(".*.tmp"))
    recovers(saved, goal, "zip")


def recovers(project, *goals):
    """Check that the next ``make`` ends well, and leaves nothing over."""
    done = make(project, *goals)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(project / "ex02.zip") as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            assert archive.read(name) == (project / name).read_bytes()
    assert not list(project.glob(".*.tmp"))


SMALL = ["sh", "-c", 'ulimit -f 40; exec "$0" "$@"']  # as a full disk
USER = ["setpriv", "--bounding-set=-dac_override"] * (os.getuid() == 0)


@pytest.mark.parametrize("goal", ["run", "html", "zip"])
@pytest.mark.parametrize(
    ("limits", "mode", "reason"),
    [(SMALL, 0o755, "[Errno 27] File too large"), (USER, 0o555, "[Errno 13]")],
)
def test_a_file_that_cannot_be_written(limits, mode, reason, goal, saved):
    save(saved, executed("print('new' * 20000)", 1))
    before = contents(saved)
    saved.chmod(mode)
    command = [*limits, sys.executable, "export/handin.py", goal]
    done = call(command, saved)
    saved.chmod(0o755)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Stopped, nothing was changed. {reason}")
    assert contents(saved) == before
    assert not list(saved.glob(".*.tmp"))


SLOW = """
import pathlib, time
pathlib.Path('running').touch()
time.sleep(3)
print('first')
"""


def test_a_second_make_waits_for_the_first(saved):
    save(saved, SLOW)
    first = start(saved, "run")
    wait_for((saved / "running").exists)
    second = start(saved, "zip")
    said, _ = second.communicate(timeout=60)
    first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), said
    assert "Another make is at work here: waiting for it." in said
    with zipfile.ZipFile(saved / "ex02.zip") as archive:
        assert "first" in archive.read(FILES[1]).decode()


def test_an_edit_during_the_run_is_kept(saved):
    path = save(saved, SLOW)
    process = start(saved, "run")
    wait_for((saved / "running").exists)
    save(saved, "print('edited')")
    edited = path.read_bytes()
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "autoencoders.ipynb was edited while it ran" in said
    assert path.read_bytes() == edited
    assert "first" in (saved / "build" / path.name).read_text()
