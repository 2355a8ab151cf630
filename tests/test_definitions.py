"""The definitions that all tasks share, taken from the notebook."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_moons
from torch import nn

FAR = 1e-4  # a difference of weights that counts


@pytest.fixture(scope="module")
def d(definitions):
    """The definitions, with the knobs that they read."""
    definitions.SEEDS = 2
    definitions.DEVICE = "cpu"
    return definitions


def models_of(d, count, *sizes, seed=0):
    return d.build(
        d.Autoencoder, *(sizes or (2, 1, 8, 2)), count=count, seed=seed
    )


def weights_of(model):
    return torch.cat([w.detach().flatten() for w in model.parameters()])


def linear_shapes(half):
    return [tuple(m.weight.shape) for m in half if isinstance(m, nn.Linear)]


# The autoencoder


sizes = st.tuples(
    st.integers(1, 5), st.integers(1, 6), st.integers(1, 20), st.integers(1, 5)
)


@given(sizes=sizes)
@settings(deadline=None, max_examples=50)
def test_decoder_mirrors_encoder(d, sizes):
    data, code, extra, layers = sizes
    model = d.Autoencoder(data, code, data + extra, layers)
    encoder = linear_shapes(model.encoder)
    assert len(encoder) == layers + 1
    assert encoder[0][1] == data
    assert encoder[-1][0] == code
    assert all(shape[0] == data + extra for shape in encoder[:-1])
    mirrored = [shape[::-1] for shape in reversed(encoder)]
    assert linear_shapes(model.decoder) == mirrored
    x = torch.randn(7, data)
    assert model.encoder(x).shape == (7, code)
    assert model(x).shape == x.shape
    assert torch.equal(model(x), model.decoder(model.encoder(x)))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_relu_stands_between_linear_layers_only(d, half):
    kinds = [type(m) for m in getattr(d.Autoencoder(2, 1, 8, 3), half)]
    assert all(issubclass(kind, nn.Linear) for kind in kinds[::2])
    assert all(kind is nn.ReLU for kind in kinds[1::2])
    assert len(kinds) == 7


@pytest.mark.parametrize("half, width", [("encoder", 2), ("decoder", 1)])
def test_outputs_are_linear(d, half, width):
    half = getattr(d.Autoencoder(2, 1, 32, 2), half)
    with torch.no_grad():
        half[-1].bias.fill_(-100.0)
    assert (half(torch.randn(50, width)) < 0).all()


@pytest.mark.parametrize(
    "sizes, named",
    [
        ((0, 1, 8, 2), "input_size"),
        ((2, 0, 8, 2), "bottleneck_size"),
        ((2, 1, 8, 0), "layers"),
        ((2, 1, 2, 2), "hidden_size"),
        ((2, 1, 1, 2), "hidden_size"),
        ((2, -3, 8, 2), "bottleneck_size"),
        ((2, 1, 8.5, 2), "hidden_size"),
        (("2", 1, 8, 2), "input_size"),
        ((2, 1, 8, True), "layers"),
        ((2, 1, None, 2), "hidden_size"),
        ((2, 1, 8, 2.0), "layers"),
    ],
)
def test_sizes_that_make_no_network(d, sizes, named):
    with pytest.raises((TypeError, ValueError), match=named):
        d.Autoencoder(*sizes)


# Backpropagation


def step(d, way, batches, models, penalty):
    """Losses and gradients of the last of some batches, by one of the ways."""
    batched, weights = d.stack(models)
    _, normal = d.own_draws(0, len(models), "cpu")
    if way == "by hand":
        losses = d.by_hand(batched, penalty, normal)
    else:
        losses = d.by_autograd(batched, weights, penalty, normal)
    for x, noise in batches:
        found = losses(x + noise, x)
    return found, weights.grad


@given(sizes=sizes, count=st.integers(1, 3), seed=st.integers(0, 99),
       points=st.lists(st.integers(1, 9), min_size=1, max_size=4),
       penalised=st.booleans())
@settings(deadline=None, max_examples=30)
def test_gradients_by_hand_are_those_of_autograd(
        d, sizes, count, seed, points, penalised):
    data, code, extra, layers = sizes
    models = [model.double() for model in d.build(
        d.Autoencoder, data, code, data + extra, layers, count=count,
        seed=seed)]
    torch.manual_seed(seed)
    batches = [torch.randn(2, count, n, data, dtype=torch.double)
               for n in points]

    def penalty(codes, normal):
        return (codes - normal(*codes.shape[1:])).square().mean((1, 2))

    (loss, grad), (loss_by_hand, grad_by_hand) = (
        step(d, way, batches, models, penalty if penalised else None)
        for way in ("by autograd", "by hand"))
    assert torch.allclose(loss, loss_by_hand, rtol=1e-10)
    assert torch.allclose(grad, grad_by_hand, rtol=1e-10, atol=1e-12)


def changed(d, change):
    """Autoencoders in which something is changed."""
    models = models_of(d, 2, 2, 2, 8, 1)
    for model in models:
        change(model)
    return models


CHANGES = {
    "another activation": lambda m: setattr(m.encoder, "1", nn.Tanh()),
    "a layer that was met before": lambda m: setattr(
        m.decoder, "0", m.encoder[0]),
    "a ReLU at the end": lambda m: m.decoder.append(nn.ReLU()),
    "no ReLU": lambda m: m.encoder.pop(1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_networks_are_trained_by_autograd(d, change):
    x = d.moons(60, 0.1, 0)
    models, alone = changed(d, change), changed(d, change)
    assert not d.is_chain(models[0])
    d.train_autoencoder(models, x, epochs=20, batch_size=60)
    for ours, theirs in zip(models, alone, strict=True):
        train_plainly(theirs, x, 20, 1e-3)
        assert (weights_of(ours) - weights_of(theirs)).abs().max() < FAR


def train_plainly(model, x, epochs, lr):
    """Full-batch training of one model, as in most tutorials."""
    adam = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(epochs):
        adam.zero_grad()
        nn.functional.mse_loss(model(x), x).backward()
        adam.step()


def test_what_is_a_chain(d):
    assert d.is_chain(d.Autoencoder(2, 1, 8, 3))
    assert not d.is_chain(d.ResNet(2, 8, 2))
    assert not d.is_chain(Identity())


# Training


def test_training_lowers_the_loss_of_every_model(d):
    x = d.moons(500, 0.1, 0)
    models = models_of(d, 3)
    before = d.mse(models, x)
    history = d.train_autoencoder(models, x, epochs=30, lr=5e-3)
    assert history.shape == (3, 30)
    assert (d.mse(models, x) < 0.5 * before).all()
    assert (history[:, -1] < 0.5 * history[:, 0]).all()


def test_the_number_of_threads_changes_no_more_than_the_rounding(d):
    x = d.moons(2000, 0.1, 0)
    threads = torch.get_num_threads()
    histories = []
    for count in (1, 2):
        torch.set_num_threads(count)
        histories.append(d.train_autoencoder(
            models_of(d, 8, 2, 1, 64, 3), x, epochs=3, batch_size=200))
    torch.set_num_threads(threads)
    assert torch.allclose(*histories, rtol=1e-4, atol=0)


def test_history_is_the_mean_squared_error(d):
    x = d.moons(90, 0.1, 0)
    model = models_of(d, 1)
    before = d.mse(model, x)
    history = d.train_autoencoder(model, x, epochs=1, batch_size=90)
    assert torch.allclose(history[:, 0], before)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "one-cycle", "lr": 5e-3},
        {"schedule": "cosine"},
        {"input_noise": 0.2},
        {"batch_size": 1000},
        {"seed": 7},
        {
            "penalty": lambda codes, normal: (
                (codes - normal(*codes.shape[1:])).square().mean((1, 2))
            )
        },
    ],
)
def test_a_list_gives_each_model_what_it_gets_alone(d, options):
    x = d.moons(250, 0.1, 0)
    steps = math.ceil(250 / options.get("batch_size", 100))
    epochs = math.ceil(50 / steps)
    together = models_of(d, 3)
    start = [weights_of(model) for model in together]
    d.train_autoencoder(together, x, epochs=epochs, **options)
    seed = options.get("seed", 0)
    for k, model in enumerate(models_of(d, 3)):
        d.train_autoencoder(
            model, x, epochs=epochs, **{**options, "seed": seed + k}
        )
        alone = weights_of(model)
        assert (alone - weights_of(together[k])).abs().max() < FAR
        assert (alone - start[k]).abs().max() > 100 * FAR


def test_each_model_may_have_its_own_data(d):
    x = torch.stack([d.moons(200, 0.1, k) for k in range(3)])
    together, alone = models_of(d, 3), models_of(d, 3)
    d.train_autoencoder(together, x, epochs=10)
    for k, model in enumerate(alone):
        d.train_autoencoder(model, x[k], epochs=10, seed=k)
        assert (weights_of(model) - weights_of(together[k])).abs().max() < FAR


def test_training_is_deterministic_and_depends_on_the_seed(d):
    x = d.moons(300, 0.1, 0)
    runs = []
    for seed in (0, 0, 1):
        model = models_of(d, 1)[0]
        torch.manual_seed(len(runs))  # the global state must not matter
        d.train_autoencoder(model, x, epochs=5, seed=seed)
        runs.append(weights_of(model))
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])


def test_one_step_is_a_step_of_adam(d):
    x = d.moons(60, 0.1, 0)
    ours, theirs = models_of(d, 1)[0], models_of(d, 1)[0]
    d.train_autoencoder(ours, x, epochs=3, batch_size=60, lr=0.01)
    train_plainly(theirs, x, 3, 0.01)
    assert (weights_of(ours) - weights_of(theirs)).abs().max() < FAR


def test_default_learning_rate_is_the_one_of_the_sheet(d):
    x = d.moons(60, 0.1, 0)
    by_default, explicit = models_of(d, 1)[0], models_of(d, 1)[0]
    d.train_autoencoder(by_default, x, epochs=4)
    d.train_autoencoder(explicit, x, epochs=4, lr=0.001, schedule="constant")
    assert torch.equal(weights_of(by_default), weights_of(explicit))


@pytest.mark.parametrize(
    "schedule, peak, last",
    [
        ("constant", (1, 1), 1),
        ("cosine", (1, 1), 0.05),
        ("one-cycle", (0.9, 1), 0.05),
    ],
)
def test_schedules_set_the_learning_rate(d, schedule, peak, last):
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.01)
    steps = d.SCHEDULES[schedule](adam, 0.01, 40)
    rates = []
    for _ in range(40):
        rates.append(adam.param_groups[0]["lr"] / 0.01)
        adam.step()
        steps.step()
    assert peak[0] <= max(rates) <= peak[1] + 1e-9
    assert rates[-1] <= last
    if schedule == "constant":
        assert set(rates) == {1}
    if schedule == "one-cycle":
        assert rates[0] < 0.1
        assert 8 <= np.argmax(rates) <= 14


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
def test_schedules_reach_the_training(d, schedule):
    x = d.moons(100, 0.1, 0)
    ours, constant = models_of(d, 1)[0], models_of(d, 1)[0]
    d.train_autoencoder(ours, x, epochs=10, schedule=schedule)
    d.train_autoencoder(constant, x, epochs=10)
    same = torch.equal(weights_of(ours), weights_of(constant))
    assert same == (schedule == "constant")


def test_input_noise_is_added_to_the_inputs_alone(d):
    x = torch.zeros(400, 2)
    model = models_of(d, 1)
    with torch.no_grad():  # linear map: reconstruct what comes in
        for w in model[0].parameters():
            w.zero_()
    history = d.train_autoencoder(model, x, epochs=3, input_noise=0.5)
    assert history.abs().max() == 0  # targets stay at zero, and so do codes
    seen = []
    d.train_autoencoder(
        d.build(Identity, count=1),
        x,
        epochs=1,
        input_noise=0.5,
        penalty=lambda codes, _: seen.append(codes.detach().std()) or 0,
    )
    assert abs(np.mean(seen) - 0.5) < 0.05


class Identity(nn.Module):
    """Hands the inputs on as codes."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def encoder(self, x):
        return x + self.shift[0]

    def decoder(self, codes):
        return codes

    def forward(self, x):
        return self.decoder(self.encoder(x))


