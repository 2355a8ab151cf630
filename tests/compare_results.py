"""Compare the results of executed notebooks, e.g. of several machines.

``python tests/compare_results.py SAVED OTHER [OTHER ...]`` prints for each
number of the summary the largest change against the saved one.  It fails if
a change is more than the spread between runs that is to be expected:
rounding differs between machines, and training amplifies it.
"""

import sys

import nbformat

TOLERANCES = {  # by the end of the key: relative, absolute
    "std": (2.0, 0.0),  # of eight runs, dominated by the worst
    "best_of_restarts": (0.1, 0.0),  # of the runs of all finalists
    "max": (0.5, 0.0),
    "_mse": (0.15, 0.0),
    **dict.fromkeys(("median", "min", "restarts", "null95"), (0.05, 0.0)),
    **dict.fromkeys(("noise_0.1", "noise_0.2"), (1e-4, 0.0)),
    "mmd2": (0.0, 0.006),  # the null's 95 % quantile
    "off_moons": (0.0, 0.01),
    **dict.fromkeys(("agreement", "accuracy"), (0.0, 0.02)),
    **dict.fromkeys(("seeds", "mse.restarts", "models_trained"), (0.0, 0.0)),
    "": (0.15, 0.0),  # all others
}


def results(path):
    """Return the numbers in the metadata of a notebook's summary."""
    return next(output.metadata["results"]
                for cell in nbformat.read(path, as_version=4).cells
                for output in cell.get("outputs", [])
                if "results" in output.get("metadata", {}))


def differences(saved, other):
    """Return a sentence for each number that differs by too much."""
    found = [f"{key}: only in one of the two"
             for key in saved.keys() ^ other.keys()]
    for key in saved.keys() & other.keys():
        relative, absolute = next(TOLERANCES[end] for end in sorted(
            TOLERANCES, key=len, reverse=True) if key.endswith(end))
        allowed = relative * abs(saved[key]) + absolute
        if not abs(saved[key] - other[key]) <= allowed:
            found.append(f"{key}: {saved[key]:.5g} and {other[key]:.5g} "
                         f"differ by more than {allowed:.2g}")
    return sorted(found)


def changes(saved, others):
    """Return a line for each number: saved, the farthest, its change."""
    for key, value in saved.items():
        far = max((other[key] for other in others if key in other),
                  key=lambda x: abs(x - value), default=value)
        percent = f"{(far - value) / value:+.1%}" if value else ""
        yield f"{key:40} {value:11.5g} {far:11.5g} {percent:>8}"


if __name__ == "__main__":
    first, *rest = map(results, sys.argv[1:])
    print(*changes(first, rest), sep="\n")
    lines = [line for other in rest for line in differences(first, other)]
    print("\n".join(lines) or "The results agree.")
    sys.exit(bool(lines))
