"""Trainings as jobs: side by side, kept on disk, and no worker left behind."""

import ast
import dis
import functools
import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from conftest import ENVIRONMENT, call, tags
from helpers import KNOBS, PROC, autoencoders, distance, program
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

pytest_plugins = "knobs"
SMALL = {"bottleneck_size": 1, "hidden_size": 8, "layers": 2, "epochs": 2}


def small(d, x, **changes):
    """A small setting of autoencoders on points."""
    return SMALL | {"x_train": x, "architecture": d.Autoencoder} | changes
LONG = "SETTING = dict(bottleneck_size=1, hidden_size=64, layers=3, batch_size=20, epochs={})"


@pytest.fixture
def kept(d, monkeypatch, tmp_path):
    """The folder that results are kept in during a test."""
    folder = tmp_path / "build" / "kept"
    monkeypatch.setattr(d, "KEPT", str(folder))
    return folder


@pytest.fixture
def optimizers(monkeypatch):
    """A list that grows by one with each training."""
    made, adam = [], torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *args, **options: (
        made.append(1), adam(*args, **options))[1])
    return made


def executed(source, name="f"):
    """What is called f when a cell has been executed."""
    names = {"__name__": "definitions"}
    exec(compile(source, "<cell>", "exec"), names)
    return names[name]


def same(models, others):
    """Tell whether models have equal weights, bit by bit."""
    return [distance(a, b) for a, b in zip(models, others, strict=True)] == [0] * len(models)


# What a job is


def test_fit_builds_and_trains_from_its_seed(d):
    x = d.moons(60, 0.1, 0)
    options = {"epochs": 3, "lr": 2e-3, "batch_size": 30, "input_noise": 0.1,
               "schedule": "cosine"}
    before = sum(d.TRAINED.values())
    for _ in range(2):  # run again, a cell counts its models once
        models = d.fit(small(d, x), count=3, seed=5, **options)
        assert sum(d.TRAINED.values()) == before + 3
    alone = autoencoders(d, 3, seed=5)
    d.train_autoencoder(alone, x, seed=5, **options)
    assert same(models, alone)
    assert len(d.fit(small(d, x))) == d.SEEDS
    assert len(d.fit(small(d, x.numpy()))) == d.SEEDS


def test_a_setting_goes_to_the_architecture_or_to_the_training(d, monkeypatch):
    calls = []

    def train(models, x, **options):
        calls.append((len(models), x.shape, options))
        return torch.zeros(len(models), 1)

    setting = {"x_train": torch.zeros(5, 3), "architecture": d.ResNet, "hidden_size": 4,
               "blocks": 1, "count": 9}
    models = d.fit(setting, count=6, seed=2, epochs=50, weight=2, train=train)
    options = {"epochs": 50, "weight": 2}
    assert calls == [(4, (5, 3), options | {"seed": 2}), (2, (5, 3), options | {"seed": 6})]
    assert [repr(model) for model in models] == 6 * [repr(d.ResNet(3, 4, 1))]


def test_models_do_not_depend_on_how_they_are_shared_out(d):
    x = torch.stack([d.moons(40, 0.1, k) for k in range(6)])
    together = d.fit(small(d, x), count=6, seed=1)
    for k, model in enumerate(together):
        alone, = d.fit(small(d, x[k]), count=1, seed=1 + k)
        assert distance(model, alone) < 1e-4
    settings = {s: small(d, x[0], seed=s, count=9) for s in range(0, 80, 10)}
    trained = d.fit_each(settings)  # eight models a job; by itself a setting has jobs of four
    assert [*trained] == [*settings]
    assert [same(trained[s], d.fit(settings[s])) for s in settings] == 8 * [True]


def test_sets_of_points_are_as_many_as_models(d):
    x = torch.stack([d.moons(40, 0.1, k) for k in range(6)])
    with pytest.raises(ValueError, match=r"x_train must be .*\(5, n, d\).*6, 40, 2"):
        d.fit(small(d, x), count=5)


def test_groups_of_jobs_keep_their_results_together(d):
    groups = {"a": [functools.partial(int, "1"), functools.partial(int, "2")], "none": [],
              "b": [functools.partial(int, "3")]}
    assert d.run_groups(groups) == {"a": [1, 2], "none": [], "b": [3]}


