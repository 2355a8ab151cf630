"""How fast the notebook trains: against the plain loop, JAX, the machine.

``make bench`` prints one table, writes it to ``build/bench.json`` and draws
``build/bench.png``. All cases are measured in one process, in turn, several
times over; a case is given by its median and range.
"""

import json
import sys
import types
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import torch
from jax_peer import Peer
from torch import nn
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader

PROJECT = Path(__file__).resolve().parent.parent
BUILD = PROJECT / "build"
ROUNDS, BATCH, STEPS, EPOCHS = 3, 100, 10, 10
SHAPES = {"2 × 64": (64, 2), "3 × 128": (128, 3), "4 × 128": (128, 4)}
COUNTS = (1, 4, 16, 64)


def definitions():
    """Return the notebook's definitions as a module."""
    module = types.ModuleType("definitions")
    sys.modules[module.__name__] = module
    for cell in nbformat.read(PROJECT / "autoencoders.ipynb", 4).cells:
        if "definitions" in cell.metadata.get("tags", []):
            exec(cell.source, vars(module))
    module.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    return module


def plain_loop(model, batches_of_epoch):
    """Train one model, as in most tutorials."""
    adam = torch.optim.Adam(model.parameters())
    for _ in range(EPOCHS):
        for x in batches_of_epoch():
            adam.zero_grad()
            loss = nn.functional.mse_loss(model(x), x)
            loss.backward()
            adam.step()


def slices(x):
    """Return the minibatches of a random order."""
    return x[torch.randperm(len(x), device=x.device)].split(BATCH)


def training_cases(d):
    """Yield (data, shape, case, number of model steps, function)."""
    moons = d.moons(BATCH * STEPS, 0.1, 0).to(d.DEVICE)
    digits = d.digits_split(0)[0]["fit"][:BATCH * STEPS].to(d.DEVICE)
    for data, x in (("moons", moons), ("digits", digits)):
        for shape, (width, layers) in SHAPES.items():
            size = x.shape[1]
            if width <= size:
                continue
            sizes = (d.Autoencoder, size, 1, width, layers)
            model = d.build(*sizes, count=1)[0]
            loader = DataLoader(x, BATCH, shuffle=True)
            yield (data, shape, "loop, DataLoader", EPOCHS * STEPS,
                   lambda m=model, b=loader: plain_loop(m, lambda: b))
            yield (data, shape, "loop, slices", EPOCHS * STEPS,
                   lambda m=model, x=x: plain_loop(m, lambda: slices(x)))
            for count in COUNTS:
                models = d.build(*sizes, count=count)
                yield (data, shape, f"{count} at once",
                       count * EPOCHS * STEPS,
                       lambda m=models, x=x: d.train_autoencoder(
                           m, x, epochs=EPOCHS, batch_size=BATCH))
                if d.DEVICE == "cpu":  # the peer's build knows no GPU
                    yield (data, shape, f"{count} at once, JAX",
                           count * EPOCHS * STEPS,
                           Peer(x.numpy(), width, layers, count, EPOCHS,
                                BATCH))


def mmd_cases(d):
    """Yield the MMD of codes and its gradient, sampled and in closed form."""
    for n in (250, 1000, 4000):
        codes = torch.randn(1, n, 2, device=d.DEVICE, requires_grad=True)
        yield ("MMD", f"batch {n}", "sampled", 1, lambda c=codes: d.mmd2(
            c, torch.randn_like(c)).sum().backward())
        yield ("MMD", f"batch {n}", "closed form", 1,
               lambda c=codes: d.mmd2_to_normal(c).sum().backward())


def growth_cases(d):
    """Yield runs of growing length and size: the cost must grow alike."""
    for name, counts in (("epochs", (1, 2, 4, 8)), ("points", (1, 2, 4, 8))):
        for c in counts:
            x = d.moons(1000 * (c if name == "points" else 1), 0.1, 0)
            models = d.build(d.Autoencoder, 2, 1, 64, 2, count=16)
            yield ("growth", name, f"{c} ×", c, lambda m=models, x=x, e=(
                c if name == "epochs" else 1): d.train_autoencoder(
                    m, x, epochs=e, batch_size=BATCH))


