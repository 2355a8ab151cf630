"""A plugin of pytest: the definitions, with the knobs that they read."""

import pytest

KNOBS = {"QUICK": False, "SEEDS": 2, "DEVICE": "cpu", "WORKERS": 1, "KEPT": "", "TREES": 30,
         "BOTTLENECKS": (2, 4, 8), "SHADES": ("black",)}


@pytest.fixture(scope="session")
def d(definitions):
    """The definitions as they are on a small machine without QUICK, keeping nothing."""
    for name, value in KNOBS.items():
        setattr(definitions, name, value)
    return definitions
