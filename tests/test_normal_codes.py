"""The definitions of task 2: the MMD, the ResNet, training with both."""

import math
import re
import sys

import numpy as np
import pytest
import torch
from conftest import call
from helpers import PROC, autoencoders, distance, draws, program, refused, resnets
from sklearn.metrics import pairwise_kernels
from torch import nn

pytest_plugins = "knobs"
KERNELS = pytest.mark.parametrize(
    "kernel", ["squared_exponential", "inverse_multiquadratic"])


# The estimate


def mmd2_by_loops(x, y, kernel, bandwidths):
    """The unbiased estimate of MMD², pair by pair."""
    def mean(a, b, skip):
        values = [sum(kernel(((p - q) ** 2).sum(), h) for h in bandwidths)
                  for i, p in enumerate(a) for j, q in enumerate(b)
                  if not (skip and i == j)]
        return sum(values) / len(values)
    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@KERNELS
@pytest.mark.parametrize("n, m", [(2, 3), (7, 4), (6, 6)])
def test_mmd2_against_plain_loops(d, kernel, n, m):
    formula = {"squared_exponential": lambda r2, h: (-r2 / (2 * h)).exp(),
               "inverse_multiquadratic": lambda r2, h: 1 / (1 + r2 / h)}
    x, y = draws(0, n, 3), draws(1, m, 3) + 0.5
    bandwidths = (0.25, 0.5, 1, 2)
    expected = mmd2_by_loops(x, y, formula[kernel], bandwidths)
    for same in (kernel, getattr(d, kernel), formula[kernel]):
        found = d.mmd2(x, y, same, bandwidths)
        assert torch.isclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("count", [3, 7])
def test_mmd2_agrees_with_scikit_learn(d, count):
    x, y = draws(0, 30, 2), draws(1, 20, 2) + 0.3
    expected = 0
    for h in d.doubling(0.1, count):
        kxx, kyy, kxy = (
            pairwise_kernels(a, b, metric="rbf", gamma=1 / (2 * h))
            for a, b in ((x, x), (y, y), (x, y)))
        expected += ((kxx.sum() - 30) / (30 * 29)
                     + (kyy.sum() - 20) / (20 * 19) - 2 * kxy.mean())
    found = d.mmd2(x, y, bandwidths=d.doubling(0.1, count))
    assert math.isclose(found, expected, rel_tol=1e-9)


@KERNELS
def test_mmd2_is_unbiased(d, kernel):
    x, y = (d.standard_normal(4000, 12, 2, seed=seed) for seed in (0, 1))
    values = d.mmd2(x, y, kernel)
    error = values.std() / 4000**0.5
    assert values.mean().abs() < 4 * error
    assert error < 0.01


def test_mmd2_to_normal_is_the_mean_over_normal_samples(d):
    x = 0.5 * d.standard_normal(40, 2, seed=0) + 0.4
    y = d.standard_normal(400, 200, 2, seed=1)
    sampled = d.mmd2(x.expand(400, 40, 2), y)
    error = sampled.std() / 400**0.5
    assert (sampled.mean() - d.mmd2_to_normal(x)).abs() < 4 * error
    assert 4 * error < 0.1 * sampled.mean()


@KERNELS
@pytest.mark.parametrize("count", [3, 7])
def test_mmd2_has_gradients_for_both_sets(d, kernel, count):
    x, y = (draws(seed, 1, 5, 2).requires_grad_() for seed in (0, 1))
    h = d.doubling(0.2, count)
    assert torch.autograd.gradcheck(
        lambda x, y: d.mmd2(x, y, kernel, h), (x, y))
    assert torch.autograd.gradcheck(lambda x: d.mmd2_to_normal(x, h), x)


@pytest.mark.parametrize("bandwidths", [
    (1, 2), (1, 2, 3), (0, 0, 0), (-1, -2, -4), (4, 2, 1),
    (1, 2, math.nan), tuple(2.0**i for i in range(8)), ("a", "b", "c"), 1.5,
    None])
def test_bandwidths_that_the_sheet_does_not_allow(d, bandwidths):
    x, words = torch.randn(5, 2), re.escape(str(bandwidths))
    for use in (lambda: d.mmd2(x, x, bandwidths=bandwidths),
                lambda: d.mmd2_to_normal(x, bandwidths)):
        with pytest.raises(ValueError, match=f"bandwidths .*{words}"):
            use()
    refused(d, "bandwidths", bandwidths, str(bandwidths),
            "train_mmd_autoencoder")


@pytest.mark.parametrize("x, y, words", [
    ([[1.0]], [[1.0], [2]], "(1, 1)"), ([1.0, 2], [[1.0], [2]], "(2,)"),
    ([[1.0, 2], [3, 4]], [[1.0], [2]], "(2, 1)"),
    (np.ones((0, 2)), np.ones((3, 2)), "(0, 2)"), ("ab", "cd", "numbers")])
