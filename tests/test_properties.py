"""What holds for all sizes, shapes and kinds of numbers."""

import math

import numpy as np
import pytest
import torch
from helpers import Identity, built, draws
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytest_plugins = "knobs"
few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 1000)
small = st.integers(1, 4)


# Networks and training


@given(data=small, code=small, extra=st.integers(1, 20), layers=small)
@few
def test_decoder_mirrors_encoder(d, data, code, extra, layers):
    model = d.Autoencoder(data, code, data + extra, layers)
    shapes, mirrored = ([tuple(m.weight.shape) for m in half
                         if isinstance(m, nn.Linear)]
                        for half in (model.encoder, model.decoder))
    sizes = [data, *[data + extra] * layers, code]
    assert shapes == [*zip(sizes[1:], sizes[:-1], strict=True)]
    assert mirrored == [shape[::-1] for shape in reversed(shapes)]
    x = torch.randn(7, data)
    assert model.encoder(x).shape == (7, code)
    assert torch.equal(model(x), model.decoder(model.encoder(x)))


@given(n=st.integers(1, 30), batch_size=st.integers(1, 40),
       count=st.integers(1, 3), own=st.booleans())
@few
def test_every_epoch_sees_every_point_once(d, n, batch_size, count, own):
    x = torch.arange(2.0 * n * count).reshape(count, n, 2)
    x = x if own else x[0]
    seen = []
    models = built(Identity, count=count)
    d.train_autoencoder(
        models, x, epochs=2, batch_size=batch_size, lr=1e-9,
        penalty=lambda codes, draw: seen.append(codes.detach()) or 0)
    sizes = [codes.shape[1] for codes in seen]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    for epoch in torch.cat(seen, 1).split(n, 1):
        assert torch.allclose(epoch.sort(1).values, x.expand(count, n, 2))


def test_each_model_and_each_epoch_has_its_own_order(d):
    seen = []
    d.train_autoencoder(
        built(Identity, count=2), torch.arange(60.0).reshape(30, 2), epochs=2,
        batch_size=30, lr=1e-9,
        penalty=lambda codes, draw: seen.append(codes.detach().round()) or 0)
    assert len(torch.cat(seen)[..., 0].unique(dim=0)) == 4


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50),
       count=st.integers(1, 3), data=st.integers(1, 5), seed=seeds,
       schedule=st.sampled_from(["constant", "cosine", "warm-up"]))
@few
def test_training_takes_any_number_of_points(
        d, n, batch_size, count, data, seed, schedule):
    models = built(d.Autoencoder, data, 1, data + 3, 1, count=count)
    history = d.train_autoencoder(
        models, draws(seed, n, data), epochs=2, batch_size=batch_size,
        seed=seed, schedule=schedule)
    assert history.shape == (count, 2)
    assert history.isfinite().all()


@given(n=st.integers(2, 40), batch_size=st.integers(2, 50), seed=seeds,
       closed_form=st.booleans())
@few
def test_mmd_training_takes_or_refuses_any_batch(d, n, batch_size, seed,
                                                 closed_form):
    model, = built(d.ResNet, 2, 4, 1, count=1)
    x = draws(seed, n, 2)
    options = {"epochs": 1, "batch_size": batch_size,
               "closed_form": closed_form}
    if n // math.ceil(n / batch_size) < 2:
        with pytest.raises(ValueError, match=f"batch_size .* {batch_size}"):
            d.train_mmd_autoencoder(model, x, **options)
    else:
        assert d.train_mmd_autoencoder(model, x, **options).isfinite().all()


# The maximum mean discrepancy


@given(n=st.integers(2, 9), m=st.integers(2, 9), dim=small,
       count=st.integers(3, 7), seed=seeds)