def test_models_do_not_depend_on_the_number_of_workers(d, monkeypatch):
    x = d.moons(200, 0.1, 0)
    resnets = {"x_train": x, "architecture": d.ResNet, "hidden_size": 8, "blocks": 2, "epochs": 3,
               "train": d.train_mmd_autoencoder}
    state = torch.get_rng_state()
    here = d.fit(resnets, count=7)
    monkeypatch.setattr(d, "WORKERS", 2)
    there = d.fit(resnets, count=7)
    assert same(here, there)
    assert type(there[0]) is d.ResNet
    assert torch.equal(torch.get_rng_state(), state)


def test_any_function_can_be_a_job(d, kept):
    made = []

    def slow(x):
        made.append(x)
        return {"x": np.full(3, x)}

    for _ in range(2):
        found = d.run_jobs([functools.partial(slow, x) for x in (1, 2, 1)])
        assert [result["x"].tolist() for result in found] == [[1] * 3, [2] * 3, [1] * 3]
        assert made in ([1, 2], [2, 1]) or pytest.fail("not once for each x")
        made[:] = []
        made.extend([1, 2])
    assert len(list(kept.iterdir())) >= 2


@pytest.mark.parametrize("workers", [1, 2])
def test_tiny_numbers_are_zero_in_a_job_where_that_can_be(d, monkeypatch, workers):
    monkeypatch.setattr(d, "WORKERS", workers)
    source = "def tiny(): import torch; return (torch.full((1000,), 1e-39) * 1.0).eq(0).all()"
    can_be = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    assert d.run_jobs([functools.partial(executed(source, "tiny"))]) == [can_be]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_has_one_thread_and_gives_the_others_back(d, monkeypatch, workers):
    monkeypatch.setattr(d, "WORKERS", workers)
    source = "def threads(): import torch; return torch.get_num_threads()"
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert d.run_jobs([functools.partial(executed(source, "threads"))]) == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# What is kept


def test_a_second_fit_trains_nothing(d, kept, optimizers):
    x = d.moons(60, 0.1, 0)
    first = d.fit(small(d, x), count=5)
    times = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(times) == len(optimizers) == len(d.JOB_SECONDS[-1]) == 2
    took = {path.name: d.TOOK[path.name] for path in times}
    assert sorted(took.values()) == sorted(d.JOB_SECONDS[-1]) and min(took.values()) > 0
    d.TOOK.clear()
    second = d.fit(small(d, x), count=5)
    assert same(first, second)
    assert len(optimizers) == 2 and d.JOB_SECONDS[-1] == []
    assert took == d.TOOK  # how long it took at first is known
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == times
    d.train_autoencoder(second[0], x, epochs=1)  # what was read can be trained on
    assert same(first, d.fit(small(d, x), count=5))


def test_nothing_is_kept_if_kept_is_empty(d, monkeypatch, tmp_path, optimizers):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        d.fit(small(d, d.moons(60, 0.1, 0)))
    assert len(optimizers) == 2
    assert not [*tmp_path.iterdir()]


