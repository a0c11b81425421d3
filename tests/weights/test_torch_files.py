"""What cannot be read as weights is named for what it is, and never with the advice to run the code in it."""

import argparse
import pathlib

import numpy as np
import pytest
import torch

from loopda.errors import DataError
from loopda.models.checkpoint import load_checkpoint
from loopda.weights.torch_files import read

TENSORS = {"conv1.weight": torch.arange(6.0)}


def refusal(path):
    with pytest.raises(DataError) as raised:
        load_checkpoint(path)
    text = str(raised.value)
    assert text.startswith(f"{path}: cannot be read as weights: ")
    for word in ("weights_only", "PyTorch 2", "trust", "\x1b"):
        assert word not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.fault(84, "read, for numbers run no code")
def test_numbers_of_numpy_in_a_checkpoint_are_read(tmp_path, zipped):
    scores = {"miou": np.float64(0.4), "step": np.int64(3), "lr": np.float32(0.1), "best": np.bool_(True)}
    arrays = {"ious": np.array([0.1, 0.9]), "counts": np.arange(4, dtype=np.uint8).reshape(2, 2)}
    torch.save({"state_dict": TENSORS, **scores, **arrays}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    content = load_checkpoint(tmp_path / "w.pth")
    assert torch.equal(content["state_dict"]["conv1.weight"], TENSORS["conv1.weight"])
    assert {name: content[name] for name in scores} == scores
    for name, value in arrays.items():
        assert np.array_equal(content[name], value)


@pytest.mark.parametrize("core", ["core", "_core"])
def test_numbers_of_numpy_1_and_2_are_read(tmp_path, core):
    torch.save({"a": np.float64(0.25)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "w.pth").read_bytes()
    assert b"numpy._core.multiarray\n" in content
    (tmp_path / "w.pth").write_bytes(content.replace(b"numpy._core.", f"numpy.{core}.".encode()))
    assert read(tmp_path / "w.pth") == {"a": 0.25}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (lambda: {"state_dict": TENSORS, "args": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        (lambda: {"state_dict": TENSORS, "path": pathlib.PurePosixPath("a")}, "pathlib.PurePosixPath"),
        (lambda: {"state_dict": TENSORS, "names": np.array(["a", None])}, "numpy.dtypes.ObjectDType"),
    ],
    ids=["Namespace", "path", "objects of NumPy"],
)
@pytest.mark.fault(84, "objects besides tensors are named, with how to save the tensors")
def test_objects_besides_tensors_are_named_with_how_to_save_the_tensors(tmp_path, content, named, zipped):
    torch.save(content(), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    text = refusal(tmp_path / "w.pth")
    assert f"Python objects besides tensors ({named})" in text
    assert "torch.save(model.state_dict()" in text


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_is_called_one(tmp_path, zipped):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    text = refusal(tmp_path / "w.pth")
    assert "a whole module as Python objects (torch.nn.modules.linear.Linear)" in text
    assert "torch.save(model.state_dict()" in text


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
@pytest.mark.fault(82, "a download that broke off is called that")
def test_a_file_that_ends_too_early_is_called_that(tmp_path, share, zipped):
    torch.save({"w": torch.zeros(5000)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: max(20, int(share * len(content)))])
    text = refusal(tmp_path / "w.pth")
    assert "as of a download or a copy that broke off; fetch or copy it again" in text


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="no such weights file"):
        read(tmp_path / "w.pth")
    (tmp_path / "w.pth").mkdir()
    assert "it is a folder; name the file in it" in refusal(tmp_path / "w.pth")
