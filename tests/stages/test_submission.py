import os
import signal
import zipfile

import numpy as np
import pytest
from PIL import Image

from loopda import load
from loopda.errors import ConfigError, DataError, Interrupted
from loopda.evaluation.predictor import Predictor
from loopda.evaluation.submission import FOLDERS
from loopda.labels.classes import CITYSCAPES, ClassList
from loopda.labels.png import read_grey
from loopda.models.checkpoint import load_segmenter, save_segmenter
from loopda.stages import submission

SMALL = (48, 27)
FRAMES = ("GOPR0364_frame_000001", "GOPR0364_frame_000011", "GP010364_frame_000001", "GP010364_frame_000200")


@pytest.fixture(params=["rgb_anon", "Dark_Zurich_test_anon_withoutGt/rgb_anon"])
def dark_zurich(request, tmp_path, monkeypatch):
    """The test images of Dark Zurich in miniature, by their public names, merged or in the folder of their archive."""
    monkeypatch.setattr(submission, "COUNT", len(FRAMES))
    monkeypatch.setattr(submission, "SIZE", SMALL)
    for number, frame in enumerate(FRAMES):
        path = tmp_path / "DarkZurich" / request.param / f"test/night/{frame[:8]}/{frame}_rgb_anon.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 99, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(SMALL, Image.Resampling.BICUBIC).save(path)
    return tmp_path / "DarkZurich"


@pytest.fixture
def submit(small_model, dark_zurich, tmp_path):
    def call(**changes):
        values = {
            "root": dark_zurich,
            "out": tmp_path / "mine.zip",
            "model": small_model,
            "device": "cpu",
            "threads": 1,
        }
        submission.run(**values | changes)
        return zipfile.ZipFile(tmp_path / "mine.zip")

    return call


def test_the_zip_holds_what_the_model_says_of_each_test_image(submit, small_model, dark_zurich, tmp_path):
    file = submit()
    assert file.namelist() == [f"{folder}/{frame}_rgb_anon.png" for folder in FOLDERS for frame in FRAMES]
    model = load(small_model, device="cpu")
    for image in dark_zurich.rglob("*.png"):
        labels, confidence = model(image)
        members = [zipfile.Path(file, f"{folder}/{image.name}") for folder in FOLDERS]
        assert np.array_equal(read_grey(members[0], 8), labels)
        assert np.array_equal(read_grey(members[1], 8), labels)
        stored = read_grey(members[2], 16)
        assert abs(stored / 65535 - confidence).max() <= 0.5 / 65535 + 1e-6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DarkZurich", "mine.made.json", "mine.zip"]


def test_pixels_below_a_confidence_are_invalid_in_one_folder_alone(submit):
    file = submit(invalid_below=0.3)
    name = f"{FRAMES[0]}_rgb_anon.png"
    labels, invalid = (read_grey(zipfile.Path(file, f"{folder}/{name}"), 8) for folder in FOLDERS[:2])
    stored = read_grey(zipfile.Path(file, f"confidence/{name}"), 16).astype(float)
    unclear, sure = stored < 0.3 * 65535 - 1, stored > 0.3 * 65535 + 1  # between them what is stored is rounded
    assert unclear.any()
    assert sure.any()
    assert (invalid[unclear] == 255).all()
    assert np.array_equal(invalid[sure], labels[sure])


def test_names_can_end_in_id(submit):
    assert f"confidence/{FRAMES[3]}_rgb_anon_id.png" in submit(names="id").namelist()
    submit(model=None, names="id")
    with pytest.raises(DataError, match="24 faults"):
        submit(model=None, names="image")


def test_without_a_model_the_zip_that_is_there_is_checked(submit, tmp_path, monkeypatch):
    submit()
    before = (tmp_path / "mine.zip").read_bytes()
    submit(model=None)
    monkeypatch.setattr(submission, "SIZE", (1920, 1080))
    with pytest.raises(DataError, match="12 faults\n.*48x27 pixels; expected 1920x1080"):
        submit(model=None)
    assert (tmp_path / "mine.zip").read_bytes() == before


@pytest.mark.fault(48, "a submission at fault is not written")
def test_no_zip_with_a_fault_is_written(submit, dark_zurich, tmp_path):
    image = next(dark_zurich.rglob("GP010364_frame_000200*"))
    Image.new("RGB", (48, 28)).save(image)
    with pytest.raises(DataError, match=r"mine\.zip: 3 faults\nlabelTrainIds/GP010364_frame_000200\S* 48x28 pixels"):
        submit()
    assert not (tmp_path / "mine.zip").exists()


def test_a_missing_or_damaged_test_image_is_named(submit, dark_zurich):
    image = next(dark_zurich.rglob("GP010364_frame_000200*"))
    image.write_bytes(image.read_bytes()[:99])
    with pytest.raises(DataError, match=r"GP010364_frame_000200\S*: damaged image"):
        submit()
    image.unlink()
    with pytest.raises(DataError, match="3 test images; the server has 4"):
        submit()


@pytest.mark.fault(9, "a submission goes on and becomes the same zip")
def test_an_interrupted_submission_goes_on_and_becomes_the_same_zip(submit, tmp_path, monkeypatch):
    submit()
    expected = (tmp_path / "mine.zip").read_bytes()
    (tmp_path / "mine.zip").unlink()
    original, seen = Predictor.__call__, []

    def interrupted(self, image):
        seen.append(image)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, image)

    monkeypatch.setattr(Predictor, "__call__", interrupted)
    with pytest.raises(Interrupted):
        submit()
    assert not (tmp_path / "mine.zip").exists()
    assert len(seen) < 4
    submit()
    assert len(seen) == 4
    assert (tmp_path / "mine.zip").read_bytes() == expected


def test_a_model_of_other_classes_and_options_without_sense_are_refused(submit, small_model, tmp_path):
    segmenter = load_segmenter(small_model)
    names = ("street", *CITYSCAPES.names[1:])
    segmenter.classes = ClassList(names, CITYSCAPES.colours, CITYSCAPES.dynamic, CITYSCAPES.ssc, {})
    save_segmenter(segmenter, tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"other\.pt: its classes are not the 19 of Cityscapes"):
        submit(model=tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="names 'gt': choose image or id"):
        submit(names="gt")
    with pytest.raises(ConfigError, match="invalid_below 1.5"):
        submit(invalid_below=1.5)