def test_sets_that_cannot_be_compared_are_refused(d, x, y, words):
    with pytest.raises((TypeError, ValueError), match=f"x.*y.*{re.escape(words)}"):
        d.mmd2(x, y)


def test_unknown_kernel_is_named(d):
    with pytest.raises(ValueError, match="kernel .*'laplace'"):
        d.mmd2(torch.randn(5, 2), torch.randn(5, 2), kernel="laplace")


# The residual network


@pytest.mark.parametrize("blocks, layers", [(1, 1), (3, 2), (4, 1)])
def test_resnet_is_a_stack_of_blocks(d, blocks, layers):
    model, x = d.ResNet(3, 8, blocks, layers), torch.randn(5, 3)
    for half in (model.encoder, model.decoder):
        assert len(half) == blocks
        z = x
        for block in half:
            shapes = [tuple(m.weight.shape) for m in block.f
                      if isinstance(m, nn.Linear)]
            assert shapes == [(8, 3), *[(8, 8)] * (layers - 1), (3, 8)]
            assert [type(m) for m in block.f[1::2]] == [nn.ReLU] * layers
            z = z + block.f(z)
        assert torch.equal(half(x), z)
    assert torch.equal(model(x), model.decoder(model.encoder(x)))


def test_zero_weights_make_the_resnet_the_identity(d):
    model, x = d.ResNet(2, 8, 3), torch.randn(5, 2)
    assert not torch.allclose(model(x), x)
    for w in model.parameters():
        w.data.zero_()
    assert torch.equal(model(x), x)
    assert torch.equal(model.encoder(x), x)


@pytest.mark.parametrize("sizes, name, value", [
    ((0, 8, 1), "input_size", 0), ((2, 2, 1), "hidden_size", 2),
    ((2, 8, 0), "blocks", 0), ((2, 8, 1, 0), "layers", 0),
    ((2, 8.5, 1), "hidden_size", 8.5)])
def test_sizes_that_make_no_resnet(d, sizes, name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name} .*{value}"):
        d.ResNet(*sizes)


# Training with the MMD


@pytest.mark.parametrize("options", [
    {"closed_form": True}, {"kernel": "squared_exponential"},
    {"kernel": "inverse_multiquadratic"}, {"bandwidths": (0.1, 0.2, 0.4)},
    {"closed_form": True, "bandwidths": (0.1, 0.2, 0.4)}])
def test_loss_is_error_plus_weighted_mmd(d, options):
    """One full batch: the history holds the loss before the step."""
    x, model = d.moons(60, 0.1, 0), resnets(d, 1)
    error, codes = d.mse(model, x), d.encode(model, x)
    history = d.train_mmd_autoencoder(
        model, x, epochs=1, batch_size=60, weight=5.0, seed=3, **options)
    generator = torch.Generator().manual_seed(3)
    torch.randperm(60, generator=generator)  # the order of the points
    normal = torch.randn(60, 2, generator=generator)
    kernel = options.get("kernel", "squared_exponential")
    bandwidths = options.get("bandwidths", d.BANDWIDTHS)
    mmd2 = (d.mmd2_to_normal(codes, bandwidths) if "closed_form" in options
            else d.mmd2(codes, normal[None], kernel, bandwidths))
    assert torch.allclose(history[:, 0], error + 5 * mmd2, atol=1e-5)
    assert mmd2.abs().min() > 1e-3


@pytest.mark.parametrize("options", [
    {"closed_form": True}, {"kernel": "inverse_multiquadratic"}])
def test_the_mmd_pulls_the_codes_to_the_normal(d, options):
    """Also fails if the codes are detached from the MMD."""
    x, models = d.moons(600, 0.1, 0), resnets(d, 2)
    before = d.mmd2_to_normal(d.encode(models, x))
    d.train_mmd_autoencoder(models, x, epochs=40, lr=5e-3, weight=10.0,
                            schedule="warm-up", **options)
    after = d.mmd2_to_normal(d.encode(models, x))
    assert (after < before / 4).all()
    assert (d.mse(models, x) < 0.02).all()


def test_weight_zero_is_the_training_of_task_1(d):
    x, with_mmd, without = d.moons(300, 0.1, 0), resnets(d, 2), resnets(d, 2)
    d.train_mmd_autoencoder(with_mmd, x, epochs=3, weight=0, closed_form=True)
    d.train_autoencoder(without, x, epochs=3)
    for a, b in zip(with_mmd, without, strict=True):
        assert distance(a, b) < 1e-6


@pytest.mark.parametrize("build", [resnets, lambda d, count: autoencoders(
    d, count, 2, 2, 8, 2)], ids=["ResNet", "Autoencoder"])
