"""The file formats of weights: the packages that they need, and what a file is that holds no weights of PyTorch.

Light: the Snakefile and the check of the configuration import this module, and must not wait for PyTorch.
"""

import importlib.util
import re
import struct
import tarfile
import zipfile
from pathlib import Path

from loopda.errors import ConfigError
from loopda.runtime import file_kinds
from loopda.runtime.file_kinds import HEAD, Kind

# the packages of the extra `export` that files of a suffix need
PACKAGES = {".safetensors": ("safetensors",), ".onnx": ("onnx", "onnx_ir", "onnxscript", "onnxruntime")}
AGAIN = "fetch or copy it again"
_UNPACK = "unpack it and name the weights in it"
_OTHERS = "it is not PyTorch's: ask its authors for PyTorch weights, or convert it with a tool of its framework"
_TENSORS = "save a dictionary of tensors by torch.save"
_CUT = "without its end, as of a download or a copy that broke off"
_FRAMEWORKS = (".caffemodel", ".h5", ".keras", ".pb", ".tflite", ".weights", ".pdparams")
_TABLE_END = bytes.fromhex("57fb808b247547db")  # of the index of a TensorFlow checkpoint


def needs_packages(suffix: str) -> None:
    """ConfigError where a package that files of `suffix` need is not installed; imports none of them."""
    missing = [name for name in PACKAGES.get(suffix, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{suffix} files need what is not installed: {', '.join(missing)}: pip install 'loopda[export]'; in a "
            "clone of the repository pip install --editable '.[export]'"
        )


def kind_of(path: Path) -> Kind | None:
    """The kind of the file or folder `path`, or None where it may be weights of PyTorch, whole or damaged.

    A safetensors file is right under its own suffix alone, because readers go by the suffix.
    """
    if path.is_dir():
        return Kind("a folder", "name the file in it")
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(HEAD)
        file.seek(max(size - len(_TABLE_END), 0))
        tail = file.read()
    if len(head) < 4:
        what = "a file of less than four bytes" if head else "an empty file"
        return Kind(what, f"the download or the copy failed: {AGAIN}")
    if is_safetensors(head):
        named = path.suffix == ".safetensors"
        return None if named else Kind("a safetensors file under another name", "give it the suffix .safetensors")
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head[257:262] == b"ustar" or path.suffix == ".tar":
        return _kind_of_tar(path)
    if head.startswith((b"\x89HDF", b"MATLAB 5.0", b"GGUF")):
        return Kind("a file of Keras, MATLAB or another framework (HDF5, MAT, GGUF)", _OTHERS)
    if head.startswith(b"\x93NUMPY"):
        return Kind("an array of NumPy", _TENSORS)
    if tail == _TABLE_END or re.search(r"\.data-\d+-of-\d+$|\.ckpt-\d+\.meta$", path.name):
        return Kind("a part of a TensorFlow checkpoint", _OTHERS)
    if path.suffix == ".onnx" or (head[0] == 8 and head[1] < 32 and head[2] in (0x12, 0x1A, 0x3A)):
        return Kind("an ONNX graph", "it cannot be trained or scored here: take the weights that it was made of")
    if path.suffix in _FRAMEWORKS:
        return Kind(f"a {path.suffix} file of another framework", _OTHERS)
    return _any_kind(head)


def is_safetensors(head: bytes) -> bool:
    """Whether a file with this beginning is one of safetensors: the length of a JSON header, then the header."""
    return len(head) > 9 and head[8:9] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] < 1 << 27


def described(path: Path) -> str:
    """`it is a web page ...; fetch it again`, or "" where nothing is wrong with its kind."""
    kind = kind_of(path)
    return f"it is {kind.name}; {kind.remedy}" if kind else ""


def _any_kind(head: bytes) -> Kind | None:
    """The kind of a file of no framework, with a remedy for weights."""
    kind = file_kinds.kind_of(head)
    if kind is None and not head.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return None
    if kind is None or "picture" in kind.name or "video" in kind.name or "PDF" in kind.name:
        return Kind(kind.name if kind else "a picture", "name the weights")
    return Kind(kind.name, _UNPACK if kind.remedy == "unpack it" else kind.remedy)


def _kind_of_zip(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return Kind(f"an archive {_CUT}", AGAIN)
    if any(name.endswith("/constants.pkl") for name in names):
        return Kind("a TorchScript program", "save torch.jit.load(...).state_dict() by torch.save, and name that file")
    if any(name.endswith(("/data.pkl", "/byteorder")) for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return Kind("an archive of NumPy's arrays (npz)", _TENSORS)
    if any(name.endswith(".weights.h5") for name in names):
        return Kind("a model of Keras", _OTHERS)
    return Kind(f"a zip archive of {_some(names)}", _UNPACK)


def _kind_of_tar(path: Path) -> Kind:
    try:
        with tarfile.open(path) as archive:
            names = [member.name for member in archive]
    except (tarfile.TarError, OSError, EOFError):
        return Kind(f"a tar archive {_CUT}", AGAIN)
    if {"pickle", "storages"} <= set(names):
        return Kind("in the format of PyTorch 0.1", "load it in the program that made it, and save it again")
    return Kind(f"a tar archive of {_some(names)}", _UNPACK)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if names[3:] else "") or "nothing"
