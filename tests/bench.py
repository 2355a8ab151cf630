"""How fast the notebook trains: against the plain loop, and against JAX.

``make bench`` prints one table and writes it to ``build/bench.json``. All
cases are measured in one process, in turn, several times over; a case is
given by its median and range, and by how many times as fast it is as two
plain loops: one with Adam as it is by default, one with ``fused=True``, as
the notebook's training has it. OMP_NUM_THREADS=1 measures with one thread,
as a training of the notebook gets it (JAX takes all cores even then).
"""

import json
import sys
import types
from pathlib import Path

import nbformat
import numpy as np
import torch
from helpers import built
from jax_peer import Peer
from torch import nn
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader

PROJECT = Path(__file__).resolve().parent.parent
ROUNDS, BATCH, STEPS, EPOCHS = 5, 100, 10, 10
COUNTS = (1, 16, 64)  # models at once
SHAPES = {"2 × 64": (64, 2), "4 × 128": (128, 4)}
REFERENCES = {  # by the column of a ratio: the cases whose ratio is 1
    "ratio": ("loop, slices", "sampled", "1 ×"),
    "to fused": ("loop, fused",),
}


def definitions():
    """Return the notebook's definitions as a module."""
    module = types.ModuleType("definitions")
    sys.modules[module.__name__] = module
    for cell in nbformat.read(PROJECT / "autoencoders.ipynb", 4).cells:
        if "definitions" in cell.metadata.get("tags", []):
            exec(cell.source, vars(module))
    return module


def plain_loop(model, batches_of_epoch, **options):
    """Train one model, as in most tutorials."""
    adam = torch.optim.Adam(model.parameters(), **options)
    for _ in range(EPOCHS):
        for x in batches_of_epoch():
            adam.zero_grad()
            nn.functional.mse_loss(model(x), x).backward()
            adam.step()


def training_cases(d, x):
    """Yield (group, case, number of model steps, function)."""
    steps, loader = EPOCHS * STEPS, DataLoader(x, BATCH, shuffle=True)

    def slices():
        return x[torch.randperm(len(x))].split(BATCH)

    for shape, (width, layers) in SHAPES.items():
        sizes = x.shape[1], 1, width, layers
        model, = built(d.Autoencoder, *sizes, count=1)
        yield (shape, "loop, slices", steps, lambda m=model: plain_loop(
            m, slices))
        yield (shape, "loop, fused", steps, lambda m=model: plain_loop(
            m, slices, fused=True))
        yield (shape, "loop, DataLoader", steps, lambda m=model: plain_loop(
            m, lambda: loader))
        for k in COUNTS:
            models = built(d.Autoencoder, *sizes, count=k)
            yield (shape, f"{k} at once", k * steps, lambda m=models: (
                d.train_autoencoder(m, x, epochs=EPOCHS, batch_size=BATCH)))
            yield (shape, f"{k} at once, JAX", k * steps, Peer(
                x.numpy(), width, layers, k, EPOCHS, BATCH))


def mmd_cases(d):
    """Yield the MMD of codes and its gradient, sampled and in closed form."""
    for n in (125, 1000):
        z = torch.randn(8, n, 2, requires_grad=True)
        yield (f"MMD, {n}", "sampled", 1, lambda z=z: d.mmd2(
            z, torch.randn_like(z)).sum().backward())
        yield (f"MMD, {n}", "closed form", 1, lambda z=z: (
            d.mmd2_to_normal(z).sum().backward()))


def growth_cases(d):
    """Yield runs of growing length and size: the cost must grow alike."""
    models = built(d.Autoencoder, 2, 1, 64, 2, count=16)
    for group in ("points", "epochs"):
        for c in (1, 2, 4, 8):
            n, epochs = (1000 * c, 1) if group == "points" else (1000, c)
            x = d.moons(n, 0.1, 0)
            yield (group, f"{c} ×", c, lambda x=x, e=epochs: (
                d.train_autoencoder(models, x, epochs=e, batch_size=BATCH)))


def measure(cases):
    """Return the seconds of each case in each round, `(rounds, cases)`."""
    timers = [Timer("f()", globals={"f": case[-1]},
                    num_threads=torch.get_num_threads()) for case in cases]
    for timer in timers:
        timer.timeit(1)
    return np.array([[timer.timeit(1).mean for timer in timers]
                     for _ in range(ROUNDS)])


def main():
    """Measure, print and save."""
    d = definitions()
    cases = [*training_cases(d, d.moons(BATCH * STEPS, 0.1, 0)),
             *mmd_cases(d), *growth_cases(d)]
    rows, reference = [], {}
    print(f"{torch.get_num_threads()} threads of torch")
    print(f"{'':12}{'':18}{'µs':>9}{'range':>20}"
          + "".join(f"{column:>10}" for column in REFERENCES))
    for (group, case, work, _), t in zip(cases, measure(cases).T, strict=True):
        low, middle, high = np.quantile(1e6 * t / work, (0, 0.5, 1))
        rows.append({"group": group, "case": case, "median_us": middle,
                     "min_us": low, "max_us": high})
        for column, its in REFERENCES.items():
            if case in its:
                reference[group, column] = middle
    for row in rows:
        row |= {column: reference[row["group"], column] / row["median_us"]
                for column in REFERENCES if (row["group"], column) in reference}
        span = f"{row['min_us']:.0f} to {row['max_us']:.0f}"
        ratios = "".join(f"{row[column]:10.2f}" if column in row else ""
                         for column in REFERENCES)
        print(f"{row['group']:12}{row['case']:18}{row['median_us']:9.0f}"
              f"{span:>20}{ratios}")
    path = PROJECT / "build" / "bench.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
