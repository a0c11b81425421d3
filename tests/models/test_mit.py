"""The Mix Transformers: their public layout, the import of such files, and what attention computes."""

import math

import pytest
import torch
from checkpoints import Payload, small_network
from torch import nn

from loopda.errors import DataError
from loopda.exchange.backbone import new_segmenter
from loopda.exchange.foreign import foreign_segmenter
from loopda.exchange.loading import read_weights
from loopda.labels.classes import CITYSCAPES
from loopda.models.mit import ENCODERS, Attention, DropPath, MixTransformer
from loopda.models.segmenter import Segmenter

TINY = small_network(name="daformer", encoder="mit_tiny", normalisation="imagenet")


def published_layout(dims, depths):
    """name -> shape of a published encoder with its classifier, written out from the description of its tensors."""
    layout = {}

    def weighted(name, *shape):
        layout.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    before = 3
    for stage, (dim, depth, reduction) in enumerate(zip(dims, depths, (8, 4, 2, 1), strict=True), start=1):
        side = 7 if stage == 1 else 3
        weighted(f"patch_embed{stage}.proj", dim, before, side, side)
        weighted(f"patch_embed{stage}.norm", dim)
        for index in range(depth):
            block = f"block{stage}.{index}"
            weighted(f"{block}.norm1", dim)
            weighted(f"{block}.attn.q", dim, dim)
            weighted(f"{block}.attn.kv", 2 * dim, dim)
            weighted(f"{block}.attn.proj", dim, dim)
            if reduction > 1:
                weighted(f"{block}.attn.sr", dim, dim, reduction, reduction)
                weighted(f"{block}.attn.norm", dim)
            weighted(f"{block}.norm2", dim)
            weighted(f"{block}.mlp.fc1", 4 * dim, dim)
            weighted(f"{block}.mlp.dwconv.dwconv", 4 * dim, 1, 3, 3)
            weighted(f"{block}.mlp.fc2", dim, 4 * dim)
        weighted(f"norm{stage}", dim)
        before = dim
    encoder = dict(layout)
    weighted("head", 1000, dims[-1])
    return encoder, layout


def published_file(path, wrap=lambda state: state, **changes):
    """A file of random weights in the public layout, of the tiny encoder; a change of None leaves the tensor out."""
    draws = torch.Generator().manual_seed(1)
    _, layout = published_layout(*ENCODERS["mit_tiny"])
    state = {name: torch.randn(shape, generator=draws) for name, shape in layout.items()} | changes
    torch.save(wrap({name: value for name, value in state.items() if value is not None}), path)
    return state


def test_mit_b5_has_the_parameters_and_tensors_of_the_published_one():
    with torch.device("meta"):
        encoder = MixTransformer("mit_b5")
    assert sum(value.numel() for value in encoder.parameters()) == 81_443_008
    assert len(encoder.state_dict()) == 1052


@pytest.mark.parametrize("name", ENCODERS)
def test_every_tensor_has_its_public_name_and_shape(name):
    with torch.device("meta"):
        ours = {key: tuple(value.shape) for key, value in MixTransformer(name).state_dict().items()}
    assert ours == published_layout(*ENCODERS[name])[0]


@pytest.mark.parametrize(("side", "sides"), [(64, (16, 8, 4, 2)), (80, (20, 10, 5, 3)), (16, (4, 2, 1, 1))])
def test_the_four_maps_have_strides_of_4_8_16_and_32_on_images_of_any_size(side, sides):
    maps = MixTransformer("mit_tiny").eval()(torch.rand(1, 3, side, side))
    assert [tuple(each.shape) for each in maps] == [
        (1, dim, length, length) for dim, length in zip((16, 32, 64, 96), sides, strict=True)
    ]


