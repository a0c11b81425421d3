"""What a file is, by its first bytes: for the message about one that is not what its name says."""

import re
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """what: the kind in words, "a web page". remedy: what to do where weights of PyTorch were wanted."""

    what: str
    remedy: str


HEAD = 4096  # bytes that are looked at
UNPACK = "unpack it and name the weights in it"
AGAIN = "fetch or copy it again"
OTHERS = "it is no file of PyTorch: ask its authors for PyTorch weights, or convert it with a tool of their framework"

_WEB_PAGE = Kind(
    "a web page (a login, a quota or a question) that was saved in the place of the file",
    "open the address in a browser and fetch the file itself",
)
_POINTER = Kind(
    "a pointer of Git LFS, which only names the file", "run `git lfs pull` in its repository, or fetch it in a browser"
)
# kinds by the bytes that files of them begin with
_BEGINNINGS = (
    (b"version https://git-lfs", _POINTER),
    (b"/annex/objects/", Kind("a pointer of git-annex, which only names the file", "run `git annex get` on it")),
    (b"\x1f\x8b", Kind("a gzip archive", UNPACK)),
    (b"BZh", Kind("a bzip2 archive", UNPACK)),
    (b"\xfd7zXZ\x00", Kind("an xz archive", UNPACK)),
    (b"\x28\xb5\x2f\xfd", Kind("a zstd archive", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", UNPACK)),
    (b"Rar!", Kind("a rar archive", UNPACK)),
    (b"\x89HDF\r\n\x1a\n", Kind("an HDF5 file, as Keras writes", OTHERS)),
    (b"\x93NUMPY", Kind("an array of NumPy", "save a dictionary of tensors by torch.save")),
    (b"MATLAB 5.0", Kind("a file of MATLAB", OTHERS)),
    (b"GGUF", Kind("a GGUF file", OTHERS)),
    (b"\x89PNG", Kind("a PNG image", "name the weights")),
    (b"\xff\xd8\xff", Kind("a JPEG image", "name the weights")),
    (b"%PDF", Kind("a PDF document", "name the weights")),
)
_TABLE_END = bytes.fromhex("57fb808b247547db")  # of the index of a TensorFlow checkpoint


def kind_of(path: Path) -> Kind | None:
    """The kind of the file or folder `path`, or None where it may be weights of PyTorch, whole or damaged."""
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
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[257:262] == b"ustar" or path.suffix == ".tar":
        return _kind_of_tar(path)
    if tail == _TABLE_END or re.search(r"\.data-\d+-of-\d+$|\.ckpt-\d+\.meta$", path.name):
        return Kind("a part of a TensorFlow checkpoint", OTHERS)
    if is_safetensors(head):
        return Kind("a safetensors file under another name", "give it the suffix .safetensors")
    if path.suffix == ".onnx" or (head[0] == 8 and head[1] < 32 and head[2] in (0x12, 0x1A, 0x3A)):
        return Kind("an ONNX graph", "it has no names of tensors to load by: take the weights that it was made of")
    if path.suffix in (".caffemodel", ".pb", ".tflite", ".weights"):
        return Kind(f"a {path.suffix} file of another framework", OTHERS)
    return _kind_of_text(head)


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so is one of safetensors: the length of a JSON header, then the header."""
    return len(head) > 9 and head[8:9] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] < 1 << 27


def described(path: Path) -> str:
    """`; it is a web page ...: ...` for the end of a message about `path`, or "" where nothing is known."""
    kind = kind_of(path)
    return f"; it is {kind.what}: {kind.remedy}" if kind else ""


def _kind_of_zip(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return Kind("an archive without its end, as of a download or a copy that broke off", AGAIN)
    if any(name.endswith("/constants.pkl") for name in names):
        return Kind("a TorchScript program", "save torch.jit.load(...).state_dict() by torch.save, and name that file")
    if any(name.endswith(("/data.pkl", "/byteorder")) for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return Kind("an archive of arrays of NumPy (npz)", "save a dictionary of tensors by torch.save")
    if any(name.endswith(".weights.h5") for name in names):
        return Kind("a model of Keras", OTHERS)
    return Kind(f"a zip archive of {', '.join(names[:3]) or 'nothing'}{' ...' if names[3:] else ''}", UNPACK)


def _kind_of_tar(path: Path) -> Kind:
    try:
        with tarfile.open(path) as archive:
            names = [member.name for member in archive]
    except (tarfile.TarError, OSError, EOFError):
        return Kind("a tar archive without its end, as of a download or a copy that broke off", AGAIN)
    if {"pickle", "storages"} <= set(names):
        return Kind("in the format of PyTorch 0.1", "load it in the program that made it, and save it again")
    return Kind(f"a tar archive of {', '.join(names[:3]) or 'nothing'}{' ...' if names[3:] else ''}", UNPACK)


def _kind_of_text(head: bytes) -> Kind | None:
    """The kind of a text, None for what is none."""
    try:
        text = head[: HEAD - 4].decode("utf-8-sig")  # without a character that is cut in two
    except UnicodeDecodeError:
        return None
    start = text.lstrip()
    if re.match(r"<(!doctype|html|head|body|script|!--)", start, re.IGNORECASE):
        return _WEB_PAGE
    if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text):
        return None
    if start.startswith("<"):
        return Kind("an XML text, as servers send instead of a file", "open the address in a browser and see why")
    what = "a JSON text" if start.startswith(("{", "[")) else "a text"
    shown = " ".join(start.split())[:60]
    return Kind(f"{what} ({shown!r})", "fetch the weights themselves")
