"""The saved notebook: whole and clean; its results are named, finite, and the same elsewhere."""

import html
import math
import re
import sys
import zipfile
from urllib.parse import unquote

import nbformat
from compare_results import differences
from conftest import NOTEBOOK, call, code_cells, copy_project, make, tags

MIB = 2**20
TAGS = {"parameters", "definitions", "claim", "timing", "summary", "overview"}
RESULTS = """
bound: noise_0.1 noise_0.2
task1.test_mse: median min max seeds best_of_restarts restarts
task1.repeat: same_data.std new_data.std
task1: transfer_noise_0.2.test_mse retrained_noise_0.2.test_mse
task1.synthetic: mmd2 mmd2_null95 off_moons
task2.autoencoder task2.resnet: test_mse off_moons code_mmd2 code_mmd2_null95
task2.autoencoder task2.resnet: synthetic_mmd2 synthetic_mmd2_null95
task2.real: off_moons
task3.2 task3.4 task3.8: test_mse pca_mse agreement accuracy
task3.2 task3.4 task3.8: synthetic_accuracy train_on_synthetic_accuracy
task3: forest_accuracy
"""

def test_results_are_finite_numbers_under_the_names_of_the_contract(results):
    assert "models_trained" in results
    for line in RESULTS.strip().splitlines():
        groups, _, names = line.partition(": ")
        for group in groups.split():
            for name in names.split():
                assert f"{group}.{name}" in results
    for key, value in results.items():
        assert type(value) in (int, float) and math.isfinite(value), key
    assert results["task1.test_mse.seeds"] >= 8


def test_results_of_another_machine_are_compared(results):
    assert differences(results, results) == []
    for key, value in results.items():
        other = results | {key: 4 * value + 0.1}
        (found,) = differences(results, other)
        assert found.startswith(f"{key}: ")
        assert "only in one" in differences(results, results | {"x": 1})[0]


def test_page_and_zip_belong_to_the_notebook(tmp_path):
    project = copy_project(tmp_path)
    for path in (NOTEBOOK, NOTEBOOK.with_suffix(".html")):
        (project / path.name).write_bytes(path.read_bytes())
    done = make(project, "zip")  # checks that it was executed, and how
    assert done.returncode == 0, done.stderr
    for path in (NOTEBOOK, NOTEBOOK.with_suffix(".html")):
        assert (project / path.name).read_bytes() == path.read_bytes()
    with zipfile.ZipFile(project / "ex02.zip") as archive:
        sizes = [member.file_size for member in archive.infolist()]
    assert sizes[0] <= 5 * MIB
    assert sizes[1] <= 6 * MIB
    assert (project / "ex02.zip").stat().st_size <= 8 * MIB


def test_no_progress_bar_address_or_path_is_left(notebook):
    residue = r"\r|\d%\||it/s|s/it| at 0x[0-9a-f]|/home/|/tmp/|/root/|widget"
    for output in (o for cell in code_cells(notebook) for o in cell.outputs):
        shown = {k: v for k, v in output.items() if k != "data"}
        shown |= output.get("data", {})
        text = "".join(f"{kind} {text}" for kind, text in shown.items() if kind != "image/png")
        assert not re.search(residue, text), text[:300]


def test_tags_and_metadata_are_those_of_the_contract(notebook):
    found = [tag for cell in notebook.cells for tag in tags(cell)]
    assert set(found) == TAGS
    for tag in ("parameters", "timing", "summary"):
        assert found.count(tag) == 1, tag
    about = {"kernelspec", "language_info"}
    assert about <= set(notebook.metadata) <= about | {"colab"}
    assert notebook.metadata.kernelspec.name == "python3"


def test_folding_says_the_same_to_jupyter_and_colab(notebook):
    folded = 0
    for cell in code_cells(notebook):
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        folded += hidden
        assert hidden == (cell.metadata.get("cellView") == "form")
        assert hidden == cell.source.startswith("# @title "), cell.source
    assert folded
    closed = [c for c in notebook.cells if c.metadata.get("jp-MarkdownHeadingCollapsed")]
    assert closed and all(c.source.startswith("#") for c in closed)


