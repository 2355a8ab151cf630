"""Create the environment, or bring it up to date; needs Python alone.

Usage: environment.py FOLDER REQUIREMENTS [REQUIREMENTS ...]
"""

import subprocess
import sys

OLDEST = (3, 10)
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


def works(python):
    """Tell whether an environment's Python is there and has pip."""
    command = [python, "-m", "pip", "--version"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def install(folder, requirements, stamp):
    """Install what a requirements file lists, and note that it is done."""
    python = folder / "bin" / "python"
    stamp.unlink(missing_ok=True)
    if not works(python):
        print("Creating %s" % folder, flush=True)
        venv.create(folder, clear=True, with_pip=True)
    print("Installing what %s lists" % requirements, flush=True)
    command = [python, "-m", "pip", "install", "--quiet", "--progress-bar=on"]
    command += ["--disable-pip-version-check", "-r", requirements]
    subprocess.run(command, check=True)
    stamp.write_bytes(requirements.read_bytes())


def main(folder, *files):
    """Install each requirements file that is not installed as it is now."""
    for requirements in map(Path, files):
        stamp = folder / "-".join(requirements.parts)
        wanted = requirements.read_bytes()
        if stamp.exists() and stamp.read_bytes() == wanted:
            continue
        handle = os.open(".", os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            if not stamp.exists() or stamp.read_bytes() != wanted:
                install(folder, requirements, stamp)
        finally:
            os.close(handle)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except subprocess.CalledProcessError:
        sys.exit(
            "The packages could not be installed, see above: is there a "
            "network? The next make tries again."
        )
    except (OSError, KeyboardInterrupt) as error:
        sys.exit("The environment is not complete: %r" % error)
