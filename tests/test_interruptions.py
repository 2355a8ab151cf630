"""Interruptions and failing writes: what is saved stays whole."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, executed, load, make, make_command, save

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


@pytest.mark.parametrize(
    ("goal", "write", "number"),
    [
        ("run", 1, signal.SIGINT),
        ("run", 1, signal.SIGKILL),
        ("html", 1, signal.SIGTERM),
        ("html", 1, signal.SIGKILL),
        ("zip", 1, signal.SIGTERM),
        ("zip", 1, signal.SIGKILL),
        ("zip", 2, signal.SIGINT),
        ("zip", 2, signal.SIGTERM),
        ("zip", 2, signal.SIGKILL),
    ],
)
def test_stopped_while_a_file_is_written(goal, write, number, saved):
    save(saved, executed("print('new')", 1))
    before = contents(saved)
    patch = saved / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(SLOW_WRITE)
    process = start(
        saved, goal, PYTHONPATH=str(patch), STOP_AT_WRITE=str(write)
    )
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


@pytest.mark.parametrize("goal", ["run", "html", "zip"])
def test_no_space_for_the_new_file(goal, saved):
    save(saved, executed("print('new' * 20000)", 1))
    before = contents(saved)
    limit = (20_000, 20_000)  # bytes a file, as a full disk would set
    done = subprocess.run(
        [sys.executable, "export/handin.py", goal],
        cwd=saved,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "Stopped, nothing was changed. [Errno 27] File too large"
    )
    assert contents(saved) == before
    assert not list(saved.glob(".*.tmp"))


ON_A_FULL_DISK = """
mount -t tmpfs -o size=1m none disk && cp -r project/. disk || exit 77
cd disk && cat /dev/zero > filler
"$0" export/handin.py "$1"
code=$?
rm filler && cp "$2" "$3" "$4" ../kept
exit $code
"""


@pytest.mark.parametrize("goal", ["run", "html", "zip"])
def test_a_full_disk(goal, saved):
    save(saved, executed("print('new')", 1))
    before = contents(saved)
    for name in ("disk", "kept"):
        (saved.parent / name).mkdir()
    command = [sys.executable, goal, *FILES]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", ON_A_FULL_DISK, *command],
        cwd=saved.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("a small file system cannot be mounted here")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "Stopped, nothing was changed. [Errno 28] No space left on device"
    )
    assert contents(saved.parent / "kept") == before


@pytest.mark.parametrize("goal", ["run", "html", "zip"])
def test_a_folder_that_cannot_be_written(goal, saved):
    as_user = []
    if os.getuid() == 0:
        as_user = ["setpriv", "--bounding-set=-dac_override"]
        if not shutil.which("setpriv"):
            pytest.skip("root may write everywhere, and setpriv is missing")
    save(saved, executed("print('new')", 1))
    before = contents(saved)
    saved.chmod(0o555)
    done = subprocess.run(
        [*as_user, sys.executable, "export/handin.py", goal],
        cwd=saved,
        capture_output=True,
        text=True,
    )
    saved.chmod(0o755)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Stopped, nothing was changed. [Errno 13]")
    assert contents(saved) == before


def test_a_second_make_waits_for_the_first(saved):
    save(
        saved,
        "import pathlib, time\n"
        "pathlib.Path('running').touch()\n"
        "time.sleep(3)\n"
        "print('first')",
    )
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
    path = save(
        saved,
        "import pathlib, time\n"
        "pathlib.Path('running').touch()\n"
        "time.sleep(3)\n"
        "print('done')",
    )
    process = start(saved, "run")
    wait_for((saved / "running").exists)
    save(saved, "print('edited')")
    edited = path.read_bytes()
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "autoencoders.ipynb was edited while it ran" in said
    assert path.read_bytes() == edited
    assert "done" in (saved / "build" / path.name).read_text()