def cut(path):
    """Leave the first half, as after a crash."""
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def flip(path):
    """Change one byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def block(path):
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [
    cut, flip, block, lambda path: path.write_bytes(b""),
    lambda path: path.write_text("not a result"), lambda path: path.unlink()],
    ids=["half", "byte", "folder", "empty", "other", "gone"])
def test_a_damaged_entry_is_trained_again(d, kept, optimizers, damage):
    x = d.moons(60, 0.1, 0)
    first = d.fit(small(d, x))
    path, = kept.iterdir()
    damage(path)
    if path.is_dir():
        with pytest.warns(UserWarning, match="could not be kept"):
            assert same(first, d.fit(small(d, x)))
        assert len(optimizers) == 2
        return
    assert same(first, d.fit(small(d, x)))
    assert len(optimizers) == 2
    assert same(first, d.fit(small(d, x)))
    assert len(optimizers) == 2
    assert [*kept.iterdir()] == [path]


def test_no_flipped_bit_is_read_as_a_result(d, kept):
    d.keep("entry", {"weights": torch.arange(200.0), "losses": [1.0, 2.0]})
    path = kept / "entry"
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        found = d.read_kept("entry")
        assert found is None or torch.equal(found["weights"], torch.arange(200.0)), place


# The name under which it is kept


def definitions_with(notebook, change=lambda tree: tree):
    """Execute the definitions anew, each cell changed, as another notebook."""
    module = types.ModuleType("definitions")
    for cell in notebook.cells:
        if "definitions" in tags(cell):
            tree = ast.fix_missing_locations(change(ast.parse(cell.source)))
            exec(compile(tree, "<a cell>", "exec"), vars(module))
    vars(module).update(KNOBS)
    return module


def jobs(d, epochs=1, noise=0.1, **setting):
    """Two trainings that use all of the engine: several models, and one."""
    several = {"x_train": d.moons(20, noise, 0), "architecture": d.ResNet, "hidden_size": 4,
               "blocks": 1, "epochs": epochs, "train": d.train_mmd_autoencoder,
               "input_noise": 0.1, **setting}
    one = {"x_train": d.moons(20, 0.1, 0), "architecture": d.Autoencoder, "hidden_size": 4,
           "bottleneck_size": 1, "layers": 1, "epochs": epochs, "count": 1, "seed": 0}
    normal = several | {"closed_form": True}
    return [job for setting in (several, one, normal) for job in d.training_jobs(**setting)]


def kept_names(d, asked):
    """The names under which the results of jobs would be kept."""
    names, read = [], d.read_kept
    d.read_kept = lambda name: names.append(name) or ("done", 0)
    d.run_jobs(asked)
    d.read_kept = read
    return names


def used_definitions(d, asked):
    """Names of the functions and methods of the notebook that run while jobs are done."""
    used = set()

    def record(frame, event, arg):
        if event == "call" and frame.f_globals is vars(d):
            used.add(frame.f_code.co_qualname.split(".<locals>")[0])

    for job in asked:
        sys.setprofile(record)
        try:
            d.on_one_thread("name", job, os.getpid())
        finally:
            sys.setprofile(None)
    return sorted(name for name in used if "<" not in name)


class Changed(ast.NodeTransformer):
    """Adds a statement that does nothing to the function of this name."""

    def __init__(self, name):
        self.path, self.found = name.split("."), 0

    def visit_ClassDef(self, node):
        if node.name == self.path[0] and len(self.path) == 2:
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == self.path[1]:
                    self.add(part)
        return node

    def visit_FunctionDef(self, node):
        if self.path == [node.name]:
            self.add(node)
        return node

    def add(self, node):
        self.found += 1
        node.body[-1:-1] = ast.parse("changed = 1").body


def test_a_change_in_any_definition_that_a_training_uses_is_noticed(notebook):
    d = definitions_with(notebook)
    names, used = kept_names(d, jobs(d)), used_definitions(d, jobs(d))
    assert {"train_autoencoder", "train_mmd_autoencoder", "join", "Alone.encoder", "mlp",
            "BatchedLinear.forward", "Residual.forward", "mmd2_to_normal", "require",
            "squared_exponential", "check_outputs", "own_draws", "on_one_thread"} <= {*used}
    for name in used:
        change = Changed(name)
        other = definitions_with(notebook, change.visit)
        assert change.found == 1, name
        found = kept_names(other, jobs(other))
        assert any(a != b for a, b in zip(found, names, strict=True)), name


def globals_of(code):
    """The global names that some code reads, in its functions, too."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            names |= globals_of(inner)
    return names