def test_definitions_are_quick_and_quiet(notebook):
    cells = [c for c in notebook.cells if "definitions" in tags(c)]
    assert [c.id for c in cells if c.outputs] == []
    sources = [*(c.source for c in cells), "assert not TRAINED"]
    done = call([sys.executable, "-c", "\n\n".join(sources)], NOTEBOOK.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_figures_are_wide_described_and_counted(notebook):
    """Each is an anchor, a picture and its caption."""
    number = 1
    for cell in (c for c in code_cells(notebook) if "overview" not in tags(c)):
        texts = [o.get("data", {}).get("text/markdown", "") for o in cell.outputs]
        for place, output in enumerate(cell.outputs):
            if "image/png" not in output.get("data", {}):
                continue
            about = output.metadata["image/png"]
            assert len(about["alt"]) > 20
            assert 800 <= about["width"] <= 880
            number += 1
            assert texts[place - 1] == f'<a id="figure-{number}"></a>'
            assert texts[place + 1].startswith(f"**Figure {number}.** ")
    assert number > 10


def shown(notebook):
    """Return all texts and HTML of the notebook, and what its code shows, in order."""
    return "\n".join(text for cell in notebook.cells for text in [
        cell.source * (cell.cell_type == "markdown"),
        *(o.get("data", {}).get(kind, "") for o in cell.get("outputs", [])
          for kind in ("text/markdown", "text/html"))])


def test_links_end_where_something_is(notebook):
    text = shown(notebook)
    places = re.findall(r'<a id="([^"]+)">', text)
    assert len(places) == len(set(places))
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    places += [title.strip().replace(" ", "-") for title in titles]
    links = set(re.findall(r'\]\(#([^)]+)\)|href="#([^"]+)"', text))
    assert len(links) > 20
    assert {unquote(a or b) for a, b in links} <= {*places}


def test_the_overview_is_linked_first_and_stands_last(notebook):
    assert "(#Answers)" in notebook.cells[0].source
    are_last = ["overview" in tags(cell) for cell in notebook.cells]
    first = are_last.index(True)
    assert all(are_last[first:-1]) and "timing" in tags(notebook.cells[-1])
    text = shown(nbformat.from_dict({"cells": notebook.cells[first:]}))
    assert text.count('<a id="Answers"></a>') == 1
    assert len(set(re.findall(r"\(#(figure-\d+)\)", text))) >= 9


def test_each_statement_is_listed_with_a_link_to_its_reading(notebook):
    readings, listed = {}, ""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            text = output.get("data", {}).get("text/markdown", "")
            if "claims" in output.get("metadata", {}):
                name, = re.findall(r'^<a id="reading-([\w.]+)"></a>', text)
                assert "claim" in tags(cell) and name not in readings
                readings[name] = output.metadata["claims"]
            listed += output.get("data", {}).get("text/html", "")
    assert all(readings.values()) and len(readings) > 10
    assert listed.count('<details class="claims">') == 1
    for name, claims in readings.items():
        assert all(claim["holds"] for claim in claims)
        assert listed.count(f'<a href="#reading-{name}">') == len(claims)
        assert all(html.escape(claim["sentence"]) in listed for claim in claims)


def test_the_same_cells_show_something_in_a_quick_run(notebook, quick_run):
    quick = nbformat.read(quick_run, as_version=4)
    ours, theirs = code_cells(notebook), code_cells(quick)
    assert [c.source for c in ours] == [c.source for c in theirs]
    for saved, small in zip(ours, theirs, strict=True):
        assert not [o for o in small.outputs if "claims" in o.get("metadata", {})]
        if not {"claim", "overview"} & {*tags(saved)}:
            assert len(saved.outputs) == len(small.outputs), saved.source
        shows = re.search(r"^(table|show|reading)\(", saved.source, re.M)
        assert saved.outputs or not shows, saved.source


def test_answers_and_figures_are_linked_both_ways():
    page = NOTEBOOK.with_suffix(".html").read_text()
    end = page.index('<h2 id="', page.index('id="Answers"'))
    answers, rest = page[:end], page[end:]
    linked = set(re.findall(r'href="#(figure-\d+)"', answers))
    named = r'<figure id="(figure-\d+)">(?:(?!</figure>).)*<a href="#Answers">'
    figures = set(re.findall(named, rest, re.DOTALL))
    assert len(linked) >= 9
    assert linked <= figures
    assert 'id="Answers"' in answers
