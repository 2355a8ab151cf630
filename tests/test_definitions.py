"""The definitions of task 1 and those that all tasks share."""

import base64
import json
import math
import re
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers import Identity, autoencoders, distance, refused, weights_of
from sklearn.datasets import make_moons
from torch import nn

pytest_plugins = "knobs"
FAR = 1e-4  # a difference of weights that counts


# The autoencoder


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_relu_stands_between_linear_layers_only(d, half):
    kinds = [type(m) for m in getattr(d.Autoencoder(2, 1, 8, 3), half)]
    assert all(kind is nn.Linear for kind in kinds[::2])
    assert all(kind is nn.ReLU for kind in kinds[1::2])
    assert len(kinds) == 7


@pytest.mark.parametrize("sizes, name, value", [
    ((0, 1, 8, 2), "input_size", 0), ((2, -3, 8, 2), "bottleneck_size", -3),
    ((2, 1, 8, 0), "layers", 0), ((2, 1, 2, 2), "hidden_size", 2),
    ((2, 1, 8.5, 2), "hidden_size", 8.5), (("2", 1, 8, 2), "input_size", "2"),
    ((2, 1, 8, True), "layers", True), ((2, 1, None, 2), "hidden_size", None),
])
def test_sizes_that_make_no_network(d, sizes, name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name} .*{value!r}"):
        d.Autoencoder(*sizes)


# Training


def test_one_batch_an_epoch_is_adam_as_in_most_tutorials(d):
    x = d.moons(60, 0.1, 0)
    (ours,), (theirs,) = autoencoders(d, 1), autoencoders(d, 1)
    d.train_autoencoder(ours, x, epochs=20, batch_size=60)
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)  # the sheet's
    for _ in range(20):
        adam.zero_grad()
        nn.functional.mse_loss(theirs(x), x).backward()
        adam.step()
    assert distance(ours, theirs) < FAR


def test_the_textbooks_loop_does_the_same_with_one_model(d):
    """With the same random orders, and minibatches of equal size."""
    x = d.moons(60, 0.1, 0)
    (ours,), (theirs,) = autoencoders(d, 1), autoencoders(d, 1)
    history = d.train_autoencoder(ours, x, epochs=5, lr=5e-3, batch_size=20, seed=3)
    torch.manual_seed(3)
    losses = d.train_one(theirs, x, epochs=5, lr=5e-3, batch_size=20)
    assert distance(ours, theirs) < FAR
    assert losses == pytest.approx(history[0].tolist(), rel=1e-4)


def test_history_is_the_mean_squared_error_of_all_points(d):
    """Also if the minibatches (31, 30, 30) differ in size."""
    x, models = d.moons(91, 0.1, 0), autoencoders(d, 2)
    before = d.mse(models, x)
    history = d.train_autoencoder(models, x, epochs=1, batch_size=40, lr=1e-9)
    assert torch.allclose(history[:, 0], before)


@pytest.mark.parametrize("options", [
    {}, {"schedule": "warm-up", "lr": 5e-3}, {"schedule": "cosine"},
    {"input_noise": 0.2}, {"batch_size": 1000}, {"seed": 7},
    {"penalty": lambda codes, draw: (
        codes - draw(torch.randn, *codes.shape[1:])).square().mean((1, 2))},
])
def test_a_list_gives_each_model_what_it_gets_alone(d, options):
    x = d.moons(250, 0.1, 0)
    steps = math.ceil(250 / options.get("batch_size", 100))
    options = {"epochs": math.ceil(50 / steps), "seed": 0} | options
    together, alone = autoencoders(d, 3), autoencoders(d, 3)
    d.train_autoencoder(together, x, **options)
    for k, model in enumerate(alone):
        d.train_autoencoder(model, x, **options | {"seed": options["seed"] + k})
        assert distance(model, together[k]) < FAR
    for model, start in zip(together, autoencoders(d, 3), strict=True):
        assert distance(model, start) > 100 * FAR


def test_each_model_may_have_its_own_data(d):
    x = torch.stack([d.moons(200, 0.1, k) for k in range(3)])
    together, alone = autoencoders(d, 3), autoencoders(d, 3)
    d.train_autoencoder(together, x, epochs=10)
    for k, model in enumerate(alone):
        d.train_autoencoder(model, x[k], epochs=10, seed=k)
        assert distance(model, together[k]) < FAR


def test_training_is_deterministic_and_depends_on_the_seed(d):
    x, runs = d.moons(300, 0.1, 0), []
    for number, seed in enumerate((0, 0, 1)):
        runs += autoencoders(d, 1)
        torch.manual_seed(number)  # the global state must not matter
        d.train_autoencoder(runs[-1], x, epochs=5, seed=seed)
    assert distance(runs[0], runs[1]) == 0
    assert distance(runs[0], runs[2]) > FAR


