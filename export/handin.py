"""Run the notebook, export it to HTML and pack the hand-in.

``run`` executes the notebook in place, ``verify`` elsewhere, to compare;
``html`` exports what is saved, ``zip`` exports, checks and packs it.  What
is saved changes only when everything went well, each file as a whole.
"""

import argparse
import base64
import contextlib
import hashlib
import html
import io
import logging
import mimetypes
import os
import platform
import re
import shutil
import signal
import stat
import sys
import tempfile
import time
import zipfile
from collections import Counter
from datetime import UTC, datetime
from difflib import SequenceMatcher
from pathlib import Path
from urllib.parse import unquote

import nbformat
from bs4 import BeautifulSoup, NavigableString
from filelock import FileLock, Timeout
from jinja2 import pass_context
from markdown_it import MarkdownIt
from math_core import LatexError, LatexToMathML
from mdit_py_plugins.tasklists import tasklists_plugin
from nbconvert import HTMLExporter
from nbconvert.filters import strip_ansi
from nbconvert.preprocessors import (
    CellExecutionError,
    ClearMetadataPreprocessor,
    ClearOutputPreprocessor,
    CoalesceStreamsPreprocessor,
    ExecutePreprocessor,
)
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

TEMPLATES = Path(__file__).resolve().parent
PROJECT = TEMPLATES.parent
NOTEBOOK = PROJECT / "autoencoders.ipynb"
PAGE = PROJECT / "autoencoders.html"
ARCHIVE = PROJECT / "ex02.zip"
BUILD = PROJECT / "build"
RAN = BUILD / NOTEBOOK.name  # a quick run, or what ran before one failed
LOCK = BUILD / "run.lock"

SOME_DATE = datetime(2020, 1, 1)  # in the zip, of a run that has none
ARCHIVE_LIMIT = 10 * 2**20  # bytes that the submission page accepts
MUST_SHOW = {"summary", "timing"}  # tags of cells that need an output
PLACEHOLDER = "please fill in"  # stands for the names in the first cell
LEFT = {  # what a run leaves of the metadata of a cell
    "tags",
    "id",
    "cellView",
    ("jupyter", "source_hidden"),
}


class HandinError(Exception):
    """A reason to stop, in one sentence for the user."""


class OlderFileError(HandinError):
    """A file that could not follow one that was written before it."""


# Files


def read_notebook(path):
    """Return the notebook in a file as its bytes and as a tree.

    A progress bar that JupyterLab saved is no result, and left out of the tree.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise HandinError(f"{path.name} is missing.") from None
    try:
        notebook = nbformat.reads(data.decode("utf-8"), as_version=4)
        for cell in notebook.get("cells", []):
            cell.source = cell.source.replace("\r\n", "\n")
        nbformat.validate(notebook)
        if not notebook.cells:
            raise ValueError("it has no cells")
        for cell in notebook.cells:
            if "outputs" in cell:
                cell.outputs = [o for o in cell.outputs if not is_bar(o)]
    except Exception as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise HandinError(
            f"{path.name} is not a valid notebook: {reason}"
        ) from error
    return data, notebook


def write_whole(files):
    """Write ``{path: bytes}``, one after the other, each as a whole.

    Nothing is replaced before all is on the disk.
    """
    temporary = {path: path.with_name(f".{path.name}.tmp") for path in files}
    replaced = []
    try:
        for path, data in files.items():
            with open(temporary[path], "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            os.replace(temporary[path], path)
            replaced.append(path.name)
    except OSError as error:
        if replaced:
            raise OlderFileError(
                f"{path.name} is older than {', '.join(replaced)}, as it could "
                f"not be replaced: {error}. 'make zip' makes it again."
            ) from error
        raise
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked():
    """Keep other runs away from what is saved; wait for one at work."""
    BUILD.mkdir(exist_ok=True)
    lock = FileLock(LOCK)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        print("Another make is at work here: waiting for it.", flush=True)
        held = lock.acquire()
    with held:
        yield


def code_cells(notebook):
    """Return the cells that hold code."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    ]


def tags(cell):
    """Return the tags of a cell."""
    return cell.metadata.get("tags", [])


