"""The text: no number is typed into it, and it is short."""

import re
from statistics import median

import pytest
from conftest import code_cells, tags
from mutations import MUTATIONS, broken

NOT_TEXT = re.compile(
    r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\\begin.*?\\end|<[^>]*>"
    r"|\[[\d.]+\]\([^)]*\)|\]\([^)]*\)"
    r"|^#+ .*?$|^>.*?$|https?:\S+",
    re.DOTALL | re.MULTILINE,
)
REFERENCE = re.compile(
    r"\b(tasks?|sections?|figures?|items?|equations?|eq\.|arXiv:|"
    r"exercise|sheet) *\d[\d.]*(( and |, | to |–|-)\d[\d.]*)*|\((19|20)\d\d\)"
    r"|, (19|20)\d\d\)|^ *\d+\. ",
    re.IGNORECASE | re.MULTILINE,
)
NUMBER = re.compile(r"(?<![\w.])\d[\d.,]*(?: ?%|(?<=\d))")


def numbers(text):
    """Return the numbers of a text that look like results."""
    text = REFERENCE.sub(" ", NOT_TEXT.sub(" ", text))
    found = (number[0].rstrip(".,") for number in NUMBER.finditer(text))
    return [x for x in found if not (x.isdigit() and int(x) <= 10)]


def captions(notebook):
    """Return the captions of the figures."""
    shown = (o for c in code_cells(notebook) for o in c.outputs)
    texts = (o.get("data", {}).get("text/markdown", "") for o in shown)
    return [text for text in texts if "**Figure" in text[:60]]


def code_lines(cell):
    """Return how many lines a cell has, blank ones too."""
    return len(cell.source.splitlines())


def test_no_number_is_typed_into_the_text(notebook):
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    assert [n for text in texts for n in numbers(text)] == []


@pytest.mark.parametrize("number", ["0.98", "97.3 %", "12%", "1.2345", "11", "10,000", "2024"])
def test_a_typed_number_is_found(number):
    assert numbers(f"It is {number} here.") == [number]
    assert numbers(f"About {number}.") == [number]


def test_what_is_no_result_is_no_defect():
    text = (
        "## 2.5 Heading\n> at 10 %\n\n1. Item\n\n`0.7`, v1.2.3, 3 tasks "
        "[here](#1.1) $\\sigma = 0.25$ (Gretton et al., 2012), Kingma (2014), "
        "Figure 12, figures 11 and 12, section 1.2, [1.3](#x), items 1.4, 1.5"
        "\n\n| `lr` | `0.001` |\n\n$$x = 12.5$$\n\n```\nx = 0.5\n```"
    )
    assert numbers(text) == []


def test_each_mutation_finds_its_place(notebook):
    for change in MUTATIONS.values():
        broken(notebook, *change)


def test_the_notebook_is_short(notebook):
    code = code_cells(notebook)
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    lengths = [code_lines(cell) for cell in code]
    assert len(notebook.cells) <= 130
    assert sum(lengths) <= 1800
    assert median(lengths) <= 12
    assert max(lengths) <= 45
    assert len(" ".join(texts + captions(notebook)).split()) <= 5000


def test_the_first_figure_comes_first(notebook):
    words = lines = 0
    for cell in notebook.cells:
        if any("image/png" in o.get("data", {}) for o in cell.get("outputs", [])):
            break
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden")
        if cell.cell_type == "markdown":
            words += len(cell.source.split())
        elif not hidden:
            lines += code_lines(cell)
    assert words <= 150 and lines == 0


def test_readings_are_short_and_state_at_most_four_things(notebook):
    for cell in code_cells(notebook):
        if "claim" in tags(cell):
            shown = [o.data.get("text/markdown", "") for o in cell.outputs if "data" in o]
            other = ("**Figure", "| :", "**Expected, but wrong")
            read = [x for x in shown if not any(o in x for o in other)]
            claims = [o.metadata["claims"] for o in cell.outputs if "claims" in o.metadata]
            assert len(claims) == 1 and 1 <= len(claims[0]) <= 4, cell.source
            assert len(re.findall(r"\S*[A-Za-z]\S*", " ".join(read))) <= 90
