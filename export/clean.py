"""Remove what was built, unless a run is at work here; needs Python alone."""

import fcntl
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "build" / "run.lock"  # handin.py holds it
BUILT = [
    "build", "ex02.zip", ".*.tmp", ".pytest_cache", ".ruff_cache", ".hypothesis",
    "export/**/__pycache__", "tests/**/__pycache__",
]


def remove():
    """Remove files, links and folders."""
    for path in [path for pattern in BUILT for path in PROJECT.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def main():
    """Remove everything, or say why not."""
    LOCK.parent.mkdir(exist_ok=True)
    with open(LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(
                "Nothing was removed: another make is at work here. "
                "Wait for it, or stop it first."
            )
        remove()


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"Not everything was removed: {error}")