@given(
    n=st.integers(1, 30),
    batch_size=st.integers(1, 40),
    count=st.integers(1, 3),
    layers=st.integers(1, 2),
)
@settings(deadline=None, max_examples=40)
def test_every_epoch_sees_every_point_once(d, n, batch_size, count, layers):
    seen = []

    def look(codes, normal):
        seen.append(codes.shape)
        return codes.sum((1, 2)) * 0

    x = torch.arange(2.0 * n).reshape(n, 2)
    models = models_of(d, count, 2, 1, 4, layers)
    d.train_autoencoder(
        models, x, epochs=2, batch_size=batch_size, lr=1e-5, penalty=look
    )
    batches = [shape[1] for shape in seen]
    assert sum(batches) == 2 * n
    assert max(batches) <= batch_size
    assert max(batches) - min(batches) <= 1
    assert all(shape[::2] == (count, 1) for shape in seen)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.double(),
        lambda x: x.numpy(),
        lambda x: x.tolist(),
        lambda x: x.numpy().astype(np.float64),
    ],
)
def test_numbers_of_other_kinds_are_converted(d, convert):
    x = d.moons(50, 0.1, 0)
    plain, other = models_of(d, 1)[0], models_of(d, 1)[0]
    d.train_autoencoder(plain, x, epochs=2)
    d.train_autoencoder(other, convert(x), epochs=2)
    assert torch.equal(weights_of(plain), weights_of(other))


