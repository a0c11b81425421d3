"""DAFormer's step: the weight of the pseudo-labels, the cells of things, and what learns from what."""

import copy
from dataclasses import replace
from itertools import product
from unittest.mock import MagicMock

import pytest
import torch
import yaml
from checkpoints import small_network

from loopda.data.batches import DayBatch, NightBatch
from loopda.errors import ConfigError
from loopda.labels.classes import CITYSCAPES
from loopda.methods import daformer
from loopda.methods.daformer import DAFormer, DAFormerSettings
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter, running_statistics, upsample
from loopda.training.optimizer import descend

NETWORKS = {"pspnet": {"output_stride": 4}, "deeplab": {}, "daformer": {"encoder": "mit_tiny"}}


def settings(**changes):
    values = {
        "name": "daformer",
        "decay": 0.9,
        "threshold": 0.9,
        "ignore_top": 0.0,
        "ignore_bottom": 0.0,
        "colour": 0.2,
        "blur": 0.5,
        "feature_distance": 0.005,
        "feature_weights": "",
        "things": ("traffic light", "traffic sign", "of another list"),
        "thing_share": 0.75,
        "rare_temperature": 0.0,
        "rare_pixels": 0.01,
        "rare_crop_pixels": 0.01,
        "feature_statistics": "batch",
    }
    return DAFormerSettings(**values | changes)


def segmenter(name="pspnet"):
    torch.manual_seed(0)
    model = Segmenter(small_network(name=name, **NETWORKS[name]), CITYSCAPES).train()
    model.statistics = {domain: running_statistics(model) for domain in ("day", "night")}
    return model


