"""What is imported is pinned, what is pinned is imported and installed."""

import ast
import importlib.metadata
import re
import sys
from importlib.metadata import packages_distributions, version

import pytest
from conftest import PROJECT, code_cells

COMMANDS = {"ipykernel", "ruff", "jupyterlab"}  # used, not imported
BASES = {"nbclient", "linkify-it-py"}  # imported by way of others


def canonical(name):
    """Return a package's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path):
    """Return ``{name: version}`` of a requirements file."""
    found = {}
    for line in (PROJECT / path).read_text().splitlines():
        pin = re.fullmatch(r"([\w.-]+)==([\w.]+) +# \w.+", line)
        assert pin, f"not an exact pin with its reason: {line}"
        found[canonical(pin[1])] = pin[2]
    return found


def extra_pins():
    """Return what is needed beyond the notebook: tests, JupyterLab, bench."""
    paths = (PROJECT / "tests").glob("requirements*.txt")
    return {name: pin for path in paths for name, pin in pins(path).items()}


def imported(*sources):
    """Return the packages, other than the standard ones, that code imports."""
    modules = set()
    for node in ast.walk(ast.parse("\n".join(sources))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    tops = {name.partition(".")[0] for name in modules}
    known = packages_distributions()
    packages = tops - sys.stdlib_module_names
    return {canonical(known.get(top, [top])[0]) for top in packages}


def test_imports_and_pins_agree(notebook):
    own = {path.stem for path in (PROJECT / "tests").glob("*.py")}
    scripts, tests = (
        imported(*(path.read_text() for path in (PROJECT / x).glob("*.py")))
        for x in ("export", "tests")
    )
    cells = imported(*(cell.source for cell in code_cells(notebook)))
    used = scripts | cells - {"ipython"}  # which comes with ipykernel
    run, extra = set(pins("requirements.txt")), set(extra_pins())
    assert used <= run <= used | COMMANDS | BASES
    assert tests <= run | extra | set(map(canonical, own))
    assert extra <= tests | COMMANDS


def test_what_is_pinned_is_installed():
    wanted = pins("requirements.txt") | extra_pins()
    wanted.pop("jax")  # for the bench alone
    found = {name: version(name).partition("+")[0] for name in wanted}
    assert found == wanted


@pytest.mark.parametrize("found", ["2.5.1", "1.13.0+cu117"])
def test_the_first_code_cell_names_what_is_too_old(notebook, monkeypatch, found):
    monkeypatch.setattr(importlib.metadata, "version",
                        lambda name: found if name == "torch" else "99.0")
    first = next(c for c in notebook.cells if c.id == "imports")
    with pytest.raises(ImportError, match=r"needs torch 2\.6 .*" + found[:3]):
        exec(first.source, {})