@pytest.mark.parametrize(
    "options, named",
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"lr": 0}, "lr"),
        ({"lr": -1.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"lr": math.inf}, "lr"),
        ({"lr": "fast"}, "lr"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"input_noise": -0.1}, "input_noise"),
        ({"schedule": "linear"}, "schedule"),
        ({"x_train": torch.zeros(0, 2)}, "x_train"),
        ({"x_train": torch.zeros(5)}, "x_train"),
        ({"x_train": torch.zeros(5, 3)}, "x_train"),
        ({"x_train": torch.zeros(4, 5, 2)}, "x_train"),
        ({"x_train": torch.tensor([[0.0, math.nan]])}, "x_train"),
        ({"x_train": torch.tensor([[0.0, -math.inf]])}, "x_train"),
        ({"x_train": [["a", "b"]]}, "x_train"),
        ({"x_train": None}, "x_train"),
        ({"models": []}, "models"),
        ({"models": [1, 2]}, "models"),
        ({"models": None}, "models"),
    ],
)
def test_bad_arguments_are_named_and_change_nothing(d, options, named):
    models = models_of(d, 2)
    before = [weights_of(model) for model in models]
    good = {"models": models, "x_train": d.moons(20, 0.1, 0), "epochs": 1}
    with pytest.raises((TypeError, ValueError), match=named):
        d.train_autoencoder(**{**good, **options})
    for model, weights in zip(models, before, strict=True):
        assert torch.equal(weights_of(model), weights)


