"""Run the notebook, export it to HTML and pack the hand-in.

``run`` executes the notebook in place, ``verify`` elsewhere, to compare;
``html`` exports what is saved, ``zip`` exports, checks and packs it.  What
is saved changes only when everything went well, each file as a whole.
"""

import argparse
import contextlib
import hashlib
import html
import io
import logging
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
from datetime import UTC, datetime
from difflib import SequenceMatcher
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout
from jinja2 import pass_context
from math_core import LatexError, LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters import strip_ansi
from nbconvert.filters.markdown_mistune import (
    InvalidNotebook,
    IPythonRenderer,
    MarkdownWithMath,
)
from nbconvert.preprocessors import (
    CellExecutionError,
    ClearMetadataPreprocessor,
    ClearOutputPreprocessor,
    CoalesceStreamsPreprocessor,
    ExecutePreprocessor,
)

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
FOREIGN = (
    r"<(script|link|iframe|object|embed)\b[^>]*"
    r'|<[^>]+ src="(?!data:)[^>]*'
)  # what would make the page load something
NUMBERED = {"align", "alignat", "equation", "gather", "multline"}
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


class Renderer(IPythonRenderer):
    """Markdown to HTML: formulas to MathML, headings into the contents."""

    to_mathml = LatexToMathML(fancy_error=False)

    def __init__(self, headings, **options):
        super().__init__(escape=False, embed_images=True, **options)
        self.headings = headings

    def formula(self, latex, display):
        """Return a formula as MathML."""
        return self.to_mathml.convert_with_local_state(
            latex.strip(), displaystyle=display
        )

    def inline_math(self, body):
        """Return a formula in a line."""
        return self.formula(body, display=False)

    def block_math(self, body):
        """Return a formula of its own."""
        return self.formula(body, display=True)

    def latex_environment(self, name, body):
        """Return an environment such as ``align``, without a number."""
        if name in NUMBERED:
            name += "*"
        return self.formula(
            rf"\begin{{{name}}}{body}\end{{{name}}}", display=True
        )

    def heading(self, text, level, **attrs):
        """Return a heading with an id, and note it for the contents."""
        plain = html.unescape(re.sub(r"<[^>]*>", "", text))
        anchor = "-".join(plain.split())
        count = sum(anchor == other for _, _, _, other in self.headings)
        name = f"{anchor}-{count + 1}" if count else anchor
        label = re.sub(r"</?a\b[^>]*>", "", text)
        self.headings.append((level, name, label, anchor))
        return f'<h{level} id="{html.escape(name)}">{text}</h{level}>\n'


class PageExporter(HTMLExporter):
    """A page that loads nothing: MathML, contents, no script."""

    def __init__(self):
        super().__init__(
            template_name="handin",
            extra_template_basedirs=[str(TEMPLATES)],
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )
        self.headings = []
        self.has_answers = False
        for function in (fold_title, is_caption, scrollable, split_heading):
            self.register_filter(function.__name__, function)

    @pass_context
    def markdown2html(self, context, source):
        """Render Markdown; a formula that cannot be drawn stops it."""
        cell = context["cell"]
        renderer = Renderer(
            self.headings,
            attachments=cell.get("attachments"),
            path=str(PROJECT),
        )
        try:
            text = MarkdownWithMath(renderer=renderer).render(source)
        except (LatexError, InvalidNotebook) as error:
            raise HandinError(
                f"The text of {describe(context['nb'], cell)} cannot be "
                f"shown: {error}"
            ) from error
        if 'id="Answers"' in text:
            self.has_answers = True
        elif self.has_answers:  # the number of a figure leads back to them
            text = re.sub(
                r'(<a id="figure-\d+")></a>(<strong>.*?</strong>)',
                r'\1 href="#Answers">\2</a>',
                text,
            )
        return scrollable(text)

    def contents(self):
        """Return the list of sections and items as HTML."""
        items = "\n".join(
            f'<li class="level{level}"><a href="#{html.escape(name)}">'
            f"{label}</a></li>"
            for level, name, label, _ in self.headings
            if level in (2, 3)
        )
        return f"<ol>\n{items}\n</ol>"


def scrollable(text):
    """Let the tables in some HTML scroll, where they are too wide."""
    return re.sub(
        r"<table\b.*?</table>",
        r'<div class="table" tabindex="0">\g<0></div>',
        text,
        flags=re.DOTALL,
    )


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


def is_caption(output):
    """Tell whether an output is the caption of the figure before it."""
    text = output.get("data", {}).get("text/markdown", "")
    return bool(re.match(r'\s*(<a id="[^"]*"></a>)?\**Figure \d', text))


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
    cells = notebook.cells
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


def export(notebook):
    """Return a notebook as one HTML page that needs nothing else."""
    exporter = PageExporter()
    mark_sections(notebook)
    title = re.search(r"^# +(.+)", notebook.cells[0].source, re.MULTILINE)
    name = re.sub(r"[*_`$]", "", title[1]) if title else NOTEBOOK.stem
    page, _ = exporter.from_notebook_node(
        notebook, {"metadata": {"name": name}}
    )
    foreign = re.search(FOREIGN, page)
    if foreign:
        raise HandinError(
            "The page would need something that is not in the file: "
            f"{foreign[0][:80]}"
        )
    return page.replace("<!--contents-->", exporter.contents()).encode()


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
