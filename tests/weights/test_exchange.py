"""Files for others: written and read again bit for bit, or refused."""

import json

import pytest
import torch
from checkpoints import small_network

from loopda.errors import DataError
from loopda.exchange.foreign import foreign_segmenter
from loopda.exchange.loading import read_weights
from loopda.exchange.official import write_official
from loopda.labels.classes import ClassList
from loopda.models.checkpoint import load_checkpoint, save_segmenter, segmenter_of
from loopda.models.segmenter import Segmenter, estimate_statistics
from loopda.weights.safetensors_files import checkpoint_of, read_safetensors, write_safetensors

CLASSES = ClassList(
    names=("road", "pole"),
    colours=((1, 2, 3), (4, 5, 6)),
    dynamic=frozenset(),
    ssc=frozenset({1}),
    encodings={},
)


def trained(bn_pretrain=False, **changes):
    """A small network with statistics for day and night."""
    torch.manual_seed(0)
    values = {"blocks": (1, 2, 1, 1), "normalisation": "caffe-rgb" if bn_pretrain else "caffe"}
    model = Segmenter(small_network(**values | changes), CLASSES, bn_pretrain=bn_pretrain)
    model.statistics = {
        domain: estimate_statistics(model, [torch.rand(3, 3, 24, 32) * scale])
        for domain, scale in (("day", 1), ("night", 0.2))
    }
    return model


def bits(tensors):
    return {name: value.contiguous().numpy().tobytes() for name, value in tensors.items()}


@pytest.mark.parametrize("domain", ["day", "night"])
@pytest.mark.parametrize("bn_pretrain", [False, True])
def test_an_official_file_read_again_is_the_same_network_bit_for_bit(tmp_path, bn_pretrain, domain):
    model = trained(bn_pretrain)
    write_official(model, tmp_path / "student.pth", domain)
    state = torch.load(tmp_path / "student.pth", weights_only=True)
    assert type(state) is dict
    assert list(state) == list(model.network.state_dict())
    again = foreign_segmenter(read_weights(tmp_path / "student.pth"), CLASSES, aspp_branches=4)
    assert (again.section.normalisation, again.bn_pretrain) == (model.section.normalisation, bn_pretrain)
    assert (again.section.blocks, again.section.width, again.section.head_channels) == ((1, 2, 1, 1), 4, 6)
    assert bits(again.statistics["shared"]) == bits(model.statistics[domain])
    assert bits(again.network.state_dict()) == bits(model.network.state_dict())
    images = torch.rand(2, 3, 24, 32) * 2 - 1
    model.use_statistics(domain)
    again.use_statistics(domain)
    assert torch.equal(model(images).logits, again(images).logits)
    write_official(again, tmp_path / "again.pth", domain)
    assert bits(torch.load(tmp_path / "again.pth", weights_only=True)) == bits(state)


def test_the_official_file_of_a_domain_holds_its_statistics(tmp_path):
    model = trained()
    for domain in ("day", "night"):
        write_official(model, tmp_path / f"{domain}.pth", domain)
        state = torch.load(tmp_path / f"{domain}.pth", weights_only=True)
        for name, value in model.statistics[domain].items():
            assert torch.equal(state[name], value)
    assert not torch.equal(
        model.statistics["day"]["layer0.1.running_var"], model.statistics["night"]["layer0.1.running_var"]
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"output_stride": 4}, "output_stride is 4, there it is 8"),
        ({"stride_in": "conv2"}, "stride_in is conv2, there it is conv1"),
        ({"normalisation": "imagenet"}, "normalisation is imagenet, there it is caffe"),
        ({"bn_pretrain": True, "normalisation": "caffe"}, "normalisation is caffe, there it is caffe-rgb"),
        ({"name": "deeplab"}, "name is deeplab, there it is pspnet"),
    ],
)
def test_what_the_official_code_would_compute_otherwise_is_refused(tmp_path, changes, expected):
    with pytest.raises(DataError, match=expected):
        write_official(trained(**changes), tmp_path / "student.pth", "night")
    assert not list(tmp_path.iterdir())


def assert_equal(found, expected):
    """Equal checkpoints: tensors by their bits, plain values by their JSON."""
    assert bits(found["model"]) == bits(expected["model"])
    assert found["statistics"].keys() == expected["statistics"].keys()
    for domain, statistics in expected["statistics"].items():
        assert bits(found["statistics"][domain]) == bits(statistics)
    plain = [{k: v for k, v in each.items() if k not in ("model", "statistics")} for each in (found, expected)]
    assert json.loads(json.dumps(plain[0])) == json.loads(json.dumps(plain[1]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bn_pretrain": True},
        {"name": "deeplab", "aspp_branches": 2, "output_stride": 4, "normalisation": "imagenet"},
    ],
)
def test_safetensors_hold_the_whole_checkpoint_bit_for_bit(tmp_path, changes):
    model = trained(**changes)
    save_segmenter(model, tmp_path / "model.pt", stage="distill", seed=3, config={"steps": 5})
    checkpoint = load_checkpoint(tmp_path / "model.pt")
    write_safetensors(checkpoint, tmp_path / "model.safetensors")
    tensors, metadata = read_safetensors(tmp_path / "model.safetensors")
    assert set(metadata) == {"format", "loopda"}
    assert json.loads(metadata["loopda"])["provenance"]["stage"] == "distill"
    again = checkpoint_of(tensors, metadata, tmp_path / "model.safetensors")
    assert_equal(again, checkpoint)
    restored = segmenter_of(again, tmp_path / "model.safetensors")
    images = torch.rand(2, 3, 24, 32) * 2 - 1
    for domain in ("day", "night"):
        model.use_statistics(domain)
        restored.use_statistics(domain)
        assert torch.equal(model(images).logits, restored(images).logits)


def test_safetensors_in_a_public_layout_are_weights_like_any_others(tmp_path):
    from safetensors.torch import save_file

    model = trained()
    save_file(
        {name: value.contiguous() for name, value in model.network.state_dict().items()}, tmp_path / "net.safetensors"
    )
    tensors, metadata = read_safetensors(tmp_path / "net.safetensors")
    assert checkpoint_of(tensors, metadata, tmp_path / "net.safetensors") is None
    again = foreign_segmenter(read_weights(tmp_path / "net.safetensors"), CLASSES, aspp_branches=4)
    assert bits(again.network.state_dict()) == bits(model.network.state_dict())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_safetensors_are_refused_by_their_name(tmp_path, share):
    save_segmenter(trained(), tmp_path / "model.pt")
    path = tmp_path / "model.safetensors"
    write_safetensors(load_checkpoint(tmp_path / "model.pt"), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be read as safetensors"):
        read_safetensors(path)


def test_absent_safetensors_and_damaged_metadata_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"absent\.safetensors: no such weights file"):
        read_safetensors(tmp_path / "absent.safetensors")
    for metadata in ("{", "[]"):
        with pytest.raises(DataError, match=r"x\.safetensors: damaged metadata"):
            checkpoint_of({"model.a": torch.zeros(1)}, {"loopda": metadata}, tmp_path / "x.safetensors")
