"""What is imported is pinned, what is pinned is imported and installed."""

import ast
import importlib.metadata
import re
import sys
from importlib.metadata import metadata, packages_distributions, requires, version

import pytest
from conftest import PROJECT, code_cells
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

COMMANDS = {"ipykernel", "ruff", "jupyterlab", "uv", "distributed", "pytest-xdist"}  # not imported
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
    paths = set((PROJECT / "tests").glob("requirements*.txt"))
    paths -= {PROJECT / "tests" / "requirements-colab.txt"}  # in an environment of its own
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


def installed_pins():
    """Return the pins of what is installed for the tests."""
    wanted = pins("requirements.txt") | extra_pins()
    return {name: pin for name, pin in wanted.items() if name not in {"jax", "uv"}}


def test_what_is_pinned_is_installed():
    wanted = installed_pins()
    found = {name: version(name).partition("+")[0] for name in wanted}
    assert found == wanted


def constraints():
    """Return ``{name: version}`` of the constraints that hold here."""
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    found = {}
    for line in lines:
        if not line.startswith("#"):
            pin = Requirement(line)
            (exact,) = pin.specifier
            assert exact.operator == "==" and not pin.url, line
            if not pin.marker or pin.marker.evaluate():
                found[canonical(pin.name)] = exact.version
    return found


def needed(names):
    """Return packages with all that they need here, as their metadata say."""
    todo, seen = [(name, "") for name in names], set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen or re.match("cuda|nvidia|triton", name):
            continue  # of torch's builds for GPUs, which pin them
        seen.add((name, extra))
        for line in requires(name) or []:
            need = Requirement(line)
            here = default_environment() | {"extra": extra}
            if not need.marker or need.marker.evaluate(here):
                todo += [(canonical(need.name), x) for x in ("", *need.extras)]
    return {name for name, _ in seen}


def test_what_the_pinned_packages_need_is_pinned_too():
    pinned = constraints()
    run, everything = pins("requirements.txt"), pins("requirements.txt") | extra_pins()
    everything.pop("uv")  # which keeps the file
    assert everything.items() <= pinned.items(), "run 'make lock'"
    wanted = needed(installed_pins())
    assert len(wanted) > 2 * len(run)
    found = {name: version(name).partition("+")[0] for name in wanted}
    assert {name: pinned.get(name) for name in wanted} == found
    text = (PROJECT / "constraints.txt").read_text()
    assert not re.search(r"://|^-|^(cuda|nvidia|triton)", text, re.M)


def test_the_oldest_python_is_that_of_the_pins():
    # What these need in turn is found for this Python by 'make lock'.
    pinned = pins("requirements.txt")
    ranges = [SpecifierSet(metadata(name)["Requires-Python"] or "") for name in pinned]
    oldest = next(f"3.{n}" for n in range(30) if all(f"3.{n}" in r for r in ranges))
    said = {
        "Makefile": r"install Python ([\d.]+) or newer|--python-version ([\d.]+)",
        "README.md": r"Python (3\.\d+) or newer",
        "pyproject.toml": r'target-version = "py(\d+)"',
        "export/environment.py": r"^OLDEST = \((\d, \d+)\)",
    }
    for name, pattern in said.items():
        found = re.findall(pattern, (PROJECT / name).read_text(), re.M)
        numbers = ["".join(x) for x in found]
        assert numbers, name
        for number in numbers:
            assert re.findall(r"\d", number) == re.findall(r"\d", oldest), (name, oldest)


@pytest.mark.parametrize("found", ["2.5.1", "1.13.0+cu117"])
def test_the_first_code_cell_names_what_is_too_old(notebook, monkeypatch, found):
    monkeypatch.setattr(importlib.metadata, "version",
                        lambda name: found if name == "torch" else "99.0")
    first = next(c for c in notebook.cells if c.id == "imports")
    with pytest.raises(ImportError, match=r"needs torch 2\.6 .*" + found[:3]):
        exec(first.source, {})
