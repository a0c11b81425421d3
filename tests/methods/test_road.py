import math

import pytest
import torch
from checkpoints import small_network
from domains import CLASSES, WHOLE, gradients, losses_of, random_day, random_night, reaches, section_of, small_segmenter

from loopda.data.transforms import View
from loopda.errors import DataError
from loopda.losses.features import feature_distance
from loopda.methods.method import supervision
from loopda.methods.road import Road, RoadSettings, regions_of
from loopda.models.checkpoint import save_segmenter
from loopda.models.segmenter import Segmenter, estimate_statistics, running_statistics
from loopda.training.optimizer import descend

CHANNELS = 128  # of the small network's last features
LEFT, RIGHT, MIRRORED_LEFT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.5, 0.0, 0.0, 1.0)
MIRRORED = (1.0, 0.0, 0.0, 1.0)


@pytest.fixture
def built(base_config):
    """ROAD with `changes` to its section, and its network, which is also the frozen one."""

    def build(**changes):
        segmenter = small_segmenter()
        return Road(
            section_of(RoadSettings, base_config, **{"weights": "", "statistics": "batch"} | changes), segmenter, None
        ), segmenter

    return build


# ---------------------------------------------------------------- the region of a position


CROP = (40, 60)  # height and width in pixels of what a map shows


def naive_region(box, i, j, size, grid, aligned=False, crop=CROP):
    """Where in the whole image the place of cell (i, j) of a map of `size` lies, counted in regions row by row."""
    left, top, right, bottom = box
    places = []
    for cell, cells, pixels in ((j, size[1], crop[1]), (i, size[0], crop[0])):
        middle = (cell + 0.5) / cells
        places.append((cell * (pixels - 1) / (cells - 1) + 0.5) / pixels if aligned and cells > 1 else middle)
    x, y = left + (right - left) * places[0], top + (bottom - top) * places[1]
    return math.floor(y * grid[1]) * grid[0] + math.floor(x * grid[0])


def regions(boxes, size, grid, aligned=False):
    return regions_of(torch.tensor(boxes), size, grid, crop=CROP, aligned=aligned)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 2), (3, 3), (4, 2)])
def test_each_position_lies_in_the_region_of_its_place_in_the_whole_image(grid, aligned):
    size = (5, 7)
    views = [View(13, 22, 31, 43, flipped) for flipped in (False, True)] + [View(0, 0, 64, 96, False)]
    boxes = [view.box((96, 64)) for view in views]
    found = regions(boxes, size, grid, aligned)
    assert found.shape == (3, *size)
    for n, box in enumerate(boxes):
        expected = [[naive_region(box, i, j, size, grid, aligned) for j in range(size[1])] for i in range(size[0])]
        assert found[n].tolist() == expected


def test_the_nine_regions_of_a_whole_image_are_counted_row_by_row():
    found = regions([[0.0, 0.0, 1.0, 1.0]], (3, 6), (3, 3))
    assert found[0].tolist() == [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5], [6, 6, 7, 7, 8, 8]]


def test_two_by_one_of_the_paper_is_a_top_and_a_bottom_region():
    found = regions([[0.0, 0.0, 1.0, 1.0]], (4, 2), (1, 2))
    assert found[0].tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]


def test_a_crop_lies_where_it_was_cut_out_and_a_mirrored_one_the_other_way_round():
    found = regions([LEFT, RIGHT, MIRRORED_LEFT], (1, 4), (4, 1))
    assert found[:, 0].tolist() == [[0, 0, 1, 1], [2, 2, 3, 3], [1, 1, 0, 0]]


# ---------------------------------------------------------------- spatial-aware adaptation


