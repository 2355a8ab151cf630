"""A plugin of pytest: the definitions, with the knobs that they read."""

import pytest
from helpers import KNOBS


@pytest.fixture(scope="session")
def d(definitions):
    """The definitions as they are on a small machine without QUICK, keeping nothing."""
    for name, value in KNOBS.items():
        setattr(definitions, name, value)
    return definitions
