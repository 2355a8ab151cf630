"""Create the environment, or bring it up to date; needs Python alone.

Usage: environment.py FOLDER REQUIREMENTS [REQUIREMENTS ...]
"""

import subprocess
import sys

OLDEST = (3, 11)  # the oldest Python that all pinned packages run on
if sys.version_info < OLDEST:
    sys.exit(
        "Python %d.%d or newer is needed, and this is %d.%d: "
        "use another one with 'make PYTHON=...'."
        % (OLDEST + sys.version_info[:2])
    )

import fcntl
import os
import venv
from pathlib import Path

CONSTRAINTS = Path(os.environ.get("CONSTRAINTS", "constraints.txt"))  # pins what they need


def works(python):
    """Tell whether an environment's Python is there, new enough and has pip."""
    check = "import sys, pip; sys.exit(sys.version_info < %r)" % (OLDEST,)
    try:
        return subprocess.run([python, "-c", check], capture_output=True).returncode == 0
    except OSError:
        return False


def create(folder):
    """Make an environment, in place of one that does not work any more.

    Whatever else stands there is not deleted: a sentence says what it is.
    """
    what = None
    if folder.is_dir():
        if any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
            what = "a folder, but not a Python environment"
    elif folder.exists():
        what = "not a folder"
    elif folder.is_symlink():
        what = "a link to '%s', which is missing" % os.readlink(folder)
    if what:
        sys.exit(
            "'%s' is %s: remove it, or name another folder with "
            "'make VENV=...'." % (folder, what)
        )
    print("Creating %s" % folder, flush=True)
    try:
        venv.create(folder, clear=True, with_pip=True)
    except subprocess.CalledProcessError:
        sys.exit(
            "'%s' could not be created with pip in it: does this Python come "
            "without ensurepip? (Debian, Ubuntu: install python3-venv.)" % folder
        )


def is_ready(folder, stamp, wanted):
    """Tell whether the environment works and has what is wanted."""
    return (
        stamp.is_file()
        and stamp.read_bytes() == wanted
        and works(folder / "bin" / "python")
    )


def install(folder, requirements, stamp, wanted):
    """Install what a requirements file lists, and note that it is done."""
    python = folder / "bin" / "python"
    if works(python):
        stamp.unlink(missing_ok=True)
    else:
        create(folder)
    print("Installing what %s lists" % requirements, flush=True)
    command = [python, "-m", "pip", "install", "--quiet", "--progress-bar=on"]
    command += ["--disable-pip-version-check", "-r", requirements]
    subprocess.run([*command, "-c", CONSTRAINTS], check=True)
    stamp.write_bytes(wanted)


def main(folder, *files):
    """Install each requirements file that is not installed as it is now."""
    for requirements in map(Path, files):
        stamp = folder / "-".join(requirements.parts)
        wanted = requirements.read_bytes() + CONSTRAINTS.read_bytes()
        if is_ready(folder, stamp, wanted):
            continue
        handle = os.open(".", os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            if not is_ready(folder, stamp, wanted):
                install(folder, requirements, stamp, wanted)
        finally:
            os.close(handle)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except subprocess.CalledProcessError:
        sys.exit(
            "The packages could not be installed, see above: is there a "
            "network? The next make tries again. (After a change of the "
            "requirements, 'make lock' comes first.)"
        )
    except (OSError, KeyboardInterrupt) as error:
        sys.exit("The environment is not complete: %r" % error)
