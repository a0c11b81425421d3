import pytest
import torch
from checkpoints import small_network
from loops import loop_settings
from torch import nn

from loopda.labels.classes import CITYSCAPES
from loopda.methods.loopda import Loops
from loopda.models.compute.normalisation import InstanceNorm2d
from loopda.models.image_decoder import ImageDecoder, SemanticRendering
from loopda.models.segmenter import Segmenter

FEATURES, CLASSES = 6, 4


def decoder(**changes):
    arguments = {
        "features": FEATURES,
        "classes": CLASSES,
        "output_stride": 8,
        "width": 16,
        "residual_blocks": 1,
        "semantic_channels": 5,
        "rendering": "residual",
        "coarse_rendering": False,
    }
    return ImageDecoder(**arguments | changes)


def inputs(size, stride=8, batch=1):
    cells = size[0] // stride + 1, size[1] // stride + 1
    z = torch.randn(batch, FEATURES, *cells)
    return z, torch.randn(batch, CLASSES, *cells).softmax(dim=1)


def bilinear(tensor, height, width):
    """Bilinear interpolation with aligned corners, pixel by pixel."""
    batch, channels, h, w = tensor.shape
    out = torch.zeros(batch, channels, height, width)
    for i in range(height):
        y = i * (h - 1) / (height - 1)
        top = min(int(y), h - 2)
        for j in range(width):
            x = j * (w - 1) / (width - 1)
            left = min(int(x), w - 2)
            dy, dx = y - top, x - left
            out[:, :, i, j] = (
                (1 - dy) * (1 - dx) * tensor[:, :, top, left]
                + (1 - dy) * dx * tensor[:, :, top, left + 1]
                + dy * (1 - dx) * tensor[:, :, top + 1, left]
                + dy * dx * tensor[:, :, top + 1, left + 1]
            )
    return out


@pytest.mark.parametrize("coarse", [False, True])
def test_rendering_adds_the_raw_features_to_their_product_with_the_semantic_features(coarse):
    rendering = SemanticRendering(CLASSES, 7, 5, coarse=coarse)
    x, p = torch.randn(2, 7, 8, 6), torch.randn(2, CLASSES, 3, 4).softmax(dim=1)
    first, _, last = rendering.semantics

    def semantics(p):
        return last(first(p).clamp(min=0))

    g = bilinear(semantics(p), 8, 6) if coarse else semantics(bilinear(p, 8, 6))
    assert torch.allclose(rendering(x, p), x + x * g, atol=1e-5)


def test_what_is_rendered_lies_where_the_network_has_it():
    """A map without aligned corners is of equal parts: doubled, the first pixels of a cell lie before its middle."""
    rendering = SemanticRendering(1, 1, 1, coarse=True, aligned=False)
    rendering.semantics = nn.Identity()
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    seen = rendering(torch.ones(1, 1, 8, 8), ramp) - 1
    assert seen[0, 0, 0].tolist() == [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]


@pytest.mark.parametrize("network", [{"name": "pspnet"}, {"name": "daformer", "encoder": "mit_tiny"}])
def test_the_decoders_of_the_loops_read_maps_by_the_rule_of_their_network(network):
    segmenter = Segmenter(small_network(**network), CITYSCAPES)
    loops = Loops(loop_settings(outer_loop=False), segmenter)
    for decoder in loops.decoders.values():
        assert {decoder.aligned, *(level.rendering.aligned for level in decoder.levels)} == {segmenter.network.aligned}


@pytest.mark.parametrize("coarse", [False, True])
def test_rendering_with_semantic_features_of_zero_is_the_identity(coarse):
    rendering = SemanticRendering(CLASSES, 7, 5, coarse=coarse)
    nn.init.zeros_(rendering.semantics[-1].weight)
    nn.init.zeros_(rendering.semantics[-1].bias)
    x = torch.randn(2, 7, 8, 6)
    assert torch.equal(rendering(x, torch.rand(2, CLASSES, 3, 4)), x)


@pytest.mark.parametrize("coarse", [False, True])
def test_a_decoder_whose_semantic_features_are_zero_paints_what_the_one_without_rendering_paints(coarse):
    rendered, plain = decoder(coarse_rendering=coarse), decoder(rendering="none")
    plain.load_state_dict({k: v for k, v in rendered.state_dict().items() if "rendering" not in k})
    z, p = inputs((16, 24))
    assert not torch.allclose(rendered(z, p, (16, 24)), plain(z, p, (16, 24)))
    for level in rendered.levels:
        nn.init.zeros_(level.rendering.semantics[-1].weight)
        nn.init.zeros_(level.rendering.semantics[-1].bias)
    assert torch.equal(rendered(z, p, (16, 24)), plain(z, p, (16, 24)))


