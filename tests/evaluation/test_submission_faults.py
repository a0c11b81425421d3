import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from loopda.errors import DataError
from loopda.evaluation.submission import COUNT, FOLDERS, NAMES, SIZE, faults, file_name, pack
from loopda.labels.png import write_confidence, write_label

SMALL = (24, 16)
IMAGES = [
    "GOPR0364_frame_000001_rgb_anon.png",
    "GOPR0364_frame_000011_rgb_anon.png",
    "GP010364_frame_000200_rgb_anon.png",
]
LABEL = (np.arange(SMALL[0] * SMALL[1]) % 19).astype(np.uint8).reshape(SMALL[::-1])
CLEAR = np.where(LABEL == 4, 255, LABEL).astype(np.uint8)


def encoded(array, kind="PNG"):
    buffer = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(buffer, kind)
    return buffer.getvalue()


def files(names=IMAGES):
    """Each member of a faultless submission and its bytes."""
    of_kind = {
        "labelTrainIds": encoded(LABEL),
        "labelTrainIds_invalid": encoded(CLEAR),
        "confidence": encoded(np.full(SMALL[::-1], 40_000, dtype=np.uint16)),
    }
    return {f"{folder}/{name}": data for folder, data in of_kind.items() for name in names}


def found(tmp_path, members, count=3, size=SMALL):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return faults(path, IMAGES, count=count, size=size)


def test_the_server_wants_151_images_of_1920x1080_in_three_folders():
    assert (COUNT, SIZE, FOLDERS) == (151, (1920, 1080), ("labelTrainIds", "labelTrainIds_invalid", "confidence"))


def test_a_submission_without_a_fault_has_none(tmp_path):
    assert found(tmp_path, files()) == []
    assert found(tmp_path, {"labelTrainIds/": b""} | files()) == []  # an entry for the folder itself


def test_the_size_and_number_of_the_server_are_the_default(tmp_path):
    found(tmp_path, files())
    said = faults(tmp_path / "submission.zip", IMAGES)
    assert "labelTrainIds/: 3 files; the server expects 151" in said
    assert f"confidence/{IMAGES[0]}: 24x16 pixels; expected 1920x1080" in said


@pytest.mark.parametrize("names", NAMES)
def test_what_is_packed_has_no_fault_and_the_same_files_make_the_same_archive(tmp_path, names, monkeypatch):
    expected = [file_name(tmp_path / image, names) for image in IMAGES]
    assert expected[0] == {"image": IMAGES[0], "id": "GOPR0364_frame_000001_rgb_anon_id.png"}[names]
    for name in expected:
        write_label(tmp_path / "labelTrainIds" / name, LABEL)
        write_label(tmp_path / "labelTrainIds_invalid" / name, CLEAR)
        write_confidence(tmp_path / "confidence" / name, np.full(SMALL[::-1], 0.5, dtype=np.float32))
    pack(tmp_path, expected, tmp_path / "a.zip")
    pack(tmp_path, expected, tmp_path / "b.zip")
    assert faults(tmp_path / "a.zip", expected, count=3, size=SMALL) == []
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == [f"{kind}/{name}" for kind in FOLDERS for name in expected]


