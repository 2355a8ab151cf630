"""A plugin of pytest: the definitions, with the knobs that they read."""

import pytest


@pytest.fixture(scope="session")
def d(definitions):
    """The definitions as they are on a small machine without QUICK."""
    knobs = {"QUICK": False, "SEEDS": 2, "DEVICE": "cpu",
             "ASKED": (2, 4, 8), "TREES": 30, "SHADES": ("black",)}
    for name, value in knobs.items():
        setattr(definitions, name, value)
    return definitions
