"""The definitions of task 2: ResNet, training with the MMD, permutations."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_kernels
from torch import nn

SIZES = (2, 16, 2, 2)


@pytest.fixture(scope="module")
def d(definitions):
    """The definitions, with the knobs that they read."""
    definitions.SEEDS = 2
    definitions.DEVICE = "cpu"
    return definitions


def resnets(d, count=2):
    return d.build(d.ResNet, *SIZES, count=count)


def weights_of(model):
    return torch.cat([w.detach().flatten() for w in model.parameters()])


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


@pytest.mark.parametrize("sizes, named", [
    ((0, 8, 1), "input_size"), ((2, 2, 1), "hidden_size"),
    ((2, 8, 0), "blocks"), ((2, 8, 1, 0), "layers"), ((2, 8.5, 1), "8.5"),
])
def test_sizes_that_make_no_resnet(d, sizes, named):
    with pytest.raises((TypeError, ValueError), match=named):
        d.ResNet(*sizes)


# The loss


@pytest.mark.parametrize("options", [
    {"closed_form": True}, {"kernel": "squared_exponential"},
    {"kernel": "inverse_multiquadratic"}, {"bandwidths": (0.1, 0.2, 0.4)},
])
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
    if options.get("closed_form"):
        mmd = d.mmd2_to_normal(codes, bandwidths)
    else:
        mmd = d.mmd2(codes, normal[None], kernel, bandwidths)
    assert torch.allclose(history[:, 0], error + 5 * mmd, atol=1e-5)
    assert mmd.abs().min() > 1e-3


@pytest.mark.parametrize("options", [
    {"closed_form": True}, {"kernel": "inverse_multiquadratic"}])
def test_the_mmd_pulls_the_codes_to_the_normal(d, options):
    """Also fails if the codes are detached from the MMD."""
    x = d.moons(600, 0.1, 0)
    models = resnets(d)
    before = d.mmd2_to_normal(d.encode(models, x))
    d.train_mmd_autoencoder(models, x, epochs=40, lr=5e-3, weight=10.0,
                            schedule="one-cycle", **options)
    after = d.mmd2_to_normal(d.encode(models, x))
    assert (after < before / 4).all()
    assert (d.mse(models, x) < 0.02).all()


def test_weight_zero_is_the_training_of_task_1(d):
    x, with_mmd, without = d.moons(300, 0.1, 0), resnets(d), resnets(d)
    d.train_mmd_autoencoder(with_mmd, x, epochs=3, weight=0,
                            closed_form=True)
    d.train_autoencoder(without, x, epochs=3)
    for a, b in zip(with_mmd, without, strict=True):
        assert torch.allclose(weights_of(a), weights_of(b), atol=1e-6)


@pytest.mark.parametrize("closed_form", [True, False])
def test_a_list_gives_each_model_what_it_gets_alone(d, closed_form):
    x, together = d.moons(250, 0.1, 0), resnets(d, 3)
    options = {"epochs": 17, "closed_form": closed_form}
    d.train_mmd_autoencoder(together, x, seed=5, **options)
    for k, model in enumerate(resnets(d, 3)):
        start = weights_of(model)
        d.train_mmd_autoencoder(model, x, seed=5 + k, **options)
        alone = weights_of(model)
        assert (alone - weights_of(together[k])).abs().max() < 1e-4
        assert (alone - start).abs().max() > 0.01


@pytest.mark.parametrize("options, named", [
    ({"weight": -1}, "weight"), ({"weight": math.nan}, "weight"),
    ({"kernel": "laplace"}, "laplace"), ({"bandwidths": (1, 2)}, "bandwidths"),
    ({"bandwidths": (1, 3, 9)}, "bandwidths"), ({"batch_size": 1}, "batch"),
    ({"batch_size": 2}, "batch_size = 2"), ({"epochs": 0}, "epochs"),
    ({"closed_form": True, "kernel": "inverse_multiquadratic"},
     "closed_form"), ({"lr": 0}, "lr"),
])
def test_bad_arguments_are_named_and_change_nothing(d, options, named):
    x, model = d.moons(51, 0.1, 0), resnets(d, 1)[0]
    before = weights_of(model)
    with pytest.raises((TypeError, ValueError), match=named):
        d.train_mmd_autoencoder(model, x, **{"epochs": 1, **options})
    assert torch.equal(weights_of(model), before)


# The estimate


@pytest.mark.parametrize("count", [3, 7])
def test_mmd2_agrees_with_scikit_learn(d, count):
    x, y = np.random.default_rng(0).normal(size=(2, 30, 2))
    y = y[:20] + 0.3
    expected = 0
    for h in d.doubling(0.1, count):
        kxx, kyy, kxy = (
            pairwise_kernels(a, b, metric="rbf", gamma=1 / (2 * h))
            for a, b in ((x, x), (y, y), (x, y)))
        expected += ((kxx.sum() - 30) / (30 * 29)
                     + (kyy.sum() - 20) / (20 * 19) - 2 * kxy.mean())
    found = d.mmd2(torch.tensor(x), torch.tensor(y),
                   bandwidths=d.doubling(0.1, count))
    assert math.isclose(found, expected, rel_tol=1e-9)


@pytest.mark.parametrize("kernel", ["squared_exponential",
                                    "inverse_multiquadratic"])
def test_mmd2_is_unbiased(d, kernel):
    x, y = (d.standard_normal(4000, 12, 2, seed=seed) for seed in (0, 1))
    values = d.mmd2(x, y, kernel)
    error = values.std() / 4000**0.5
    assert values.mean().abs() < 4 * error
    assert error < 0.01


def test_mmd2_of_far_points_keeps_their_distances(d):
    x, y = d.standard_normal(2, 50, 2, seed=0).double()
    near = d.mmd2(x, y)
    far = d.mmd2(x + 4096, y + 4096)
    assert torch.isclose(near, far, atol=1e-9)
    assert d.mmd2(x, y + 1e6).isfinite()


def test_permutation_p_values_are_uniform_under_the_null(d):
    p = [d.permutation_p_value(*d.standard_normal(2, 20, 2, seed=k), 99,
                               seed=k) for k in range(300)]
    distance = np.abs(np.sort(p) - (np.arange(300) + 0.5) / 300).max()
    assert distance < 1.63 / 300**0.5  # Kolmogorov-Smirnov test, 1 %
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_permutation_p_value_of_different_sets_is_small(d):
    x, y = d.standard_normal(2, 50, 2, seed=0)
    assert d.permutation_p_value(x, y + 1, 99) == pytest.approx(0.01)


def test_faulty_normals_have_the_faults_they_are_named_for(d):
    sets = d.faulty_normals(d.standard_normal(200_000, 2, seed=0))
    mean, cov = ({name: f(x.T) for name, x in sets.items()}
                 for f in (lambda x: x.mean(1), torch.cov))
    assert torch.allclose(mean["shifted by 0.3"], torch.tensor([0.3, 0.0]),
                          atol=0.01)
    assert torch.allclose(cov["scaled by 1.2"], 1.44 * torch.eye(2), atol=0.02)
    for name in ("square", "ring", "stencil"):
        assert mean[name].abs().max() < 0.02
        atol = 0.1 if name == "stencil" else 0.02
        assert torch.allclose(cov[name], torch.eye(2), atol=atol)
    strips = ((sets["stencil"][:, 0] + 0.25) / 0.5).floor() % 2
    assert (strips == 0).float().mean() > 0.99


def test_polar_grid_has_its_radii_and_angles(d):
    circles, rays = d.polar_grid([1.0, 2.0], [0.0, math.pi / 2])
    for radius, (level, line) in zip((1, 2), circles, strict=True):
        assert torch.allclose(line.norm(dim=1), torch.tensor(float(radius)))
        assert level == radius / 2
    assert rays[1][1][-1].tolist() == pytest.approx([0, 2], abs=1e-6)
