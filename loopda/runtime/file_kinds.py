"""What kind of file it is, by its first bytes, not by its name: for messages about files of the wrong kind."""

import re
from pathlib import Path
from typing import NamedTuple

HEAD = 4096
"""The number of first bytes that `kind_of` needs."""


class Kind(NamedTuple):
    """A kind of file. name: with its article, "a WebP picture". remedy: what to do where a PNG or JPEG is expected."""

    name: str
    remedy: str


_CONVERT = "convert it to PNG"
_CONVERT_RAW = "convert it to PNG with 8 bits a channel"
_FRAMES = "extract its frames as PNG files (`ffmpeg -i {file} frames/%06d.png`) and name their folder"
_UNPACK = "unpack it"
_FETCH = "fetch it again"

# ISO base media: the brand after "ftyp" says whether it is a picture or a film
_AVIF, _HEIF = (b"avif", b"avis"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_SIGNATURES = (
    (rb"RIFF....WEBP", "a WebP picture", _CONVERT),
    (rb"RIFF....AVI ", "an AVI video", _FRAMES),
    (rb"GIF8[79]a", "a GIF picture", _CONVERT),
    (rb"BM.{4}\0\0\0\0", "a BMP picture", _CONVERT),
    (rb"(II|MM)[*+]\0|MM\0[*+]", "a TIFF picture (or a camera's raw file)", _CONVERT_RAW),
    (rb"FUJIFILMCCD-RAW|II(RO|RS|U\0)", "a camera's raw file", _CONVERT_RAW),
    (rb"....ftyp(" + b"|".join(_AVIF) + rb")", "an AVIF picture", _CONVERT),
    (rb"....ftyp(" + b"|".join(_HEIF) + rb")", "a HEIC picture", _CONVERT),
    (rb"....(ftyp|moov|mdat|wide|free)", "a video (MP4 or QuickTime)", _FRAMES),
    (rb"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)", _FRAMES),
    (rb"OggS|FLV\x01|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\0\0\x01[\xb3\xba]", "a video", _FRAMES),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL picture", _CONVERT),
    (rb"II\xbc", "a JPEG XR picture", _CONVERT),
    (rb"8BPS", "a Photoshop file", _CONVERT),
    (rb"gimp xcf", "a GIMP file", _CONVERT),
    (rb"\x76\x2f\x31\x01", "an OpenEXR picture", _CONVERT_RAW),
    (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR picture", _CONVERT_RAW),
    (rb"P[1-7]\s", "a PNM picture (PBM, PGM or PPM)", _CONVERT),
    (rb"\0\0[\x01\x02]\0[^\0]\0", "an icon", _CONVERT),
    (rb"%PDF", "a PDF document", _CONVERT),
    (rb"\x93NUMPY", "a NumPy array", "save its pixels as PNG"),
    (rb"\x89HDF", "an HDF5 file", "save its pictures as PNG"),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive", _UNPACK),
    (rb"\x1f\x8b", "a gzip archive", _UNPACK),
    (rb"BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd", "a compressed file", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (rb".{257}ustar", "a tar archive", _UNPACK),
    (rb"\0\x05\x16[\x00\x07]", "what macOS notes beside a file (its name begins with `._`)", "delete it"),
    (
        rb"\x89PNG(?!\r\n\x1a\n)",
        "a PNG that was transferred as text, which changes line ends",
        "fetch it again as binary",
    ),
    (rb"\0+\Z", "nothing but zero bytes, as a download that broke off leaves", _FETCH),
)

_TEXTS = (
    (
        rb"version https://git-lfs\.github\.com/",
        "a Git LFS pointer, which stands for the file",
        "run `git lfs pull` in its repository",
    ),
    (
        rb"\S*/annex/objects/",
        "a git-annex pointer, which stands for the file",
        "run `git annex get` in its repository",
    ),
    (rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype svg|<svg)", "an SVG drawing", _CONVERT),
    (
        rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype html|html|head|body|title|script|meta)",
        "a web page (HTML), perhaps one that asks to log in",
        "fetch the file itself again",
    ),
    (rb"<", "an XML document, perhaps a server's message", _FETCH),
    (rb"[{\[]", "a JSON text, perhaps a server's message", _FETCH),
)


def kind_of(head: bytes) -> Kind | None:
    """The kind of a file that begins with the bytes `head` (HEAD of them, or the whole file); None where it is unknown.

    PNG and JPEG files have no kind, because callers ask about files that are neither. The name of a text of no known
    kind quotes its beginning.
    """
    for pattern, name, remedy in _SIGNATURES:
        if re.match(pattern, head, re.DOTALL):
            return Kind(name, remedy)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text or b"\0" in text:
        return None
    for pattern, name, remedy in _TEXTS:
        if re.match(pattern, text, re.DOTALL | re.IGNORECASE) and _is_text(text):
            return Kind(name, remedy)
    if _is_text(text):
        beginning = " ".join(text[:60].decode("utf-8", "replace").split())[:40]
        return Kind(f"a text that begins {beginning!r}", _FETCH)
    return None


def remedy_for(kind: Kind, path: Path | object) -> str:
    """The remedy of `kind`, in which the name of the file replaces `{file}`."""
    return kind.remedy.replace("{file}", str(getattr(path, "name", path)))


def _is_text(head: bytes) -> bool:
    """Whether it is UTF-8 of printable characters and white space; a character may be cut off at its end."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)