@pytest.mark.parametrize("schedule, first, last", [
    ("constant", 1, (0.3, 3)), ("cosine", 1, (0, 0.05)),
    ("warm-up", 0.1666, (0, 0.05))])
def test_schedules_reach_the_training(d, monkeypatch, schedule, first, last):
    """The first step of Adam moves each weight by the rate itself."""
    model, = autoencoders(d, 1)
    places = [weights_of(model)]
    monkeypatch.setattr(d, "write_back", lambda net, models: places.append(
        weights_of(net)))
    d.train_autoencoder(model, d.moons(60, 0.1, 0), epochs=30, lr=1e-3,
                        batch_size=60, schedule=schedule)
    steps = torch.stack(places).diff(dim=0).abs().amax(1) / 1e-3
    assert steps[0] == pytest.approx(first, rel=0.01)
    assert last[0] <= steps[-1] < last[1]
    assert steps.max() > 0.5


def test_input_noise_is_added_to_the_inputs_alone(d):
    seen = []
    history = d.train_autoencoder(
        Identity(), torch.zeros(2000, 2), epochs=1, lr=1e-9, input_noise=0.5,
        penalty=lambda codes, draw: seen.append(codes.std().item()) or 0)
    assert np.mean(seen) == pytest.approx(0.5, rel=0.05)
    assert history.item() == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("convert", [
    torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist,
    lambda x: x.numpy().astype(np.float64)])
def test_numbers_of_other_kinds_are_converted(d, convert):
    x = d.moons(50, 0.1, 0)
    (plain,), (other,) = autoencoders(d, 1), autoencoders(d, 1)
    d.train_autoencoder(plain, x, epochs=2)
    d.train_autoencoder(other, convert(x), epochs=2)
    assert distance(plain, other) == 0
    assert torch.allclose(d.mse(plain, x), d.mse(plain, convert(x)).float())


# What goes wrong


@pytest.mark.parametrize("train", [
    "train_autoencoder", "train_mmd_autoencoder"])
@pytest.mark.parametrize("name, value", [
    ("epochs", 0), ("epochs", 1.5), ("epochs", True), ("epochs", "ten"),
    ("lr", 0), ("lr", -1.0), ("lr", math.nan), ("lr", math.inf),
    ("lr", "fast"), ("lr", None), ("batch_size", 0), ("batch_size", 2.5),
    ("seed", -1), ("seed", 0.5), ("input_noise", -0.1),
    ("input_noise", math.nan), ("schedule", "linear"), ("models", []),
    ("models", None)])
def test_bad_arguments_are_named_with_their_value(d, train, name, value):
    refused(d, name, value, repr(value), train)


def test_what_is_no_autoencoder_is_refused(d):
    one, = autoencoders(d, 1)
    named = nn.ModuleDict({"enc": nn.Linear(2, 1), "dec": nn.Linear(1, 2)})
    for wrong, words in (([1, 2], "not 1"), ([one, named], "enc"), (named, "enc"),
                         ([one, one], "once"), (nn.ModuleList([one]), "ModuleList")):
        refused(d, "models", wrong, words, "train_autoencoder")
        with pytest.raises(ValueError, match=f"(?s)models .*{words}"):
            d.mse(wrong, torch.zeros(3, 2))


@pytest.mark.parametrize("train", [
    "train_autoencoder", "train_mmd_autoencoder"])
@pytest.mark.parametrize("x, words", [
    (torch.zeros(0, 2), "(0, 2)"), (torch.zeros(5), "(5,)"),
    (torch.zeros(5, 3), "3 coordinates"),
    (torch.zeros(4, 5, 2), "(4, 5, 2)"),
    (torch.tensor([[0.0, math.nan]]), "nan"),
    (torch.tensor([[0.0, -math.inf]]), "inf"),
    ([["a", "b"]], "numbers"), (None, "numbers")])
def test_bad_data_is_described(d, train, x, words):
    refused(d, "x_train", x, words, train)


@pytest.mark.parametrize("other", [(2, 1, 9, 2), (2, 1, 8, 3), (2, 2, 8, 2)])
def test_models_of_different_architectures_are_refused(d, other):
    models = autoencoders(d, 1) + autoencoders(d, 1, *other)
    with pytest.raises(ValueError, match="(?s)models.*architecture"):
        d.train_autoencoder(models, [[0, 0]], epochs=1)