@pytest.mark.parametrize("other", [(2, 1, 9, 2), (2, 1, 8, 3), (2, 2, 8, 2)])
def test_models_of_different_architectures_are_refused(d, other):
    models = models_of(d, 1) + models_of(d, 1, *other)
    with pytest.raises(ValueError, match="same architecture"):
        d.train_autoencoder(models, d.moons(20, 0.1, 0), epochs=1)


def test_divergence_names_the_epoch_and_keeps_finite_weights(d):
    x = d.moons(200, 0.1, 0)
    models, kept = models_of(d, 2), []

    def keep(epoch, batched):
        kept.append([w.detach().clone() for w in batched.parameters()])

    def explode(codes, normal):
        return codes.sum((1, 2)) * (math.nan if len(kept) == 3 else 0)

    with pytest.raises(FloatingPointError, match="epoch 4"):
        d.train_autoencoder(
            models, x, epochs=9, penalty=explode, on_epoch=keep
        )
    for k, model in enumerate(models):
        for own, last in zip(model.parameters(), kept[-1], strict=True):
            assert torch.equal(own, last[k])


def test_a_huge_learning_rate_diverges_with_a_clear_error(d):
    model = models_of(d, 1)[0]
    with pytest.raises(FloatingPointError, match="epoch"):
        d.train_autoencoder(model, d.moons(200, 0.1, 0), epochs=50, lr=1e30)
    assert weights_of(model).isfinite().all()