def naive_alignment(classifiers, source, target, grid, **places):
    """Equations 2 and 3, position by position: a mean for each region over both domains, then their sum."""
    losses = {}
    for (features, boxes), d in ((source, 0), (target, 1)):
        batch, _, height, width = features.shape
        for n in range(batch):
            for i in range(height):
                for j in range(width):
                    m = naive_region(boxes[n].tolist(), i, j, (height, width), grid, **places)
                    h = classifiers[m](features[n : n + 1, :, i : i + 1, j : j + 1]).sigmoid().item()
                    losses.setdefault(m, []).append(-d * math.log(h) - (1 - d) * math.log(1 - h))
    return sum(sum(region) / len(region) for region in losses.values())


def alignment(method, source, target):
    return method.spatial_loss((*source, CROP), (*target, CROP), aligned=False)


def at(box, *, size=(3, 6)):
    """Random features of one image that shows `box`."""
    return torch.randn(1, CHANNELS, *size, requires_grad=True), torch.tensor([box])


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (3, 3)])
def test_the_alignment_is_the_sum_over_regions_of_the_mean_over_both_domains(built, grid):
    method, _ = built(grid=grid)
    source = torch.randn(2, CHANNELS, 3, 4), torch.tensor([View(3, 5, 20, 30, True).box((48, 32)), WHOLE])
    target = torch.randn(3, CHANNELS, 5, 2), torch.tensor([LEFT, MIRRORED_LEFT, RIGHT])
    found = alignment(method, source, target)
    assert found.item() == pytest.approx(naive_alignment(method.classifiers, source, target, grid), rel=1e-4)


@pytest.mark.parametrize("box", [LEFT, MIRRORED_LEFT])
def test_a_crop_meets_the_classifier_of_the_region_where_it_lies_and_no_other(built, box):
    method, _ = built(grid=(2, 1))
    loss = alignment(method, at(box), at(box))
    assert [reaches(loss, classifier) for classifier in method.classifiers] == [True, False]
    loss = alignment(method, at(box), at(RIGHT))
    assert [reaches(loss, classifier) for classifier in method.classifiers] == [True, True]


def test_a_mirrored_image_meets_the_classifiers_the_other_way_round(built):
    method, _ = built(grid=(2, 1), reversal=1.0)
    (features, plain), mirrored = at(WHOLE, size=(1, 2)), torch.tensor([MIRRORED])
    nothing = torch.zeros(0, CHANNELS, 1, 2), torch.zeros(0, 4)
    first, second = method.classifiers
    for boxes, order in ((plain, (first, second)), (mirrored, (second, first))):
        scores = [classifier(features[:, :, :, j : j + 1]).sigmoid() for j, classifier in enumerate(order)]
        expected = sum(-math.log(1 - h.item()) for h in scores)
        assert alignment(method, (features, boxes), nothing).item() == pytest.approx(expected, rel=1e-5)


def test_regions_without_any_position_cost_nothing_and_teach_nobody(built):
    method, _ = built(grid=(3, 3))
    corner = (0.0, 0.0, 0.2, 0.2)
    source, target = at(corner), at(corner)
    loss = alignment(method, source, target)
    alone, _ = built(grid=(1, 1))
    alone.classifiers[0].load_state_dict(method.classifiers[0].state_dict())
    assert loss.item() == pytest.approx(alignment(alone, source, target).item())
    loss.backward()
    assert source[0].grad.abs().max() > 0
    for classifier in method.classifiers[1:]:
        assert all(parameter.grad.eq(0).all() for parameter in classifier.parameters())


def test_the_loss_of_no_position_at_all_is_a_zero_that_carries_a_graph(built):
    method, _ = built()
    nothing = torch.zeros(0, CHANNELS, 2, 2, requires_grad=True), torch.zeros(0, 4)
    loss = alignment(method, nothing, nothing)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_features_get_the_gradient_reversed_and_the_classifiers_as_it_is(built, strength):
    method, _ = built(reversal=strength)
    source, target = at(WHOLE), at(LEFT)
    loss = alignment(method, source, target)
    method.settings = method.settings.model_copy(update={"reversal": -1.0})  # twice reversed is plain
    plain = alignment(method, source, target)
    for features in (source[0], target[0]):
        (ours,), (theirs,) = (torch.autograd.grad(one, features, retain_graph=True) for one in (loss, plain))
        assert theirs.abs().max() > 0
        assert torch.allclose(ours, -strength * theirs, atol=1e-8)
    pairs = zip(gradients(loss, method.classifiers), gradients(plain, method.classifiers), strict=True)
    assert all(torch.allclose(ours, theirs, atol=1e-8) for ours, theirs in pairs)


