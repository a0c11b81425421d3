import copy

import pytest
import torch
from checkpoints import images, segmenter
from torch import nn
from torchvision.models import ResNet101_Weights

from loopda.errors import DataError
from loopda.models.segmenter import copy_backbone, estimate_statistics, running_statistics, upsample

# what the network sees


def seen_by_the_network(model, rgb):
    """The network's input for an image of one colour, given in bytes."""
    seen = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = (torch.tensor(rgb, dtype=torch.float32) / 127.5 - 1).reshape(1, 3, 1, 1).expand(2, 3, 16, 16)
    model(image)
    return seen[0][0, :, 5, 7].tolist()


def test_a_caffe_network_sees_bgr_minus_the_mean_over_128():
    found = seen_by_the_network(segmenter(normalisation="caffe"), (10, 200, 255))
    expected = [(255 - 104.00698793) / 128, (200 - 116.66876762) / 128, (10 - 122.67891434) / 128]
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_caffe_rgb_network_sees_the_same_numbers_with_the_channels_reversed():
    colour = (10, 200, 255)
    reversed_ = seen_by_the_network(segmenter(normalisation="caffe-rgb"), colour)
    assert reversed_ == pytest.approx(
        [(10 - 122.67891434) / 128, (200 - 116.66876762) / 128, (255 - 104.00698793) / 128], abs=1e-6
    )
    assert reversed_ == pytest.approx(seen_by_the_network(segmenter(), colour)[::-1], abs=1e-6)


def test_a_unit_network_sees_rgb_between_zero_and_one():
    found = seen_by_the_network(segmenter(normalisation="unit"), (0, 51, 255))
    assert found == pytest.approx([0, 0.2, 1], abs=1e-6)


def test_an_imagenet_network_sees_what_torchvisions_own_preset_makes():
    preset = ResNet101_Weights.IMAGENET1K_V1.transforms(crop_size=16, resize_size=16)
    colour = torch.tensor([10, 200, 255], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 16, 16)
    found = seen_by_the_network(segmenter(normalisation="imagenet"), (10, 200, 255))
    assert found == pytest.approx(preset(colour)[:, 5, 7].tolist(), abs=1e-5)


def test_a_caffe_255_network_sees_bgr_minus_the_mean():
    found = seen_by_the_network(segmenter(normalisation="caffe-255"), (10, 200, 255))
    assert found == pytest.approx([255 - 104.00698793, 200 - 116.66876762, 10 - 122.67891434], abs=1e-4)


def test_the_extremes_of_a_caffe_network_are_those_of_the_facts():
    assert seen_by_the_network(segmenter(), (0, 0, 0)) == pytest.approx([-0.813, -0.911, -0.958], abs=1e-3)
    assert seen_by_the_network(segmenter(), (255, 255, 255)) == pytest.approx([1.180, 1.081, 1.034], abs=1e-3)


def test_logits_are_upsampled_bilinearly_with_aligned_corners():
    logits = torch.tensor([[[[0.0, 3.0], [6.0, 9.0]]]])
    expected = torch.tensor([[0.0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]])
    assert torch.allclose(upsample(logits, (4, 4))[0, 0], expected, atol=1e-6)


# a backbone for another network


def features(model, x):
    return model.eval()(x).features


def test_a_copied_backbone_sees_the_same_in_the_same_image_through_the_other_order_of_channels():
    source, target = segmenter(), segmenter(normalisation="caffe-rgb")
    x = images()
    assert not torch.allclose(features(target, x), features(source, x))
    copy_backbone(source, target)
    assert torch.allclose(features(target, x), features(source, x), atol=1e-5)
    assert not torch.allclose(target(x).logits, source(x).logits)  # the heads stay its own


def test_a_copied_backbone_is_the_targets_own():
    source, target = segmenter(), segmenter()
    copy_backbone(source, target)
    source.network.layer0[0].weight.data.zero_()
    assert target.network.layer0[0].weight.abs().max() > 0


