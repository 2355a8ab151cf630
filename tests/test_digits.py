"""The definitions of task 3: digits, forests, synthetic digits."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
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


@pytest.mark.parametrize("gap", [1, 3])
def test_titles_and_names_stand_beside_their_images(d, gap):
    fig, ax = plt.subplots()
    d.plot_images(ax, torch.rand(6, 64), 3, titles=("a", "b", "c"), gap=gap)
    d.name_rows(ax, ["first", "second"], gap=gap)
    places = [(text.get_text(), text.get_position()[0]) for text in ax.texts]
    rows = [text.get_text() for text in ax.get_yticklabels()]
    plt.close(fig)
    period = 8 + gap
    assert places == [("a", period / 2), ("b", 1.5 * period), ("c", 2.5 * period)]
    assert rows == ["first", "second"]
    assert ax.get_yticks().tolist() == [period / 2, 1.5 * period]


def test_islands_are_groups_of_codes_with_other_digits_between_them(d):
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0]] * 60 + [[8, 0]] * 40 + [[0, 8]] * 15 + [[4, 0]] * 50)
    codes = centres + 0.3 * torch.randn(165, 2, generator=generator)
    y = np.array([3] * 115 + [5] * 50)
    islands = d.islands_of(codes.numpy(), y, 3)
    assert [sorted(island.tolist()) for island in islands] == [
        [*range(60)], [*range(60, 100)], [*range(100, 115)]]
    assert [len(island) for island in d.islands_of(codes.numpy(), y, 5)] == [50]
    assert len(d.islands_of(codes.numpy(), y, 3, least=50)) == 1


def two_heaps(between):
    """200 images in two heaps, the second twice as bright, and so many half-way."""
    bright = torch.cat([torch.full((100, 1), 0.3), torch.full((100, 1), 0.6),
                        torch.full((between, 1), 0.45)])
    noise = torch.randn(len(bright), 64, generator=torch.Generator().manual_seed(0))
    return bright + 0.001 * noise


def test_images_of_two_heaps_are_cut_between_them(d):
    part = d.cut_in_two(two_heaps(0))
    assert set(part) == {0, 1}
    assert len(set(part[:100])) == len(set(part[100:])) == 1


@pytest.mark.parametrize("between", [0, 50])
def test_the_middle_holds_the_images_half_way(d, between):
    x = two_heaps(between)
    part = np.repeat([1, 0], [100, 100 + between])
    if between:  # they pull the mean image of their part towards them
        part[200::2] = 1
    assert d.in_the_middle(x, part) == pytest.approx(100 * between / (200 + between), abs=1e-4)


@pytest.mark.parametrize(("place", "share"), [(0.3, 0), (0.5, 10), (0.72, 0)])
def test_only_the_middle_fifth_counts(d, place, share):
    bright = torch.tensor([0.0] * 90 + [1.0] * 90 + [place] * 20)
    part = np.repeat([0, 1, 0, 1], [90, 90, 10, 10])
    x = bright[:, None].expand(-1, 64)
    assert d.in_the_middle(x, part) == pytest.approx(share)


def test_label_entropy_is_in_bits(d):
    class Forest:
        def predict_proba(self, x):
            p = np.zeros((len(x), 10))
            p[0, :4], p[1, 7], p[2:] = 0.25, 1, 0.1
            return p

    found = d.label_entropy(Forest(), torch.zeros(2, 2, 64))
    assert found.shape == (2, 2)
    assert np.allclose(found, [[2, 0], [np.log2(10)] * 2], atol=1e-6)


def test_labelled_codes_are_drawn_from_those_of_their_digit(d):
    y = np.repeat(np.arange(10), 30)
    codes = np.c_[y, -y] + 0.01 * np.random.default_rng(0).normal(size=(300, 2))
    drawn, meant = d.draw_labelled(codes, y, 7, seed=0, components=1)
    assert drawn.shape == (70, 2)
    assert np.bincount(meant).tolist() == [7] * 10
    assert np.abs(drawn.numpy() - np.c_[meant, -meant]).max() < 0.1
    again, other = (d.draw_labelled(codes, y, 7, seed, 1)[0] for seed in (0, 100))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)


def test_accuracy_is_that_of_a_forest_of_the_first_images(d):
    x, y = d.digits_split(0)
    assert d.accuracy_after(x["fit"], y["fit"], x["test"], y["test"], 30) > 90
    turned = (y["fit"] + 1) % 10
    assert d.accuracy_after(x["fit"], turned, x["test"], y["test"], 30) < 10