def recorded(cell, key):
    """Return what the outputs of a cell carry under a key, in a list."""
    found = (o.get("metadata", {}) for o in cell.get("outputs", []))
    return [metadata[key] for metadata in found if key in metadata]


def is_bar(output):
    """Tell whether an output, or the content of a message, is a progress bar."""
    return bool(output.get("metadata", {}).get("bar"))


def describe(notebook, cell):
    """Name a cell by its number, its id and its first line."""
    number = next(
        n for n, other in enumerate(notebook.cells, 1) if other is cell
    )
    return f"cell {number} ({cell.get('id', 'no id')}: {first_line(cell)})"


def first_line(cell):
    """Return the first line of a cell, cut to fit a line of the terminal."""
    line = cell.source.strip().split("\n")[0]
    return line if len(line) <= 56 else line[:55] + "…"


# Run


class Terminal:
    """Where progress goes: bars live on a terminal, left out of a log."""

    def __init__(self):
        self.live = sys.stderr.isatty()
        self.line_is_open = False

    def write(self, text):
        """Write a piece of text as it comes."""
        if not self.live:
            text = without_bars(text)
        if text:
            self.line_is_open = not text.endswith("\n")
            print(text, end="", file=sys.stderr, flush=True)

    def line(self, text):
        """Write a line of its own."""
        self.write(("\n" if self.line_is_open else "") + text + "\n")

    def bar(self, text):
        """Write a bar over the one before it; an empty text wipes it away."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            text = " ".join(text.split("\n"))[:width]
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
            self.line_is_open = bool(text)


def without_bars(text):
    """Return what a terminal gets, without colours and what is overwritten."""
    return re.sub(r"\r[^\r\n]*(?=\r|\Z)|\r", "", strip_ansi(text))


class Runner(ExecutePreprocessor):
    """Execute a notebook; stderr and bars go to the terminal, and are not saved."""

    def __init__(self):
        super().__init__(
            kernel_name="python3",
            timeout=None,
            record_timing=False,
            shutdown_kernel="immediate",
            extra_arguments=["--log-level=ERROR"],
            on_cell_execute=self.announce,
        )
        self.terminal = Terminal()
        self.current = None
        self.bars = set()  # ids of displays
        self.warnings = {}  # what a cell wrote to stderr, by its place

    def create_kernel_manager(self):
        """Use this Python, whatever kernels are installed elsewhere."""
        manager = super().create_kernel_manager()
        manager.kernel_spec_manager.kernel_dirs = []
        return manager

    def announce(self, cell, cell_index):
        """Say which cell is being executed."""
        self.current = cell
        self.terminal.line(
            f"cell {cell_index + 1} of {len(self.nb.cells)}: "
            f"{first_line(cell)}"
        )

    def process_message(self, msg, cell, cell_index):
        """Show a bar; let the rest go its way."""
        content = msg["content"]
        display_id = (content.get("transient") or {}).get("display_id")
        if is_bar(content):
            self.bars.add(display_id)
        elif not display_id or display_id not in self.bars:
            return super().process_message(msg, cell, cell_index)
        self.terminal.bar(content["data"].get("text/plain", ""))
        return None

    def output(self, outs, msg, display_id, cell_index):
        """Show stderr, save all the rest."""
        if msg["content"].get("name") == "stderr":
            text = msg["content"]["text"]
            self.terminal.write(text)
            self.warnings[cell_index] = self.warnings.get(cell_index, "") + text
            return None
        return super().output(outs, msg, display_id, cell_index)

    def report_warnings(self):
        """Say which cells wrote to stderr, as the notebook does not show it."""
        for place, text in self.warnings.items():
            lines = without_bars(text).strip().split("\n")
            lines = [line for line in lines if line and "%|" not in line]  # tqdm's last
            if lines:
                first = re.sub(r"^\S*:\d+: ", "", lines[0])
                print(
                    f"A warning, which is not saved, of "
                    f"{describe(self.nb, self.nb.cells[place])}: {first}"
                )


def clear(notebook):
    """Remove what earlier executions left in a notebook."""
    ClearOutputPreprocessor().preprocess(notebook, {})
    ClearMetadataPreprocessor(
        preserve_cell_metadata_mask=LEFT,
        preserve_nb_metadata_mask={("colab", "collapsed_sections")},
    ).preprocess(notebook, {})


def execute(notebook):
    """Execute a notebook from top to bottom in this environment."""
    clear(notebook)
    runner = Runner()
    os.environ["PYTHONHASHSEED"] = "0"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = folder
        try:
            runner.preprocess(notebook, {"metadata": {"path": str(PROJECT)}})
        except CellExecutionError as error:
            runner.terminal.line(error.traceback)
            reason = error.evalue.split("\n")[0]
            raise HandinError(
                f"{describe(notebook, runner.current)} failed with "
                f"{error.ename}: {reason}"
            ) from None
        except RuntimeError as error:
            where = runner.current and describe(notebook, runner.current)
            raise HandinError(
                f"The kernel stopped at {where or 'its start'}: {error}."
            ) from error
        finally:
            finish(notebook)
    runner.report_warnings()


def finish(notebook):
    """Give what was executed the form in which it is saved."""
    # Not before: an update of a display counts the outputs of its cell.
    CoalesceStreamsPreprocessor().preprocess(notebook, {})
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
        "version": platform.python_version(),
    }


def executed_notebook():
    """Return where an executed notebook goes: with QUICK=1, build/."""
    return NOTEBOOK if os.environ.get("QUICK", "") in ("", "0") else RAN


def run():
    """Execute the notebook in place; with QUICK=1 into build/."""
    target = executed_notebook()
    start = time.monotonic()
    with locked():
        before, notebook = read_notebook(NOTEBOOK)
        try:
            execute(notebook)
            if target == NOTEBOOK:
                check_run(notebook, before)
            write_whole({target: to_bytes(notebook)})
        except BaseException as error:
            keep(notebook, error)
            raise
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    print(f"{target.relative_to(PROJECT)}: run in {minutes} min {seconds} s")


def to_bytes(notebook):
    """Return a notebook as it is written to its file."""
    return (nbformat.writes(notebook) + "\n").encode()


def check_run(notebook, before):
    """Refuse to save a run whose results are not those of the notebook."""
    if NOTEBOOK.read_bytes() != before:
        raise HandinError(f"{NOTEBOOK.name} was edited while it ran.")
    if is_quick(notebook):
        raise HandinError("This was a quick run: QUICK is set in the notebook.")
    broken = broken_claims(notebook)
    if broken:
        raise HandinError(broken)


def keep(notebook, error):
    """Keep what ran before an error, and say so in a note of the error."""
    if any(cell.get("execution_count") for cell in notebook.cells):
        with contextlib.suppress(OSError):  # a full disk: the error says it
            write_whole({RAN: to_bytes(notebook)})
            error.add_note(f"What ran is in {RAN.relative_to(PROJECT)}.")


def claims(notebook):
    """Return all statements that the run checked."""
    code = code_cells(notebook)
    found = (each for cell in code for each in recorded(cell, "claims"))
    return [claim for each in found for claim in each]


def broken_claims(notebook):
    """Return what does not hold, a statement a line, or nothing."""
    broken = [
        f"\n- {claim['sentence'].rstrip('.')}: {claim['value']:.5g}, "
        f"not {claim['threshold']}"
        for claim in claims(notebook)
        if not claim["holds"]
    ]
    count = f"{len(broken)} of {len(claims(notebook))} statements"
    return f"{count} do not hold:{''.join(broken)}" if broken else ""


def verify():
    """Execute again what ``run`` left, save nothing, and compare the two."""
    os.environ["KEPT"] = ""  # all is trained again
    source = executed_notebook()
    with locked():
        _, saved = read_notebook(source)
        _, again = read_notebook(source)
        execute(again)
    if saved.metadata != again.metadata:
        print(f"Other metadata: {saved.metadata}, now {again.metadata}")
    different = [
        describe(saved, old)
        for old, new in zip(saved.cells, again.cells, strict=True)
        if old != new and "timing" not in tags(old)
    ]
    if different:
        raise HandinError(
            "Not the same in another run: " + "; ".join(different)
        )
    print("Another run shows the same, to the last byte.")


# HTML


SHOWN = (  # kinds of output, the first that there is
    "text/html",
    "text/markdown",
    "text/latex",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/bmp",
    "text/plain",
)
LOADS = {"script", "link", "iframe", "frame", "object", "embed", "base", "meta"}
ADDRESSES = ("src", "srcset", "poster", "background", "data")
# In Markdown formulas are found as JupyterLab does it, code is passed over.
FORMULA_IN_MARKDOWN = re.compile(
    r"""
    ^[ \t>*+-]*(?P<fence>`{3,}|~{3,})[^`\n]*\n.*?^[ \t>]*(?P=fence)
    | (?<!\\)(?P<ticks>`+)[^\n]*?[^`\n](?P=ticks)(?!`)
    | \\[{}$]
    | (?P<hidden>
        @@\d+@@
        | (?P<dollars>\$\$?)(?:(?!\n\s*\n).)*?(?<!\\)(?P=dollars)
        | \\\\\((?:(?!\n\s*\n).)*?\\\\\)
        | \\\\\[(?:(?!\n\s*\n).)*?\\\\\]
        | \\begin\{(?P<name>[a-zA-Z]*\*?)\}(?:(?!\n\s*\n).)*?\\end\{(?P=name)\}
    )
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
FORMULA = re.compile(
    r"""
    \\(?P<escaped>[\\$])
    | \$\$(?P<display>(?:\\.|[^\\])+?)\$\$
    | \$(?P<inline>(?:\\.|[^\\$])+)\$
    | \\\[(?P<brackets>.+?)\\\]
    | \\\((?P<parentheses>.+?)\\\)
    | (?P<environment>\\begin\{(?P<name>[a-zA-Z]+\*?)\}.*?\\end\{(?P=name)\})
    """,
    re.DOTALL | re.VERBOSE,
)
FOR_MATH_CORE = (  # TeX that MathJax takes and math-core does not, and the same in its words
    (r"\\(begin|end)\{(align|alignat|equation|gather|multline)\}", r"\\\1{\2*}"),
    (
        r"\\DeclareMathOperator(\*?)\s*(\{\\\w+\})\s*\{([^{}]*)\}",
        r"\\newcommand\2{\\operatorname\1{\3}}",
    ),
    (r"\\newcommand\*?\s*(\{\\\w+\}|\\\w+)", r"\\providecommand\1{}\\renewcommand\1"),
)
ANCHOR = r'<a id="([^"]*)"></a>'
CAPTION = rf"\s*({ANCHOR})?\**Figure \d"
NUMBER = r"(<figcaption>\s*<p>)(<strong>Figure [^<]*</strong>)"


def highlighted(code, language, _):
    """Return the code of a Markdown text as HTML, coloured if that is known."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    coloured = highlight(code, lexer, HtmlFormatter(nowrap=True))
    return f'<pre class="highlight"><code>{coloured}</code></pre>'


MARKDOWN = MarkdownIt("gfm-like", {"highlight": highlighted})
MARKDOWN.use(tasklists_plugin, label=True)
MARKDOWN.linkify.set({"fuzzy_link": False})  # README.md is no address
MARKDOWN.validateLink = lambda address: True  # what is foreign is refused later


class CannotBeShown(Exception):
    """A reason why something is not on the page."""


class PageExporter(HTMLExporter):
    """A page that loads nothing: MathML, contents, no script.

    Texts are treated as JupyterLab does: formulas are taken out of the
    Markdown and put back into the HTML, where they are then typeset.
    """

    def __init__(self):
        super().__init__(
            template_name="handin",
            extra_template_basedirs=[str(TEMPLATES)],
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )
        # In the global group, macros hold for all formulas that follow.
        self.mathml = LatexToMathML(fancy_error=False, global_group=True)
        self.anchors = Counter()
        for function in (fold_title, split_heading):
            self.register_filter(function.__name__, function)
        for function in (self.finished, self.latex2html):
            self.register_filter(function.__name__, function)

    @pass_context
    def markdown2html(self, context, source):
        """Render Markdown."""
        hidden = []

        def hide(match):
            if not match["hidden"]:
                return match[0]
            hidden.append(re.sub(r"^\\(\\[(\[])(.*)\\(\\[)\]])$", r"\1\2\3", match[0], flags=re.S))
            return f"@@{len(hidden) - 1}@@"

        text = MARKDOWN.render(FORMULA_IN_MARKDOWN.sub(hide, source))
        text = re.sub(r"@@(\d+)@@", lambda match: html.escape(hidden[int(match[1])]), text)
        return self.finished(context, text)

    @pass_context
    def latex2html(self, context, source):
        """Render an output that is TeX."""
        return self.finished(context, f"<p>{html.escape(source)}</p>")

    @pass_context
    def finished(self, context, text):
        """Return HTML with its formulas typeset and its pictures inside, or refuse it."""
        soup = BeautifulSoup(text, "html.parser")
        cell = context["cell"]
        where = describe(context["nb"], cell)
        try:
            for string in filter(FORMULA.search, soup.find_all(string=is_typeset)):
                string.replace_with(BeautifulSoup(self.typeset(string), "html.parser"))
            for tag in soup.find_all(src=True):
                tag["src"] = embedded(tag["src"], cell.get("attachments", {}))
        except (LatexError, CannotBeShown) as error:
            raise HandinError(f"The text of {where} cannot be shown: {error}") from error
        for tag in soup.find_all(needs_more):
            needed = " ".join(str(tag).split())[:80]
            raise HandinError(
                f"What {where} shows needs something that is not in the file: {needed}"
            )
        for heading in soup.find_all(re.compile(r"h[1-6]")):
            self.give_anchor(heading)
        for table in soup.find_all("table"):
            label_cells(table)
            table.wrap(soup.new_tag("div", attrs={"class": "wide", "tabindex": "0"}))
        return str(soup)

    def typeset(self, text):
        """Return some text as HTML, with its formulas as MathML."""
        parts, end = [], 0
        for match in FORMULA.finditer(text):
            display = match["display"] or match["brackets"] or match["environment"]
            latex = display or match["inline"] or match["parentheses"]
            formula = match["escaped"] or self.formula(latex, bool(display))
            parts += [html.escape(text[end : match.start()]), formula]
            end = match.end()
        return "".join(parts) + html.escape(text[end:])

    def formula(self, latex, display):
        """Return a formula as MathML; one of its own scrolls if it is wide."""
        for theirs, ours in FOR_MATH_CORE:
            latex = re.sub(theirs, ours, latex)
        formula = self.mathml.convert_with_global_state(latex.strip(), displaystyle=display)
        if formula == "<math></math>":  # it defines a macro
            return ""
        return f'<span class="wide" tabindex="0">{formula}</span>' if display else formula

    def give_anchor(self, heading):
        """Give a heading an id that links can name: its words."""
        anchor = "-".join(heading.get_text().split())
        self.anchors[anchor] += 1
        count = self.anchors[anchor]
        heading["id"] = anchor if count == 1 else f"{anchor}-{count}"


def is_typeset(string):
    """Tell whether formulas are looked for in a string of some HTML."""
    return type(string) is NavigableString and not string.find_parent(is_left_alone)


def is_left_alone(tag):
    """Tell whether an element is none in which formulas are looked for."""
    ignored = {"tex2jax_ignore", "mathjax_ignore"}.intersection(tag.get("class", []))
    return ignored or tag.name in ("pre", "code", "style", "script", "textarea")


def embedded(address, attachments):
    """Return the address of a picture as a data address, if it is at hand."""
    kind, _, name = address.partition(":")
    if kind == "attachment":
        if unquote(name) not in attachments:
            raise CannotBeShown(f"missing attachment: {unquote(name)}")
        ((kind, data),) = attachments[unquote(name)].items()
        return f"data:{kind};base64,{data}"
    path = (PROJECT / unquote(address)).resolve()
    if kind == "data" or not (path.is_relative_to(PROJECT) and path.is_file()):
        return address
    data = base64.b64encode(path.read_bytes()).decode()
    return f"data:{mimetypes.guess_type(path)[0]};base64,{data}"


def needs_more(tag):
    """Tell whether an element would load something, or run a script."""
    if tag.name in LOADS or any(name.startswith("on") for name in tag.attrs):
        return True
    if "language-mermaid" in tag.get("class", []):  # a diagram
        return True
    addresses = [tag.get(name, "data:") for name in ADDRESSES]
    if tag.name in ("image", "use"):  # of a drawing
        addresses += [tag.get("href", "#"), tag.get("xlink:href", "#")]
    style = tag.get("style", "") + (tag.get_text() if tag.name == "style" else "")
    return (
        not all(address.startswith(("data:", "#")) for address in addresses)
        or re.search(r"""(?i)@import|url\((?!\s*['"]?(data:|#))""", style) is not None
    )


def label_cells(table):
    """Note the headings beside the cells of a table of sentences.

    On a narrow screen each row of such a table becomes a card; others scroll.
    """
    head = table.find("thead")
    names = [cell.get_text(" ", strip=True) for cell in head.find_all("th")] if head else []
    rows = [row.find_all(["th", "td"]) for row in table.select("tbody > tr")]
    whole = names and all(len(row) == len(names) for row in rows)
    longest = max((len(cell.get_text()) for row in rows for cell in row), default=0)
    if whole and longest > 40:
        table["class"] = [*table.get("class", []), "cards"]
        for row in rows:
            for name, cell in zip(names, row, strict=True):
                cell["data-label"] = name


def fold_title(cell):
    """Return what is said of a folded cell: its title and its length."""
    lines = cell.source.strip().split("\n")
    title = re.fullmatch(r"# *@title +(.+)", lines[0])
    return f"{title[1] if title else first_line(cell)} ({lines_of_code(cell)})"


def lines_of_code(*cells):
    """Return how many lines of code some cells have, in words."""
    lines = "\n".join(cell.source for cell in cells).split("\n")
    code = [x for x in lines if x.strip() and "# @title" not in x]
    return f"{len(code)} line{'s' * (len(code) != 1)} of code"


def split_heading(text):
    """Return the heading that some HTML starts with, and the rest."""
    return re.fullmatch(r"\s*(<h\d.*?</h\d>)(.*)", text, re.DOTALL).groups()


def heading_level(cell):
    """Return the level of the heading that a cell starts with, or 7."""
    heading = re.match(r"\s*(#{1,6}) ", cell.source)
    is_text = cell.cell_type == "markdown"
    return len(heading[1]) if heading and is_text else 7


def mark_sections(notebook):
    """Note in the metadata where a collapsed section begins and ends."""
    cells = [cell for cell in notebook.cells if "overview" not in tags(cell)]
    for start, cell in enumerate(cells):
        level = heading_level(cell)
        if level == 7 or not cell.metadata.get("jp-MarkdownHeadingCollapsed"):
            continue
        end = start + 1
        while end < len(cells) and heading_level(cells[end]) > level:
            end += 1
        code = [c for c in cells[start:end] if c.cell_type == "code"]
        cell.metadata["opens"] = lines_of_code(*code)
        last = cells[end - 1].metadata
        last["closes"] = last.get("closes", 0) + 1


def choose_shown(notebook):
    """Leave of each output the kind that is shown; refuse one that needs a script."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = output.get("data", {})
            if "sk-top-container" in data.get("text/html", ""):
                del data["text/html"]  # an estimator: its text says the same
            kind = next((kind for kind in SHOWN if kind in data), None)
            others = [kind for kind in data if kind not in SHOWN]
            if others and kind in (None, "text/plain"):
                raise HandinError(
                    f"What {describe(notebook, cell)} shows is of a kind that the page, "
                    f"which has no scripts, cannot show: {others[0]}"
                )
            if kind:
                output.data = {kind: data[kind]}


def join_figures(cell):
    """Make one output of a picture, the anchor before it and the caption after it."""
    joined = []
    for output in cell.outputs:
        last = joined[-1] if joined else {}
        text, before = (o.get("data", {}).get("text/markdown", "") for o in (output, last))
        if any(kind.startswith("image/") for kind in output.get("data", {})):
            anchor = re.fullmatch(ANCHOR, before.strip())
            if anchor:
                joined.pop()
            output.metadata["figure"] = {"id": anchor and anchor[1], "caption": ""}
        elif "figure" in last.get("metadata", {}) and (caption := re.match(CAPTION, text)):
            figure = last.metadata.figure
            figure.update(id=figure.id or caption[2], caption=text.replace(caption[1] or "", "", 1))
            continue
        joined.append(output)
    cell.outputs = joined


def contents(page):
    """Return the list of the sections and items of a page as HTML."""
    headings = BeautifulSoup(page, "html.parser").find_all(["h2", "h3"])
    items = []
    for heading in headings:
        label = re.sub(r"</?a\b[^>]*>", "", heading.decode_contents())
        address = html.escape(f"#{heading['id']}")
        items.append(f'<li class="level{heading.name[1]}"><a href="{address}">{label}</a></li>')
    return "\n".join(["<ol>", *items, "</ol>"])


def export(notebook):
    """Return a notebook as one HTML page that needs nothing else."""
    mark_sections(notebook)
    choose_shown(notebook)
    for cell in code_cells(notebook):
        join_figures(cell)
    title = re.search(r"^# +(.+)", notebook.cells[0].source, re.MULTILINE)
    name = re.sub(r"[*_`$]", "", title[1]) if title else NOTEBOOK.stem
    about = {"name": name, "quick": is_quick(notebook)}
    page, _ = PageExporter().from_notebook_node(notebook, {"metadata": about})
    if 'id="Answers"' in page:  # the number of a figure leads back to them
        page = re.sub(NUMBER, r'\1<a href="#Answers">\2</a>', page)
    return page.replace("<!--contents-->", contents(page)).encode()