# ---------------------------------------------------------------- both modules


def moved(segmenter):
    """Other weights, as after some training: away from the frozen copy."""
    with torch.no_grad():
        for parameter in segmenter.network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


def test_road_minimises_the_supervision_and_its_two_modules_with_the_weights_of_equation_5(built):
    method, segmenter = built(distillation=0.5, spatial=0.25, grid=(2, 2))
    moved(segmenter)
    day, night = random_day((LEFT, WHOLE)), random_night((MIRRORED_LEFT, RIGHT))
    found = method.losses(segmenter, day, night, 1, 10)
    of_day, of_night = segmenter(day.images), segmenter(night.images)
    imitated = method.frozen_network(night.images).features
    expected = supervision(of_day, day.labels, 0)
    expected = expected + 0.5 * feature_distance(features=of_night.features, target=imitated)
    shown = (of_day.features, day.boxes), (of_night.features, night.boxes)
    spatial = naive_alignment(method.classifiers, *shown, (2, 2), aligned=True, crop=day.images.shape[2:])
    assert found.segmenter.item() == pytest.approx(expected.item() + 0.25 * spatial, rel=1e-4)
    assert found.discriminators is None
    assert set(found.terms) == {"seg_d", "distillation", "spatial"}


def test_each_module_can_be_left_out_with_all_that_it_needs(built):
    method, segmenter = built(distillation=0.0)
    assert method.frozen_network is None
    assert method.notes == []
    assert set(losses_of(method, segmenter).terms) == {"seg_d", "spatial"}
    method, segmenter = built(spatial=0.0)
    assert len(method.classifiers) == 0
    assert method.optimizers() == {}
    assert set(losses_of(method, segmenter).terms) == {"seg_d", "distillation"}


def test_there_is_a_classifier_for_each_region_and_all_of_them_are_trained_jointly(built):
    method, _ = built(grid=(3, 2))
    assert len(method.classifiers) == 6
    (group,) = method.optimizers()["joint"].param_groups
    assert {id(value) for value in group["params"]} == {id(value) for value in method.classifiers.parameters()}


def test_the_distillation_reaches_the_trunk_alone_and_the_frozen_network_gets_nothing(built):
    method, segmenter = built()
    moved(segmenter)
    found = losses_of(method, segmenter)
    distillation = found.terms["distillation"]
    assert reaches(distillation, segmenter.network.layer0)
    assert not reaches(distillation, segmenter.network.final2)
    assert not any(parameter.requires_grad for parameter in method.frozen_network.parameters())
    assert not reaches(found.terms["spatial"], segmenter.network.final2)


def test_only_night_images_are_distilled(built):
    method, segmenter = built()
    moved(segmenter)
    night = random_night()
    first, second = (method.losses(segmenter, random_day(), night, 1, 10).terms for _ in range(2))
    assert torch.equal(first["distillation"], second["distillation"])
    assert not torch.equal(first["spatial"], second["spatial"])