@few
def test_mmd2_is_symmetric_and_blind_to_order_and_place(
        d, n, m, dim, count, seed):
    x, y = draws(seed, n, dim), draws(seed + 1, m, dim)
    h = d.doubling(0.1, count)
    for kernel in ("squared_exponential", "inverse_multiquadratic"):
        value = d.mmd2(x, y, kernel, h)
        for other in (d.mmd2(y, x, kernel, h), d.mmd2(x.flip(0), y, kernel, h),
                      d.mmd2(x + 4096, y + 4096, kernel, h)):
            assert torch.isclose(value, other, atol=1e-9)
        assert value.abs() <= 2 * count


@given(n=st.integers(2, 9), k=small, dim=small, seed=seeds)
@few
def test_sets_at_once_are_as_one_by_one(d, n, k, dim, seed):
    x, y = draws(seed, k, n, dim), draws(seed + 1, k, 5, dim)
    together = d.mmd2(x, y), d.mmd2_to_normal(x)
    alone = zip(*((d.mmd2(a, b), d.mmd2_to_normal(a))
                  for a, b in zip(x, y, strict=True)), strict=True)
    for values, one_by_one in zip(together, alone, strict=True):
        assert torch.allclose(values, torch.stack(one_by_one), atol=1e-9)


@pytest.mark.parametrize("convert", [
    torch.Tensor.double, torch.Tensor.int, np.asarray, torch.Tensor.tolist])
def test_mmd2_takes_numbers_of_other_kinds(d, convert):
    x = torch.tensor([[0.0, 1], [2, 1], [3, 3]])
    y = torch.tensor([[1.0, 1], [0, 0]])
    expected = d.mmd2(x, y).item(), d.mmd2_to_normal(x).item()
    found = d.mmd2(convert(x), convert(y)), d.mmd2_to_normal(convert(x))
    assert [v.item() for v in found] == pytest.approx(expected, rel=1e-5)


def test_equal_constant_and_unknown_sets(d):
    x = torch.ones(5, 2)
    assert d.mmd2(x, x).item() == pytest.approx(0, abs=1e-6)
    assert d.mmd2(x, x + 100).item() == pytest.approx(14, abs=1e-4)
    assert d.mmd2(x * math.nan, x).isnan()


@given(n=st.integers(2, 40), m=st.integers(2, 40), k=small, pairs=st.integers(1, 200), seed=seeds)
@few
def test_pairs_in_parts_are_as_all_at_once(d, n, m, k, pairs, seed):
    x, y = draws(seed, k, n, 2), draws(seed + 1, k, m, 2)
    found, all_at_once = [], d.PAIRS
    try:
        for d.PAIRS in (all_at_once, pairs):
            found.append(torch.stack([d.mmd2(x, y), d.mmd2_to_normal(x)]))
    finally:
        d.PAIRS = all_at_once
    assert torch.allclose(*found, atol=1e-9)


# The moons


@given(angle=st.floats(math.pi / 3, math.pi), height=(st.floats(0.28, 0.32) | st.floats(
    0, 1, allow_subnormal=False)).filter(lambda h: abs(h - 0.3) > 1e-5))
@few
def test_points_farther_than_0_3_are_off_the_moons(d, angle, height):
    """Above the upper arc its distance is the height."""
    x = (1 + height) * torch.tensor([[math.cos(angle), math.sin(angle)]])
    assert d.share_off_moons(x).item() == (height > 0.3)
    assert d.share_off_moons(x[:, None]).shape == (1,)


@given(seed=seeds)
@few
def test_the_nearest_point_of_the_arcs_lies_on_them_at_the_distance(d, seed):
    x = 2 * draws(seed, 3, 20, 2).float()
    nearest = d.nearest_on_arcs(x)
    assert nearest.shape == x.shape
    assert torch.allclose((nearest - x).norm(dim=-1), d.distance_to_arcs(x), atol=1e-5)
    assert d.distance_to_arcs(nearest).max() < 1e-5
    assert torch.equal(d.on_lower(nearest), d.on_lower(x))
