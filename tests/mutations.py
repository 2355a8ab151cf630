"""Break the definitions, one at a time, and see whether the tests notice.

``python tests/mutations.py`` copies the project, changes a few characters of
the notebook's definitions, runs the tests of the definitions, and reports
which changes they catch. It fails unless they catch all.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

PROJECT = Path(__file__).resolve().parent.parent
TESTS = {  # and the definitions that each is the first to try
    "test_definitions.py": (), "test_properties.py": ("sum_of_pairs", "train_autoencoder"),
    "test_normal_codes.py": (
        "mean_within", "mmd2", "squared_exponentials", "as_bandwidths", "squared_exponential",
        "mmd2_to_normal", "train_mmd_autoencoder", "random_moons", "mmd2_of_moons",
        "Residual"),
    "test_digits.py": (
        "draw_labelled", "islands_of", "digits_split", "in_the_middle", "cut_in_two"),
    "test_joined.py": (
        "as_models", "as_points", "check_layers", "anatomy", "join", "BatchedLinear", "write_back",
        "Alone", "random_layers", "evaluated"),
    "test_jobs.py": (
        "training_jobs", "new_models", "build_and_train", "with_weights", "fit_each",
        "run_groups", "run_jobs", "on_one_thread", "read_kept", "keep",
        "fingerprint", "globals_used", "own_file"),
}
SLOW = "left_behind or dask or has_shown or little_memory"  # not tried here
MUTATIONS = {  # the definition that is broken, its old and its new text
    "drop the ReLUs": ("mlp", "nn.ReLU()", "nn.Identity()"),
    "end with a ReLU": ("mlp", "layers[:-1]", "layers"),
    "do not mirror": ("Autoencoder", "sizes[::-1]", "sizes"),
    "allow narrow layers": ("Autoencoder", "hidden_size > input_size", "True"),
    "drop the residual": ("Residual", "z + self.f(z)", "self.f(z)"),
    "accept any whole number": ("require_whole", " and v >= least", ""),
    "accept True": ("require_whole", "not isinstance(v, bool)", "True"),
    "accept infinite numbers": ("require_positive", "math.isfinite(v)", "True"),
    "accept the same model twice": ("as_models", "== len(models)", "> 0"),
    "accept points that are not finite": ("as_points", "x.isfinite().all(),", "True,"),
    "cast all points to float32": ("as_points", "dtype=weights.dtype", "dtype=torch.float32"),
    "accept any layer": ("check_layers", "kind is nn.Linear", "True"),
    "accept layers of one's own with weights": (
        "check_layers", "not (layer._parameters or layer._buffers)", "True"),
    "accept other architectures": ("check_layers", "(name, x) != (other_name, y)", "False"),
    "accept weights in common": ("check_layers", "max(shared.values(), default=1)", "1"),
    "compare no constants": ("anatomy", "type(layer), constants", "type(layer)"),
    "compare no weights' kinds": ("anatomy", "repr(weights)", "0"),
    "do not compare what comes out": ("join", "check_outputs(models, net, x[:, :3])", "pass"),
    "train in evaluation mode": ("join", "Alone(models[0]).train()", "Alone(models[0]).eval()"),
    "forget the bias": ("BatchedLinear", "self.bias is None", "True"),
    "write the first model into all": ("write_back", "weights[k]", "weights[0]"),
    "share the weights with the model": ("Alone", "copied(model)", "model"),
    "one seed for all models": ("own_draws", "int(seed) + k", "int(seed)"),
    "leave the random state changed": ("random_layers", "torch.random.fork_rng(gpus)",
                                       "contextlib.nullcontext()"),
    "forget the schedule": ("train_autoencoder", "scheduler.step()", "pass"),
    "go beyond the end of the run": ("factor_at", "min((step + 0.5) / total, 1)",
                                     "(step + 0.5) / total"),
    "keep old gradients in the textbook's loop": ("train_one", "adam.zero_grad()", "pass"),
    "do not shuffle in the textbook's loop": ("train_one", "x_train[order]", "x_train"),
    "keep old gradients": ("train_autoencoder", "adam.zero_grad()", "pass"),
    "other default learning rate": ("train_autoencoder", "lr=1e-3", "lr=2e-3"),
    "sum the coordinates": ("train_autoencoder", ".mean((1, 2))", ".sum(2).mean(1)"),
    "noise on the targets": ("train_autoencoder", "targets.tensor_split", "inputs.tensor_split"),
    "no new order": ("shuffled", "randperm, x.shape[1])", "randperm, x.shape[1]).sort()[0]"),
    "noise of another size": ("with_input_noise", "size * draw", "draw"),
    "detach the codes": ("train_autoencoder", "loss + penalty(codes, draw)",
                         "loss + penalty(codes.detach(), draw)"),
    "history without its weights": ("train_autoencoder", "* target.shape[1] / n", "/ steps"),
    "keep weights that are not finite": ("require_finite", "*net.parameters()", ""),
    "evaluate in training mode": ("evaluated", ".eval()", ".train()"),
    "evaluate the model itself": ("evaluated", "copied(model)", "model"),
    "change the points": ("evaluated", "x.clone()", "x"),
    "models of all jobs the same": ("training_jobs", '"seed": seed + first', '"seed": seed'),
    "each model the same": ("new_models", "random_layers(seed + k)", "random_layers(seed)"),
    "train from another seed": ("build_and_train", 'seed=built["seed"]', "seed=0"),
    "count nothing": ("with_weights", "= len(models)", "= 0"),
    "give models back in another order": (
        "with_weights", "zip(models, weights", "zip(models, weights[::-1]"),
    "give results to another group": ("run_groups", "for _ in jobs", "for _ in jobs[:1]"),
    "take sets of points that are too many": ("training_jobs", "len(x_train) == count", "True"),
    "return results as they come": ("run_jobs", "[results[name][0] for name in names]",
                                    "[result for result, _ in results.values()][::-1]"),
    "forget how long jobs took": ("run_jobs", "TOOK.update(", "dict("),
    "mix up distances of many points": ("distance_to_line", "torch.cat(parts, 1)",
                                        "torch.cat(parts[::-1], 1)"),
    "forget the versions": ("run_jobs", '("torch", "numpy", "scikit-learn")', "()"),
    "forget what a job is": ("run_jobs", "fingerprint(job, ", "fingerprint(str(job.func), "),
    "use all threads": ("on_one_thread", "torch.set_num_threads(threads)", "pass"),
    "keep tiny numbers": ("flush_tiny_numbers", "torch.set_flush_denormal(True)", "pass"),
    "read whatever is there": ("read_kept", "except Exception", "except FileNotFoundError"),
    "read nothing": ("read_kept", "if KEPT else None", "if None else None"),
    "keep in place": ("keep", "os.replace(Path(folder, name), Path(KEPT, name))", "pass"),
    "leave out what code calls": ("fingerprint", "globals_used(v.__code__)", "set()"),
    "leave out constants": ("fingerprint", "visit(code.co_consts)", "pass"),
    "leave out default values": ("fingerprint", "v.__defaults__, v.__kwdefaults__,", "0, 0,"),
    "leave out base classes": ("fingerprint", "[v.__bases__, own]", "[own]"),
    "leave out special methods": ("fingerprint", "isinstance(x, types.FunctionType) or not", "not"),
    "leave out closures": ("fingerprint", "v.__closure__ or ()", "()"),
    "leave out exceptions": ("fingerprint", "code.co_exceptiontable", "0"),
    "sort sets as they come": ("fingerprint", "sorted(map(fingerprint, v))", "v"),
    "place in the file": ("fingerprint", "code.co_argcount", "code.co_firstlineno"),
    "leave out inner functions": ("globals_used", "names.union(*inner)", "names"),
    "leave out files beside": ("own_file", "== Path.cwd()", "== 0"),
    "count the diagonal": ("mean_within", "- with_itself", ""),
    "another denominator": ("mean_within", "(n * (n - 1))", "(n * n)"),
    "forget the factor 2": ("mmd2", "- 2 * ", "- "),
    "drop a bandwidth": ("squared_exponentials", "bandwidths[1:]", "bandwidths[2:]"),
    "drop a part of the pairs": ("sum_of_pairs", "x.split(rows, dim=-2))",
                                 "x.split(rows, dim=-2)[:9])"),
    "accept any bandwidths": ("as_bandwidths", "rel_tol=1e-6", "abs_tol=9"),
    "change the kernel": ("squared_exponential", "-2 * ", "-1 * "),
    "change the closed form": ("mmd2_to_normal", "(h + 2)", "(h + 1)"),
    "change its other part": ("similarity_to_normal", "(h + 1))**", "(h + 2))**"),
    "forget the weight": ("train_mmd_autoencoder", "weight * mmd2_to", "mmd2_to"),
    "sample although it is calculated": ("train_mmd_autoencoder", "if closed_form:", "if False:"),
    "forget one arc": ("distance_to_arcs", "minimum", "maximum"),
    "move the line of 'off the moons'": ("is_off_moons", "> 0.3", "> 0.25"),
    "shift the lower arc": ("random_moons", "[1.0, 0.5]", "[1.0, 0.0]"),
    "one bandwidth set for all": ("mmd2_of_moons", ", bandwidths=bandwidths", ""),
    "count the wrong bends": ("count_bends", "np.unwrap(", "np.asarray("),
    "thick mixtures": ("best_mixture", "1e-6 * np.var(codes)", "1e-6"),
    "mixtures of too few codes": ("mixture_input", "if size < len(codes)", "if size"),
    "lump after lump": ("sample_codes", "codes[order]", "codes"),
    "mixtures of all digits": ("draw_labelled", "codes[y == digit]", "codes[y >= 0]"),
    "islands of all digits": ("islands_of", "y == digit", "y >= 0"),
    "another middle": ("in_the_middle", "place < 0.6", "place < 0.8"),
    "cut in three": ("cut_in_two", "KMeans(2", "KMeans(3"),
    "share images between train and test": ("digits_split", '"test": test', '"test": train'),
    "claims hold at their threshold": ("claim", "above < value", "above <= value"),
    "lose the claims of a reading": ("reading", '{"claims": [*claims]}', "{}"),
    "no word on a quick run": ("show", '"Quick run: " * QUICK', '""'),
    "no word on a quick run's closed tables": ("closed_table", '"Quick run: " * QUICK', '""'),
}


def broken(notebook, name, old, new):
    """Return a copy in which `old`, found once in a definition, is `new`."""
    pattern = (rf"^(?:def|class) {name}\(.*?(?=^\S|\Z)" if name
               else re.escape(old))
    copy = nbformat.from_dict(notebook)
    found = [(cell, match) for cell in copy.cells if cell.cell_type == "code"
             for match in re.finditer(pattern, cell.source, re.M | re.S)]
    if len(found) != 1 or found[0][1][0].count(old) != 1:
        raise ValueError(f"not found exactly once: {old!r} in {name!r}")
    [(cell, match)] = found
    cell.source = (cell.source[:match.start()] + match[0].replace(old, new)
                   + cell.source[match.end():])
    return copy


def is_caught(title, change):
    """Tell whether a test fails when the notebook is broken like this."""
    notebook = nbformat.read(PROJECT / "autoencoders.ipynb", as_version=4)
    first = sorted(TESTS, key=lambda test: change[0] not in TESTS[test])
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for part in ("tests", "export"):
            shutil.copytree(PROJECT / part, project / part)
        shutil.copy(PROJECT / "pyproject.toml", project)
        nbformat.write(broken(notebook, *change),
                       project / "autoencoders.ipynb")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider",
             "-k", f"not ({SLOW})", *(f"tests/{test}" for test in first)],
            cwd=project, capture_output=True, text=True, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    failed = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.M)
    print(f"{title}: {failed[0] if failed else 'NOT CAUGHT'}", flush=True)
    return bool(failed)


def main():
    """Try all mutations, as many at a time as there are cores."""
    if is_caught("unchanged", ("", "import copy\n", "import copy\n")):
        sys.exit("The tests fail although nothing is broken.")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        caught = list(pool.map(is_caught, MUTATIONS, MUTATIONS.values()))
    print(f"{sum(caught)} of {len(caught)} caught")
    sys.exit(not all(caught))


if __name__ == "__main__":
    main()