def test_no_definition_changes_its_meaning_in_the_course_of_a_run(notebook):
    """After the first training no code waits for a later definition: it would train again."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    first = next(i for i, cell in enumerate(cells) if cell.id == "t1-grid")
    late = {}
    for i, cell in enumerate(cells[first:], first):
        later = {node.name for other in cells[i + 1:] for node in ast.parse(other.source).body
                 if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        late[cell.id] = globals_of(compile(cell.source, cell.id, "exec")) & later
    assert {cell: names for cell, names in late.items() if names} == {}


@pytest.mark.parametrize("old, new", [
    ('"cosine": lambda s: (1 +', '"cosine": lambda s: (1.01 +'), ("PAIRS = 2**18", "PAIRS = 2**17"),
    ("nn.Hardshrink)", "nn.Hardshrink, nn.Softmax)"), ("weight=1.0", "weight=1.5"),
    ("lr=1e-3, schedule", "lr=2e-3, schedule"), ("doubling(1 / 32)", "doubling(1 / 64)"),
    ("def forward(self, z):\n        return z +", "def forward(self, z):\n        return z -")])
def test_a_change_in_a_value_that_a_training_uses_is_noticed(notebook, old, new):
    d, changed = definitions_with(notebook), nbformat.from_dict(notebook)
    assert any(old in cell.source for cell in changed.cells)
    for cell in changed.cells:
        cell.source = cell.source.replace(old, new)
    other = definitions_with(changed)
    assert kept_names(d, jobs(d)) != kept_names(other, jobs(other))


def test_data_settings_seeds_and_versions_are_noticed(d, monkeypatch):
    names = [kept_names(d, jobs(d, **change)) for change in (
        {}, {"epochs": 2}, {"noise": 0.2}, {"seed": 4}, {"count": 1}, {"weight": 2},
        {"kernel": "inverse_multiquadratic", "closed_form": False}, {"schedule": "cosine"},
        {"blocks": 2}, *({"schedule": executed(f"f = lambda part: {rate}")} for rate in (1, 0.5)))]
    for package in ("torch", "numpy", "scikit-learn"):
        with monkeypatch.context() as other:
            other.setattr(d, "version", lambda name, package=package: (
                "1" if name == package else "2"))
            names.append(kept_names(d, jobs(d)))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "other")
    names.append(kept_names(d, jobs(d)))
    assert len({each[0] for each in names}) == len(names)


def test_what_changes_nothing_is_found_again(d, notebook, tmp_path):
    def moved(tree):
        ast.increment_lineno(tree, 7)
        return tree

    names = kept_names(d, jobs(d))
    for change in (moved, lambda tree: tree):  # cells that are executed again
        other = definitions_with(notebook, change)
        assert kept_names(other, jobs(other)) == names
    script = tmp_path / "session.py"
    text = program(notebook, "names = []", "import json",
                   "read_kept = lambda name: names.append(name) or ('done', 0)",
                   'x = moons(20, 0.1, 0)',
                   'options = {"hidden_size": 4, "blocks": 1, "epochs": 1}',
                   "jobs = training_jobs(x, ResNet, train=train_mmd_autoencoder, **options)",
                   "run_jobs(jobs + [partial(sorted, {*'abcdefghijklmnop', mmd2, str, 3.5})])",
                   "print(json.dumps(names))")
    script.write_text(text)
    sessions = [call([sys.executable, str(script)], tmp_path, PYTHONHASHSEED=seed)
                for seed in ("1", "2")]
    assert [done.stderr for done in sessions] == ["", ""]
    first, second = (json.loads(done.stdout) for done in sessions)
    assert first == second and len({*first}) == 2


def test_fingerprints_see_what_values_consist_of(d, monkeypatch, tmp_path):
    class Own:
        def __init__(self, x):
            self.x = x

    own = Own(1)
    own.itself = own
    rows = np.arange(6.0).reshape(2, 3)
    values = [
        1, 1.0, True, "1", b"1", None, (1, 2), (2, 1), {1: 2}, {2: 1}, {1, 2}, {1, 3}, rows, rows.T,
        rows.astype("f4"), torch.tensor(rows) + 1, Own(2), own, [own], range(3), range(4),
        slice(1, 2), np.array([1, "a"], object), np.array([1, "b"], object), torch.nn.Linear(2, 2),
        functools.partial(print, 1), functools.partial(print, 2), torch.relu, torch.tanh,
        str.upper, str.lower, Path("a"), Path("b"), torch.float32, torch.float64,
        np.random.default_rng(1), np.random.default_rng(2), 1j, [[1], 2], [1, [2]], [[]], []]
    found = [d.fingerprint(value) for value in values]
    assert len({*found}) == len(found)
    assert found == [d.fingerprint(value) for value in values]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    beside = []
    for factor in (2, 3):
        (tmp_path / "beside.py").write_text(
            f"def inner(x):\n    return {factor} * x\n\ndef outer(x):\n    return inner(x)\n")
        sys.modules.pop("beside", None)
        module = types.ModuleType("beside")
        module.__file__ = str(tmp_path / "beside.py")
        exec(compile(Path(module.__file__).read_text(), module.__file__, "exec"), vars(module))
        sys.modules["beside"] = module
        beside += [d.fingerprint(module.outer), d.fingerprint(module)]
    sys.modules.pop("beside")
    assert len({*beside}) == 4


@pytest.mark.parametrize("one, other", [
    ("def f(a, b): return g(a, b)", "def f(a, *, b): return g(a, b)"),
    ("def f():\n try: a(); b()\n except ValueError: pass",
     "def f():\n a()\n try: b()\n except ValueError: pass"),
    ("def f(x=1): return x", "def f(x=2): return x"),
    ("def f(*, x=1): return x", "def f(*, x=2): return x"),
    ("def f(): return [g(x) for x in 'ab']", "def f(): return [g(x) for x in 'ac']"),
    ("def f(): return x in {'a', 'b'}", "def f(): return x in {'a', 'c'}"),
    ("def g(): return 1\ndef f(): return g()", "def g(): return 2\ndef f(): return g()"),
    ("g = lambda: 1\nf = [g]", "g = lambda: 2\nf = [g]"),
    ("def f():\n class A:\n  b = 1\n return A", "def f():\n class A:\n  b = 2\n return A"),
    ("class f:\n def __len__(self): return 1", "class f:\n def __len__(self): return 2"),
    ("class f:\n @property\n def x(self): return 1",
     "class f:\n @property\n def x(self): return 2"),
    ("class f:\n @staticmethod\n def x(): return 1",
     "class f:\n @staticmethod\n def x(): return 2"),
    ("class A:\n x = 1\nclass f(A): pass", "class A:\n x = 2\nclass f(A): pass"),
    ("class A:\n x = 1\nf = A()", "class A:\n x = 2\nf = A()"),
    ("import functools\n@functools.cache\ndef f(): return 1",
     "import functools\n@functools.cache\ndef f(): return 2"),
    ("import torch\n@torch.no_grad()\ndef f(): return 1",
     "import torch\n@torch.no_grad()\ndef f(): return 2"),
    ("import abc\nclass f(abc.ABC):\n x = 1", "import abc\nclass f(abc.ABC):\n x = 2"),
    ("from collections import namedtuple\nf = namedtuple('f', 'a b')",
     "from collections import namedtuple\nf = namedtuple('f', 'a c')"),
    ("from dataclasses import dataclass\n@dataclass\nclass f:\n x: int = 1",
     "from dataclasses import dataclass\n@dataclass\nclass f:\n x: int = 2"),
    ("def g(n):\n def h(): return n\n return h\nf = g(1)",
     "def g(n):\n def h(): return n\n return h\nf = g(2)"),
    ("from collections import deque\nf = deque([1])",
     "from collections import deque\nf = deque([2])"),
])
def test_fingerprints_see_what_code_consists_of(d, one, other):
    found = [d.fingerprint(executed(source)) for source in (one, "\n\n" + one, other)]
    assert found[0] == found[1] != found[2]


# Workers


def session_of(leader):
    """Return the processes of a session that are alive, but for its leader."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(session) == leader and state != "Z" and int(stat.parent.name) != leader:
            found.append(int(stat.parent.name))
    return found