def test_codes_of_different_sizes_are_refused_but_their_errors_are_not(d):
    x, models = d.moons(20, 0.1, 0), autoencoders(d, 1) + autoencoders(d, 1, 2, 2, 9, 1)
    with pytest.raises(ValueError, match="models .*same size"):
        d.encode(models, x)
    assert torch.equal(d.mse(models, x), torch.stack([d.mse(m, x) for m in models]))


@pytest.mark.parametrize("function, name, size", [
    ("encode", "x", 3), ("decode", "codes", 2), ("reconstruct", "x", 3),
    ("mse", "x", 3)])
def test_points_that_fit_no_model_are_refused(d, function, name, size):
    for bad, words in ((torch.zeros(5, size), f"{size} coordinates"),
                       (torch.full((5, 3 - size % 2), math.nan), "nan")):
        with pytest.raises(ValueError, match=f"(?s){name} .*{words}"):
            getattr(d, function)(autoencoders(d, 2), bad)


@pytest.mark.parametrize("explode", [
    lambda codes: codes.sum((1, 2)) * math.nan,
    lambda codes: (0 * codes).abs().sqrt().sum((1, 2))],
    ids=["the loss", "only its gradient"])
def test_divergence_names_the_epoch_and_keeps_finite_weights(
        d, monkeypatch, explode):
    models, kept, write_back = autoencoders(d, 2), [], d.write_back

    def record(net, models):
        write_back(net, models)
        kept.append([w.detach().clone() for w in net.parameters()])

    monkeypatch.setattr(d, "write_back", record)
    with pytest.raises(FloatingPointError, match="epoch 4"):
        d.train_autoencoder(
            models, d.moons(100, 0.1, 0), epochs=9,
            penalty=lambda codes, _: explode(codes) if len(kept) == 3 else 0)
    for k, model in enumerate(models):
        for own, last in zip(model.parameters(), kept[-1], strict=True):
            assert torch.equal(own, last[k])


def test_a_huge_learning_rate_diverges_with_a_clear_error(d):
    model, = autoencoders(d, 1)
    with pytest.raises(FloatingPointError, match="epoch"):
        d.train_autoencoder(model, d.moons(200, 0.1, 0), epochs=50, lr=1e30)
    assert weights_of(model).isfinite().all()


# What is measured


def test_encode_decode_and_mse_agree_with_the_models(d):
    x, models = d.moons(40, 0.1, 0), autoencoders(d, 3)
    codes, back = d.encode(models, x), d.reconstruct(models, x)
    assert codes.shape == (3, 40, 1)
    assert not codes.requires_grad
    for k, model in enumerate(models):
        assert torch.allclose(codes[k], model.encoder(x), atol=1e-6)
        assert torch.allclose(back[k], model(x), atol=1e-6)
        assert torch.equal(d.encode(model, x), codes[k])
        assert torch.equal(d.decode(model, codes[k]), back[k])
        assert torch.equal(d.reconstruct(model, x), back[k])
        expected = (model(x) - x).square().mean()
        assert torch.isclose(d.mse(models, x)[k], expected)
        assert torch.equal(d.mse(models, x)[k], d.mse(model, x))
    assert d.mse(models[0], x).shape == ()
    assert d.encode(models[:1], x).shape == (1, 40, 1)
    own = torch.stack([x, x + 1, x + 2])  # one data set a model
    assert torch.isclose(d.mse(models, own)[2], d.mse(models[2], x + 2))


@pytest.mark.parametrize("noise, error", [(0.1, 0.00506), (0.2, 0.01868)])
def test_arc_error_is_the_known_one(d, noise, error):
    found = d.arc_error(d.moons(400_000, noise, 5))
    assert found == pytest.approx(error, rel=0.01)


def test_distance_to_arcs_against_a_dense_sample_of_them(d):
    t = np.linspace(0, np.pi, 20_001)
    arcs = np.r_[np.c_[np.cos(t), np.sin(t)], np.c_[1 - np.cos(t), 0.5 - np.sin(t)]]
    x = 3 * torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) - 1
    brute = np.linalg.norm(x.numpy()[:, None] - arcs[None], axis=2).min(1)
    assert np.allclose(d.distance_to_arcs(x), brute, atol=1e-3)


def test_points_without_noise_lie_on_the_arcs(d):
    x = d.moons(501, 0.0, 0)
    assert d.distance_to_arcs(x).max() < 1e-5
    _, moon = make_moons(501, noise=0.0, random_state=0)
    assert np.array_equal(d.on_lower(x), moon)


