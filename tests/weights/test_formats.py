"""Files that are no weights of PyTorch, by their first bytes."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from loopda.weights.formats import described, kind_of


def zip_of(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def tar_of(*names, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


FILES = {
    "web page": (b"\n <!DOCTYPE html><html><title>Quota exceeded</title></html>", "a web page"),
    "web page in capitals": (b"\xef\xbb\xbf<HTML><body>", "a web page"),
    "pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n", "git lfs pull"),
    "pointer of git-annex": (b"/annex/objects/SHA256E-s1--aa.pth\n", "git annex get"),
    "answer of a server": (b'{"message": "Not Found"}', "a JSON text"),
    "text": (b"404: Not Found", "a text that begins '404: Not Found'"),
    "nothing": (b"", "an empty file"),
    "zip": (zip_of("release/student.pth"), "a zip archive of release/student.pth; unpack it"),
    "zip cut off": (zip_of("release/student.pth")[:40], "an archive without its end"),
    "tar": (tar_of("student.pth"), "a tar archive of student.pth; unpack it"),
    "tar.gz": (tar_of("student.pth", mode="w:gz"), "a gzip archive; unpack it"),
    "PyTorch 0.1": (tar_of("sys_info", "pickle", "tensors", "storages"), "the format of PyTorch 0.1"),
    "npz": (zip_of("a.npy", "b.npy"), "NumPy's arrays (npz)"),
    "npy": (npy(), "an array of NumPy"),
    "Keras 3": (zip_of("config.json", "model.weights.h5"), "a model of Keras"),
    "Keras 2": (b"\x89HDF\r\n\x1a\n" + bytes(90), "a file of Keras"),
    "TorchScript": (zip_of("net/data.pkl", "net/constants.pkl"), "a TorchScript program"),
    "TensorFlow": (bytes(50) + bytes.fromhex("57fb808b247547db"), "a part of a TensorFlow checkpoint"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x052.0.0" + bytes(40), "an ONNX graph"),
    "safetensors": ((64).to_bytes(8, "little") + b'{"w":{}}'.ljust(64), "give it the suffix .safetensors"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(20), "a picture; name the weights"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.fault(82, "the message says what the file is")
def test_what_was_saved_as_weights_is_named(tmp_path, name):
    content, expected = FILES[name]
    (tmp_path / "net.pth").write_bytes(content)
    assert expected in described(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["model.ckpt-250228.data-00000-of-00001", "model.ckpt-250228.meta"])
def test_a_part_of_a_tensorflow_checkpoint_is_known_by_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(256)))
    assert "TensorFlow" in described(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_of_pytorch_are_none_of_these(tmp_path, zipped):
    torch.save({"w": torch.arange(9.0)}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    assert kind_of(tmp_path / "net.pth") is None
    content = FILES["safetensors"][0]
    (tmp_path / "net.safetensors").write_bytes(content)
    assert kind_of(tmp_path / "net.safetensors") is None
