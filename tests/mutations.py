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
TESTS = ["test_definitions.py", "test_normal_codes.py", "test_digits.py",
         "test_properties.py"]
MUTATIONS = {  # the definition that is broken, its old and its new text
    "drop the ReLUs": ("mlp", "nn.ReLU(inplace=True)", "nn.Identity()"),
    "end with a ReLU": ("mlp", "layers[:-1]", "layers"),
    "do not mirror": ("Autoencoder", "sizes[::-1]", "sizes"),
    "allow narrow layers": ("Autoencoder", "hidden_size > input_size", "True"),
    "drop the residual": ("Residual", "z + self.f(z)", "self.f(z)"),
    "accept any whole number": ("require_whole", " and v >= least", ""),
    "accept True": ("require_whole", "not isinstance(v, bool)", "True"),
    "accept infinite numbers": ("require_positive", "math.isfinite(v)",
                                "True"),
    "accept different models": ("as_models", "repr(models[0])", "repr(m)"),
    "accept points that are not finite": ("as_points", "x.isfinite().all(),",
                                          "True,"),
    "one seed for all models": ("own_draws", "int(seed) + k", "int(seed)"),
    "forget the schedule": ("train_autoencoder", "rate.step()", "pass"),
    "keep old gradients": ("train_autoencoder", "adam.zero_grad()", "pass"),
    "other default learning rate": ("train_autoencoder", "lr=1e-3", "lr=2e-3"),
    "sum the coordinates": ("train_autoencoder", ".mean((1, 2))",
                            ".sum(2).mean(1)"),
    "noise on the targets": ("train_autoencoder", " x.mT.tensor_split",
                             " noisy.mT.tensor_split"),
    "no new order": ("train_autoencoder", "randperm, n)",
                     "randperm, n).sort()[0]"),
    "detach the codes": ("train_autoencoder", "+ penalty(codes.mT, draw)",
                         "+ penalty(codes.mT.detach(), draw)"),
    "history without its weights": ("train_autoencoder",
                                    "* targets.shape[2] / n", "/ steps"),
    "keep weights that are not finite": ("require_finite",
                                         "*net.parameters()", ""),
    "train more in a quick run": ("fit", "epochs / 20", "epochs / 10"),
    "keep tiny numbers": ("", "set_flush_denormal(True)",
                          "set_flush_denormal(False)"),
    "count the diagonal": ("mean_within", "- same", ""),
    "another denominator": ("mean_within", "(n * (n - 1))", "(n * n)"),
    "forget the factor 2": ("mmd2_core", "- 2 * ", "- "),
    "drop a bandwidth": ("kernel_sums", "bandwidths[1:]", "bandwidths[2:]"),
    "accept any bandwidths": ("as_bandwidths", "rel_tol=1e-6", "abs_tol=9"),
    "change the kernel": ("squared_exponential", "-2 * ", "-1 * "),
    "residuals of any label": ("residuals", "np.flatnonzero(y == c)", "len(y)"),
    "change the closed form": ("mmd2_to_normal", "(b + 2)", "(b + 1)"),
    "forget the weight": ("train_mmd_autoencoder", "weight * mmd2_to",
                          "mmd2_to"),
    "sample although it is calculated": ("train_mmd_autoencoder",
                                         "if closed_form:", "if False:"),
    "forget one arc": ("distance_to_arcs", "minimum", "maximum"),
    "move the line of 'off the moons'": ("off_moons", "> 0.3", "> 0.25"),
    "keep the worse of two runs": ("restart_torn", "min(models[k]", "max(models[k]"),
    "start a torn run only once": ("restart_torn", "(100, 200, 300)", "(100,)"),
    "lump after lump": ("sample_codes", "codes[order]", "codes"),
    "mixtures of all digits": ("sample_digits", "codes[y == c]",
                               "codes[y >= 0]"),
    "share images between train and test": (
        "digits_split", '"test": test', '"test": train'),
    "claims hold at their threshold": ("claim", "above < value",
                                       "above <= value"),
    "show every claim as held": ("reading", "if c['holds']", "if True"),
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
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for part in ("tests", "export"):
            shutil.copytree(PROJECT / part, project / part)
        shutil.copy(PROJECT / "pyproject.toml", project)
        nbformat.write(broken(notebook, *change),
                       project / "autoencoders.ipynb")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider",
             *(f"tests/{test}" for test in TESTS)],
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
