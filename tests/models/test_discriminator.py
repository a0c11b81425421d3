import torch
from torch import nn

from loopda.models.compute.precision import ScoreConvolution
from loopda.models.discriminator import DomainClassifier, MapDiscriminator, MultiScaleDiscriminator, reverse_gradient


def halved(images):
    """Means over 3x3 windows at every second pixel, of the pixels that lie inside the image."""
    batch, channels, height, width = images.shape
    out = torch.zeros(batch, channels, (height + 1) // 2, (width + 1) // 2)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            top, left = max(2 * i - 1, 0), max(2 * j - 1, 0)
            out[:, :, i, j] = images[:, :, top : 2 * i + 2, left : 2 * j + 2].mean(dim=(2, 3))
    return out


def test_the_three_scales_of_a_crop_have_the_sizes_of_the_lineage():
    with torch.device("meta"):
        scores = MultiScaleDiscriminator(width=64, scales=3)(torch.empty(2, 3, 512, 496))
    assert [tuple(map_.shape) for map_ in scores] == [(2, 1, 32, 31), (2, 1, 16, 15), (2, 1, 8, 7)]


def test_the_discriminator_of_the_lineage_has_8_27_million_parameters():
    with torch.device("meta"):
        network = MultiScaleDiscriminator(width=64, scales=3)
    assert round(sum(value.numel() for value in network.parameters()) / 1e6, 2) == 8.27


def test_only_the_last_convolution_of_a_scale_has_a_bias_as_in_the_lineage():
    # TridentAdapt's Discriminator: Conv2dBlock(..., bias=False) four times, then nn.Conv2d(dim, 1, 1, 1, 0)
    with torch.device("meta"):
        network = MultiScaleDiscriminator(width=64, scales=3)
    biased = [name for name, part in network.named_modules() if getattr(part, "bias", None) is not None]
    assert biased == ["scales.0.8", "scales.1.8", "scales.2.8"]
    per_scale = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 512 + 1
    assert sum(value.numel() for value in network.parameters()) == 3 * per_scale


def test_each_scale_has_its_own_network_and_sees_the_image_halved_once_more():
    network = MultiScaleDiscriminator(width=4, scales=3)
    images = torch.randn(2, 3, 70, 66)
    scores = network(images)
    second = halved(images)
    third = halved(second)
    for scale, seen, found in zip(network.scales, (images, second, third), scores, strict=True):
        assert torch.allclose(scale(seen), found, atol=1e-5)
    pointers = [value.data_ptr() for value in network.parameters()]
    assert len(set(pointers)) == len(pointers)


def test_the_discriminator_has_no_normalisation_and_leaky_activations():
    network = MultiScaleDiscriminator(width=4, scales=2)
    layers = [part for part in network.modules() if not list(part.children())]
    assert {type(part) for part in layers} == {nn.Conv2d, ScoreConvolution, nn.LeakyReLU}
    assert {part.negative_slope for part in layers if isinstance(part, nn.LeakyReLU)} == {0.2}
    strided = [part for part in layers if isinstance(part, nn.Conv2d) and part.kernel_size == (4, 4)]
    assert [part.stride for part in strided] == [(2, 2)] * 8


def test_the_judgement_of_an_image_does_not_depend_on_the_others_of_its_batch():
    network = MultiScaleDiscriminator(width=4, scales=2)
    images = torch.randn(3, 3, 32, 32)
    for together, alone in zip(network(images), network(images[1:2]), strict=True):
        assert torch.allclose(together[1:2], alone, atol=1e-6)


# ---------------------------------------------------------------- of maps, and of features


def test_the_discriminator_of_maps_has_the_layers_and_parameters_of_adaptsegnet_and_advent():
    with torch.device("meta"):
        network = MapDiscriminator(classes=19, width=64)
        scores = network(torch.empty(2, 19, 512, 1024))
    assert sum(value.numel() for value in network.parameters()) == 2_781_121
    assert tuple(scores.shape) == (2, 1, 16, 32)
    convolutions = [part for part in network if isinstance(part, nn.Conv2d)]
    assert [part.out_channels for part in convolutions] == [64, 128, 256, 512, 1]
    assert {(part.kernel_size, part.stride, part.padding) for part in convolutions} == {((4, 4), (2, 2), (1, 1))}
    assert [part.negative_slope for part in network if isinstance(part, nn.LeakyReLU)] == [0.2] * 4


def test_the_domain_classifier_judges_each_position_by_its_own_features_alone():
    classifier = DomainClassifier(channels=6, width=5)
    features = torch.randn(2, 6, 3, 4)
    scores = classifier(features)
    assert tuple(scores.shape) == (2, 1, 3, 4)
    alone = classifier(features[1:, :, 2:, 1:2])
    assert torch.allclose(scores[1:, :, 2:, 1:2], alone, atol=1e-6)
    assert classifier(features[:0]).shape == (0, 1, 3, 4)


def test_the_reversal_is_the_identity_with_a_gradient_of_the_other_sign():
    x = torch.randn(3, 4, requires_grad=True)
    weight = torch.randn(3, 4)
    seen = reverse_gradient(x, 0.5)
    assert torch.equal(seen, x)
    (seen * weight).sum().backward()
    assert torch.equal(x.grad, -0.5 * weight)


def test_a_reversal_of_strength_0_lets_no_gradient_through():
    x = torch.randn(4, requires_grad=True)
    reverse_gradient(x, 0.0).sum().backward()
    assert x.grad.eq(0).all()
