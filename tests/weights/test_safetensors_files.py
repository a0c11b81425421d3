"""Files of safetensors: written and read again bit for bit, or refused."""

import json

import pytest
import torch
from trained_networks import CLASSES, bits, trained

from loopda.errors import DataError
from loopda.exchange.foreign import foreign_segmenter
from loopda.exchange.loading import read_weights
from loopda.models.checkpoint import load_checkpoint, save_segmenter, segmenter_of
from loopda.weights.safetensors_files import checkpoint_of, read_safetensors, write_safetensors


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