FIRST = IMAGES[0]
RENAMED = "labelTrainIds/GOPR0364_frame_000001.png"
BAD = {
    "colours": (
        {f"labelTrainIds/{FIRST}": encoded(np.zeros((*SMALL[::-1], 3), dtype=np.uint8))},
        [
            f"labelTrainIds/{FIRST}: PNG in colour mode RGB with 8 bits a channel; expected a PNG of one grey channel"
            " with 8"
        ],
    ),
    "palette": (
        {f"labelTrainIds/{FIRST}": encoded(Image.fromarray(LABEL).convert("P"))},
        [f"labelTrainIds/{FIRST}: PNG in colour mode P with 8 bits"],
    ),
    "jpeg": (
        {f"labelTrainIds_invalid/{FIRST}": encoded(LABEL, "JPEG")},
        [f"labelTrainIds_invalid/{FIRST}: JPEG in colour mode L"],
    ),
    "confidence of 8 bits": (
        {f"confidence/{FIRST}": encoded(LABEL)},
        [f"confidence/{FIRST}: PNG in colour mode L with 8 bits a channel; expected a PNG of one grey channel with 16"],
    ),
    "size": ({f"labelTrainIds/{FIRST}": encoded(LABEL.T)}, [f"labelTrainIds/{FIRST}: 16x24 pixels; expected 24x16"]),
    "label ids": (
        {f"labelTrainIds/{FIRST}": encoded(LABEL + 7), f"labelTrainIds_invalid/{FIRST}": encoded(LABEL + 7)},
        [
            f"labelTrainIds/{FIRST}: the values 19, 20, 21, 22, 23, 24, 25 are no train ids (0 ... 18)",
            f"labelTrainIds_invalid/{FIRST}: the values 19, 20, 21, 22, 23, 24, 25 are no train ids (0 ... 18 or 255)",
        ],
    ),
    "abstaining": (
        {f"labelTrainIds/{FIRST}": encoded(CLEAR)},
        [f"labelTrainIds/{FIRST}: the values 255 are no train ids (0 ... 18)"],
    ),
    "other labels": (
        {f"labelTrainIds_invalid/{FIRST}": encoded((LABEL + 1) % 19)},
        [f"labelTrainIds_invalid/{FIRST}: differs from labelTrainIds/{FIRST} in more than the value 255"],
    ),
    "damaged": ({f"confidence/{FIRST}": files()[f"confidence/{FIRST}"][:60]}, [f"confidence/{FIRST}: damaged image"]),
    "empty": ({f"confidence/{FIRST}": b""}, [f"confidence/{FIRST}: an empty file"]),
    "more": ({"readme.txt": b"hello"}, ["readme.txt: not the name of a test image's file"]),
    "another name": (
        {f"labelTrainIds/{FIRST}": None, RENAMED: encoded(LABEL)},
        [f"labelTrainIds/{FIRST}: missing", f"{RENAMED}: not the name of a test image's file"],
    ),
    "missing": (
        {f"confidence/{FIRST}": None},
        ["confidence/: 2 files; the server expects 3", f"confidence/{FIRST}: missing"],
    ),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.fault(48, "every fault of a submission is named")
def test_each_fault_is_found_and_named(tmp_path, kind):
    changes, expected = BAD[kind]
    said = found(tmp_path, {name: data for name, data in (files() | changes).items() if data is not None})
    assert len(said) == len(expected)
    assert all(line.startswith(start) for line, start in zip(said, expected, strict=True)), said


def test_all_faults_are_listed_at_once(tmp_path):
    members = files()
    members[f"labelTrainIds/{FIRST}"] = encoded(LABEL.T)
    members[f"confidence/{IMAGES[1]}"] = encoded(LABEL)
    members[f"labelTrainIds_invalid/{IMAGES[2]}"] = b""
    assert len(found(tmp_path, members)) == 3


def test_a_member_that_occurs_twice_is_found(tmp_path):
    found(tmp_path, files())
    with zipfile.ZipFile(tmp_path / "submission.zip", "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(f"confidence/{FIRST}", files()[f"confidence/{FIRST}"])
    assert faults(tmp_path / "submission.zip", IMAGES, count=3, size=SMALL) == [
        "confidence/: 4 files; the server expects 3",
        f"confidence/{FIRST}: 2 times in the archive",
    ]


def test_a_bit_that_flipped_inside_the_archive_is_found(tmp_path):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files().items():
            file.writestr(name, data)
    whole = path.read_bytes()
    at = whole.index(b"IDAT") + 12
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    (fault,) = faults(path, IMAGES, count=3, size=SMALL)
    assert fault.startswith(f"labelTrainIds/{FIRST}: damaged image")


def test_what_is_no_zip_is_refused_by_its_name(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    for name, says in {"a.zip": "not a zip that can be read", "b.zip": "no such zip to check; with --model"}.items():
        with pytest.raises(DataError, match=f"{name}: {says}"):
            faults(tmp_path / name, IMAGES)
