"""Rare class sampling against its definition; the draw depends on its generator alone."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from loopda.data.batches import day_batch
from loopda.data.rare_classes import RareClasses, class_probabilities
from loopda.data.transforms import random_view
from loopda.errors import DataError

SIZE = (20, 10)


class Labelled:
    """Frames of 20 x 10 pixels; the image of label map k is k everywhere."""

    def __init__(self, *labels, classes=4):
        self.labels, self.size, self.classes = labels, SIZE, range(classes)
        self.rows = [SimpleNamespace(image=f"{index}.png") for index in range(len(labels))]

    def __len__(self):
        return len(self.labels)

    def label(self, index):
        return self.labels[index]

    def image(self, index):
        return np.full((*SIZE[::-1], 3), index, dtype=np.uint8)


def label(**pixels):
    """A label map of class 0 with so many pixels of class 1, 2 or 3, or void, from the left."""
    flat = np.zeros(200, dtype=np.uint8)
    start = 0
    for name, count in pixels.items():
        flat[start : start + count] = {"one": 1, "two": 2, "three": 3, "void": 255}[name]
        start += count
    return flat.reshape(20, 10).T.copy()


def test_the_probability_of_a_class_is_the_softmax_of_how_rare_it_is():
    shares = [0.7, 0.2, 0.1]
    found = class_probabilities(np.array(shares), 0.5, np.array([True] * 3))
    weights = [math.exp((1 - share) / 0.5) for share in shares]
    assert found.tolist() == pytest.approx([weight / sum(weights) for weight in weights])


def test_a_class_that_no_image_shows_is_never_drawn_and_a_low_temperature_overflows_nothing():
    found = class_probabilities(np.array([0.9, 0.1, 0.0]), 1e-4, np.array([True, True, False]))
    assert found.tolist() == [0, 1, 0]
    assert not class_probabilities(np.array([0.5, 0.5]), 0.01, np.array([False, False])).any()


def test_an_image_is_drawn_only_for_a_class_of_which_it_shows_more_than_the_least():
    frames = Labelled(label(one=20), label(one=21), label(two=30), label(void=200))
    rare = RareClasses(frames, 0.05, of_image=0.1, of_crop=0.05)
    assert [images.tolist() for images in rare.images] == [[0, 1, 2], [1], [2], []]
    counts = np.bincount([rare.draw(np.random.default_rng(seed), SIZE)[0] for seed in range(300)], minlength=4)
    assert counts[1] > 90
    assert counts[2] > 90
    assert counts[3] == 0


def test_shares_are_of_labelled_pixels_so_that_the_rarer_class_is_drawn_as_often_as_the_formula_says():
    frames = Labelled(label(one=100, void=60), label(two=40))
    rare = RareClasses(frames, 0.2, of_image=0.05, of_crop=0.05)
    shares = np.array([200, 100, 40, 0]) / 340
    weights = np.array([*np.exp((1 - shares[:3]) / 0.2), 0])
    assert rare.probabilities == pytest.approx(weights / weights.sum())


def test_a_crop_shows_more_than_its_share_of_the_drawn_class_when_ten_tries_find_one():
    frames = Labelled(label(one=40))
    rare = RareClasses(frames, 1e-3, of_image=0.15, of_crop=0.075)  # the image shows 40 > 30 pixels, a crop needs > 15
    views = [rare.draw(np.random.default_rng(seed), (10, 10))[1] for seed in range(200)]
    enough = [(view.of(frames.label(0)) == 1).sum() > 15 for view in views]
    assert np.mean(enough) > 0.9  # of random crops, three in eleven


def test_without_such_a_crop_the_last_of_the_tries_is_taken():
    frames = Labelled(label(one=40))
    rare = RareClasses(frames, 1e-3, of_image=0.15, of_crop=0.075)
    index, view = rare.draw(np.random.default_rng(0), (1, 1))
    rng = np.random.default_rng(0)
    rng.choice(4, p=rare.probabilities), rng.choice(1)
    assert (index, view) == (0, [random_view(rng, size=SIZE, crop=(1, 1)) for _ in range(10)][-1])


def test_a_batch_of_drawn_images_depends_on_seed_and_step_alone():
    frames = Labelled(*(label(one=20 + index) for index in range(9)))
    rare = RareClasses(frames, 0.01, of_image=0.05, of_crop=0.02)
    arguments = {"batch_size": 3, "crop": (10, 5), "draw": rare.draw}
    first = [day_batch(frames, step, seed=0, **arguments) for step in (1, 2, 3)]
    again = [day_batch(frames, step, seed=0, **arguments) for step in (3, 2, 1)][::-1]
    other = [day_batch(frames, step, seed=1, **arguments) for step in (1, 2, 3)]
    pictures = [[batch.images[:, 0, 0, 0].tolist() for batch in batches] for batches in (first, again, other)]
    assert pictures[0] == pictures[1] != pictures[2]
    assert all((one.labels == two.labels).all() for one, two in zip(first, again, strict=True))


def test_a_set_that_shows_nothing_is_refused_with_the_keys_to_change():
    with pytest.raises(DataError, match=r"rare_pixels.*rare_temperature"):
        RareClasses(Labelled(label(void=200)), 0.01, of_image=0.1, of_crop=0.1)