@pytest.mark.parametrize("reduction", [1, 2])
def test_attention_is_the_softmax_average_of_the_values_head_by_head(reduction):
    torch.manual_seed(0)
    attention = Attention(6, heads=2, reduction=reduction).eval()
    x = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        found = attention(x)
        seen = x
        if reduction > 1:
            seen = attention.norm(attention.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        for sample in range(2):
            keys, values = attention.kv(seen[sample].reshape(-1, 6)).chunk(2, dim=1)
            for row, column in ((0, 0), (3, 4), (1, 2)):
                query = attention.q(x[sample, row, column])
                parts = []
                for head in (slice(0, 3), slice(3, 6)):
                    scores = [float(query[head] @ key[head]) / math.sqrt(3) for key in keys]
                    weights = torch.tensor(scores).softmax(dim=0)
                    parts.append(sum(weight * value[head] for weight, value in zip(weights, values, strict=True)))
                expected = attention.proj(torch.cat(parts))
                assert torch.allclose(found[sample, row, column], expected, atol=1e-5)


def test_drop_path_leaves_out_whole_samples_in_training_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    out = drop(torch.ones(4000, 2, 3))
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert torch.equal(out.amin(dim=(1, 2)), out.amax(dim=(1, 2)))
    assert float(out.mean()) == pytest.approx(1, abs=0.03)
    assert torch.equal(drop.eval()(torch.ones(5, 2)), torch.ones(5, 2))


def test_the_rate_of_drop_path_rises_linearly_over_the_blocks():
    encoder = MixTransformer("mit_b0", drop_path=0.7)
    rates = [part.rate for part in encoder.modules() if isinstance(part, DropPath)]
    assert rates == pytest.approx([0.1 * block for block in range(8)])


# weights


WRAPPED = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state},
    "model": lambda state: {"model": state},
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_a_published_file_becomes_the_backbone_and_its_classifier_is_left_out(tmp_path, wrap):
    state = published_file(tmp_path / "mit.pth", WRAPPED[wrap])
    said = []
    section = TINY.model_copy(update={"normalisation": "caffe"})
    segmenter = new_segmenter(section, CITYSCAPES, tmp_path / "mit.pth", say=said.append)
    found = segmenter.network.backbone.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items() if not name.startswith("head."))
    assert segmenter.section.normalisation == "imagenet"  # what these weights expect
    assert not any("stride_in" in line for line in said)


def test_every_missing_unexpected_and_misshapen_tensor_is_listed(tmp_path):
    changes = {
        "block2.0.attn.q.weight": None,
        "block4.1.norm1.weight": torch.ones(96),
        "norm3.bias": torch.ones(7),
        "norm4.weight": torch.full((96,), float("nan")),
    }
    published_file(tmp_path / "mit.pth", **changes)
    with pytest.raises(DataError) as fault:
        new_segmenter(TINY, CITYSCAPES, tmp_path / "mit.pth", say=lambda _: None)
    for words in (
        "backbone.block2.0.attn.q.weight is missing",
        "backbone.block4.1.norm1.weight has no place in the network",
        "backbone.norm3.bias is (7,), the network has (64,)",
        "backbone.norm4.weight holds numbers that are not finite",
        "4 faults in all",
    ):
        assert words in str(fault.value)


def test_a_resnet_refuses_a_transformers_weights_and_the_other_way_round(tmp_path):
    published_file(tmp_path / "mit.pth")
    with pytest.raises(DataError, match=r"layer0\.0\.weight is missing"):
        new_segmenter(small_network(), CITYSCAPES, tmp_path / "mit.pth", say=lambda _: None)
    torch.save(Segmenter(small_network(), CITYSCAPES).network.state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(DataError, match=r"backbone\.patch_embed1\.proj\.weight is missing"):
        new_segmenter(TINY, CITYSCAPES, tmp_path / "resnet.pth", say=lambda _: None)


def test_an_encoder_is_no_network_to_evaluate(tmp_path):
    published_file(tmp_path / "mit.pth")
    with pytest.raises(DataError, match="backbone without segmentation heads"):
        foreign_segmenter(read_weights(tmp_path / "mit.pth"), CITYSCAPES, aspp_branches=4)


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path):
    published_file(tmp_path / "mit.pth", extra=Payload(tmp_path / "trace"))
    with pytest.raises(DataError, match="cannot be read as weights"):
        read_weights(tmp_path / "mit.pth")
    assert not (tmp_path / "trace").exists()


def test_embeddings_and_attention_normalise_with_torchs_epsilon_and_the_rest_with_the_published_one():
    found = {
        name: part.eps for name, part in MixTransformer("mit_b0").named_modules() if isinstance(part, nn.LayerNorm)
    }
    inner = {name for name in found if name.startswith("patch_embed") or name.endswith("attn.norm")}
    assert len(inner) == 4 + 6  # of an embedding for each stage, and of the two blocks of each of the first three
    assert {name: eps for name, eps in found.items() if eps == 1e-5}.keys() == inner
    assert {eps for name, eps in found.items() if name not in inner} == {1e-6}