def test_the_network_comes_closer_to_the_frozen_one_which_stays_as_it_is(built):
    method, segmenter = built(distillation=1.0, spatial=0.0)
    moved(segmenter)
    before = {name: value.clone() for name, value in method.frozen_network.state_dict().items()}
    night = random_night()
    day = random_day()._replace(labels=torch.full((2, 32, 48), 255))  # no supervision
    optimizer = torch.optim.SGD(segmenter.network.parameters(), lr=0.01)
    distances = []
    for step in range(1, 11):
        found = method.losses(segmenter, day, night, step, 10)
        distances.append(found.terms["distillation"].item())
        descend(found.segmenter, optimizer)
    assert distances[-1] < distances[0]
    for name, value in method.frozen_network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_network_begins_at_no_distance_from_the_frozen_one_that_normalises_by_each_batch_too(built):
    method, segmenter = built(statistics="batch")
    assert losses_of(method, segmenter).terms["distillation"].item() < 1e-5
    assert not any("running" in name for name in method.frozen_network.state_dict())
    method, segmenter = built(statistics="kept")
    assert losses_of(method, segmenter).terms["distillation"].item() > 0.1


def test_a_frozen_network_that_keeps_its_statistics_answers_for_each_image_by_itself_as_at_night(base_config):
    segmenter = small_segmenter()
    for name in segmenter.statistics["night"]:
        if name.endswith("running_mean"):
            segmenter.statistics["night"][name] += 0.5
    method = Road(section_of(RoadSettings, base_config, weights="", statistics="kept"), segmenter, None)
    images = random_night().images
    together, alone = method.frozen_network(images).features, method.frozen_network(images[1:]).features
    assert torch.allclose(together[1:], alone, atol=1e-5)
    segmenter.use_statistics("night")
    assert torch.allclose(segmenter(images).features, together, atol=1e-6)
    assert method.notes == [
        "the frozen network: the source-only model",
        "the frozen network: it keeps its night statistics",
    ]


