"""Numbers in the text are held by a claim, a result or a setting."""

import ast
import copy
import math
import re

import pytest
from conftest import tags
from nbformat.v4 import new_markdown_cell

NUMBER = re.compile(r"(?<![\w.])(\d+\.\d+|\d+(?= ?%))( ?%)?(?!\.?\d)")
NOT_TEXT = re.compile(
    r"```.*?```|`[^`]*`|\]\([^)]*\)|<[^>]*>|^#+ .*?$",
    re.DOTALL | re.MULTILINE,
)


def numbers(text):
    """Return the decimals and percentages of a text, as they are written."""
    return [found[0] for found in NUMBER.finditer(NOT_TEXT.sub(" ", text))]


def literals(cells):
    """Return the numbers that stand in the code of some cells."""
    return {
        abs(node.value)
        for cell in cells
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
    }


def headings(notebook):
    """Return the numbers of the sections, such as 1.3."""
    text = "\n\n".join(c.source for c in notebook.cells)
    return set(re.findall(r"^#+ (?:Task )?(\d+\.\d+)\b", text, re.MULTILINE))


def is_backed(number, values, settings):
    """Tell whether a number rounds a value, or is a setting of few digits."""
    digits = number.rstrip("% ")
    wanted, places = float(digits), len(digits.partition(".")[2])
    scale = 100 if number.endswith("%") else 1
    if any(
        math.isclose(round(scale * value, places), wanted) for value in values
    ):
        return True
    few_digits = len(digits.replace(".", "").strip("0")) <= 2
    return few_digits and any(
        math.isclose(scale * value, wanted) for value in settings
    )


def unbacked(notebook, results):
    """Return the numbers in the text that nothing else holds."""
    code = [c for c in notebook.cells if c.cell_type == "code"]
    claims = literals(c for c in code if "claim" in tags(c))
    settings, sections = literals(code), headings(notebook)
    return [
        (cell.id, number)
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for number in numbers(cell.source)
        if number not in sections
        and not is_backed(number, claims | set(results.values()), settings)
    ]


def test_each_number_in_the_text_is_backed(notebook, results):
    assert unbacked(notebook, results) == []


@pytest.mark.parametrize("number", ["0.98765", "97.31 %", "1.2345"])
def test_a_wrong_number_is_found(number, notebook, results):
    planted = copy.deepcopy(notebook)
    planted.cells.append(new_markdown_cell(f"It is {number} here.", id="new"))
    assert ("new", number) in unbacked(planted, results)


def test_numbers_are_read_as_they_are_written():
    text = (
        "## 2.5 Heading\n0.0054 and 12 %, 3.5% but 12, `0.7`, v1.2.3, "
        "[here](#1.1) $\\sigma = 0.25$ (0.3)."
    )
    assert numbers(text) == ["0.0054", "12 %", "3.5%", "0.25", "0.3"]