def test_lines_follow_equal_steps_of_the_codes(d):
    x, models = d.moons(400, 0.1, 0), autoencoders(d, 2)
    grid, lines = d.code_grid(models, x, 9), d.curve(models, x, 9)
    assert grid.shape == (2, 9, 1) and lines.shape == (2, 9, 2)
    for k, model in enumerate(models):
        first, last = np.quantile(d.encode(model, x), (0.0005, 0.9995))
        assert np.allclose(grid[k, :, 0], np.linspace(first, last, 9), atol=1e-5)
        assert torch.allclose(lines[k], d.decode(model, grid[k]), atol=1e-6)


def test_bends_of_a_line_are_counted(d):
    straight = torch.stack([torch.linspace(0, 1, 10), torch.linspace(0, 2, 10)], -1)
    zigzag = torch.tensor([[0.0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2],
                           [-1, 2.02], [-2, 2.1]])
    west = torch.tensor([[0.0, 0], [-1, 0.005], [-2, 0.0], [-3, 0.005]])  # through 180 degrees
    assert [d.count_bends(line[None]).tolist() for line in (straight, zigzag, west)] == [
        [0], [3], [0]]
    assert d.count_bends(zigzag[None], least=0.5).tolist() == [3]
    codes, kinks = torch.linspace(0, 1, 2000), (torch.arange(16) + 0.5) / 16 + 1e-4  # within steps
    bent = (codes[:, None] - kinks).relu() @ (-1.0) ** torch.arange(16)
    assert d.count_bends(torch.stack([codes, bent], -1)[None]).tolist() == [16]


def test_distance_to_the_nearest_point_of_each_line(d):
    lines = torch.tensor([[[0.0, 0], [1, 0]], [[5, 0], [5, 5]]])
    assert d.distance_to_line(torch.tensor([[1.0, 2], [5, 1]]), lines).tolist() == [
        [2, pytest.approx(17**0.5)], [pytest.approx(20**0.5), 1]]


def test_many_points_keep_their_order_and_their_distances_to_lines(d):
    lines, x = d.standard_normal(2, 3, 2, seed=0), d.standard_normal(4500, 2, seed=1)
    found = d.distance_to_line(x, lines)
    for k in range(2):
        expected = (x[:, None] - lines[k]).norm(dim=-1).amin(1)
        assert torch.allclose(found[k], expected, atol=1e-5)


def test_projection_on_all_components_is_the_identity(d):
    x_train, x = d.moons(100, 0.1, 0), d.moons(20, 0.1, 1)
    assert torch.allclose(d.project(x_train, x, 2), x, atol=1e-5)
    line = d.project(x_train, x, 1) - x_train.mean(0)
    assert torch.linalg.svdvals(line)[1] < 1e-4
    found = (d.project(x_train, x_train, 1) - x_train).square().mean()
    assert found == pytest.approx(np.linalg.eigvalsh(np.cov(x_train.T, bias=True))[0] / 2, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_mixture_with_the_smallest_bic_finds_the_clusters(d, scale):
    noise = np.random.default_rng(0).normal(size=(600, 1))
    codes = scale * (noise + np.repeat([-20.0, 0, 20], 200)[:, None])
    mixture = d.best_mixture(codes, range(1, 7))
    assert mixture.n_components == 3
    drawn = d.sample_codes(mixture, 3000, seed=0)
    assert drawn.shape == (3000, 1)
    assert drawn.dtype == torch.float32
    drawn = drawn / scale
    assert abs(drawn.std() - codes.std() / scale) < 1
    assert abs((drawn - 20 * (drawn / 20).round()).std() - 1) < 0.1  # of one cluster
    lump = (drawn / 20).round()  # not one lump after the other
    assert (lump.diff(dim=0) != 0).float().mean() > 0.5
    again, other = (d.sample_codes(mixture, 3000, seed=seed) / scale for seed in (0, 1))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)


def test_mixtures_of_few_codes_leave_out_what_cannot_be_fitted(d):
    codes = np.random.default_rng(0).normal(size=(15, 2))
    assert d.best_mixture(codes, range(1, 21)).n_components < 15
    for few, sizes in ((codes[:3], [3, 4]), (codes, []), (np.ones((9, 1)), [1])):
        with pytest.raises(ValueError, match=f"codes must be .*{re.escape(str(few.shape))}"):
            d.best_mixture(few, sizes)


# Figures, tables and claims


@pytest.fixture
def shown(d, monkeypatch):
    """What is displayed during a test: pairs of an object, its metadata."""
    outputs = []
    monkeypatch.setattr(d, "display", lambda shown, metadata=None, raw=False: (
        outputs.append((shown if raw else {"text/markdown": shown.data}, metadata))))
    return outputs