def export_saved():
    """Export the saved notebook."""
    with locked():
        _, notebook = read_notebook(NOTEBOOK)
        check_full(notebook)
        page = export(notebook)
        write_whole({PAGE: page})
    print(f"{PAGE.name}: {size(page)}")
    change = first_change(notebook)
    if change:
        print(f"It shows old results: {change}.")


# Zip


def check_executed(notebook):
    """Refuse a notebook that was not executed whole and without error."""
    code = code_cells(notebook)
    if not code:
        raise HandinError("The notebook has no code cell.")
    for expected, cell in enumerate(code, 1):
        where = describe(notebook, cell)
        if cell.execution_count is None:
            raise HandinError(f"Not executed: {where}.")
        if cell.execution_count != expected:
            raise HandinError(
                "The cells were not executed once, from top to bottom: "
                f"{where} has number {cell.execution_count}, not {expected}."
            )
        for output in cell.outputs:
            if output.output_type == "error":
                raise HandinError(f"An error is shown by {where}.")
            if output.get("name") == "stderr":
                raise HandinError(f"A warning is shown by {where}.")
        missing = MUST_SHOW.intersection(tags(cell))
        if missing and not cell.outputs:
            raise HandinError(
                f"Tagged {missing.pop()}, without output: {where}."
            )


