"""Compare the results of two executed notebooks, e.g. of two machines.

``python tests/compare_results.py SAVED OTHER`` fails if a number of the
summary differs by more than the spread between runs that is to be expected:
rounding differs between machines, and training amplifies it.
"""

import sys

import nbformat

TOLERANCES = {  # by the end of the key: relative, absolute
    "std": (2.0, 0.0),  # of eight runs, dominated by the worst
    "max": (0.5, 0.0),
    "_mse": (0.15, 0.0),
    "median": (0.05, 0.0),
    "min": (0.05, 0.0),
    "best_of_restarts": (0.05, 0.0),
    "noise_0.1": (1e-4, 0.0),
    "noise_0.2": (1e-4, 0.0),
    "null95": (0.05, 0.0),
    "mmd2": (0.0, 0.006),  # the null's 95 % quantile
    "off_moons": (0.0, 0.01),
    "agreement": (0.0, 0.02),
    "accuracy": (0.0, 0.02),
    "seeds": (0.0, 0.0),
    "restarts": (0.0, 0.0),
    "models_trained": (0.0, 0.0),
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


if __name__ == "__main__":
    lines = differences(*map(results, sys.argv[1:3]))
    print("\n".join(lines) or "The results agree.")
    sys.exit(bool(lines))
