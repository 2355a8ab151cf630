"""The page as HTML: what JupyterLab shows is on it, or the cell is named."""

import base64
import io
import re
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from bs4 import BeautifulSoup
from conftest import (
    CLOSED,
    PROJECT,
    executed,
    figure_output,
    markdown_output,
    numbered,
    sound,
)
from nbformat.v4 import new_markdown_cell, new_notebook, new_output
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

ALT = "Noise without a meaning, as a test of the page"


@pytest.fixture(scope="module")
def handin():
    """The script that exports the notebook."""
    spec = spec_from_file_location("handin_of_page", PROJECT / "export" / "handin.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def export(handin):
    """A function that exports cells (str: Markdown) and returns the page's body."""

    def exported(*cells):
        cells = [new_markdown_cell(c) if isinstance(c, str) else c for c in cells]
        page = handin.export(new_notebook(cells=numbered(cells)))
        return BeautifulSoup(page, "html.parser").body

    return exported


def shows(**data):
    """Return an executed cell that shows something: text_html="<p>" and so on."""
    data = {kind.replace("_", "/", 1): content for kind, content in data.items()}
    return executed("x", 1, new_output("display_data", data=data))


def squeezed(element):
    """Return the HTML of an element without layout; a formula as its text."""
    for math in element.find_all("math"):
        math.replace_with(f"[{math.get_text()}]")
    for frame in element.select(".wide"):
        frame.unwrap()
    return re.sub(r">\s+<", "><", element.decode_contents()).strip()


def table(head, *rows):
    """Return the HTML of a table."""
    lines = ["".join(f"<{tag}>{cell}</{tag}>" for cell in row)
             for tag, row in [("th", head), *(("td", row) for row in rows)]]
    body = "".join(f"<tr>{line}</tr>" for line in lines[1:])
    return f"<table><thead><tr>{lines[0]}</tr></thead><tbody>{body}</tbody></table>"


MARKDOWN = {  # as JupyterLab 4.6 shows it
    "H<sub>2</sub>O, <b>bold *x*</b>": "<p>H<sub>2</sub>O, <b>bold <em>x</em></b></p>",
    "<details><summary>S</summary>\n\nSome *text*.\n\n</details>": (
        "<details><summary>S</summary><p>Some <em>text</em>.</p></details>"
    ),
    "<div>\n<div>\n\n*in* $x$\n\n</div>\n</div>": "<div><div><p><em>in</em> [x]</p></div></div>",
    "# A <i>b</i>: `c`": '<h1 id="A-b:-c">A <i>b</i>: <code>c</code></h1>',
    "a <!-- not shown --> b": "<p>a <!-- not shown --> b</p>",
    "| a | b |\n|---|---|\n| 1 |\n| 1 | 2 | 3 |": table("ab", ["1", ""], "12"),
    "a<br>b | c\n--|--\n1<br>2 | 3\nlast": table(["a<br/>b", "c"], ["1<br/>2", "3"], ["last", ""]),
    "| a | b |\n|---|---|\n| $|x|$ | 1 |\n| `a\\|b` | 2 |": (
        table("ab", ["[|x|]", "1"], ["<code>a|b</code>", "2"])
    ),
    "| a | b |\n|---|---|\n| `a|b` | 3 |": table("ab", ["`a", "b`"]),
    "text\n| a |\n|---|\n| 1 |\n\nafter": f"<p>text</p>{table('a', '1')}<p>after</p>",
    "- a\n\n  | b |\n  |---|\n  | 1 |": f"<ul><li><p>a</p>{table('b', '1')}</li></ul>",
    "~~gone~~ note[^1]\n\n[^1]: not a note": "<p><s>gone</s> note[^1]</p><p>[^1]: not a note</p>",
    "text\n: no definition": "<p>text\n: no definition</p>",
    "text\n- a\n\n#none": "<p>text</p><ul><li>a</li></ul><p>#none</p>",
    "costs \\\\$5 or $6": "<p>costs $5 or $6</p>",
    "`$a$`, ``b`$`` and $c_{1}$ *d* $e_1*f*g$": (
        "<p><code>$a$</code>, <code>b`$</code> and [c1] <em>d</em> [e1∗f∗g]</p>"
    ),
    "- ```python\n  1 # $\n  ```\n\n$a$": (
        '<ul><li><pre class="highlight"><code><span class="mi">1</span>'
        '<span class="c1"># $</span></code></pre></li></ul><p>[a]</p>'
    ),
    "\\\\(x\\\\) $a < b$ \\begin{align}c&=d\\end{align}": "<p>[x] [a<b] [c=d]</p>",
    "a $x\n\ny b, @@0@@ and $z$": "<p>a $x</p><p>y b, @@0@@ and [z]</p>",
    "https://a.org/b_c_d README.md": (
        '<p><a href="https://a.org/b_c_d">https://a.org/b_c_d</a> README.md</p>'
    ),
}


@pytest.mark.parametrize("source", MARKDOWN)
def test_markdown_is_what_jupyterlab_shows(source, export):
    for cell in (source, executed("x", 1, markdown_output(source))):
        (shown,) = export("# T", cell).select("main .text")
        assert squeezed(shown).replace("&lt;", "<") == MARKDOWN[source]


def test_lists_of_tasks_and_pictures_of_a_cell(export):
    tasks, picture = "- [ ] open\n- [x] done", "![a *dot*](attachment:my%20dot.png)"
    cell = new_markdown_cell(f"{tasks}\n\n{picture}")
    cell["attachments"] = {"my dot.png": {"image/png": "AAAA"}}
    body = export("# T", cell)
    assert ["checked" in box.attrs for box in body.find_all("input")] == [False, True]
    assert body.img.attrs == {"src": "data:image/png;base64,AAAA", "alt": "a dot"}


# Outputs


def picture(kind):
    """Return a small picture of a kind as base64."""
    data = io.BytesIO()
    Image.new("RGB", (40, 30)).save(data, kind)
    return base64.b64encode(data.getvalue()).decode()


FOREST = RandomForestClassifier(5).fit([[0], [1]], [0, 1])
FRAME = "<table><thead><tr><th>$x_i$</th></tr></thead><tbody><tr><td>\\$1</td></tr></tbody></table>"
OUTPUTS = {  # what a cell shows, and a part of the page
    "LaTeX": (shows(text_latex="$\\displaystyle \\frac12$"), "<mfrac>"),
    "LaTeX before its picture": (shows(text_latex="$x$", image_png="AAAA"), "<math>"),
    "an environment": (shows(text_latex="\\begin{align}a&<b\\end{align}"), "<mtable"),
    "a data frame": (shows(text_html=FRAME, text_plain="x"), "<th><math><msub>"),
    "an escaped dollar": (shows(text_html=FRAME, text_plain="x"), "<td>$1</td>"),
    "code": (shows(text_html="<pre>$x$</pre>"), "<pre>$x$</pre>"),
    "an estimator": (
        shows(text_html=FOREST._repr_html_(), text_plain=repr(FOREST)),
        "<pre>RandomForestClassifier(n_estimators=5)</pre>",
    ),
    "a GIF": (shows(image_gif="R0lG", text_plain="<Image>"), 'src="data:image/gif;base64,R0lG"'),
    "WebP": (shows(image_webp="UklG", text_plain="<Image>"), 'src="data:image/webp;base64,UklG"'),
    "SVG": (shows(**{"image_svg+xml": "<svg/>"}), 'src="data:image/svg+xml;base64,PHN2Zy8+"'),
    "a sound": (shows(text_html=f"<audio controls src='{sound()}'></audio>"), f'src="{sound()}"'),
    "text": (shows(text_plain="<b> \x1b[31mred"), '&lt;b&gt; <span class="ansi-red-fg">red'),
    "a picture of the folder": (
        shows(text_html="<img src='tests/../README.md' alt='x'>"), 'src="data:text/markdown;base64,'
    ),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_are_shown_without_a_script(case, export):
    cell, part = OUTPUTS[case]
    assert part in str(export("# T", cell).main)


REFUSED = {
    "a script": shows(text_html="<p>x</p><SCRIPT>1</SCRIPT>", text_plain="x"),
    "a frame": shows(text_html="<iframe srcdoc='x'></iframe>"),
    "single quotes": shows(text_html="<img src='https://far.invalid/a.png'>"),
    "no quotes": shows(text_html="<img src=//far.invalid/a.png>"),
    "a missing file": shows(text_html="<img src='lost.png'>"),
    "a set of sources": shows(text_html='<img srcset="a.png 2x" src="data:image/png;base64,A">'),
    "a poster": shows(text_html="<video poster='a.png'></video>"),
    "a style": shows(text_html="<p style='background: URL( \"a.png\")'>x</p>"),
    "a style sheet": shows(text_html="<style>@import 'a.css';</style>"),
    "a link to one": shows(text_html="<link rel=stylesheet href=a.css>"),
    "part of a drawing": shows(text_html="<svg><use href='a.svg#b'/></svg>"),
    "a button": shows(text_html="<button onclick='x()'>x</button>"),
    "in Markdown": shows(text_markdown="![x](https://far.invalid/a.png)"),
    "a diagram": shows(text_markdown="```mermaid\ngraph LR;\n```"),
    "JavaScript": shows(application_javascript="1", text_plain="<Javascript>"),
    "a widget": shows(**{"application_vnd.jupyter.widget-view+json": {}, "text_plain": "x"}),
    "a PDF": shows(application_pdf="JVBE"),
    "an unknown formula": shows(text_latex="$\\oops$"),
    "one in a table": shows(text_html=FRAME.replace("x_i", "\\oops")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_shown_is_refused_with_its_cell(case, handin, export):
    with pytest.raises(handin.HandinError, match=r"cell 3 \(cell-3: x\)") as refused:
        export("# T", "text", REFUSED[case])
    assert "\n" not in str(refused.value)


# Macros


def test_macros_hold_for_the_rest_of_the_notebook(export):
    body = export(
        "# T\n\n$\\newcommand{\\MMD}{\\mathrm{MMD}}\\DeclareMathOperator{\\tr}{tr}$",
        "$\\def\\R{\\mathbb{R}} \\MMD_1$",
        shows(text_html="<b>$\\MMD_2$</b>"),
        shows(text_markdown="$\\tr A \\in \\R$"),
        "$$\\newcommand{\\MMD}[1]{M_{#1}} \\MMD{3}$$",
        executed("x", 1, markdown_output("$\\MMD{4}$"), metadata={"tags": ["overview"]}),
    )
    formulas = [math.get_text() for math in body.find_all("math")]
    assert formulas == ["M4", "MMD1", "MMD2", "tr\u2061A∈ℝ", "M3"]


def test_a_macro_does_not_hold_before_it_is_defined(handin, export):
    with pytest.raises(handin.HandinError, match="cell 2"):
        export("# T", "$\\MMD$", "$\\newcommand{\\MMD}{x}$")


# Figures, the overview, the first lines


def test_a_figure_is_picture_and_caption_under_its_name(export):
    body = export(
        "# T",
        executed(
            "x",
            1,
            markdown_output("Before."),
            markdown_output('<a id="figure-1"></a>'),
            figure_output(880, 240, ALT),
            markdown_output("**Figure 1.** A *caption*."),
            markdown_output('<a id="alone"></a>'),
            markdown_output("After."),
        ),
        executed(
            "y",
            2,
            figure_output(880, 240, ALT),
            markdown_output('<a id="figure-2"></a>**Figure 2.** Its name in the caption.'),
            shows(image_gif=picture("gif")).outputs[0],
        ),
    )
    one, two, bare = body.find_all("figure")
    assert [one["id"], two["id"]] == ["figure-1", "figure-2"] and not bare.attrs
    assert one.img["alt"] == ALT and one.img["width"] == "880"
    assert one.figcaption.get_text(strip=True) == "Figure 1.Acaption."
    assert two.figcaption.p.strong and not bare.figcaption
    assert [x["id"] for x in body.main.find_all(id=True)] == ["figure-1", "alone", "figure-2"]
    assert not body.find_all("a", href="#Answers")


def test_the_overview_follows_the_first_cell(export):
    def overview(cell):
        cell.metadata["tags"] = ["overview"]
        return cell

    strip = [figure_output(880, 240, ALT), markdown_output("**Figure 1.** All.")]
    answers = markdown_output('<a id="Answers"></a>\n\n| a |\n|---|\n| [1](#figure-1) |')
    name = markdown_output('<a id="figure-2"></a>')
    body = export(
        "# T\n\n[All](#Answers)",
        "## One",
        executed("x", 1, name, figure_output(880, 240, ALT), markdown_output("**Figure 2.** B.")),
        new_markdown_cell("## Closed", metadata=CLOSED),
        executed("y", 2),
        overview(executed("z", 3, *strip, answers)),
        overview(new_markdown_cell("## Answered")),
    )
    order = [x.get_text(strip=True) for x in body.find_all(["h1", "h2", "figcaption"])]
    assert order == ["T", "Figure 1.All.", "Answered", "One", "Figure 2.B.", "Closed"]
    listed = [link.get_text() for link in body.nav.find_all("a")]
    assert listed == ["Answered", "One", "Closed"]
    back = [link.get_text() for link in body.select("figcaption a[href='#Answers']")]
    assert back == ["Figure 1.", "Figure 2."]
    assert body.select_one("details.section summary small").string == "closed: 1 line of code"


@pytest.mark.parametrize("quick", [True, False])
def test_a_quick_run_is_named_first(quick, export):
    run = {"finished": "2026-01-01T00:00:00+00:00", "quick": quick, "sources": []}
    output = new_output("display_data", data={"text/plain": "t"}, metadata={"run": run})
    body = export("# T", executed("x", 1, output, metadata={"tags": ["timing"]}))
    assert body.get_text(strip=True).startswith("Quick run:" if quick else "T")


def test_cells_of_a_table_of_sentences_know_their_headings(export):
    prose = "| Question | Figure |\n|---|---|\n| Is a whole sentence longer than a number? | 7 |"
    body = export("# T", prose, "| a | b |\n|---|---|\n| 1 | 2 |")
    first, second = body.find_all("table")
    assert [cell["data-label"] for cell in first.find_all("td")] == ["Question", "Figure"]
    assert "cards" in first["class"] and not second.find_all(attrs={"data-label": True})