def test_the_frozen_network_can_have_weights_of_its_own_which_the_log_and_the_fingerprint_name(base_config, tmp_path):
    other = Segmenter(small_network(), CLASSES)
    tensors = other.network.state_dict()
    names = {n: n.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1.") for n in tensors if n.startswith("layer")}
    path = tmp_path / "resnet.pth"  # in torchvision's layout
    torch.save({new: tensors[old] for old, new in names.items()}, path)
    method = Road(section_of(RoadSettings, base_config, weights=str(path)), small_segmenter(), None)
    for name in names:
        if "running" not in name:
            assert torch.equal(method.frozen_network.network.state_dict()[name], tensors[name]), name
    assert method.frozen_network.section.normalisation == "imagenet"
    assert not method.frozen_network.training
    assert method.files == {"weights": path}
    assert any(f"is imported from {path}" in line for line in method.notes)
    assert all(line.startswith("the frozen network: ") for line in method.notes)


def test_weights_that_are_missing_or_of_another_network_are_refused(base_config, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.pth"):
        Road(section_of(RoadSettings, base_config, weights="nowhere.pth"), small_segmenter(), None)
    path = tmp_path / "wide.pth"
    torch.save(Segmenter(small_network(width=8), CLASSES).network.state_dict(), path)
    with pytest.raises(DataError, match="do not fit"):
        Road(section_of(RoadSettings, base_config, weights=str(path)), small_segmenter(), None)


# ---------------------------------------------------------------- the input of a frozen network


def taken_of_unscaled_images(path):
    """Weights in the layout of the caffe-style initialisation, whose statistics are of BGR minus mean, not divided."""
    theirs = Segmenter(small_network(normalisation="caffe-255"), CLASSES)
    estimate_statistics(theirs, [random_night().images for _ in range(3)])
    names = {n: n.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1.") for n in theirs.network.state_dict()}
    trunk = {f"Scale.{new}": theirs.network.state_dict()[old] for old, new in names.items() if old.startswith("layer")}
    torch.save(trunk, path)


def deviation_after_the_first_normalisation(segmenter, images):
    seen = []
    handle = segmenter.network.layer0[1].register_forward_hook(lambda _, __, output: seen.append(output))
    segmenter(images)
    handle.remove()
    return seen[0].std(dim=(0, 2, 3)).mean().item()


@pytest.mark.fault(83, "the frozen network sees the input that its statistics are of")
def test_a_frozen_network_that_keeps_its_file_s_statistics_sees_the_input_that_they_are_of(base_config, tmp_path):
    path = tmp_path / "init.pth"
    taken_of_unscaled_images(path)
    images = random_night().images
    guides = {}
    for statistics in ("kept", "batch"):
        section = section_of(RoadSettings, base_config, weights=str(path), statistics=statistics)
        method = Road(section, small_segmenter(), None)  # whose input is caffe: divided by 128
        guides[statistics] = method.frozen_network
    assert guides["kept"].section.normalisation == "caffe-255"
    assert guides["batch"].section.normalisation == "caffe"  # LoopDA's choice, which the batch's statistics absorb
    # a normalised channel varies by 1; of an input that is divided by 128, by 1/128
    assert 0.5 < deviation_after_the_first_normalisation(guides["kept"], images) < 2
    first, second = (guides["kept"](one.expand(2, -1, -1, -1)).features for one in images)
    assert (first - second).abs().mean() > 0.1 * first.std()


def test_a_frozen_network_has_the_stride_of_the_network_that_its_statistics_were_taken_in(base_config, tmp_path):
    path = tmp_path / "resnet.pth"  # in torchvision's layout
    tensors = Segmenter(small_network(), CLASSES).network.state_dict()
    names = {n: n.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1.") for n in tensors if n.startswith("layer")}
    torch.save({new: tensors[old] for old, new in names.items()}, path)
    found = {}
    for statistics in ("kept", "batch"):
        section = section_of(RoadSettings, base_config, weights=str(path), statistics=statistics)
        found[statistics] = Road(section, small_segmenter(), None).frozen_network.section.stride_in
    assert found == {"kept": "conv2", "batch": "conv1"}


def test_statistics_of_an_input_that_the_file_does_not_tell_are_not_kept(base_config, tmp_path):
    tensors = Segmenter(small_network(), CLASSES).network.state_dict()
    names = {n: n.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1.") for n in tensors if n.startswith("layer")}
    torch.save({"state_dict": {new: tensors[old] for old, new in names.items()}}, tmp_path / "resnet.pth")
    settings = section_of(RoadSettings, base_config, weights=str(tmp_path / "resnet.pth"), statistics="kept")
    with pytest.raises(DataError, match="does not say which input its statistics are of"):
        Road(settings, small_segmenter(), None)


@pytest.mark.parametrize("statistics", ["per_domain", "shared"])
def test_a_frozen_network_from_a_checkpoint_keeps_the_statistics_of_the_night_there(base_config, tmp_path, statistics):
    path = tmp_path / "model.pt"
    other = Segmenter(small_network(statistics=statistics), CLASSES)
    names = ["day", "night"] if statistics == "per_domain" else ["shared"]
    other.statistics = {
        name: {key: torch.rand_like(value) + place for key, value in running_statistics(other).items()}
        for place, name in enumerate(names)
    }
    save_segmenter(other, path)
    method = Road(section_of(RoadSettings, base_config, weights=str(path), statistics="kept"), small_segmenter(), None)
    state = method.frozen_network.network.state_dict()
    for key, value in other.statistics[names[-1]].items():
        if key.startswith("layer"):
            assert torch.equal(state[key], value), key


@pytest.mark.parametrize("domains", [(), ("day",)])
def test_a_checkpoint_without_statistics_has_none_to_keep(base_config, tmp_path, domains):
    other = Segmenter(small_network(), CLASSES)
    other.statistics = dict.fromkeys(domains, running_statistics(other))
    save_segmenter(other, tmp_path / "model.pt")
    settings = section_of(RoadSettings, base_config, weights=str(tmp_path / "model.pt"), statistics="kept")
    with pytest.raises(DataError, match=r"model\.pt: has no night statistics to keep"):
        Road(settings, small_segmenter(), None)
