"""The definitions of task 3: digits, forests, synthetic digits."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

pytest_plugins = "knobs"


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


def test_forest_reads_sets_of_any_shape(d):
    x, y = d.digits_split(0)
    forest = d.fit_forest(x["fit"], y["fit"], d.TREES)
    assert len(forest.estimators_) == d.TREES
    read = d.read_labels(forest, x["test"].reshape(4, 90, 64))
    assert read.shape == (4, 90)
    assert d.share_equal(read.ravel(), y["test"]) > 90


def test_share_equal_counts_along_the_last_axis(d):
    shares = d.share_equal([[1, 2, 3, 4], [1, 0, 0, 0]], [1, 2, 3, 0])
    assert shares.tolist() == [75, 50]  # per cent


def test_images_are_drawn_row_by_row(d):
    fig, ax = plt.subplots()
    picture = d.plot_images(ax, torch.arange(6).float()[:, None].expand(6, 64), 3).get_array()
    plt.close(fig)
    assert picture.shape == (18, 27)
    for i in range(6):
        top, left = 9 * (i // 3), 9 * (i % 3)
        assert (picture[top + 1:top + 9, left + 1:left + 9] == i).all()
        assert picture.mask[top, left:left + 9].all()


class Pixels(torch.nn.Module):
    """Codes are the first two pixels; the decoder repeats them."""

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Linear(64, 2, bias=False)
        self.decoder = torch.nn.Linear(2, 64, bias=False)
        with torch.no_grad():
            self.encoder.weight.copy_(torch.eye(64)[:2])
            self.decoder.weight.copy_(torch.eye(64)[:, :2])


def test_sample_digits_draws_each_class_from_its_own_codes(d, monkeypatch):
    for name, half in (("encode", "encoder"), ("decode", "decoder")):
        monkeypatch.setattr(d, name, lambda model, x, half=half: getattr(
            model, half)(x).detach()[None])
    generator = torch.Generator().manual_seed(0)
    y = np.repeat(np.arange(10), 30)
    x = 0.01 * torch.randn(300, 64, generator=generator)
    x[:, 0] += torch.tensor(y)  # class c lies around (c, -c)
    x[:, 1] -= torch.tensor(y)
    drawn, meant = d.sample_digits(Pixels(), x, y, 7, 1)
    assert drawn.shape == (70, 64)
    assert np.bincount(meant).tolist() == [7] * 10
    assert np.abs(drawn[:, 0].numpy() - meant).max() < 0.1
    assert np.abs(drawn[:, 1].numpy() + meant).max() < 0.1
    again, other = (d.sample_digits(Pixels(), x, y, 7, 1, seed=seed)[0]
                    for seed in (0, 100))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)


def test_residuals_come_from_images_of_the_same_label(d, monkeypatch):
    x, y = torch.eye(64)[:40], np.arange(40) % 10
    drawn = np.repeat(np.arange(10), 30)
    monkeypatch.setattr(d, "reconstruct", lambda model, x: x[None] / 4)
    found = d.residuals(None, x, y, drawn)
    rows = found.argmax(1).numpy()
    assert torch.equal(found, 0.75 * x[rows])
    assert np.array_equal(y[rows], drawn)
    assert set(rows) == set(range(40))
