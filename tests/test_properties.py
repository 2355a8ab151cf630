"""What holds for all sizes, shapes and kinds of numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 1000)


@pytest.fixture(scope="module")
def d(definitions):
    """The definitions, with the knobs that they read."""
    definitions.SEEDS = 2
    definitions.DEVICE = "cpu"
    return definitions


def draw(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.double)


# The maximum mean discrepancy


@given(n=st.integers(2, 9), m=st.integers(2, 9), dim=st.integers(1, 4),
       count=st.integers(3, 7), seed=seeds)
@few
def test_mmd2_is_symmetric_and_blind_to_order_and_place(
        d, n, m, dim, count, seed):
    x, y = draw(seed, n, dim), draw(seed + 1, m, dim)
    h = d.doubling(0.1, count)
    for kernel in d.KERNELS:
        value = d.mmd2(x, y, kernel, h)
        for other in (d.mmd2(y, x, kernel, h), d.mmd2(x.flip(0), y, kernel, h),
                      d.mmd2(x + 5, y + 5, kernel, h)):
            assert torch.isclose(value, other, atol=1e-9)
        assert value.abs() <= 2 * count


@given(n=st.integers(2, 9), k=st.integers(1, 4), dim=st.integers(1, 3),
       seed=seeds)
@few
def test_sets_at_once_are_as_one_by_one(d, n, k, dim, seed):
    x, y = draw(seed, k, n, dim), draw(seed + 1, k, 5, dim)
    together = d.mmd2(x, y), d.mmd2_to_normal(x)
    for i in range(k):
        assert torch.isclose(together[0][i], d.mmd2(x[i], y[i]), atol=1e-9)
        assert torch.isclose(together[1][i], d.mmd2_to_normal(x[i]),
                             atol=1e-9)


@pytest.mark.parametrize("convert", [
    torch.Tensor.double, torch.Tensor.int, np.asarray, torch.Tensor.tolist])
def test_mmd2_takes_numbers_of_other_kinds(d, convert):
    x = torch.tensor([[0.0, 1], [2, 1], [3, 3]])
    y = torch.tensor([[1.0, 1], [0, 0]])
    expected = d.mmd2(x, y).item(), d.mmd2_to_normal(x).item()
    found = d.mmd2(convert(x), convert(y)), d.mmd2_to_normal(convert(x))
    assert [v.item() for v in found] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("x, y", [
    ([[1.0]], [[1.0], [2]]), ([1.0, 2], [[1.0], [2]]),
    ([[1.0, 2], [3, 4]], [[1.0], [2]]), (np.ones((0, 2)), np.ones((3, 2)))])
def test_sets_that_cannot_be_compared_are_refused(d, x, y):
    with pytest.raises(ValueError, match="shapes"):
        d.mmd2(x, y)


def test_words_are_no_points(d):
    with pytest.raises(TypeError, match="numbers"):
        d.mmd2("ab", "cd")


def test_equal_and_constant_sets(d):
    x = torch.ones(5, 2)
    assert d.mmd2(x, x).item() == pytest.approx(0, abs=1e-6)
    assert d.mmd2(x, x + 100).item() == pytest.approx(14, abs=1e-4)
    assert d.mmd2(x * math.nan, x).isnan()


# Training


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50),
       count=st.integers(1, 3), dim=st.integers(1, 5), seed=seeds)
@few
def test_training_takes_any_number_of_points(d, n, batch_size, count, dim,
                                             seed):
    x = draw(seed, n, dim).float()
    models = d.build(d.Autoencoder, dim, 1, dim + 3, 1, count=count)
    history = d.train_autoencoder(models, x, epochs=2, batch_size=batch_size,
                                  seed=seed)
    assert history.shape == (count, 2)
    assert history.isfinite().all()


@given(n=st.integers(2, 40), batch_size=st.integers(2, 50), seed=seeds,
       closed_form=st.booleans())
@few
def test_mmd_training_takes_or_refuses_any_batch(d, n, batch_size, seed,
                                                 closed_form):
    x = draw(seed, n, 2).float()
    (model,) = d.build(d.ResNet, 2, 4, 1, count=1)
    options = {"epochs": 1, "batch_size": batch_size,
               "closed_form": closed_form}
    if n // math.ceil(n / batch_size) < 2:
        with pytest.raises(ValueError, match="batch_size"):
            d.train_mmd_autoencoder(model, x, **options)
    else:
        assert d.train_mmd_autoencoder(model, x, **options).isfinite().all()


@given(bad=st.sampled_from([math.nan, math.inf, -math.inf]),
       row=st.integers(0, 9))
@few
def test_points_that_are_not_finite_are_refused(d, bad, row):
    x = draw(0, 10, 2).float()
    x[row, row % 2] = bad
    (model,) = d.build(d.Autoencoder, 2, 1, 4, 1, count=1)
    for function in (lambda: d.train_autoencoder(model, x, epochs=1),
                     lambda: d.encode(model, x)):
        with pytest.raises(ValueError, match="finite"):
            function()


# Codes drawn from mixtures


def test_drawn_codes_come_in_random_order(d):
    codes = np.concatenate([np.full((100, 1), -5.0), np.full((100, 1), 5.0)])
    codes += np.random.default_rng(0).normal(size=codes.shape)
    mixture = d.best_mixture(codes, range(1, 4))
    drawn = d.draw_codes(mixture, 200, 0)[:, 0] > 0
    assert 60 < drawn.sum() < 140
    assert (drawn.diff() != 0).sum() > 50  # not one lump after the other
    again = d.draw_codes(mixture, 200, 0)[:, 0] > 0
    assert torch.equal(drawn, again)


# The moons


def test_points_farther_than_0_3_are_off_the_moons(d):
    """Above the top of the upper arc the distance is the height."""
    heights = torch.tensor([0.0, 0.27, 0.29, 0.31, 0.35])
    x = torch.stack([torch.zeros(5), 1 + heights], 1)
    assert d.off_moons(x).item() == pytest.approx(2 / 5)
    assert d.off_moons(x[:, None]).tolist() == [0, 0, 0, 1, 1]