def check_results(notebook):
    """Refuse results that are not of this code, or whose text is wrong."""
    check_full(notebook)
    change = first_change(notebook)
    if change:
        raise HandinError(
            f"{NOTEBOOK.name} was changed since it was run: {change}. "
            "'make run' runs it again; what was trained before by the same code "
            "is not trained again. (Text cells, with the names in the first, "
            "can be changed without a run.)"
        )
    if any("claim" in tags(c) for c in code_cells(notebook)) and not claims(notebook):
        raise HandinError("No statement was checked.")
    broken = broken_claims(notebook)
    if broken:
        raise HandinError(broken)


def check_full(notebook):
    """Refuse to put a quick run in the place of a full one."""
    if is_quick(notebook):
        raise HandinError(
            f"{NOTEBOOK.name} shows a quick run (QUICK=1), which is not handed "
            "in: 'make run' runs it in full."
        )


def is_quick(notebook):
    """Tell whether the notebook shows a run with QUICK=1."""
    last = last_run(notebook)
    return bool(last) and bool(last.get("quick"))


def last_run(notebook):
    """Return what the cell with the times says of the run, or nothing."""
    for cell in code_cells(notebook):
        if "timing" in tags(cell):
            return next(iter(recorded(cell, "run")), None)
    return None


def first_change(notebook):
    """Return what was changed first in the code since it was run, or nothing."""
    last = last_run(notebook)
    if not last:
        return ""
    code = code_cells(notebook)
    end = next(n for n, cell in enumerate(code) if "timing" in tags(cell))
    now = [hashlib.sha256(cell.source.rstrip().encode()).hexdigest() for cell in code[:end]]
    changes = SequenceMatcher(None, last["sources"], now, autojunk=False).get_opcodes()
    for kind, _, _, start, _ in changes:
        if kind != "equal":
            where = describe(notebook, code[start])
            return {
                "replace": f"{where} is another",
                "insert": f"{where} is new",
                "delete": f"what stood before {where} is gone",
            }[kind]
    return ""


