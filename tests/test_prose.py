"""The text: a number in it is a setting of the code, never a typed result."""

import ast
import io
import re
import tokenize

import pytest
from conftest import code_cells, tags
from mutations import MUTATIONS, broken

NOT_TEXT = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|\\begin.*?\\end|<[^>]*>"
    r"|\[[\d.]+\]\([^)]*\)|\]\([^)]*\)"
    r"|^#+ .*?$|^>.*?$|https?:\S+",
    re.DOTALL | re.MULTILINE,
)
REFERENCE = re.compile(
    r"\b(tasks?|sections?|figures?|items?|equations?|eq\.|arXiv:|"
    r"exercise|sheet) *\d[\d.]*(( and |, | to |–|-)\d[\d.]*)*|\((19|20)\d\d\)"
    r"|, (19|20)\d\d *\)|^ *\d+\. ",
    re.IGNORECASE | re.MULTILINE,
)
NUMBER = re.compile(r"(?<![\w.])\d[\d.,_]*(?: ?%|(?<=[\d_]))")
SHOWN = ("reading", "claim", "show", "table")  # calls with sentences in them


def numbers(text):
    """Return the numbers of a text that look like results, in backticks or not."""
    text = REFERENCE.sub(" ", NOT_TEXT.sub(" ", text))
    found = (number[0].rstrip(".,") for number in NUMBER.finditer(text))
    return [x for x in found if not (x.isdigit() and int(x) <= 10)]


def value(number):
    """Return what a number of the text means: 0.1 and 0.001 for 10 % and `1e-3`."""
    value = float(number.rstrip(" %").replace(",", "").replace("_", ""))
    return value / 100 if "%" in number else value


def is_setting(number, settings):
    """Tell whether a number of the text is one of the code."""
    return any(abs(value(number) - setting) <= 1e-9 * abs(setting) for setting in settings)


def settings_of(notebook):
    """Return the numbers that stand in code, thresholds of statements not among them."""
    found = set()
    for cell in code_cells(notebook):
        if "claim" in tags(cell):
            continue
        for token in tokenize.generate_tokens(io.StringIO(cell.source).readline):
            if token.type == tokenize.NUMBER:
                found.add(abs(float(ast.literal_eval(token.string))))
    return found


def sections_of(notebook):
    """Return the numbers of the notebook's sections."""
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    return {number for text in texts for number in re.findall(r"^#+ ([\d.]+)", text, re.M)}


def thresholds(call):
    """Return the thresholds that are typed into a claim, as such and beside 1 (12 % more: 1.12)."""
    limits = [part for argument in call.keywords if argument.arg in ("above", "below")
              for part in ast.walk(argument.value) if isinstance(part, ast.Constant)]
    values = [limit.value for limit in limits if isinstance(limit.value, int | float)]
    return {abs(value - one) for value in values for one in (0, 1)}


def sentences(source):
    """Yield what is typed into the sentences that a code cell shows, and their thresholds."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) in SHOWN:
            texts = call.args[1:] if call.func.id == "reading" else call.args
            for part in [*texts, *(argument.value for argument in call.keywords)]:
                words = part.values if isinstance(part, ast.JoinedStr) else [part]
                words = [word.value for word in words if isinstance(word, ast.Constant)]
                typed = " … ".join(word for word in words if isinstance(word, str))
                yield typed, thresholds(call) if call.func.id == "claim" else set()


def typed_results(texts, settings, sections):
    """Return the numbers of (text, own settings) that are no settings, and no sections."""
    return [x for text, own in texts for x in numbers(text)
            if x not in sections and not is_setting(x, settings | own)]


def test_no_result_is_typed_into_the_text(notebook):
    settings, sections = settings_of(notebook), sections_of(notebook)
    wrong = {cell.id: typed_results(
        [(cell.source, set())] if cell.cell_type == "markdown" else sentences(cell.source),
        settings, sections)
             for cell in notebook.cells}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize("number", ["0.98", "97.3 %", "12%", "1.2345", "11", "10,000", "2024"])
def test_a_typed_number_is_found(number):
    for text in (f"It is {number} here.", f"About {number}.", f"It is `{number}` here."):
        assert numbers(text) == [number]
        assert typed_results([(text, set())], {0.5, 3000}, {"1.2"}) == [number]
    cell = f'reading("1.1", f"It is {{x}}, not {number}.")\nprint("{number}")'
    assert typed_results(sentences(cell), {0.5, 3000}, {"1.2"}) == [number]


def test_what_is_no_result_is_no_defect():
    text = (
        "## 2.5 Heading\n> at 10 %\n\n1. Item\n\nv1.2.3, 3 tasks "
        "[here](#1.1) $\\sigma = 0.25$ (Gretton et al., 2012), Kingma (2014), "
        "([Zhu, 2016](https://x.y/12)), "
        "Figure 12, figures 11 and 12, section 1.2, [1.3](#x), items 1.4, 1.5"
        "\n\n$$x = 12.5$$\n\n```\nx = 0.5\n```"
    )
    assert numbers(text) == []
    text = "10,000 points, `1e-3`, `batch_size=200`, 20 %, as in 1.3"
    assert typed_results([(text, set())], {10_000, 0.001, 200, 0.2}, {"1.3"}) == []
    assert typed_results([(text, set())], {10_001, 0.002, 201, 0.3}, {"1.4"}) == [
        "10,000", "200", "20 %", "1.3"]
    for limit, wrong in (("1.12", []), ("0.12", []), ("1.13", ["12 %"])):
        cell = f'claim("no more than 12 % above it", x, below={limit})'
        assert typed_results(sentences(cell), set(), set()) == wrong


def test_each_mutation_finds_its_place(notebook):
    for change in MUTATIONS.values():
        broken(notebook, *change)
