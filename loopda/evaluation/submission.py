"""The archive that the test server of Dark Zurich accepts, and a check of it as far as its rules are known.

CodaLab competition 23553, later codalab.lisn.upsaclay.fr 3783. The ground truth of the 151 test images is not public,
and neither is the server's code; what follows is what the authors of CMDA, SePiCo, MGCDA, CIConv and DANNet upload.
Three folders in the root of a zip, in each one PNG an image, named after it and of its size, 1920x1080:

    labelTrainIds           8-bit grey, the train id (0 ... 18) of each pixel; pictures in colours are rejected
    labelTrainIds_invalid   the same, with 255 where the model calls a pixel invalid; for the mean IoU alone a copy is
                            enough
    confidence              16-bit grey, 65535 times the probability of the class
"""

import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loopda.data.dataset import Size
from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.labels.png import read_grey

LABELS, INVALID, CONFIDENCE = FOLDERS = ("labelTrainIds", "labelTrainIds_invalid", "confidence")
COUNT = 151
SIZE = (1920, 1080)

# What follows the stem of the image (..._rgb_anon). Users report that the server looks for the base names of the
# images, which CMDA uploads; CIConv's code appends _id. GOPR0364_frame_000001.png, without _rgb_anon, is known to fail.
NAMES = {"image": "", "id": "_id"}


def file_name(image: Path, names: str) -> str:
    """The file name of the three PNGs of a test image; names: a key of NAMES."""
    return f"{image.stem}{NAMES[names]}.png"


def pack(folder: Path, names: Sequence[str], archive: Path) -> None:
    """Write the FOLDERS of `folder`, with the files `names` in each, as a zip. Equal files make equal archives."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:  # PNGs are compressed already
        for kind in FOLDERS:
            for name in names:
                member = zipfile.ZipInfo(f"{kind}/{name}")  # dated 1980, not by the file
                member.external_attr = 0o644 << 16
                file.writestr(member, (folder / kind / name).read_bytes())


def faults(archive: Path, names: Sequence[str], *, count: int = COUNT, size: Size = SIZE) -> list[str]:
    """The faults of a submission, one line each; [] where there is none.

    names: the files that each folder must hold, from the test images. count: how many there must be. size: (width,
    height) of each. Checked are: the members' names and number, each once; their format, colour mode, depth and size;
    the ids of the label maps; that the maps with invalid pixels are otherwise the same.
    DataError where `archive` is no zip.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            return [*_wrong_names(file, names, count), *_wrong_files(file, names, size)]
    except FileNotFoundError:
        raise DataError(f"{archive}: no such zip to check; with --model it is made") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive}: not a zip that can be read: {error}") from None


def _wrong_names(file: zipfile.ZipFile, names: Sequence[str], count: int) -> list[str]:
    members = Counter(name for name in file.namelist() if not name.endswith("/"))
    expected = {f"{folder}/{name}" for folder in FOLDERS for name in names}
    found = [] if len(set(names)) == count else [f"{len(set(names))} test images; the server has {count}"]
    for folder in FOLDERS:
        number = sum(times for name, times in members.items() if name.startswith(f"{folder}/"))
        if number != count:
            found.append(f"{folder}/: {number} files; the server expects {count}")
    found += [f"{name}: missing" for name in sorted(expected - members.keys())]
    found += [f"{name}: not the name of a test image's file" for name in sorted(members.keys() - expected)]
    found += [f"{name}: {times} times in the archive" for name, times in sorted(members.items()) if times > 1]
    return found


def _wrong_files(file: zipfile.ZipFile, names: Sequence[str], size: Size) -> list[str]:
    root, members, found = zipfile.Path(file), set(file.namelist()), []
    for name in names:
        maps = {}
        for folder in FOLDERS:
            member = f"{folder}/{name}"
            if member not in members:
                continue  # _wrong_names reports it
            try:
                values = read_grey(root / member, depth=16 if folder == CONFIDENCE else 8)
            except (DataError, RuntimeError) as error:  # RuntimeError: encrypted, or an unknown compression
                found.append(f"{member}: {str(error).removeprefix(f'{root / member}: ')}")
                continue
            height, width = values.shape
            if (width, height) != tuple(size):
                found.append(f"{member}: {width}x{height} pixels; expected {size[0]}x{size[1]}")
            elif folder != CONFIDENCE:
                maps[folder] = values
                found += _wrong_ids(member, values, may_abstain=folder == INVALID)
        if len(maps) == 2:
            valid = maps[INVALID] != IGNORE
            if not np.array_equal(maps[INVALID][valid], maps[LABELS][valid]):
                found.append(f"{INVALID}/{name}: differs from {LABELS}/{name} in more than the value {IGNORE}")
    return found


def _wrong_ids(member: str, label: np.ndarray, *, may_abstain: bool) -> list[str]:
    ids = set(np.flatnonzero(np.bincount(label.ravel(), minlength=256)).tolist())
    wrong = sorted(ids - {*range(len(CITYSCAPES)), *([IGNORE] if may_abstain else [])})
    allowed = f"0 ... {len(CITYSCAPES) - 1}" + (f" or {IGNORE}" if may_abstain else "")
    return [f"{member}: the values {', '.join(map(str, wrong))} are no train ids ({allowed})"] if wrong else []