def test_constant_data_and_a_single_point(d):
    for x in (torch.full((30, 2), 3.0), torch.ones(1, 2)):
        model = models_of(d, 1)[0]
        history = d.train_autoencoder(model, x, epochs=200, lr=0.01)
        assert history[0, -1] < 0.01 * history[0, 0]


# What is measured


def test_encode_decode_and_mse_agree_with_the_models(d):
    x = d.moons(40, 0.1, 0)
    models = models_of(d, 3)
    codes = d.encode(models, x)
    assert codes.shape == (3, 40, 1)
    for k, model in enumerate(models):
        with torch.no_grad():
            assert torch.allclose(codes[k], model.encoder(x), atol=1e-6)
            assert torch.allclose(
                d.decode(model, codes[k])[0], model(x), atol=1e-6
            )
            expected = (model(x) - x).square().mean()
        assert torch.isclose(d.mse(models, x)[k], expected)


def test_record_keeps_the_errors_of_each_epoch(d):
    x = d.moons(100, 0.1, 0)
    models, record = models_of(d, 2), d.Record(x)
    d.train_autoencoder(models, x, epochs=4, on_epoch=record)
    assert record.errors().shape == (4, 2)
    assert np.allclose(record.errors()[-1], d.mse(models, x))


@pytest.mark.parametrize("noise, bound", [(0.1, 0.00506), (0.2, 0.01868)])
def test_bound_is_the_known_one(d, noise, bound):
    found = d.projection_mse(d.moons(400_000, noise, 5))
    assert math.isclose(found, bound, rel_tol=0.01)


def test_distance_to_arcs_against_a_dense_sample_of_them(d):
    t = np.linspace(0, np.pi, 20_001)
    arcs = np.concatenate(
        [np.c_[np.cos(t), np.sin(t)], np.c_[1 - np.cos(t), 0.5 - np.sin(t)]]
    )
    x = 3 * torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) - 1
    brute = np.linalg.norm(x.numpy()[:, None] - arcs[None], axis=2).min(1)
    assert np.allclose(d.distance_to_arcs(x), brute, atol=1e-3)


def test_points_without_noise_lie_on_the_arcs(d):
    x = d.moons(501, 0.0, 0)
    assert d.distance_to_arcs(x).max() < 1e-5
    arc, angle = d.arc_position(x)
    t, lower = angle.double(), arc.bool()
    back = torch.stack([t.cos(), t.sin()], 1)
    back[lower] = torch.tensor([1, 0.5]) - back[lower]
    assert torch.allclose(back.float(), x, atol=1e-4)
    assert d.off_moons(x) == 0
    assert d.off_moons(x + torch.tensor([5.0, 0])) == 1


def test_moons_are_those_of_scikit_learn(d):
    x, _ = make_moons(50, noise=0.1, random_state=4)
    assert np.allclose(d.moons(50, 0.1, 4), x)


def test_pieces_cut_a_curve_at_its_jumps(d):
    t = torch.linspace(0, math.pi, 500)
    upper = torch.stack([t.cos(), t.sin()], 1)
    lower = torch.tensor([1, 0.5]) - upper
    found = d.pieces(torch.cat([upper, lower]))
    assert [piece[0] for piece in found] == [0, 1]
    assert all(abs(piece[3] - 0.5) < 0.01 for piece in found)
    parts = [upper[:200], lower, upper[200:]]
    assert [p[0] for p in d.pieces(torch.cat(parts))] == [0, 1, 0]
    assert len(d.pieces(torch.cat([upper[:150], upper[350:]]))) == 2


def test_geometry_of_the_true_arcs(d):
    t = torch.linspace(0, math.pi, 2000)
    upper = torch.stack([t.cos(), t.sin()], 1)
    found = d.geometry(torch.cat([upper, torch.tensor([1, 0.5]) - upper]))
    assert math.isclose(
        found["length without jumps"], 2 * math.pi, rel_tol=1e-3
    )
    assert found["mean distance from the arcs"] < 1e-3
    assert math.isclose(
        found["mean radius away from the ends"], 1, rel_tol=1e-3
    )
    assert found["pieces"] == 2


