"""Cells that need no training: knobs, a quick run's sizes, the style of figures."""

import re
import sys

import pytest
from conftest import call
from helpers import program

pytest_plugins = "knobs"


def source(notebook, name):
    """The source of the cell of this id."""
    found, = (cell.source for cell in notebook.cells if cell.id == name)
    return found


def after_knobs(notebook, d, changes, *cells, **environment):
    """The names that there are after the knobs, cells with changes to them, and more cells."""
    names = dict(vars(d))
    for text in (source(notebook, "parameters"), changes, *(source(notebook, c) for c in cells)):
        exec(text, names)
    return names


@pytest.mark.parametrize("changes, environment, sizes", [
    ("", "", (8, 500, 60, 1)), ("", "0", (8, 500, 60, 1)), ("", "1", (2, 50, 3, 1)),
    ("QUICK = True", "", (2, 50, 3, 1)), ("QUICK = False", "1", (8, 500, 60, 1)),
    ("QUICK, SEEDS, TREES = True, 2, 20", "", (2, 20, 3, 1)), ("SEEDS = 3", "", (3, 500, 60, 1))])
def test_quick_shrinks_all_sizes_wherever_it_is_set(
        notebook, d, monkeypatch, changes, environment, sizes):
    """Set in the environment, or in a cell after the knobs, as papermill does."""
    monkeypatch.setenv("QUICK", environment)
    names = after_knobs(notebook, d, changes, "quick")
    assert (names["SEEDS"], names["TREES"], names["budget"](60), names["budget"](1)) == sizes


@pytest.mark.parametrize("knob, wrong", [
    ("SEEDS", 1), ("SEEDS", 2.5), ("TREES", 2.5), ("TREES", 0), ("WORKERS", 0),
    ("BOTTLENECKS", (4, 2)), ("BOTTLENECKS", (2, 2, 8)), ("BOTTLENECKS", (4, 8)),
    ("BOTTLENECKS", (2, 3, 8)), ("BOTTLENECKS", (2, 4, 8, 40))])
def test_a_wrong_knob_is_named_at_once(notebook, d, knob, wrong):
    with pytest.raises(ValueError, match=f"{knob} must be .* not {re.escape(repr(wrong))}"):
        after_knobs(notebook, d, f"{knob} = {wrong!r}", "quick")


def test_sets_that_share_a_seed_are_refused(notebook, d):
    after_knobs(notebook, d, "", "quick", "t1-data")
    for same in ("TEST_SEED = VAL_SEED", "TRAIN_SEED = VAL_SEED", "TEST_SEED = TRAIN_SEED"):
        with pytest.raises(AssertionError, match="seeds"):
            after_knobs(notebook, d, same, "quick", "t1-data")


@pytest.mark.parametrize("name, value, knob, found", [
    ("WORKERS", "3", "WORKERS", 3), ("KEPT", "", "KEPT", ""), ("KEPT", "there", "KEPT", "there")])
def test_knobs_of_the_environment(notebook, d, monkeypatch, name, value, knob, found):
    monkeypatch.setenv(name, value)
    assert after_knobs(notebook, d, "")[knob] == found
    monkeypatch.delenv(name)
    assert after_knobs(notebook, d, "")[knob] in (d.joblib.cpu_count(), "build/kept")


def test_a_matplotlibrc_of_the_reader_changes_no_figure(notebook, tmp_path):
    own = tmp_path / "matplotlibrc"
    lines = [source(notebook, "style"), "fig, ax = plt.subplots(figsize=(9.17, 3))",
             "ax.plot([1, 2])", "drawn = []",
             "def display(shown, **options): drawn.append(shown)",
             "show(fig, 1, 'Title', 'Text.', alt='A line.')", "print(drawn[1]['image/png'])"]
    pictures = []
    for text in ("", "text.usetex: True\nsavefig.bbox: tight\nfigure.dpi: 50\nsavefig.dpi: 30\n"
                 "font.size: 30\naxes.grid: False\nlines.linewidth: 9\n"):
        own.write_text(text)
        script = tmp_path / "script.py"
        script.write_text(program(notebook, *lines))
        done = call([sys.executable, str(script)], tmp_path, MATPLOTLIBRC=str(own))
        assert (done.returncode, done.stderr) == (0, "")
        pictures.append(done.stdout)
    assert pictures[0] == pictures[1] != "\n"
