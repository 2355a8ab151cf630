"""Break the definitions, one at a time, and see whether the tests notice.

``python tests/mutations.py`` copies the project, changes one line of the
notebook's definitions, runs the tests of the definitions, and reports which
changes they catch. It fails unless they catch all.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

PROJECT = Path(__file__).resolve().parent.parent
TESTS = ["test_definitions.py", "test_normal_codes.py", "test_digits.py",
         "test_properties.py",
         "test_saved.py::test_no_two_data_sets_share_a_seed"]
MUTATIONS = {
    "drop the ReLUs": ("nn.ReLU()]", "nn.Identity()]"),
    "end with a ReLU": ("nn.Sequential(*layers[:-1])",
                        "nn.Sequential(*layers)"),
    "swap encoder and decoder sizes": (
        "self.encoder = mlp(sizes)\n        self.decoder = mlp(sizes[::-1])",
        "self.decoder = mlp(sizes)\n        self.encoder = mlp(sizes[::-1])"),
    "allow narrow hidden layers": ("if hidden_size <= input_size:",
                                   "if hidden_size < 0:"),
    "drop the residual": ("return z + self.f(z)", "return self.f(z)"),
    "count the diagonal": ("/ (n * (n - 1) / 2)", "/ (n * n / 2)"),
    "count opposite points twice": ("met[..., -1] / 2", "0 * met[..., -1]"),
    "detach the codes": ("penalty(codes, normal)\n        loss.sum",
                         "penalty(codes.detach(), normal)\n"
                         "        loss.sum"),
    "forget the penalty on the way back": ("grad.add_(pull)", "grad"),
    "no ReLU on the way back": ("grad.mul_(self.inputs[i].gt_(0))", "pass"),
    "no ReLU by hand": ("self.inputs[i].relu_()", "pass"),
    "no gradient of the biases": ("torch.sum(grad, 1, out=bias_grad)",
                                  "bias_grad.zero_()"),
    "half the gradient by hand": ("error.mul_(2 /", "error.mul_(1 /"),
    "other losses by hand": ("loss = error.square().mean((1, 2))",
                             "loss = error.square().sum((1, 2))"),
    "any network is a chain": ("is (Linear, nn.ReLU)[i % 2]", "is not None"),
    "chains may share a layer": ("len(set(layers)) == len(layers)", "True"),
    "chains may end with a ReLU": ("len(layers) % 2 == 1 and ", ""),
    "forget the weight": ("return weight * mmd2_to_normal",
                          "return mmd2_to_normal"),
    "drop a bandwidth": ("for h in bandwidths[-2::-1]:",
                         "for h in bandwidths[-2:0:-1]:"),
    "another slope of the kernel": ("alpha=-1 / (2 * h)", "alpha=-1 / h"),
    "keep tiny numbers": ("torch.set_flush_denormal(True)",
                          "torch.set_flush_denormal(False)"),
    "accept any bandwidths": ("math.isclose(b, 2 * a, rel_tol=1e-6)",
                              "b > a"),
    "change the kernel": ("(-2 * bandwidth)", "(-bandwidth)"),
    "change the closed form": ("(b / (b + 2))", "(b / (b + 1))"),
    "forget the schedule": ("                scheduler.step()\n", ""),
    "keep old gradients": ("        weights.grad.zero_()\n", ""),
    "other default learning rate": (
        'models, x_train, *, epochs, lr=1e-3,\n                      sched',
        'models, x_train, *, epochs, lr=2e-3,\n                      sched'),
    "sum the coordinates": ("- targets).square().mean((1, 2))",
                            "- targets).square().sum(2).mean(1)"),
    "noise on the targets": ("x.tensor_split(steps, 1), strict",
                             "noisy.tensor_split(steps, 1), strict"),
    "one seed for all models": (
        "torch.Generator().manual_seed(seed + k)\n                  for",
        "torch.Generator().manual_seed(seed)\n                  for"),
    "keep weights that are not finite": (
        "                weights.data.copy_(before)\n", ""),
    "share a seed between train and test": (
        "TRAIN_SEED, VAL_SEED, TEST_SEED = 1, 2, 3",
        "TRAIN_SEED, VAL_SEED, TEST_SEED = 1, 2, 1"),
    "share images between train and test": (
        '"test": test,', '"test": train,'),
    "forget one arc": ("torch.minimum(half_circle_distance(u, v),",
                       "torch.maximum(half_circle_distance(u, v),"),
    "move the line of 'off the moons'": ("distance_to_arcs(x) > 0.3",
                                         "distance_to_arcs(x) > 0.25"),
    "count ties against the null": ("mmd >= mmd[0] - 1e-6", "mmd > mmd[0]"),
    "mixtures of all digits": ("codes[y == c]", "codes[y >= 0]"),
}


def mutated(notebook, old, new):
    """Return a copy of the notebook in which `old`, found once, is `new`."""
    copy = nbformat.from_dict(notebook)
    found = [cell for cell in copy.cells
             if cell.cell_type == "code" and old in cell.source]
    if len(found) != 1 or found[0].source.count(old) != 1:
        raise ValueError(f"not found exactly once: {old!r}")
    found[0].source = found[0].source.replace(old, new)
    return copy


def is_caught(name, change):
    """Tell whether a test fails when the notebook is broken like this."""
    notebook = nbformat.read(PROJECT / "autoencoders.ipynb", as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for part in ("tests", "export"):
            shutil.copytree(PROJECT / part, project / part)
        for part in ("pyproject.toml", "Makefile", "requirements.txt"):
            shutil.copy(PROJECT / part, project)
        nbformat.write(mutated(notebook, *change),
                       project / "autoencoders.ipynb")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider",
             *(f"tests/{test}" for test in TESTS)],
            cwd=project, capture_output=True, text=True, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    failed = [line.split(" - ")[0].removeprefix("FAILED tests/")
              for line in done.stdout.splitlines() if line[:6] == "FAILED"]
    print(f"{name}: {failed[0] if failed else 'NOT CAUGHT'}", flush=True)
    return bool(failed)


def main():
    """Try all mutations, as many at a time as there are cores."""
    if is_caught("unchanged", ("import copy\n", "import copy\n")):
        sys.exit("The tests fail although nothing is broken.")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        caught = list(pool.map(is_caught, MUTATIONS, MUTATIONS.values()))
    print(f"{sum(caught)} of {len(caught)} caught")
    sys.exit(not all(caught))


if __name__ == "__main__":
    main()