def test_error_by_angle_sums_up_to_the_error(d):
    x, models = d.moons(3000, 0.2, 0), models_of(d, 2)
    own, least = d.error_by_angle(models, x, 6)
    arc, angle = d.arc_position(x)
    cell = arc * 6 + (angle / math.pi * 6).long().clamp(max=5)
    share = torch.bincount(cell, minlength=12) / len(x)
    total = (own.reshape(12, 2) * share[:, None]).sum(0)
    assert torch.allclose(total, d.mse(models, x), rtol=1e-4)
    assert math.isclose(
        (least.flatten() * share).sum(), d.projection_mse(x), rel_tol=1e-4
    )


def test_mixture_with_the_smallest_bic_finds_the_clusters(d):
    noise = np.random.default_rng(0).normal(size=(600, 1))
    codes = noise + np.repeat([-20.0, 0, 20], 200)[:, None]
    mixture = d.best_mixture(codes, range(1, 7))
    assert mixture.n_components == 3
    drawn = d.draw_codes(mixture, 3000, seed=0)
    assert drawn.shape == (3000, 1)
    assert abs(drawn.std() - codes.std()) < 1
    assert torch.equal(drawn, d.draw_codes(mixture, 3000, seed=0))


def test_pca_mse_is_the_variance_that_is_left(d):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 3)) * [3, 2, 1]
    assert math.isclose(d.pca_mse(x, x, 2), 1 / 3, rel_tol=0.05)
    assert d.pca_mse(x, x, 3) < 1e-12


# The maximum mean discrepancy


def mmd2_by_loops(x, y, kernel, bandwidths):
    """The unbiased estimate of MMD², pair by pair."""
    def mean(a, b, skip):
        values = [sum(kernel(((p - q) ** 2).sum(), h) for h in bandwidths)
                  for i, p in enumerate(a) for j, q in enumerate(b)
                  if not (skip and i == j)]
        return sum(values) / len(values)
    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@pytest.mark.parametrize("name", ["squared_exponential",
                                  "inverse_multiquadratic"])
@pytest.mark.parametrize("n, m", [(2, 3), (7, 4), (6, 6)])
def test_mmd2_against_plain_loops(d, name, n, m):
    kernel, bandwidths = getattr(d, name), (0.25, 0.5, 1, 2)
    x, y = torch.randn(n, 3), torch.randn(m, 3) + 0.5
    expected = mmd2_by_loops(x, y, kernel, bandwidths)
    for given_kernel in (kernel, name):
        found = d.mmd2(x, y, given_kernel, bandwidths)
        assert torch.isclose(found, expected, atol=1e-5)


def test_mmd2_to_normal_is_the_mean_over_normal_samples(d):
    x = 0.5 * d.standard_normal(40, 2, seed=0) + 0.4
    y = d.standard_normal(1000, 400, 2, seed=1)
    sampled = d.mmd2(x.expand(1000, 40, 2), y)
    error = sampled.std() / 1000**0.5
    assert (sampled.mean() - d.mmd2_to_normal(x)).abs() < 4 * error
    assert 4 * error < 0.1 * sampled.mean()


@pytest.mark.parametrize("bandwidths", [
    (1, 2), (1, 2, 3), (0, 0, 0), (-1, -2, -4), tuple(2.0**i for i in range(8))
])
def test_bandwidths_that_the_sheet_does_not_allow(d, bandwidths):
    x = torch.randn(5, 2)
    with pytest.raises(ValueError, match="bandwidths"):
        d.mmd2(x, x, bandwidths=bandwidths)


def test_unknown_kernel_is_named(d):
    with pytest.raises(ValueError, match="laplace"):
        d.mmd2(torch.randn(5, 2), torch.randn(5, 2), kernel="laplace")


@pytest.mark.parametrize("kernel", ["squared_exponential",
                                    "inverse_multiquadratic"])
@pytest.mark.parametrize("count", [3, 7])
def test_mmd2_has_gradients_for_both_sets(d, kernel, count):
    x, y = (torch.randn(1, 5, 2, dtype=torch.double, requires_grad=True)
            for _ in range(2))
    assert torch.autograd.gradcheck(
        lambda x, y: d.mmd2(x, y, kernel, d.doubling(0.2, count)), (x, y))


def test_tiny_numbers_are_set_to_zero_where_that_can_be(d):
    are_zero = (torch.full((1000,), 1e-39) * 1.0).eq(0).all()
    assert are_zero or not torch.set_flush_denormal(True)