def batches(height=32, width=64):
    draws = torch.Generator().manual_seed(1)
    day, night = (torch.rand(2, 3, height, width, generator=draws) * 2 - 1 for _ in range(2))
    labels = torch.randint(19, (2, 1, 1), generator=draws).expand(2, height, width).clone()
    labels[:, :, : width // 2] = 13
    void = torch.full((2, height, width), 255)
    boxes = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(2, 1)
    unpaired = torch.zeros(2, dtype=torch.bool)
    return DayBatch(day, labels, boxes), NightBatch(night, night[:0], unpaired, void, void[:0], boxes)


def saying(method, logits):
    """The method with a teacher that says `logits` whatever it sees."""
    method._modules["teacher"] = lambda images, aux: Outputs(logits, None, logits, logits)
    return method


def test_the_weight_is_the_share_of_the_batchs_pixels_that_reach_the_threshold_and_the_border_has_none():
    method = DAFormer(settings(ignore_top=0.25, ignore_bottom=0.5), segmenter(), None)
    logits = torch.zeros(2, 19, 4, 4)
    logits[0, 3, :, :3] = 100.0  # 12 of 32 pixels are sure of class 3
    labels, weights = saying(method, logits).pseudo_labels(torch.zeros(2, 3, 4, 4))
    assert (labels[0, :, :3] == 3).all()
    assert weights[:, 1].unique().tolist() == [12 / 32]  # one number, for unsure pixels and the other image too
    assert not weights[:, 0].any()
    assert not weights[:, 2:].any()


@pytest.mark.parametrize(("height", "kept"), [(512, slice(15, 392)), (80, slice(2, 61))])
def test_the_papers_rows_of_512_are_15_and_120_and_as_many_shares_of_other_crops(root, height, kept):
    overlay = yaml.safe_load((root / "workflow/config/paper-methods.yaml").read_text())
    section = overlay["experiments"]["paper-longer"]["methods"]["daformer"]
    rows = {name: section[name] for name in ("ignore_top", "ignore_bottom")}
    method = DAFormer(settings(feature_distance=0.0, threshold=0.0, **rows), segmenter(), None)
    _, weights = saying(method, torch.zeros(1, 19, 2, 2)).pseudo_labels(torch.zeros(1, 3, height, 16))
    expected = torch.zeros(1, height, 16)
    expected[:, kept] = 1.0
    assert torch.equal(weights, expected)


def test_a_cell_is_a_things_where_one_such_class_covers_the_share_of_it():
    method = DAFormer(settings(), segmenter("daformer"), None)
    assert method.things == {6, 7, *range(11, 19)}
    labels = torch.zeros(1, 4, 12, dtype=torch.long)
    labels[0, :3, :4] = 13  # 12 of 16 pixels are car
    labels[0, :2, 4:8], labels[0, 2:, 4:8] = 13, 11  # half car, half person
    labels[0, :, 8:] = 5  # a pole is no thing
    assert method.thing_cells(labels, (1, 3)).tolist() == [[[True, False, False]]]


def test_a_cell_of_aligned_features_lies_on_the_pixel_that_it_is_of():
    method = DAFormer(settings(), segmenter("pspnet"), None)
    labels = torch.zeros(1, 9, 9, dtype=torch.long)
    labels[0, :, 2:7] = 13  # three cells lie on columns 0, 4 and 8, four pixels wide: 2.5 to 6.5 is the middle one
    assert method.thing_cells(labels, (3, 3))[0].tolist() == [[False, True, False]] * 3
    labels[0, :, 6] = 0  # from 2.5 to 6: 7/8 of the middle cell
    assert method.thing_cells(labels, (3, 3))[0].tolist() == [[False, True, False]] * 3
    labels[0, :, 5] = 0
    assert method.thing_cells(labels, (3, 3))[0].tolist() == [[False, False, False]] * 3


def test_the_student_sees_half_of_the_days_classes_on_the_night_and_learns_the_teachers_labels_around_them(monkeypatch):
    model = segmenter()
    method = DAFormer(settings(colour=0.0, blur=0.0, feature_distance=0.0, threshold=0.3), model, None)
    day, night = batches()
    logits = torch.zeros(2, 19, 32, 64)
    logits[:, 5, :16] = 4.0  # sure of class 5 in the upper half alone
    saying(method, logits)
    method.teacher.update_parameters = lambda network: None
    mask = torch.zeros(2, 32, 64, dtype=torch.bool)
    mask[0, :, 10:20] = mask[1, 20:] = True
    monkeypatch.setattr(daformer, "class_mask", lambda labels, scores: mask)
    seen = []
    model.register_forward_hook(lambda module, arguments, outputs: seen.append((arguments[0], outputs.logits)))
    losses = method.losses(model, day, night, 1, 9)
    (day_image, _), (mixed, answer) = seen
    assert torch.equal(day_image, day.images)
    where = mask[:, None].expand(2, 3, 32, 64)
    assert torch.allclose(mixed[where], day.images[where], atol=1e-6)
    assert torch.allclose(mixed[~where], night.images[~where], atol=1e-6)
    shown = upsample(answer.detach(), (32, 64)).log_softmax(dim=1)
    total = 0.0
    for image, y, x in product(range(2), range(32), range(64)):
        if mask[image, y, x]:
            total -= float(shown[image, day.labels[image, y, x], y, x])
        else:  # half of the teacher's pixels are sure: each counts half, the unsure ones (class 0) too
            total -= 0.5 * float(shown[image, 5 if y < 16 else 0, y, x])
    assert losses.terms["seg_mix"].item() == pytest.approx(total / (2 * 32 * 64), rel=1e-4)
    assert losses.segmenter.item() == pytest.approx(sum(losses.terms[name].item() for name in ("seg_d", "seg_mix")))


def test_the_teacher_is_the_average_of_the_students_before_each_step():
    model = segmenter()
    method = DAFormer(settings(decay=0.5), model, None)
    optimizer, students = torch.optim.SGD(model.parameters(), 0.1), []
    for step in (1, 2, 3):
        students.append(copy.deepcopy(model.network.state_dict())["layer0.0.weight"])
        descend(method.losses(model, *batches(), step, 9).segmenter, optimizer)
    expected = (students[0] + students[1]) / 4 + students[2] / 2
    assert torch.allclose(method.teacher.module.network.state_dict()["layer0.0.weight"], expected)


def test_a_class_list_without_things_is_told_what_to_change():
    model = segmenter()
    model.classes = replace(CITYSCAPES, dynamic=frozenset())
    with pytest.raises(ConfigError, match=r"things.*feature_distance to 0"):
        DAFormer(settings(things=("lamp",)), model, None)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_teaches_every_part_of_the_student_and_neither_teacher_nor_guide(name):
    model = segmenter(name)
    method = DAFormer(settings(threshold=0.0), model, None)
    before = copy.deepcopy(dict(method.frozen_network.named_parameters()))
    day, night = batches()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in (1, 2):
        losses = method.losses(model, day, night, step, 2)
        descend(losses.segmenter, optimizer)
    assert set(losses.terms) == {"seg_d", "features", "seg_mix", "confident"}
    assert losses.discriminators is None
    assert method.optimizers() == {}
    assert not any(value.requires_grad for value in method.parameters())
    assert all(torch.equal(value, before[key]) for key, value in method.frozen_network.named_parameters())
    heads = {"pspnet": "final1", "deeplab": "layer5"}.get(name, "none")  # the auxiliary head is not used
    without = [key for key, value in model.network.named_parameters() if value.grad is None]
    assert all(key.startswith(heads) for key in without)


def test_the_distance_is_zero_before_the_first_update_and_grows_with_it():
    model = segmenter()
    method = DAFormer(settings(), model, None)
    day, night = batches()
    losses = method.losses(model, day, night, 1, 9)
    assert losses.terms["features"].item() == 0
    descend(losses.segmenter, torch.optim.SGD(model.parameters(), 0.5))
    assert method.losses(model, day, night, 2, 9).terms["features"].item() > 0


def test_the_distance_and_rare_classes_can_be_left_out():
    model = segmenter()
    method = DAFormer(settings(feature_distance=0.0), model, None)
    assert method.draw is None
    assert not hasattr(method, "guide")
    assert "features" not in method.losses(model, *batches(), 1, 9).terms
    labels = torch.zeros(10, 20, dtype=torch.uint8).numpy()
    frames = MagicMock(size=(20, 10), classes=CITYSCAPES, label=lambda index: labels, __len__=lambda self: 1)
    assert DAFormer(settings(rare_temperature=0.01), model, frames).draw is not None


def test_named_weights_are_those_of_the_frozen_encoder_and_a_file_that_the_progress_depends_on(tmp_path):
    other = segmenter("daformer")
    state = {name.removeprefix("backbone."): value + 1 for name, value in other.network.state_dict().items()}
    encoder = {name: value for name, value in state.items() if not name.startswith("decode_head.")}
    torch.save(encoder, tmp_path / "mit.pth")
    method = DAFormer(settings(feature_weights=str(tmp_path / "mit.pth")), segmenter("daformer"), None)
    assert method.files == {"feature_weights": tmp_path / "mit.pth"}
    found = method.frozen_network.network.backbone.state_dict()
    assert all(torch.equal(found[name], value) for name, value in encoder.items())


def test_crops_of_different_shapes_cannot_be_mixed():
    model = segmenter()
    day, _ = batches()
    with pytest.raises(ConfigError, match=r"input\.crop"):
        DAFormer(settings(), model, None).losses(model, day, batches(32, 48)[1], 1, 9)