@pytest.mark.parametrize("quick", [False, True])
def test_tables_and_ranges_as_text(d, shown, monkeypatch, quick):
    monkeypatch.setattr(d, "QUICK", quick)
    assert d.spread([3, 1, 2.0]) == "2.00 (1.00 to 3.00)"
    assert d.spread(torch.tensor([0.1, 0.3]), 1) == "0.2 (0.1 to 0.3)"
    assert d.spread(np.array([1.25]), 1) == "1.2"
    d.table(["a", "b"], [["x", 1], ["|y|\nz", 2]], about=3)
    [(table, metadata)] = shown
    assert metadata == {"about": 3}
    assert table["text/markdown"].splitlines() == [
        f"| a{' (quick run)' * quick} | b |", "| :-- | --: |", "| x | 1 |", "| \\|y\\| z | 2 |"]


@pytest.mark.parametrize("quick", [False, True])
def test_a_closed_table_says_what_it_holds(d, shown, monkeypatch, quick):
    monkeypatch.setattr(d, "QUICK", quick)
    d.closed_table("kind", "2 things", ["a", "b"], [["x", 1], ["<i>y</i>", 2]], about=3)
    [(table, metadata)] = shown
    assert metadata == {"about": 3}
    assert table["text/markdown"] == (
        f'<details class="kind"><summary>{"Quick run: " * quick}2 things</summary>'
        "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>x</td><td>1</td></tr>"
        "<tr><td><i>y</i></td><td>2</td></tr></tbody></table></details>")


def test_a_claim_holds_strictly_between_its_thresholds(d):
    values = torch.tensor(1.5), np.float32(1), 2, math.nan
    found = [d.claim("sentence", value, above=1, below=np.float64(2)) for value in values]
    assert [claim["holds"] for claim in found] == [True, False, False, False]
    assert found[0] == {"sentence": "sentence", "value": 1.5, "holds": True,
                        "threshold": "above 1 and below 2"}
    assert d.claim("sentence", 5, above=3)["threshold"] == "above 3"
    text = json.dumps(found, allow_nan=False)  # it goes into the notebook
    assert json.loads(text) == found


@pytest.mark.parametrize("quick", [False, True])
def test_readings_note_what_they_state_and_never_raise(d, shown, monkeypatch, quick):
    monkeypatch.setattr(d, "QUICK", quick)
    monkeypatch.setattr(d, "CLAIMS", {})
    wrong, right = d.claim("""the
        first""", 2, below=1), d.claim("second", 2, above=1)
    for _ in range(2):  # run again, a cell states its claims again
        d.reading("1.2", """The
            text.

            More.""", wrong, right)
    unknown = d.claim("third", math.nan, above=1)
    d.reading("1.2b", "Unknown.", unknown)
    texts = [output["text/markdown"] for output, _ in shown]
    if quick:
        assert all(text.startswith("*Quick run") for text in texts)
        assert d.CLAIMS == {} and not any(metadata for _, metadata in shown)
        return
    assert texts[1:] == ['<a id="reading-1.2"></a>The text.\n\nMore.',
                         '<a id="reading-1.2b"></a>Unknown.']
    assert shown[1][1] == {"claims": [wrong, right]}
    assert [*d.CLAIMS.items()] == [("1.2", (wrong, right)), ("1.2b", (unknown,))]
    assert [wrong["sentence"], wrong["holds"], right["holds"], unknown["holds"]] == [
        "the first", False, True, False]


@pytest.mark.parametrize("quick", [False, True])
def test_figures_are_shown_with_title_caption_and_alt(d, shown, monkeypatch, quick):
    monkeypatch.setattr(d, "QUICK", quick)
    fig, ax = plt.subplots(figsize=(9.17, 3))
    d.plot_sweep(ax, (1, 10), {"curve": [[1, 2, 6], [3, 4, 5]]}, ylabel="y")
    assert ax.lines[0].get_ydata().tolist() == [2, 4]
    assert ax.texts[0].get_text() == "curve"
    d.show(fig, 7, "The finding", """What is
        drawn.""", alt="""A
        line.""")
    (anchor, _), (image, about), (caption, _) = shown
    title = "Quick run: " * quick + "The finding"
    alt = f"{title}. A line."
    assert about == {"image/png": {"width": 880, "height": 288, "alt": alt}}
    assert image["text/plain"] == alt
    drawn = plt.imread(BytesIO(base64.b64decode(image["image/png"])))
    assert drawn.shape[:2] == (576, 1760)
    assert fig.get_suptitle() == title
    assert anchor == {"text/markdown": '<a id="figure-7"></a>'}
    assert caption == {"text/markdown": "**Figure 7.** What is drawn."}
    assert not plt.fignum_exists(fig.number)
