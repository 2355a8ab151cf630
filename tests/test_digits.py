"""The definitions of task 3: digits, forests, synthetic digits."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits


@pytest.fixture(scope="module")
def d(definitions):
    """The definitions, with the knobs that they read."""
    definitions.SEEDS = 2
    definitions.DEVICE = "cpu"
    definitions.QUICK = False
    definitions.budget = lambda epochs: epochs
    return definitions


def test_split_is_stratified_scaled_and_shares_no_image(d):
    x, y = d.digits_split(0)
    assert [len(x[name]) for name in ("train", "validation", "test", "fit")
            ] == [1149, 288, 360, 1437]
    every = torch.cat([x["train"], x["validation"], x["test"]])
    assert len(every.unique(dim=0)) == 1797
    assert torch.equal(x["fit"].unique(dim=0), torch.cat(
        [x["train"], x["validation"]]).unique(dim=0))
    assert (every.min(), every.max()) == (0, 1)
    known = {tuple(image): label for image, label in zip(
        *load_digits(return_X_y=True), strict=True)}
    for name, labels in y.items():
        assert [known[tuple(image)] for image in (16 * x[name]).tolist()
                ] == labels.tolist()
        shares = np.bincount(labels) / len(labels)
        assert np.abs(shares - 0.1).max() < 0.01
    other, _ = d.digits_split(1)
    assert not torch.equal(other["test"], x["test"])


def test_fit_setting_passes_all_on(d):
    x, _ = d.digits_split(0)
    models = d.fit_setting(x["train"][:60], 3, {
        "hidden_size": 70, "layers": 1, "epochs": 2, "lr": 2e-3,
        "batch_size": 30, "schedule": "cosine", "input_noise": 0.1})
    alone = d.build(d.Autoencoder, 64, 3, 70, 1)
    d.train_autoencoder(alone, x["train"][:60], epochs=2, lr=2e-3,
                        batch_size=30, schedule="cosine", input_noise=0.1)
    for a, b in zip(models, alone, strict=True):
        for w, v in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(w, v)


def test_forest_reads_sets_of_any_shape(d):
    x, y = d.digits_split(0)
    forest = d.fit_forest(x["fit"], y["fit"], 30)
    p = d.probabilities(forest, x["test"][:12].reshape(3, 4, 64))
    assert p.shape == (3, 4, 10)
    assert np.allclose(p.sum(-1), 1)
    read = d.read_labels(forest, x["test"][None])
    assert np.array_equal(read[0], forest.predict(np.asarray(x["test"])))
    assert d.share_equal(read, y["test"])[0] > 0.9


def test_share_equal_counts_along_the_last_axis(d):
    shares = d.share_equal([[1, 2, 3, 4], [1, 0, 0, 0]], [1, 2, 3, 0])
    assert shares.tolist() == [0.75, 0.5]


def test_tile_puts_images_row_by_row(d):
    x = torch.arange(6).float()[:, None].expand(6, 64)
    picture = d.tile(x, 3)
    assert picture.shape == (18, 27)
    for i in range(6):
        top, left = 9 * (i // 3), 9 * (i % 3)
        assert (picture[top + 1:top + 9, left + 1:left + 9] == i).all()
        assert np.isnan(picture[top, left:left + 9]).all()


def test_confusion_is_drawn_in_per_cent_of_the_true_label(d):
    fig, ax = plt.subplots()
    d.draw_confusion(ax, [0, 0, 0, 0, 1], [0, 0, 0, 3, 1], title="t")
    texts = {t.get_position()[::-1]: t.get_text() for t in ax.texts}
    assert texts == {(0, 0): "75", (0, 3): "25", (1, 1): "100"}
    plt.close(fig)


class Shift(torch.nn.Module):
    """Codes are the first two pixels; the decoder repeats them."""

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Linear(64, 2, bias=False)
        self.decoder = torch.nn.Linear(2, 64, bias=False)
        with torch.no_grad():
            self.encoder.weight.copy_(torch.eye(64)[:2])
            self.decoder.weight.copy_(torch.eye(64)[:, :2])


def test_draw_digits_draws_each_class_from_its_own_codes(d, monkeypatch):
    monkeypatch.setattr(d, "encode", lambda model, x: model.encoder(
        x).detach()[None])
    monkeypatch.setattr(d, "decode", lambda model, z: model.decoder(
        z).detach()[None])
    generator = torch.Generator().manual_seed(0)
    y = np.repeat(np.arange(10), 30)
    x = 0.01 * torch.randn(300, 64, generator=generator)
    x[:, 0] += torch.tensor(y)  # class c lies around (c, -c)
    x[:, 1] -= torch.tensor(y)
    drawn, meant = d.draw_digits(Shift(), x, y, 7)
    assert drawn.shape == (70, 64)
    assert np.bincount(meant).tolist() == [7] * 10
    assert np.abs(drawn[:, 0].numpy() - meant).max() < 0.1
    assert np.abs(drawn[:, 1].numpy() + meant).max() < 0.1
    again, _ = d.draw_digits(Shift(), x, y, 7)
    other, _ = d.draw_digits(Shift(), x, y, 7, seed=100)
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)


def test_held_out_codes_are_scored_by_mixtures_of_the_rest(d, monkeypatch):
    """Standard normal codes score minus their entropy."""
    monkeypatch.setattr(d, "encode", lambda model, x: x[None])
    generator = torch.Generator().manual_seed(0)
    y = np.repeat(np.arange(10), 2000)
    x = torch.randn(20_000, 2, generator=generator)
    entropy = 1 + np.log(2 * np.pi)  # of a standard normal of two numbers
    assert d.held_out_score(None, x, y, 1) == pytest.approx(-entropy, abs=0.03)
    x[::2] += 20.0  # the halves no longer agree
    assert d.held_out_score(None, x, y, 1) < -100


def test_nearest_distance_by_loops(d):
    x, others = torch.rand(4, 64), torch.rand(6, 64)
    expected = [min((a - b).norm().item() for b in others) for a in x]
    assert d.nearest_distance(x, others).tolist() == pytest.approx(
        expected, rel=1e-4)