@pytest.mark.parametrize("size", [(16, 24), (17, 31), (23, 16), (16, 17), (40, 33)])
@pytest.mark.parametrize("kernel", [3, 7])
@pytest.mark.parametrize("stride", [4, 8])
def test_a_decoded_image_has_exactly_the_size_that_is_asked_for(size, stride, kernel):
    network = decoder(output_stride=stride, image_kernel=kernel)
    assert network.to_image.kernel_size == (kernel, kernel)
    assert tuple(network(*inputs(size, stride), size).shape) == (1, 3, *size)


def test_decoded_images_stay_between_minus_one_and_one():
    network = decoder()
    with torch.no_grad():
        network.to_image.weight.mul_(100)
    z, p = inputs((16, 24), batch=2)
    image = network(100 * z, p, (16, 24))
    assert float(image.detach().abs().max()) <= 1
    assert float(image.detach().max()) > 0.99
    assert float(image.detach().min()) < -0.99


@pytest.mark.parametrize("coarse", [False, True])
def test_the_gradient_of_an_image_reaches_every_cell_of_the_probabilities(coarse):
    network = decoder(coarse_rendering=coarse)
    z, p = inputs((24, 40))
    p.requires_grad_()
    image = network(z, p, (24, 40))
    (image * torch.randn_like(image)).sum().backward()
    assert (p.grad.abs().sum(dim=1) > 0).all()


def test_probabilities_that_are_finer_than_a_level_reach_it_from_more_than_one_pixel_of_a_block():
    rendering = SemanticRendering(CLASSES, 7, 5, coarse=False)
    p = torch.rand(1, CLASSES, 7, 7, requires_grad=True)
    rendering(torch.randn(1, 7, 4, 4), p).sum().backward()
    assert (p.grad.abs().sum(dim=1) > 0).sum() >= 16
    p = torch.rand(1, CLASSES, 8, 8, requires_grad=True)
    rendering(torch.randn(1, 7, 5, 5), p).sum().backward()
    assert (p.grad.abs().sum(dim=1) > 0).sum() > 25  # a nearest resize would reach 25


def test_every_level_is_rendered():
    network = decoder()
    z, p = inputs((16, 24))
    assert len(network.levels) == 3
    before = network(z, p, (16, 24))
    for level in network.levels:
        state = {name: value.clone() for name, value in level.rendering.state_dict().items()}
        nn.init.zeros_(level.rendering.semantics[-1].weight)
        nn.init.zeros_(level.rendering.semantics[-1].bias)
        assert not torch.allclose(network(z, p, (16, 24)), before)
        level.rendering.load_state_dict(state)


def test_a_decoder_without_rendering_does_not_look_at_the_probabilities():
    network = decoder(rendering="none")
    z, p = inputs((16, 24))
    p.requires_grad_()
    image = network(z, p, (16, 24))
    assert torch.equal(image, network(z, p.roll(1, 1), (16, 24)))
    assert torch.autograd.grad(image.sum(), p, allow_unused=True) == (None,)


def test_the_gradient_of_an_image_reaches_every_cell_of_the_features():
    network = decoder()
    z, p = inputs((40, 56))
    z.requires_grad_()
    image = network(z, p, (40, 56))
    (image * torch.randn_like(image)).sum().backward()
    assert (z.grad.abs().sum(dim=1) > 0).all()


def test_the_widths_of_the_levels_are_halved_down_to_eight():
    network = decoder(width=32)
    assert [level.convolution.out_channels for level in network.levels] == [16, 8, 8]
    assert network.to_image.in_channels == 8
    lineage = decoder(width=256)
    assert [level.convolution.out_channels for level in lineage.levels] == [128, 64, 32]


def test_normalisations_of_the_decoder_have_no_scale_of_their_own():
    parts = [part for part in decoder().modules() if isinstance(part, InstanceNorm2d)]
    assert len(parts) == 6  # the stem, two in its residual block, three levels
    assert not any(list(part.parameters()) + list(part.buffers()) for part in parts)
