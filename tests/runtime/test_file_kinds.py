import io
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from loopda.runtime.file_kinds import HEAD, kind_of, remedy_for


def picture(kind, mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (8, 4)).save(buffer, kind)
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.png", b"")
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def box(brand):
    return struct.pack(">I", 24) + b"ftyp" + brand + b"\0" * 12


KINDS = {
    "a WebP picture": picture("WEBP"),
    "a GIF picture": picture("GIF"),
    "a BMP picture": picture("BMP"),
    "a TIFF picture": picture("TIFF"),
    "a PNM picture": picture("PPM"),
    "an icon": picture("ICO"),
    "a JPEG 2000 picture": b"\0\0\0\x0cjP  \r\n\x87\n",
    "a JPEG XL picture": b"\xff\x0a" + b"\x12" * 30,
    "an AVIF picture": box(b"avif"),
    "a HEIC picture": box(b"heic"),
    "a video (MP4": box(b"isom"),
    "a video (Matroska": b"\x1a\x45\xdf\xa3" + b"\0" * 20,
    "an AVI video": b"RIFF\x10\0\0\0AVI LIST",
    "a zip archive": archive(),
    "a gzip archive": b"\x1f\x8b\x08\0",
    "a tar archive": b"a.png".ljust(257, b"\0") + b"ustar\0",
    "a NumPy array": array(),
    "a PDF document": b"%PDF-1.7",
    "a Photoshop file": b"8BPS\0\1",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "a git-annex pointer": b"/annex/objects/SHA256E-s1--0.png\n",
    "a web page": b"\xef\xbb\xbf\n<!DOCTYPE html><html><title>Sign in</title>",
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "an XML document": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a JSON text": b'{"message": "Not Found"}',
    "a text that begins '404: not found'": b"404: not found",
    "nothing but zero bytes": b"\0" * HEAD,
    "what macOS notes beside a file": b"\0\x05\x16\x07\0\2\0\0Mac OS X        ",
    "a PNG that was transferred as text": b"\x89PNG\n\x1a\n\0\0",
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.fault(70, "each kind has a name and a remedy")
def test_a_file_of_another_kind_is_told_by_its_first_bytes(name):
    kind = kind_of(KINDS[name][:HEAD])
    assert kind.name.startswith(name)
    assert kind.remedy


def test_a_page_or_text_in_another_encoding_and_with_a_character_cut_off_is_still_text():
    assert kind_of(("ä" * HEAD).encode()[: HEAD - 1]).name.startswith("a text")
    assert kind_of(b"<HTML>" + ("ä" * HEAD).encode()[: HEAD - 7]).name.startswith("a web page")


@pytest.mark.parametrize("head", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", bytes(range(128, 256)), b""])
def test_what_is_no_known_kind_is_given_no_name(head):
    assert kind_of(head) is None


def test_the_remedy_for_a_video_names_its_file(tmp_path):
    assert "ffmpeg -i drive.mp4 " in remedy_for(kind_of(box(b"mp42")), tmp_path / "drive.mp4")