@pytest.mark.parametrize("changes", [{"width": 8}, {"blocks": (1, 2, 1, 1)}])
def test_a_backbone_of_another_shape_is_refused_and_nothing_is_copied(changes):
    source, target = segmenter(**changes), segmenter()
    before = copy.deepcopy(target.network.state_dict())
    with pytest.raises(DataError, match="different backbones"):
        copy_backbone(source, target)
    assert all(torch.equal(value, before[name]) for name, value in target.network.state_dict().items())


# statistics


def naive_statistics(model, batches):
    """Mean over the batches of each batch's own mean and (unbiased) variance, at every normalisation."""
    model = copy.deepcopy(model).train()
    parts = {name: part for name, part in model.network.named_modules() if isinstance(part, nn.BatchNorm2d)}
    inputs = {name: [] for name in parts}
    for name, part in parts.items():
        part.register_forward_pre_hook(lambda _, values, name=name: inputs[name].append(values[0]))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    expected = {}
    for name, seen in inputs.items():
        values = [batch.transpose(0, 1).flatten(1).double() for batch in seen]
        expected[f"{name}.running_mean"] = sum(value.mean(dim=1) for value in values) / len(values)
        expected[f"{name}.running_var"] = sum(value.var(dim=1) for value in values) / len(values)
    return expected


def assert_close(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name].double(), value.double(), rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("bn_pretrain", [False, True])
def test_the_statistics_of_a_domain_are_the_mean_over_batches_of_their_mean_and_variance(bn_pretrain):
    model = segmenter(bn_pretrain)
    batches = [images(2), images(3) * 0.2 + 0.7, images(2, (24, 16)) * 0.1 - 0.5]
    assert_close(estimate_statistics(model, iter(batches)), naive_statistics(model, batches))


def test_statistics_forget_what_the_network_saw_before_and_in_which_order():
    model = segmenter(dropout=0.0)
    batches = [images(2), images(2) * 0.2 + 0.7, images(2) * 0.1 - 0.5]
    first = estimate_statistics(model, batches)
    model.train()(images(2) * 5)
    assert_close(estimate_statistics(model, batches[::-1]), first)


def test_statistics_are_copies_which_later_training_does_not_change():
    model = segmenter()
    found = estimate_statistics(model, [images()])
    before = {name: value.clone() for name, value in found.items()}
    model.train()(images() * 3)
    assert all(torch.equal(found[name], before[name]) for name in found)
    assert any(not torch.equal(found[name], value) for name, value in running_statistics(model).items())


def test_estimating_statistics_changes_no_weight_and_restores_training():
    model = segmenter().eval()
    momenta = {part.momentum for part in model.modules() if isinstance(part, nn.BatchNorm2d)}
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    estimate_statistics(model, [images()])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert {part.momentum for part in model.modules() if isinstance(part, nn.BatchNorm2d)} == momenta == {0.1}
    assert all(value.requires_grad and value.grad is None for value in model.parameters())


def test_the_statistics_of_a_domain_are_those_the_network_is_evaluated_with():
    model = segmenter()
    statistics = {
        "day": estimate_statistics(model, [images()]),
        "night": estimate_statistics(model, [images() * 0.2 - 0.8]),
    }
    model.statistics = statistics
    for domain in ("night", "day", "night"):
        model.train()
        assert model.use_statistics(domain) == domain
        assert not model.training
        assert not any(part.training for part in model.modules())
        assert_close(running_statistics(model), statistics[domain])


def test_a_network_with_shared_statistics_has_one_set_for_every_domain():
    model = segmenter(statistics="shared")
    model.statistics = {"shared": estimate_statistics(model, [images()])}
    assert model.use_statistics("night") == model.use_statistics("day") == "shared"


@pytest.mark.parametrize("statistics", ["per_domain", "shared"])
def test_a_domain_without_statistics_is_refused(statistics):
    model = segmenter(statistics=statistics)
    model.statistics = {"day": running_statistics(model)}
    missing = "night" if statistics == "per_domain" else "shared"
    with pytest.raises(DataError, match=f"no {missing} statistics"):
        model.use_statistics("night")