def ends(condition, seconds):
    """Tell whether a condition comes true within some seconds."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@PROC
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
def test_no_worker_is_left_behind_and_the_rest_is_done_later(
        d, notebook, tmp_path, optimizers, how):
    kept, script = tmp_path / "kept", tmp_path / "session.py"
    script.write_text(program(
        notebook, LONG.format(150), "x = moons(2000, 0.1, 0)", "SHORT = SETTING | {'epochs': 1}",
        "own = dict(x_train=x, architecture=Autoencoder, count=4)",
        "fit_each({0: own | SHORT} | {s: own | SETTING | {'seed': s} for s in (1, 4, 8)})",
        WORKERS=2, KEPT=str(kept)))
    with open(tmp_path / "log", "w") as log:
        notebook_process = subprocess.Popen(
            [sys.executable, script], stderr=log, cwd=tmp_path, start_new_session=True,
            env=ENVIRONMENT | {"OMP_NUM_THREADS": "1"},
            # a shell lets what it starts in the background ignore interrupts
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL))
    try:
        assert ends(lambda: kept.exists() and any(p.is_file() for p in kept.iterdir()), 120)
        workers = session_of(notebook_process.pid)
        assert len(workers) >= 2
        notebook_process.send_signal(how)
        assert ends(lambda: notebook_process.poll() is not None, 60)
        assert ends(lambda: not session_of(notebook_process.pid), 5)
    finally:
        for process in session_of(notebook_process.pid):
            os.kill(process, signal.SIGKILL)
        notebook_process.kill()
    error = (tmp_path / "log").read_text()
    assert ("KeyboardInterrupt" in error) == (how == signal.SIGINT)
    done = {path: path.stat().st_mtime_ns for path in kept.iterdir() if path.is_file()}
    assert 1 <= len(done) < 4
    script.write_text(script.read_text().replace("epochs=150", "epochs=2"))
    again = call([sys.executable, str(script)], tmp_path, OMP_NUM_THREADS="1")
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == mtime for path, mtime in done.items())
    assert len([path for path in kept.iterdir() if path.is_file()]) == len(done) + 3


def test_a_dask_cluster_ends_at_the_same_weights(notebook, tmp_path):
    script = tmp_path / "session.py"
    script.write_text(program(
        notebook, """
