"""What the tests of the definitions share: small models, their weights."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
KNOBS = {"QUICK": False, "SEEDS": 2, "DEVICE": "cpu", "WORKERS": 1, "KEPT": "", "TREES": 30,
         "BOTTLENECKS": (2, 4, 8), "SHADES": ("black",)}


class Own(nn.Module):
    """A model of two halves, whatever they are made of."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder


class Identity(Own):
    """Its codes are its inputs, and so are its reconstructions."""

    def __init__(self, size=2):
        super().__init__(nn.Linear(size, size), nn.Identity())
        with torch.no_grad():
            self.encoder.weight.copy_(torch.eye(size))
            self.encoder.bias.zero_()


def built(architecture, *sizes, count, seed=0):
    """Build models, model k from seed + k."""
    models = []
    for k in range(count):
        torch.manual_seed(seed + k)
        models.append(architecture(*sizes))
    return models


def autoencoders(d, count, *sizes, seed=0):
    """Build small autoencoders, by default with a bottleneck of one."""
    return built(d.Autoencoder, *(sizes or (2, 1, 8, 2)), count=count, seed=seed)


def resnets(d, count, seed=0):
    """Build small residual networks."""
    return built(d.ResNet, 2, 16, 2, 2, count=count, seed=seed)


def weights_of(model):
    """Return all weights of a model as one vector."""
    return torch.cat([w.detach().flatten() for w in model.parameters()])


def distance(a, b):
    """Return the largest difference between the weights of two models."""
    return (weights_of(a) - weights_of(b)).abs().max().item()


def refused(d, name, value, words, train, **others):
    """Check that training names a bad argument and changes nothing."""
    models = resnets(d, 2)
    good = {"models": models, "x_train": d.moons(20, 0.1, 0), "epochs": 1}
    with pytest.raises((TypeError, ValueError), match=f"(?s){name} .*{re.escape(words)}"):
        getattr(d, train)(**good | others | {name: value})
    for model, start in zip(models, resnets(d, 2), strict=True):
        assert distance(model, start) == 0


def draws(seed, *shape):
    """Return standard normal numbers of double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.double)


def program(notebook, *lines, **knobs):
    """Return a program that executes the definitions, sets knobs, and goes on with lines."""
    cells = [c.source for c in notebook.cells if "definitions" in c.metadata.get("tags", [])]
    knobs = [f"{name} = {value!r}" for name, value in (KNOBS | knobs).items()]
    return "\n\n".join([*cells, *knobs, *lines]) + "\n"