@pytest.mark.parametrize("closed_form", [True, False])
def test_a_list_gives_each_model_what_it_gets_alone(d, build, closed_form):
    x, together = d.moons(250, 0.1, 0), build(d, 3)
    options = {"epochs": 17, "closed_form": closed_form}  # 51 steps
    d.train_mmd_autoencoder(together, x, seed=5, **options)
    for k, (model, start) in enumerate(zip(build(d, 3), build(d, 3),
                                           strict=True)):
        d.train_mmd_autoencoder(model, x, seed=5 + k, **options)
        assert distance(model, together[k]) < 1e-4
        assert distance(model, start) > 0.01


@pytest.mark.parametrize("name, value, words", [
    ("weight", -1, "-1"), ("weight", math.nan, "nan"),
    ("kernel", "laplace", "'laplace'"), ("batch_size", 1, "1"),
    ("batch_size", 2, "2")])
def test_bad_arguments_are_named_and_change_nothing(d, name, value, words):
    """Minibatches of at most 2 of 51 points leave one point alone."""
    refused(d, name, value, words, "train_mmd_autoencoder",
            x_train=d.moons(51, 0.1, 0))


def test_the_closed_form_needs_the_squared_exponential(d):
    refused(d, "kernel", "inverse_multiquadratic", "inverse_multiquadratic",
            "train_mmd_autoencoder", closed_form=True)


# What is measured


def identity(d):
    """A residual network that changes nothing."""
    model, = resnets(d, 1)
    for w in model.parameters():
        w.data.zero_()
    return model


def test_measures_find_nothing_wrong_with_the_identity(d):
    x = d.standard_normal(100_000, 2, seed=0)
    found = d.measure([identity(d)], 2 * x, seed=1)
    assert found["mse"] == 0
    assert found["radius"] == pytest.approx(2, rel=0.02)
    moons = d.random_moons(10_000, seed=1).reshape(10, 1000, 2)
    assert found["code_mmd2"].shape == (1, 10)
    assert found["code_mmd2"][0] == pytest.approx(d.mmd2_to_normal(moons).numpy(), rel=1e-4)
    assert found["off"] == pytest.approx(100 * d.share_off_moons(x).item(), abs=3)


def test_moons_at_random_places_lie_on_both_arcs(d):
    x = d.random_moons(3, 4000, seed=0, noise=0.0)
    assert x.shape == (3, 4000, 2)
    assert d.distance_to_arcs(x).max() < 1e-5
    lower = d.on_lower(x)
    assert lower.float().mean() == pytest.approx(0.5, abs=0.03)
    assert x[~lower][:, 0].mean().abs() < 0.05
    assert x[lower][:, 0].mean() == pytest.approx(1, abs=0.05)
    noisy = d.random_moons(3, 4000, seed=0) - x
    assert noisy.std() == pytest.approx(0.1, rel=0.02)
    assert not torch.equal(x, d.random_moons(3, 4000, seed=1, noise=0.0))


def test_real_sets_have_an_mmd2_of_zero_on_average(d):
    found = d.mmd2_of_moons(20, d.BANDWIDTHS, seed=0)
    assert found.shape == (20,)
    assert abs(found.mean()) < 4 * found.std() / 20**0.5
    sets, more_sets = d.random_moons(2, 2, 1000, seed=3)
    found = d.mmd2_of_moons(2, d.BANDWIDTHS, seed=3)
    assert found == pytest.approx(d.mmd2(sets, more_sets).numpy())
    assert not np.array_equal(found, d.mmd2_of_moons(2, d.BANDWIDTHS, seed=1))
    assert not np.array_equal(found, d.mmd2_of_moons(2, d.doubling(0.002), seed=3))


def test_the_share_of_sets_that_pass(d):
    found = d.passed(np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [0, 0, 0, 2]]), below=2.5)
    assert found.tolist() == [50, 0, 100]


def test_normal_sets_have_an_mmd2_of_zero_on_average(d):
    found = np.array(d.normal_mmd2s(40, seed=0))
    assert found.shape == (40,)
    assert abs(found.mean()) < 4 * found.std() / 40**0.5


def test_two_scales_are_weighted(d):
    codes = d.standard_normal(2, 30, 2, seed=0) + 0.5
    fine, coarse = d.doubling(0.1, 4), d.doubling(1, 3)
    expected = d.mmd2_to_normal(codes, fine) + 0.2 * d.mmd2_to_normal(codes, coarse)
    assert torch.allclose(d.two_scales(codes, None, fine, 0.2), expected)


@PROC
def test_many_points_are_compared_in_little_memory(notebook, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(program(
        notebook, "flush_tiny_numbers()", "x, y = standard_normal(2, 7_000, 2, seed=0)",
        "def peak():  # MiB\n    status = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmHWM:\\s*(\\d+)', status)[1]) / 1024",
        "mmd2(x[:100], y[:100])", "before = peak()", "found = mmd2(x, y).item()",
        "print(peak() - before, peak(), found)"))
    done = call([sys.executable, str(script)], tmp_path)
    assert done.returncode == 0, done.stderr
    more, peak, found = map(float, done.stdout.split())
    assert 1 < more < 50 and peak < 700  # all pairs at once: 370 more
    assert abs(found) < 2e-3