def worker(number):
    return os.getpid()

if __name__ == "__main__":
    from dask.distributed import Client, LocalCluster
    setting = {"x_train": moons(200, 0.1, 0), "architecture": Autoencoder, "count": 8,
               "bottleneck_size": 1, "hidden_size": 8, "layers": 2, "epochs": 3}
    here = fit(setting)
    WORKERS = 2
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client, joblib.parallel_config(backend="dask"):
            there = fit(setting)
            ran_in = run_jobs([partial(worker, k) for k in range(4)])
            print({*ran_in} <= {*client.run(os.getpid).values()})
    for a, b in zip(here, there, strict=True):
        for own, other in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(own, other)
    print("the same")
"""))
    done = call([sys.executable, str(script)], tmp_path, OMP_NUM_THREADS="1")
    assert done.stdout.split("\n") == ["True", "the same", ""], done.stderr


# The bar


@pytest.mark.parametrize("workers", [1, 2])
def test_training_leaves_what_its_cell_has_shown(notebook, tmp_path, workers):
    cells = [program(notebook, WORKERS=workers), "import warnings", """print("a")
warnings.warn("careful")
display("c")
setting = {"x_train": moons(60, 0.1, 0), "architecture": Autoencoder, "bottleneck_size": 1,
           "hidden_size": 8, "layers": 2, "epochs": 2}
models = fit(setting, count=9)
print("b")""", "fit(setting, count=0)"]
    ran = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    bars = []

    class Client(NotebookClient):
        def process_message(self, msg, cell, cell_index):
            if msg["content"].get("metadata", {}).get("bar"):
                bars.append((msg["msg_type"], msg["content"]["data"]["text/plain"]))
            return super().process_message(msg, cell, cell_index)

    Client(ran, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    first, _, shown, nothing = (cell.outputs for cell in ran.cells)
    assert first == nothing[:0] == []
    text = [o.get("text") or o["data"]["text/plain"] for o in shown]
    texts = [part for part in text if "careful" not in part]
    assert texts == ["a\n", "'c'", "", "b\n"]
    assert any("careful" in part for part in text)
    assert shown[text.index("")].metadata == {"bar": True}
    assert [kind for kind, _ in bars] == ["display_data", *["update_display_data"] * 4]
    assert [bar.partition("/3")[0][-1:] for _, bar in bars] == ["0", "1", "2", "3", ""]
