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
STOPPER = """
import os, pathlib, time
if "export/handin.py" in open("/proc/self/cmdline").read().split("\\0"):
    name, place = os.environ["STOP_AT"].split()
    function, calls = getattr(os, name), []
    def slow(*arguments):
        calls.append(arguments)
        if len(calls) == int(place):
            pathlib.Path("writing").touch()
            time.sleep(60)
        return function(*arguments)
    setattr(os, name, slow)
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


WORKERS = """
import os, pathlib, time
from joblib import Parallel, delayed
def work(path):
    pathlib.Path(path).write_text(str(os.getpid()))
    if pathlib.Path("wait").exists(): time.sleep(60)
print("started", flush=True)
pathlib.Path("kernel").write_text(f"{os.getpid()} {os.getppid()}")
Parallel(2)(delayed(work)(f"worker{i}") for i in range(2))
"""


@pytest.mark.parametrize(("number", "alone"), [
    (signal.SIGINT, None),  # as Ctrl-C in a terminal does
    (signal.SIGHUP, None),  # as a terminal that is closed does
    (signal.SIGTERM, "make"),
    (signal.SIGKILL, "handin"),
])
def test_stopped_while_a_cell_runs(number, alone, saved):
    save(saved, WORKERS)
    (saved / "wait").touch()
    before = contents(saved)
    process = start(saved, "all")
    files = [saved / name for name in ("kernel", "worker0", "worker1")]
    wait_for(lambda: all(file.exists() and file.read_text() for file in files), 60)
    kernel, handin = files[0].read_text().split()
    if alone:
        os.kill(process.pid if alone == "make" else int(handin), number)
    else:
        os.killpg(process.pid, number)
    assert process.wait(30) != 0
    assert contents(saved) == before
    workers = [file.read_text() for file in files[1:]]
    if number == signal.SIGKILL:  # the workers of the notebook see to their own end
        wait_for(lambda: not is_alive(kernel))
        for worker in workers:
            os.kill(int(worker), signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, [kernel, *workers])))
    said, _ = process.communicate(timeout=30)
    if number != signal.SIGKILL:
        note = "Interrupted, nothing was changed. What ran is in build/autoencoders.ipynb."
        assert note in said
        assert "Traceback" not in said
        assert "started" in (saved / "build" / FILES[0]).read_text()
    else:
        (saved / "wait").unlink()
        recovers(saved, "all")
        assert load(saved).cells[0].execution_count == 1


@pytest.mark.parametrize(("goal", "stop_at", "number"), [
    ("run", "fsync 1", signal.SIGTERM),
    ("zip", "fsync 2", signal.SIGINT),
    ("zip", "fsync 2", signal.SIGKILL),
    ("zip", "replace 2", signal.SIGKILL),
])
def test_stopped_while_a_file_is_written(goal, stop_at, number, saved):
    save(saved, executed("print('new')", 1))
    before = contents(saved)
    patch = saved / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(STOPPER)
    process = start(saved, goal, PYTHONPATH=str(patch), STOP_AT=stop_at)
    wait_for((saved / "writing").exists, 60)
    os.killpg(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    if stop_at == "replace 2":
        assert b"</html>" in (saved / FILES[1]).read_bytes(), "the page is whole"
        before[1] = (saved / FILES[1]).read_bytes()
    assert contents(saved) == before
    if number != signal.SIGKILL:
        assert not list(saved.glob(".*.tmp"))
    recovers(saved, "zip")


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


@pytest.mark.parametrize(("goal", "limits", "mode", "reason"), [
    ("run", SMALL, 0o755, "[Errno 27] File too large"),
    ("html", USER, 0o555, "[Errno 13]"),
    ("zip", SMALL, 0o755, "[Errno 27] File too large"),
])
def test_a_file_that_cannot_be_written(goal, limits, mode, reason, saved):
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
while not pathlib.Path('go').exists(): time.sleep(0.1)
print('first')
"""


def test_a_second_make_waits_for_the_first(saved):
    save(saved, SLOW)
    first = start(saved, "run")
    wait_for((saved / "running").exists, 60)
    second = start(saved, "zip")
    said = second.stdout.readline()
    (saved / "go").touch()
    rest, _ = second.communicate(timeout=60)
    first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), said + rest
    assert said == "Another make is at work here: waiting for it.\n"
    with zipfile.ZipFile(saved / "ex02.zip") as archive:
        assert "first" in archive.read(FILES[1]).decode()


def test_an_edit_during_the_run_is_kept(saved):
    path = save(saved, SLOW)
    process = start(saved, "run")
    wait_for((saved / "running").exists, 60)
    save(saved, "print('edited')")
    edited = path.read_bytes()
    (saved / "go").touch()
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "autoencoders.ipynb was edited while it ran" in said
    assert path.read_bytes() == edited
    assert "first" in (saved / "build" / path.name).read_text()
