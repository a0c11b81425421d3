import numpy as np
import pytest
import torch
from checkpoints import small_network

from loopda.data.transforms import to_images
from loopda.labels.classes import ClassList
from loopda.models import statistics
from loopda.models.segmenter import Segmenter, estimate_statistics, running_statistics
from loopda.training.optimizer import SegmenterOptimizer, segmenter_optimizer
from loopda.training.statistics import set_statistics

CLASSES = ClassList(("road", "car"), ((1, 2, 3), (4, 5, 6)), frozenset({1}), frozenset(), {})
CPU = torch.device("cpu")


class Pictures:
    """Stands for Frames: images in memory."""

    def __init__(self, count, brightness):
        rng = np.random.default_rng(brightness)
        self.pictures = rng.integers(0, brightness, (count, 16, 16, 3), dtype=np.uint8)
        self.asked_for = []

    def __len__(self):
        return len(self.pictures)

    def image(self, index):
        self.asked_for.append(int(index))
        return self.pictures[index]


def segmenter(rule):
    torch.manual_seed(0)
    return Segmenter(small_network(statistics=rule), CLASSES)


def assert_close(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("order", ["day first", "night first"])
def test_each_domain_has_the_statistics_of_its_own_images(order):
    model, day, night = segmenter("per_domain"), Pictures(3, 250), Pictures(2, 40)
    # what training saw last must not matter
    last = day if order == "night first" else night
    model.train()(to_images(list(last.pictures)))
    set_statistics(model, day=day, night=night, device=CPU)
    assert list(model.statistics) == ["day", "night"]
    for domain, frames in (("day", day), ("night", night)):
        expected = estimate_statistics(segmenter("per_domain"), [to_images(list(frames.pictures))])
        assert_close(model.statistics[domain], expected)
    assert not torch.allclose(
        model.statistics["day"]["layer0.1.running_mean"], model.statistics["night"]["layer0.1.running_mean"]
    )


def test_shared_statistics_are_the_running_average_of_training_and_look_at_no_image():
    model, day, night = segmenter("shared"), Pictures(3, 250), Pictures(2, 40)
    model.train()(to_images(list(day.pictures)))
    expected = running_statistics(model)
    set_statistics(model, day=day, night=night, device=CPU)
    assert list(model.statistics) == ["shared"]
    assert_close(model.statistics["shared"], expected)
    assert day.asked_for == night.asked_for == []


def test_the_images_of_a_large_set_are_spread_evenly_over_it(monkeypatch):
    monkeypatch.setattr(statistics, "IMAGES", 5)
    monkeypatch.setattr(statistics, "BATCH", 2)
    model, day, night = segmenter("per_domain"), Pictures(21, 250), Pictures(4, 40)
    set_statistics(model, day=day, night=night, device=CPU)
    assert day.asked_for == [0, 5, 10, 15, 20]
    assert night.asked_for == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_segmenters_optimiser_gives_the_heads_their_factor(name):
    model = segmenter("shared")
    section = SegmenterOptimizer(name=name, lr=2.5e-4, head_factor=10.0, momentum=0.9, weight_decay=5e-4, power=0.9)
    optimizer = segmenter_optimizer(model, section)
    assert type(optimizer) is {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[name]
    backbone, heads = optimizer.param_groups
    assert (backbone["lr"], heads["lr"]) == (backbone["initial_lr"], heads["initial_lr"])
    assert (backbone["lr"], heads["lr"]) == pytest.approx((2.5e-4, 2.5e-3))
    momenta = [group["momentum"] if name == "sgd" else group["betas"][0] for group in optimizer.param_groups]
    assert momenta == [0.9, 0.9]
    assert {group["weight_decay"] for group in optimizer.param_groups} == {5e-4}
    names = {id(value): name.split(".")[0] for name, value in model.network.named_parameters()}
    assert {names[id(value)] for value in heads["params"]} == {"final1", "final2"}
    owned = [id(value) for group in optimizer.param_groups for value in group["params"]]
    assert sorted(owned) == sorted(names)