def pack(files, date):
    """Return a zip of ``{name: bytes}``, the same for the same input."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name, date.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3  # which has modes; on Windows, too
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, data)
    return buffer.getvalue()


def run_ended(notebook):
    """Return when the last run ended (UTC), or nothing."""
    last = last_run(notebook)
    if not last:
        return None
    ended = datetime.fromisoformat(last["finished"])
    return ended.astimezone(UTC) if ended.tzinfo else ended.replace(tzinfo=UTC)


def size(data):
    """Return a size in MiB as text."""
    return f"{len(data) / 2**20:.2f} MiB"


def pack_saved():
    """Export the saved notebook, check it and pack both."""
    with locked():
        data, notebook = read_notebook(NOTEBOOK)
        check_executed(notebook)
        check_results(notebook)
        page = export(notebook)
        files = {NOTEBOOK.name: data, PAGE.name: page}
        archive = pack(files, run_ended(notebook) or SOME_DATE)
        sizes = ", ".join(f"{name} {size(d)}" for name, d in files.items())
        if len(archive) > ARCHIVE_LIMIT:
            raise HandinError(
                f"{ARCHIVE.name} would be {size(archive)}, more than the "
                f"{ARCHIVE_LIMIT // 2**20} MiB allowed ({sizes})."
            )
        write_whole({PAGE: page, ARCHIVE: archive})
    print(
        f"{ARCHIVE.name}: {size(archive)} of the "
        f"{ARCHIVE_LIMIT // 2**20} MiB allowed ({sizes})"
    )
    report(notebook)


def report(notebook):
    """Say what is easily forgotten before a hand-in."""
    checked = claims(notebook)
    if checked:
        print(f"{len(checked)} of {len(checked)} statements hold.")
    ended = run_ended(notebook)
    if ended:
        seconds = (datetime.now(UTC) - ended).total_seconds()
        print(
            f"The run ended {duration(seconds)} ago "
            f"({ended:%Y-%m-%d %H:%M} UTC)."
        )
    if PLACEHOLDER in notebook.cells[0].source:
        print(
            "The names of the team are missing: the first cell still says "
            f'"{PLACEHOLDER}".'
        )


def duration(seconds):
    """Return a time in the unit that fits it."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' * (count > 1)}"
    return "less than a minute"


def on_signals(action):
    """Set what the signals that end a program do."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), action)


def stop(number, _):
    """Turn a signal into an exception; while this is cleaned up, none more."""
    on_signals(signal.SIG_IGN)
    logging.getLogger("asyncio").disabled = True  # of tasks that miss their kernel
    raise KeyboardInterrupt(number)


def main(arguments):
    """Carry out one command and return the exit status."""
    commands = {
        "run": run,
        "verify": verify,
        "html": export_saved,
        "zip": pack_saved,
    }
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=commands)
    command = commands[parser.parse_args(arguments).command]
    try:
        command()
    except (HandinError, OSError) as error:
        changed = isinstance(error, OlderFileError)
        what = "Stopped." if changed else "Stopped, nothing was changed."
        print(" ".join([what, *notes(error), str(error)]), file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        what = "Interrupted, nothing was changed."
        print(" ".join([what, *notes(error)]), file=sys.stderr)
        return 128 + (error.args[0] if error.args else signal.SIGINT)
    return 0


def notes(error):
    """Return the notes that were added to an error."""
    return getattr(error, "__notes__", [])


if __name__ == "__main__":
    on_signals(stop)
    sys.exit(main(sys.argv[1:]))
