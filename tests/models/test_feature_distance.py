"""The perceptual distance of EfficientNet-Lite0, on its published weights."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from loopda.models.compute.precision import computing_in
from loopda.models.efficientnet import EfficientNetLite0
from loopda.models.perceptual import FeatureDistance
from loopda.weights.downloads import locate


@pytest.fixture(scope="module")
def distance():
    return FeatureDistance(locate("efficientnet-lite0"))


@pytest.fixture(scope="module")
def photographs():
    """A palace and a flower, in [-1, 1]."""
    from sklearn.datasets import load_sample_image

    pictures = [Image.fromarray(load_sample_image(name)).resize((160, 96)) for name in ("china.jpg", "flower.jpg")]
    return torch.stack([torch.tensor(np.asarray(picture)).permute(2, 0, 1) / 127.5 - 1 for picture in pictures])


def test_the_distance_is_that_of_a_plain_loop_over_depths_and_positions():
    published = torch.load(locate("efficientnet-lite0"), weights_only=True)
    own = {name.replace("._", ".").removeprefix("_"): value for name, value in published.items()}
    network = EfficientNetLite0(stages=4)
    network.load_state_dict({name: own[name] for name in network.state_dict()})
    network.double().eval()
    first, second = torch.rand(2, 2, 3, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = []
    with torch.no_grad():
        for n in range(2):
            maps = [network(((image[n : n + 1] + 1) / 2 * 255 - 127) / 128) for image in (first, second)]
            depths = []
            for mine, other in zip(*maps, strict=True):
                positions = []
                for i in range(mine.shape[2]):
                    for j in range(mine.shape[3]):
                        a, b = mine[0, :, i, j].tolist(), other[0, :, i, j].tolist()
                        norms = math.sqrt(sum(x * x for x in a)), math.sqrt(sum(x * x for x in b))
                        positions.append(sum((x / norms[0] - y / norms[1]) ** 2 for x, y in zip(a, b, strict=True)))
                depths.append(sum(positions) / len(positions))
            expected.append(sum(depths) / 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        found = FeatureDistance(locate("efficientnet-lite0")).double()(first, second)
    assert found.item() == pytest.approx(sum(expected) / 2, rel=1e-10)
    assert expected[0] != pytest.approx(expected[1], rel=1e-3)


def test_building_the_distance_takes_nothing_from_the_runs_own_random_numbers(distance):
    torch.manual_seed(99)
    FeatureDistance(locate("efficientnet-lite0"))
    after = torch.rand(3)
    torch.manual_seed(99)
    assert torch.equal(after, torch.rand(3))


def test_equal_images_have_no_distance_and_any_others_less_than_4(distance, photographs):
    assert distance(photographs, photographs).item() == 0
    assert 1 < distance(photographs, photographs.flip(0)).item() < 4


@pytest.mark.parametrize("damage", ["blur", "noise"])
def test_the_distance_to_a_photograph_grows_as_it_is_blurred_or_noise_is_added(distance, photographs, damage):
    noise = torch.randn(photographs.shape, generator=torch.Generator().manual_seed(0))
    damaged = {
        "blur": [transforms.gaussian_blur(photographs, [33, 33], [sigma] * 2) for sigma in (0.5, 1.0, 2.0, 4.0, 8.0)],
        "noise": [photographs + strength * noise for strength in (0.02, 0.05, 0.1, 0.2, 0.5)],
    }[damage]
    with torch.no_grad():
        found = torch.stack([distance.distances(images, photographs) for images in damaged])
    assert (found.diff(dim=0) > 0).all()
    assert (found > 0).all()


def test_the_gradient_reaches_the_image_that_wants_it_and_no_weight(distance, photographs):
    image = photographs.clone().requires_grad_()
    reference = photographs.flip(3)
    distance(image, reference).backward()
    assert image.grad.abs().amax((1, 2, 3)).gt(0).all()
    assert reference.grad is None
    assert not any(value.requires_grad or value.grad is not None for value in distance.parameters())


def test_equal_images_and_images_of_one_colour_have_finite_gradients(distance, photographs):
    for reference in (photographs, torch.zeros_like(photographs)):
        image = reference.clone().requires_grad_()
        distance(image, reference).backward()
        assert image.grad.isfinite().all()


def test_the_statistics_of_the_file_count_whatever_the_owner_of_the_distance_does(distance, photographs):
    before = distance(photographs, photographs.flip(3))
    owner = torch.nn.Sequential(distance).train()
    assert owner.training
    assert not any(part.training for part in distance.modules())
    assert torch.equal(distance(photographs, photographs.flip(3)), before)


def test_the_distance_compiles_to_one_graph_for_each_way_in_which_it_is_called(distance, photographs, traced):
    whole = distance(photographs, photographs.flip(3)).item()
    image = photographs.clone().requires_grad_()
    with computing_in("fp32", compiled=True):
        compiled = distance(image, photographs.flip(3))
        compiled.backward()
    assert traced() == 2  # with a gradient for the image, without one for the reference
    assert compiled.item() == pytest.approx(whole, rel=1e-4)
    assert image.grad.isfinite().all()