def matmul_speed(device):
    """Return the machine's floating point operations per second."""
    a, b = torch.randn(2, 2048, 2048, device=device)
    timer = Timer("a @ b", globals={"a": a, "b": b},
                  num_threads=torch.get_num_threads())
    return 2 * 2048**3 / timer.blocked_autorange(min_run_time=0.5).median


def flops(d, size, shape):
    """Return the operations of one training step of one model."""
    model = d.Autoencoder(size, 1, *SHAPES[shape])
    weights = sum(w.numel() for w in model.parameters() if w.dim() == 2)
    return 6 * BATCH * weights  # forward, and backward to weights and inputs


def measure(cases):
    """Return the seconds of each case in each round, `(rounds, cases)`."""
    timers = [Timer("f()", globals={"f": case[-1]},
                    num_threads=torch.get_num_threads()) for case in cases]
    for timer in timers:
        timer.timeit(1)
    return np.array([[timer.timeit(1).mean for timer in timers]
                     for _ in range(ROUNDS)])


def rows(d):
    """Measure all cases and return a row (a dict) for each."""
    cases = [*training_cases(d), *mmd_cases(d), *growth_cases(d)]
    times = measure(cases)
    speed = matmul_speed(d.DEVICE)
    found = []
    for (data, shape, case, work, _), t in zip(cases, times.T, strict=True):
        t = 1e6 * t / work
        row = {"data": data, "shape": shape, "case": case,
               "median_us": np.median(t), "min_us": t.min(),
               "max_us": t.max()}
        group = [r for r in found
                 if (r["data"], r["shape"]) == (data, shape)]
        reference = {"MMD": "sampled", "growth": "1 ×"}.get(
            data, "loop, slices")
        for r in group:
            if r["case"] == reference:
                row["ratio"] = r["median_us"] / row["median_us"]
        if shape in SHAPES:
            size = 2 if data == "moons" else 64
            row["share_of_matmul"] = flops(d, size, shape) / (
                row["median_us"] * 1e-6) / speed
        found.append(row)
    return found


def draw(found, path):
    """Draw the time per model and step over the number of models."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True,
                             layout="constrained")
    for ax, data in zip(axes, ("moons", "digits"), strict=True):
        for shape, colour in zip(SHAPES, ("C0", "C1", "C2"), strict=True):
            own = [r for r in found if (r["data"], r["shape"]) ==
                   (data, shape)]
            if not own:
                continue
            for end, style in (("at once", "-"), ("JAX", ":")):
                drawn = [r for r in own if r["case"].endswith(end)]
                if not drawn:
                    continue
                middle = np.array([r["median_us"] for r in drawn])
                ax.errorbar(COUNTS, middle, color=colour, marker="o",
                            linestyle=style, markersize=4,
                            label=shape if end == "at once" else None,
                            yerr=np.abs([[r[k] for r in drawn] - middle
                                         for k in ("min_us", "max_us")]))
            loop = next(r for r in own if r["case"] == "loop, slices")
            ax.axhline(loop["median_us"], color=colour, linestyle="--")
        ax.set(xscale="log", yscale="log", xticks=COUNTS, xticklabels=COUNTS,
               xlabel="models at once",
               title=f"{data} (dashed: plain loop, dotted: JAX)")
        ax.minorticks_off()
        ax.legend()
    axes[0].set_ylabel("µs a model and step")
    fig.savefig(path, dpi=144)


def main():
    """Measure, print, save and draw."""
    found = rows(definitions())
    print(f"{'':8}{'':12}{'':18}{'µs':>9}{'range':>20}{'ratio':>8}"
          f"{'of matmul':>11}")
    for r in found:
        span = f"{r['min_us']:.0f} to {r['max_us']:.0f}"
        ratio = f"{r['ratio']:.2f}" if "ratio" in r else ""
        share = (f"{100 * r['share_of_matmul']:.0f} %"
                 if "share_of_matmul" in r else "")
        print(f"{r['data']:8}{r['shape']:12}{r['case']:18}"
              f"{r['median_us']:9.0f}{span:>20}{ratio:>8}{share:>11}")
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps(found, indent=1))
    draw(found, BUILD / "bench.png")


if __name__ == "__main__":
    main()
