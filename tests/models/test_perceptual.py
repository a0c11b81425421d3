import copy
import warnings

import pytest
import torch
from torch import nn
from torchvision import models

from loopda.errors import DataError
from loopda.models.perceptual import Lpips


@pytest.fixture(scope="module")
def distance():
    torch.manual_seed(1)
    return Lpips("alex", None)


@pytest.fixture
def copies(distance, monkeypatch):
    """Lpips then starts from a copy of the network built already: building takes a second."""
    import lpips

    def built(**_: object) -> nn.Module:
        bare = copy.deepcopy(distance.distance)
        bare.net = bare.net.layers
        return bare

    monkeypatch.setattr(lpips, "LPIPS", built)


@pytest.fixture(scope="module")
def pictures():
    draws = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 3, 32, 40, generator=draws) * 2 - 1


def trunk_weights():
    """torchvision's AlexNet with random features; the classifier's zeros take no room in the file."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in models.alexnet(weights=None).state_dict().items()}
    draws = torch.Generator().manual_seed(7)
    return {
        name: 0.05 * torch.randn(shape, generator=draws)
        if name.startswith("features")
        else torch.zeros(1).expand(shape)
        for name, shape in shapes.items()
    }


def test_equal_images_have_no_distance_and_different_ones_have(distance, pictures):
    first, second = pictures
    assert float(distance(first, first)) == 0
    assert float(distance(first, second)) > 0.01


def test_the_distance_of_a_batch_is_the_mean_of_its_images_distances(distance, pictures):
    first, second = pictures
    apart = [float(distance(first[n : n + 1], second[n : n + 1])) for n in range(2)]
    assert apart[0] != pytest.approx(apart[1], rel=1e-3)
    assert float(distance(first, second)) == pytest.approx(sum(apart) / 2, rel=1e-5)


def test_the_distance_is_the_same_whatever_was_drawn_before_it_was_built(distance, pictures):
    torch.manual_seed(99)
    again = Lpips("alex", None)
    mine, theirs = distance.state_dict(), again.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert torch.equal(distance(*pictures), again(*pictures))
    after = torch.rand(3)
    torch.manual_seed(99)
    assert torch.equal(after, torch.rand(3))  # building it took nothing from the run's own random numbers


def test_the_random_trunk_is_the_one_that_lpips_draws_although_no_classifier_is_drawn_with_it(distance):
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        whole = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    found, expected = list(distance.parameters()), list(whole.parameters())
    assert len(found) == len(expected) > 10
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_distance_is_frozen_but_its_gradient_reaches_the_images(distance, pictures):
    assert not any(value.requires_grad for value in distance.parameters())
    image = pictures[0].clone().requires_grad_()
    distance(image, pictures[1]).backward()
    assert image.grad.abs().sum() > 0


def test_the_distance_stays_in_evaluation_mode_whatever_its_owner_does(distance, pictures):
    before = distance(*pictures)
    owner = nn.Sequential(distance).train()
    assert owner.training
    assert not any(part.training for part in distance.modules())
    assert torch.equal(distance(*pictures), before)


def test_weights_of_torchvisions_trunk_are_really_used(distance, copies, pictures, tmp_path):
    weights = trunk_weights()
    torch.save(weights, tmp_path / "alexnet.pth")
    loaded = Lpips("alex", tmp_path / "alexnet.pth")
    assert float(loaded(*pictures)) != pytest.approx(float(distance(*pictures)), rel=1e-3)
    found = [part for part in loaded.distance.net.modules() if isinstance(part, nn.Conv2d)]
    assert len(found) == 5
    for number, part in zip((0, 3, 6, 8, 10), found, strict=True):
        assert torch.equal(part.weight, weights[f"features.{number}.weight"])
        assert torch.equal(part.bias, weights[f"features.{number}.bias"])
    assert not any(value.requires_grad for value in loaded.parameters())


def test_a_trunk_that_a_training_wrapped_is_loaded_like_a_plain_one(pictures, tmp_path):
    weights = trunk_weights()
    torch.save(weights, tmp_path / "plain.pth")
    torch.save({"state_dict": {f"module.{n}": v for n, v in weights.items()}, "epoch": 3}, tmp_path / "wrapped.pth")
    plain, wrapped = (Lpips("alex", tmp_path / f"{name}.pth") for name in ("plain", "wrapped"))
    assert torch.equal(plain(*pictures), wrapped(*pictures))


@pytest.mark.parametrize("damage", ["missing", "another shape", "list", "text"])
def test_a_file_that_is_not_the_trunk_is_refused_by_its_name(copies, tmp_path, damage):
    path = tmp_path / "alexnet.pth"
    content = trunk_weights()
    if damage == "missing":
        del content["features.3.bias"]
    elif damage == "another shape":
        content["features.0.weight"] = torch.zeros(64, 3, 3, 3)
    elif damage == "list":
        content = [1, 2]
    torch.save(content, path)
    if damage == "text":
        path.write_text("not found")
    with pytest.raises(DataError, match=r"alexnet\.pth: (not torchvision's alex weights|cannot be read)"):
        Lpips("alex", path)


def test_an_absent_file_of_the_trunk_is_refused_by_its_name(copies, tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth: no such weights file"):
        Lpips("alex", tmp_path / "absent.pth")


def test_every_convolution_of_torchvisions_vgg16_is_loaded(tmp_path):
    with torch.device("meta"):
        layout = models.vgg16(weights=None).state_dict()
    numbers = torch.linspace(0.1, 0.9, len(layout))
    weights = {
        name: number.reshape((1,) * value.ndim).expand(value.shape)
        for number, (name, value) in zip(numbers, layout.items(), strict=True)
    }
    torch.save(weights, tmp_path / "vgg16-397923af.pth")
    loaded = Lpips("vgg", tmp_path / "vgg16-397923af.pth")
    found = [part for part in loaded.distance.net.modules() if isinstance(part, nn.Conv2d)]
    expected = [name for name in weights if name.startswith("features") and name.endswith("weight")]
    assert len(found) == len(expected) == 13
    for name, part in zip(expected, found, strict=True):
        assert torch.equal(part.weight, weights[name])
        assert torch.equal(part.bias, weights[name.replace("weight", "bias")])


def test_every_tensor_that_does_not_fit_the_trunk_is_listed(copies, tmp_path):
    content = trunk_weights()
    del content["features.3.bias"], content["classifier.6.weight"]
    content |= {"features.0.weight": torch.zeros(64, 3, 3, 3), "extra": torch.zeros(1)}
    torch.save(content, tmp_path / "alexnet.pth")
    with pytest.raises(DataError) as raised:
        Lpips("alex", tmp_path / "alexnet.pth")
    for fault in (
        "features.3.bias is missing",
        "classifier.6.weight is missing",
        "(64, 3, 3, 3)",
        "extra has no place",
    ):
        assert fault in str(raised.value)
