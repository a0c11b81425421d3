"""The statistics of a set of images, and their distance from those of another."""

import numpy as np
import pytest
import torch
from checkpoints import segmenter
from torch import nn

from loopda.data.transforms import to_images
from loopda.models.statistics import FAR, distances, divergence, far_from, statistics_of

CPU = torch.device("cpu")


class Pictures:
    """Stands for Frames: images in memory, in the brightness from `low` to `high`."""

    def __init__(self, count, low, high, seed=0):
        self.pictures = np.random.default_rng(seed).integers(low, high, (count, 32, 32, 3), dtype=np.uint8)

    def __len__(self):
        return len(self.pictures)

    def image(self, index):
        return self.pictures[index]


def test_the_statistics_of_a_set_are_the_means_over_its_batches_in_a_plain_loop():
    model, pictures = segmenter(dropout=0.0), Pictures(10, 0, 250)
    found = statistics_of(model, pictures, CPU)
    seen = {}

    def record(name):
        def hook(part, inputs, output):
            values = inputs[0].detach().transpose(0, 1).flatten(1)
            seen.setdefault(name, []).append((values.mean(dim=1), values.var(dim=1)))

        return hook

    for name, part in model.network.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_hook(record(name))
    with torch.no_grad():
        for first, last in ((0, 8), (8, 10)):
            model(to_images(list(pictures.pictures[first:last])))
    assert len(found) == 2 * len(seen) > 10
    for name, batches in seen.items():
        means, variances = zip(*batches, strict=True)
        assert torch.allclose(found[f"{name}.running_mean"], sum(means) / 2, rtol=1e-4, atol=1e-6), name
        assert torch.allclose(found[f"{name}.running_var"], sum(variances) / 2, rtol=1e-4, atol=1e-6), name


def test_the_divergence_is_the_symmetric_one_of_normal_distributions_averaged_over_channels_then_layers():
    one = {
        "a.running_mean": torch.tensor([0.0, 0.0]),
        "a.running_var": torch.tensor([1.0, 1.0]),
        "b.running_mean": torch.tensor([0.0]),
        "b.running_var": torch.tensor([1.0]),
    }
    other = one | {"a.running_mean": torch.tensor([2.0, 0.0]), "b.running_var": torch.tensor([4.0])}
    of_a = (4 * (1 + 1) / 2 + 0) / 2  # a shift of two deviations in one of two channels
    of_b = (1 / 4 + 4 - 2) / 2  # twice the deviation
    assert divergence(one, other) == pytest.approx((of_a + of_b) / 2, rel=1e-4)
    assert divergence(other, one) == pytest.approx(divergence(one, other))
    assert divergence(one, one) == 0


def test_distances_count_in_that_of_day_from_night():
    model = segmenter(dropout=0.0)
    known = {
        "day": statistics_of(model, Pictures(24, 100, 250), CPU),
        "night": statistics_of(model, Pictures(24, 10, 60), CPU),
    }
    assert distances(known, known["night"]) == {"day": 1.0, "night": 0.0}
    alike = distances(known, statistics_of(model, Pictures(24, 10, 60, seed=1), CPU))
    assert alike["night"] < FAR / 5 < alike["day"]
    between = distances(known, statistics_of(model, Pictures(24, 60, 180, seed=1), CPU))
    assert alike["night"] < between["night"] < 1.2
    elsewhere = distances(known, statistics_of(model, Pictures(24, 240, 255, seed=1), CPU))
    assert elsewhere["night"] > FAR


def test_without_statistics_of_day_and_night_that_differ_there_is_no_distance():
    own = statistics_of(segmenter(dropout=0.0), Pictures(8, 0, 250), CPU)
    assert distances({"shared": own}, own) == distances({"day": own, "night": own}, own) == {}


def test_a_far_set_is_said_to_be_far_and_its_own_statistics_are_not():
    found = {"night": FAR + 0.5, "day": FAR / 2}
    assert far_from("night", found) == (
        f"the images lie far from the night statistics (distance {FAR + 0.5:.2f}, where day is 1 from night; more than"
        f" {FAR:g} is far)"
    )
    assert far_from("day", found) == far_from("own", found) == far_from("night", {"night": FAR}) == ""
