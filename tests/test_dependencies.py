"""What is imported is pinned, what is pinned is imported and installed."""

import ast
import importlib.metadata
import re
import sys
from importlib.metadata import packages_distributions, version

import pytest
from conftest import PROJECT

COMMANDS = {"ipykernel", "ruff"}  # used, not imported


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
    """Return what the tests and the bench need beyond the notebook."""
    return (pins("tests/requirements.txt")
            | pins("tests/requirements-bench.txt"))


def imported(source):
    """Return the packages, other than the standard ones, that code imports."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    tops = {name.partition(".")[0] for name in modules}
    own = {"compare_results", "conftest", "jax_peer"}
    known = packages_distributions()
    return {
        canonical(known.get(top, [top])[0])
        for top in tops - sys.stdlib_module_names - own
    }


def sources(paths):
    """Return the code of some files as one text."""
    return "\n".join(path.read_text() for path in paths)


def notebook_imports(notebook):
    """Return what the notebook imports; IPython comes with ipykernel."""
    cells = [c.source for c in notebook.cells if c.cell_type == "code"]
    return imported("\n".join(cells)) - {"ipython"}


def test_what_is_imported_is_pinned(notebook):
    scripts = imported(sources((PROJECT / "export").glob("*.py")))
    tests = imported(sources((PROJECT / "tests").glob("*.py")))
    run = pins("requirements.txt")
    assert notebook_imports(notebook) | scripts <= set(run)
    assert tests <= set(run) | set(extra_pins())


def test_what_is_pinned_is_imported(notebook):
    scripts = imported(sources((PROJECT / "export").glob("*.py")))
    tests = imported(sources((PROJECT / "tests").glob("*.py")))
    used = notebook_imports(notebook) | scripts | COMMANDS
    assert set(pins("requirements.txt")) <= used
    assert set(extra_pins()) <= tests | COMMANDS


@pytest.mark.parametrize(
    "path", ["requirements.txt", "tests/requirements.txt"]
)
def test_what_is_pinned_is_installed(path):
    for name, wanted in pins(path).items():
        assert version(name).partition("+")[0] == wanted


@pytest.mark.parametrize("found", ["2.5.1", "missing", "1.13.0+cu117"])
def test_the_first_code_cell_names_what_is_too_old(
    notebook, monkeypatch, found
):
    def pretended(name):
        if name != "torch":
            return "99.0"
        if found == "missing":
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", pretended)
    first = next(c for c in notebook.cells if c.cell_type == "code")
    with pytest.raises(ImportError, match=r"needs torch 2\.6 .*" + found[:3]):
        exec(first.source, {})
