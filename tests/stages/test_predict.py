import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from loopda import load
from loopda.errors import ConfigError, DataError, Interrupted
from loopda.evaluation.predictor import Predictor
from loopda.labels.classes import CITYSCAPES
from loopda.labels.overlay import legend, overlay
from loopda.labels.png import read_image, read_label
from loopda.runtime.command import command
from loopda.stages.predict import run

SIZES = {"a/1.png": (64, 32), "a/2.jpg": (90, 41), "b/1.png": (30, 50)}


@pytest.fixture
def drive(tmp_path):
    for number, (name, size) in enumerate(SIZES.items()):
        coarse = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        path = tmp_path / "drive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return tmp_path / "drive"


@pytest.fixture
def predict(small_model, drive, tmp_path):
    """Runs the stage on the drive, into the folder `out`."""

    def call(**changes):
        values = {"model": small_model, "images": [str(drive)], "out": tmp_path / "out", "device": "cpu", "threads": 1}
        run(**values | changes)
        return tmp_path / "out"

    return call


@pytest.fixture
def predicted(monkeypatch):
    """The sizes of the images that a network was used on."""
    seen = []
    original = Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda self, image: seen.append(image.size) or original(self, image))
    return seen


def files(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def contents(out):
    return {name: (out / name).read_bytes() for name in files(out)}


def test_every_image_gets_the_label_map_of_its_own_size_under_its_own_path(predict, drive, small_model):
    out = predict()
    assert files(out) == ["classes.json", "labels/a/1.png", "labels/a/2.png", "labels/b/1.png", "predictions.jsonl"]
    model = load(small_model, device="cpu")
    for name, size in SIZES.items():
        path = (out / "labels" / name).with_suffix(".png")
        label = read_label(path)
        assert label.shape == size[::-1]
        assert np.array_equal(label, model.predict(drive / name))
        assert Image.open(path).mode == "L"
    assert json.loads((out / "classes.json").read_text())["names"] == list(CITYSCAPES.names)


@pytest.mark.fault(71, "`predict` says how many were squeezed, and how to leave each at its own size")
def test_images_of_another_orientation_than_the_working_size_are_counted(predict, drive, tmp_path):
    predict(log=tmp_path / "log.txt")
    text = (tmp_path / "log.txt").read_text()
    assert f"1 images have another orientation than the working size, such as {drive / 'b/1.png'}" in text
    assert "--size image" in text
    predict(log=tmp_path / "log2.txt", size="image")
    assert "orientation" not in (tmp_path / "log2.txt").read_text()


def test_pictures_are_drawn_where_they_are_asked_for(predict, drive):
    out = predict(pictures=["colour", "overlay"], images=[str(drive / "a/2.jpg")])
    assert files(out) == [
        "classes.json",
        "colour/2.png",
        "labels/2.png",
        "legend.png",
        "overlay/2.jpg",
        "predictions.jsonl",
    ]
    label = read_label(out / "labels/2.png")
    assert np.array_equal(np.asarray(read_image(out / "colour/2.png")), CITYSCAPES.colour_map(label))
    drawn = overlay(np.asarray(read_image(drive / "a/2.jpg")), label, CITYSCAPES)
    difference = np.asarray(read_image(out / "overlay/2.jpg")).astype(int) - drawn
    assert abs(difference).mean() < 8  # JPEG
    assert np.array_equal(np.asarray(read_image(out / "legend.png")), legend(CITYSCAPES))


def test_label_maps_can_hold_label_ids(predict, drive, small_model):
    label = read_label(predict(encoding="labelIds") / "labels/a/1.png")
    assert np.array_equal(CITYSCAPES.lookup_table("labelIds")[label], load(small_model).predict(drive / "a/1.png"))
    assert not CITYSCAPES.unknown_ids("labelIds") & set(label.ravel().tolist())


# the same command again


def test_the_same_command_again_predicts_nothing_and_changes_nothing(predict, predicted):
    before = contents(predict(pictures=["colour"]))
    assert len(predicted) == 3
    assert contents(predict(pictures=["colour"])) == before
    assert len(predicted) == 3


def test_only_an_image_that_changed_and_results_that_are_damaged_or_gone_are_made_again(predict, predicted, drive):
    before = contents(out := predict())
    Image.new("RGB", (70, 40), "red").save(drive / "a/1.png")
    (out / "labels/a/2.png").write_bytes(before["labels/a/2.png"][:-20])
    predicted.clear()
    predict()
    assert predicted == [(70, 40), SIZES["a/2.jpg"]]
    assert read_label(out / "labels/a/1.png").shape == (40, 70)
    assert (out / "labels/a/2.png").read_bytes() == before["labels/a/2.png"]
    (out / "labels/b/1.png").unlink()
    predict()
    assert predicted[2:] == [SIZES["b/1.png"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": "48x32"},
        {"tile": "32x32"},
        {"domain": "day"},
        {"statistics": "day"},
        {"statistics": "own"},
        {"encoding": "labelIds"},
    ],
    ids=str,
)
def test_other_settings_make_everything_again_as_they_would_in_an_empty_folder(predict, predicted, tmp_path, changes):
    before = contents(predict())
    predicted.clear()
    after = contents(predict(**changes))
    assert len(predicted) == 3
    assert after != before
    assert after == contents(predict(**changes, out=tmp_path / "fresh") and tmp_path / "fresh")


def test_pictures_that_are_asked_for_later_are_made_once(predict, predicted):
    before = contents(predict(pictures=["colour"]))
    out = predict(pictures=["overlay"])
    assert len(predicted) == 6
    for pictures in (["colour"], ["colour", "overlay"], []):
        predict(pictures=pictures)
    assert len(predicted) == 6
    after = contents(out)
    assert all(after[name] == before[name] for name in before if name != "predictions.jsonl")


def test_another_model_makes_everything_again(predict, predicted, small_model, tmp_path):
    predict()
    other = tmp_path / "other.pt"
    other.write_bytes(small_model.read_bytes() + b"\0")
    predicted.clear()
    predict(model=other)
    assert len(predicted) == 3


def test_a_record_that_was_cut_off_costs_its_own_image_only(predict, predicted):
    out = predict()
    path = out / "predictions.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-30])
    predicted.clear()
    predict()
    assert predicted == [SIZES["b/1.png"]]
    assert path.read_text() == whole


@pytest.mark.fault(42, "a line of another kind costs its own image only")
@pytest.mark.parametrize(
    "line", ["[1, 2]", "{}", '{"name": 3}', '{"name": "b/1", "image": "", "content": "", "files": []}']
)
def test_a_record_of_another_shape_costs_nothing_but_its_image(predict, predicted, line):
    path = predict() / "predictions.jsonl"
    with open(path, "a") as file:
        print(line, file=file)
    predicted.clear()
    predict()
    assert predicted == []


@pytest.mark.fault(50, "results of an earlier run that are not made again are said")
def test_results_that_stay_of_an_earlier_run_are_said(predict, drive, small_model, tmp_path, capsys):
    out = predict(pictures=["overlay"])
    predict()
    assert "earlier runs" not in capsys.readouterr().err
    other = tmp_path / "other.pt"
    other.write_bytes(small_model.read_bytes() + b"\0")
    (drive / "b/1.png").unlink()
    predict(model=other)
    assert (
        f"4 files in {out} are of earlier runs, of images that are not named now or by another model or settings, such"
        f" as {out}/labels/b/1.png, {out}/overlay/a/1.jpg, {out}/overlay/a/2.jpg and 1 more: they stay as they were"
    ) in capsys.readouterr().err
    assert (out / "labels/b/1.png").exists()


def test_results_of_one_video_are_not_overwritten_by_frames_of_the_same_names_of_another(predict, drive):
    before = contents(out := predict(images=[str(drive / "a")]))
    with pytest.raises(DataError, match=r"b/1\.png: \S*out already holds the results of \S*a/1\.png under the name 1"):
        predict(images=[str(drive / "b")])
    assert contents(out) == before


def test_a_folder_that_was_moved_keeps_its_results(predict, predicted, drive):
    predict()
    drive.rename(drive.with_name("moved"))
    predicted.clear()
    predict(images=[str(drive.with_name("moved"))])
    assert predicted == []


def test_results_in_the_folder_of_the_images_are_not_taken_for_images(predict, predicted, drive):
    out = drive / "out"
    predict(out=out, pictures=["overlay"])
    predict(out=out, pictures=["overlay"])
    assert len(predicted) == 3


@pytest.mark.fault(50, "two predictions with their results below the images see the same images")
def test_results_of_an_earlier_prediction_below_the_images_are_no_images(predict, predicted, drive, capsys):
    predict(out=drive / "first", pictures=["overlay", "colour"])
    out = predict(out=drive / "second") and drive / "second"
    assert len(predicted) == 6
    assert [name for name in files(out) if name.startswith("labels/")] == [
        "labels/a/1.png",
        "labels/a/2.png",
        "labels/b/1.png",
    ]
    assert "predict: 10 left out, results that this package wrote: " in capsys.readouterr().err


# statistics


def test_the_earlier_flag_names_the_same_statistics_and_contradicting_flags_are_refused(predict, tmp_path):
    by_domain, by_statistics = (
        contents(predict(out=tmp_path / key, **{key: "day"})) for key in ("domain", "statistics")
    )
    assert by_domain == by_statistics
    with pytest.raises(ConfigError, match="--statistics own and --domain day: give --statistics alone"):
        predict(domain="day", statistics="own")
    with pytest.raises(ConfigError, match="statistics 'dusk': choose day, night or own"):
        predict(statistics="dusk")


def test_with_their_own_statistics_images_are_predicted_as_by_a_model_that_was_adapted_to_all_of_them(
    predict, drive, small_model
):
    out = predict(statistics="own")
    model = load(small_model, device="cpu")
    before = model.predict(drive / "a/1.png")
    model.adapt(drive / name for name in SIZES)
    for name in SIZES:
        assert np.array_equal(read_label((out / "labels" / name).with_suffix(".png")), model.predict(drive / name))
    assert not np.array_equal(before, model.predict(drive / "a/1.png"))


def test_own_statistics_make_everything_again_where_an_image_comes_or_goes_and_nothing_otherwise(
    predict, predicted, drive
):
    predict(statistics="own")
    predict(statistics="own")
    assert len(predicted) == 3
    Image.new("RGB", (70, 40), "red").save(drive / "a/3.png")
    predict(statistics="own")
    assert len(predicted) == 3 + 4


def test_an_image_that_cannot_be_read_is_left_out_of_the_statistics_and_named(predict, drive, tmp_path):
    before = contents(predict(statistics="own"))
    (drive / "c.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"c\.png: an empty file"):
        predict(statistics="own", out=tmp_path / "second")
    after = contents(tmp_path / "second")
    assert all(after[name] == before[name] for name in before if name.startswith("labels/"))


def test_images_far_from_the_statistics_of_training_are_said_to_be(predict, drive, tmp_path, monkeypatch):
    said = "the images lie far from the night statistics (distance"
    monkeypatch.setattr("loopda.models.statistics.FAR", 0.0)
    predict(log=tmp_path / "few")
    monkeypatch.setattr("loopda.stages.predict.FEWEST", 3)
    predict(log=tmp_path / "far")
    assert said in (text := (tmp_path / "far").read_text())
    assert "--statistics own would use their own" in text
    predict(log=tmp_path / "own", statistics="own")
    monkeypatch.setattr("loopda.models.statistics.FAR", 1e9)
    predict(log=tmp_path / "near")
    assert not any("lie far" in (tmp_path / name).read_text() for name in ("few", "own", "near"))


# faults and signals


def test_an_image_that_cannot_be_used_is_named_at_the_end_and_the_others_are_done(predict, drive, predicted):
    (drive / "a/0.png").write_bytes((drive / "a/1.png").read_bytes()[:100])
    (drive / "b/2.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        predict()
    assert str(caught.value).splitlines() == [
        f"{drive}/a/0.png: damaged image (image file is truncated); fetch it again",
        f"{drive}/b/2.jpg: an empty file; fetch it again",
    ]
    assert len(predicted) == 3
    assert len(files(drive.parent / "out/labels")) == 3


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.fault(9, "prediction finishes the images in work, and goes on")
def test_a_signal_leaves_whole_results_and_the_same_command_goes_on_from_there(predict, drive, monkeypatch, threads):
    for number in range(3, 12):
        (drive / f"a/{number}.png").write_bytes((drive / "a/1.png").read_bytes())
    expected = contents(predict(threads=threads, out=drive.parent / "uninterrupted") and drive.parent / "uninterrupted")
    handler = signal.getsignal(signal.SIGTERM)
    original, seen = Predictor.__call__, []

    def interrupted(self, image):
        seen.append(image)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, image)

    monkeypatch.setattr(Predictor, "__call__", interrupted)
    with pytest.raises(Interrupted, match=rf"signal 15 after \d+ of {len(SIZES) + 9} images"):
        predict(threads=threads)
    out = drive.parent / "out"
    assert signal.getsignal(signal.SIGTERM) == handler
    part = contents(out)
    labels = {name for name in part if name.startswith("labels/")}
    assert len(labels) == len(seen) < 12
    assert all(part[name] == expected[name] for name in labels)
    assert len(part["predictions.jsonl"].splitlines()) == 1 + len(seen)
    predict(threads=threads)
    assert len(seen) == 12
    assert contents(out) == expected


def test_the_command_has_an_exit_code_for_each_end(small_model, drive, capsys, tmp_path):
    words = ["--model", str(small_model), "--images", str(drive / "a/1.png"), str(drive / "b/1.png")]
    words += ["--out", str(tmp_path / "out"), "--pictures", "overlay", "--log", str(tmp_path / "log"), "--threads", "1"]
    command(run, words)
    assert {"overlay/a/1.jpg", "overlay/b/1.jpg"} <= set(files(tmp_path / "out"))
    assert "2 images" in (tmp_path / "log").read_text()
    with pytest.raises(SystemExit) as ended:
        command(run, [*words, "--pictures", "film"])
    assert ended.value.code == ConfigError.exit_code
    (drive / "b/1.png").write_bytes(b"no image")
    with pytest.raises(SystemExit) as ended:
        command(run, words)
    assert ended.value.code == DataError.exit_code
    assert f"{drive}/b/1.png: not a PNG or JPEG" in capsys.readouterr().err


@pytest.mark.fault(78, "the image is predicted; one at fault is named with its bytes escaped, exit code 3")
def test_names_that_are_not_utf8_are_predicted_and_those_at_fault_named(small_model, drive, tmp_path, capsys):
    folder = os.fsencode(drive)
    os.rename(folder + b"/b/1.png", folder + b"/b/Z\xfcrich.png")
    (drive / os.fsdecode(b"B\xe4d.png")).write_text("no image")
    flags = ["--model", str(small_model), "--images", str(drive), "--device", "cpu", "--threads", "1"]
    for log in ([], ["--log", str(tmp_path / "log")]):
        with pytest.raises(SystemExit) as exited:
            command(run, [*flags, "--out", str(tmp_path / "out"), *log])
        assert exited.value.code == 3
        assert "d.png: not a PNG or JPEG" in capsys.readouterr().err
    assert b"Z\xfcrich.png" in os.listdir(os.fsencode(tmp_path / "out/labels/b"))
    assert "B\\xe4d.png: not a PNG or JPEG" in (tmp_path / "log").read_text(encoding="utf-8")
    assert "1 at fault" in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.fault(79, "exit code 3 with the name before anything is predicted")
def test_a_name_with_a_line_break_is_refused_on_one_line(predict, drive):
    (drive / "a/1.png").rename(drive / "a/1\n2.png")
    with pytest.raises(DataError, match=r"a/1\\n2\.png: a line break .* rename"):
        predict()
