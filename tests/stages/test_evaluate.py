"""Stage `evaluate` on several sets of images: at the size of the network's input and at that of the label files."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import public_trees as trees
import pytest
import torch
from checkpoints import small_network
from PIL import Image

from loopda import load
from loopda.config import parse_section
from loopda.data.dataset import Frames, resize_image
from loopda.data.manifest import read_manifest
from loopda.data.transforms import to_images
from loopda.errors import ConfigError, DataError
from loopda.evaluation.probabilities import class_logits
from loopda.labels.classes import CITYSCAPES
from loopda.labels.png import read_image
from loopda.models import statistics
from loopda.models.checkpoint import load_segmenter, save_segmenter
from loopda.models.segmenter import Segmenter, estimate_statistics, upsample
from loopda.report.inputs import read_evaluations
from loopda.stages import evaluate, prepare

SIZE = (64, 32)
IMAGES, FILE_PIXELS = 5, trees.WIDTH * trees.HEIGHT


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of `prepare` for miniatures of Cityscapes, Dark Zurich, and Nighttime Driving as a further set."""
    home = tmp_path_factory.mktemp("sets")
    trees.cityscapes(home / "cityscapes", "train")
    trees.cityscapes(home / "cityscapes", "val")
    trees.dark_zurich(home / "zurich")
    trees.nighttime_driving(home / "driving")
    city = {"layout": "cityscapes", "root": str(home / "cityscapes")}
    zurich = {"layout": "dark_zurich", "root": str(home / "zurich")}
    section = {
        "classes": "cityscapes",
        "source": city | {"split": "train"},
        "night": zurich | {"split": "train"},
        "day_val": city | {"split": "val"},
        "night_val": zurich | {"split": "val"},
        "night_tests": {"driving": {"layout": "nighttime_driving", "root": str(home / "driving")}},
    }
    out = home / "prepare"
    prepare.run(
        config=parse_section(section, prepare.Config, "config.yaml"),
        **{name: out / f"{name}.csv" for name in ("source", "night", "day_val", "night_val", "day")},
        classes=out / "classes.json",
        summary=out / "summary.json",
        sheet=out / "sheet.png",
        workers=1,
        log=home / "prepare.log",
    )
    return out


@pytest.fixture
def evaluated(prepared, small_model, tmp_path):
    """A function that runs the stage with a changed section, and returns the domains of its JSON."""

    def run(*, models=None, tests=True, source_size=None, files=None, **changes):
        sizes = {"size": SIZE, "crop": SIZE, "source_size": source_size}
        values = {"input": sizes, "batch_size": 2, "other_statistics": True, **changes}
        evaluate.run(
            config=parse_section(values, evaluate.Config, "config.yaml"),
            model=[small_model] if models is None else models,
            night_val=prepared / "night_val.csv",
            day_val=prepared / "day_val.csv",
            night_tests=[prepared / "night_tests/driving.csv"] if tests else None,
            **(files or {}),
            classes=prepared / "classes.json",
            scores=tmp_path / "warmup.json",
            log=tmp_path / "log",
            seed=0,
            experiment="mine",
            device="cpu",
            threads=1,
        )
        return json.loads((tmp_path / "warmup.json").read_text())["domains"]

    return run


def indices(path):
    """The class indices of a label map with a palette."""
    with Image.open(path) as image:
        return np.asarray(image)


def test_without_further_sets_night_and_day_are_scored_once_each_with_resized_labels(evaluated):
    domains = evaluated(tests=False)
    assert list(domains) == ["night", "day"]
    for name, domain in domains.items():
        protocol = domain["protocol"]
        assert (protocol["images"], protocol["width"], protocol["height"], protocol["scored_at"]) == (5, *SIZE, [])
        assert protocol["normalisation"] == f"{name} statistics"
        assert "probabilities" in protocol["upsampling"]
        # the void pixel of each 16x8 label becomes 16 of them
        assert np.sum(domain["confusion"]) == IMAGES * (SIZE[0] * SIZE[1] - 16)


def test_a_further_set_is_scored_under_its_name_with_the_statistics_of_night(evaluated):
    domains = evaluated()
    assert list(domains) == ["night", "day", "driving"]
    assert domains["driving"]["protocol"]["normalisation"] == "night statistics"
    assert len(domains["driving"]["predictions"]) == IMAGES


def test_test_sets_are_scored_in_the_same_run_each_with_the_statistics_and_the_size_of_its_light(evaluated, prepared):
    files = {f"{name}_test": prepared / f"{name}_val.csv" for name in ("night", "day")}
    domains = evaluated(tests=False, source_size=[48, 32], files=files)
    assert list(domains) == ["night-test", "day-test", "night", "day"]
    for name in ("night", "day"):
        assert domains[f"{name}-test"]["protocol"] == domains[name]["protocol"]
        assert domains[f"{name}-test"]["confusion"] == domains[name]["confusion"]


def test_at_full_size_the_network_sees_the_same_and_labels_stay_as_they_are_in_their_files(
    evaluated, small_model, prepared
):
    domains = evaluated(full_size=["night", "driving"], batch_size=1)  # as the model below sees them
    assert list(domains) == ["night", "night-full", "day", "driving", "driving-full"]
    assert domains["night"] == evaluated(batch_size=1)["night"]
    model = load(small_model, size=SIZE, device="cpu")
    for name, manifest in (("night", "night_val.csv"), ("driving", "night_tests/driving.csv")):
        full = domains[f"{name}-full"]
        protocol = full["protocol"]
        assert (protocol["width"], protocol["height"], protocol["scored_at"]) == (*SIZE, ["16x8"])
        assert "labels at the size of their files" in protocol["upsampling"]
        assert np.sum(full["confusion"]) == IMAGES * (FILE_PIXELS - 1)
        frames = Frames(read_manifest(prepared / manifest), CITYSCAPES, SIZE)
        for number, item in enumerate(full["predictions"]):
            assert np.array_equal(indices(item["prediction"]), model.predict(item["image"]))
            assert np.array_equal(indices(item["label"]), frames.label_of_file(number))


def test_logits_are_upsampled_where_the_section_says_so(evaluated, small_model):
    domain = evaluated(upsampled="logits", batch_size=1)["night"]
    assert domain["protocol"]["upsampling"].startswith("logits")
    segmenter = load_segmenter(small_model)
    segmenter.use_statistics("night")
    for item in domain["predictions"]:
        images = to_images([np.asarray(resize_image(read_image(Path(item["image"])), SIZE))])
        expected = upsample(class_logits(segmenter, images), SIZE[::-1]).argmax(dim=1)[0].numpy()
        assert np.array_equal(indices(item["prediction"]), expected)


def second_model(path, classes=CITYSCAPES):
    """The checkpoint of another untrained network, whose logits have a coarser resolution."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        segmenter = Segmenter(small_network(head_channels=8, output_stride=8, dropout=0.0), classes)
        segmenter.statistics = {
            name: estimate_statistics(segmenter, [torch.rand(4, 3, 32, 64) * 2 - shift])
            for name, shift in (("day", 1.0), ("night", 1.7))
        }
    save_segmenter(segmenter, path, stage="adapt", seed=0, config={"input": {"size": [64, 32], "crop": [64, 32]}})
    return path


@pytest.mark.parametrize("upsampled", ["probabilities", "logits"])
def test_an_ensemble_answers_by_the_mean_of_its_models_probabilities(evaluated, small_model, tmp_path, upsampled):
    paths = [small_model, second_model(tmp_path / "second.pt")]
    domain = evaluated(models=paths, upsampled=upsampled, full_size=["night"])["night"]
    assert f"{upsampled} of 2 models" in domain["protocol"]["upsampling"]
    segmenters = [load_segmenter(path) for path in paths]
    alone = []
    for item in domain["predictions"]:
        images = to_images([np.asarray(resize_image(read_image(Path(item["image"])), SIZE))])
        total = np.zeros((19, *SIZE[::-1]), dtype=np.float64)
        for segmenter in segmenters:
            segmenter.use_statistics("night")
            logits = class_logits(segmenter, images)
            if upsampled == "logits":
                its = upsample(logits, SIZE[::-1]).softmax(dim=1)
            else:
                its = upsample(logits.softmax(dim=1), SIZE[::-1])
            total += its[0].numpy() / 2
        found, first = indices(item["prediction"]), its[0].argmax(dim=0).numpy()
        assert np.mean(found == total.argmax(axis=0)) > 0.999  # ties, in single precision
        alone.append(np.mean(found == first))
    assert min(alone) < 0.99, "the two models agree, so the test shows nothing"
    written = json.loads((tmp_path / "warmup.json").read_text())
    assert written["model"] == f"{paths[0]} + {paths[1]}"
    counts = [sum(one.numel() for one in segmenter.network.parameters()) for segmenter in segmenters]
    assert written["parameters"] == sum(counts)


def test_an_ensemble_of_one_model_with_itself_answers_as_that_model(evaluated, small_model):
    alone, twice = (evaluated(models=[small_model] * count)["night"] for count in (1, 2))
    assert alone["confusion"] == twice["confusion"]


def test_models_of_different_classes_are_no_ensemble(evaluated, small_model, tmp_path):
    others = dataclasses.replace(CITYSCAPES, names=tuple(f"other {name}" for name in CITYSCAPES.names))
    other = second_model(tmp_path / "second.pt", others)
    with pytest.raises(DataError, match=r"second\.pt: its classes are not those of .*same classes"):
        evaluated(models=[small_model, other])
    with pytest.raises(DataError, match="--model names no checkpoint"):
        evaluated(models=[])


def test_labelled_day_images_can_have_a_size_of_their_own(evaluated):
    domains = evaluated(source_size=[48, 32])
    sizes = {name: (its["protocol"]["width"], its["protocol"]["height"]) for name, its in domains.items()}
    assert sizes == {"night": SIZE, "day": (48, 32), "driving": SIZE}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("full_size", ["rain"]),
        ("statistics", {"rain": "own"}),
        ("sizes", {"rain": SIZE}),
        ("classes", {"rain": "present"}),
    ],
)
def test_an_unknown_set_is_refused(evaluated, key, value):
    with pytest.raises(ConfigError, match=rf"{key}: no set rain; the sets are night, day, driving"):
        evaluated(**{key: value})


# statistics


def scores_alone(domain):
    return {key: domain[key] for key in ("mIoU", "fwIoU", "pixel_accuracy", "IoU", "confusion")}


def others(domain):
    return {key: value for key, value in domain["statistics"]["other"].items() if key != "used"}


def test_a_set_is_scored_with_the_statistics_that_are_chosen_for_it_and_shown_with_its_own_beside(evaluated):
    before = evaluated()
    after = evaluated(statistics={"night": "own", "driving": "day"})
    assert after["day"] == before["day"]
    assert {name: domain["statistics"]["used"] for name, domain in after.items()} == {
        "night": "own",
        "day": "day",
        "driving": "day",
    }
    assert after["night"]["protocol"]["normalisation"] == "own statistics"
    assert before["night"]["statistics"]["other"]["used"] == "own"
    assert after["night"]["statistics"]["other"]["used"] == "night"
    assert others(before["night"]) == scores_alone(after["night"])
    assert others(after["night"]) == scores_alone(before["night"])
    assert scores_alone(before["night"]) != scores_alone(after["night"])
    assert scores_alone(before["driving"]) != scores_alone(after["driving"])


def test_label_maps_are_those_of_the_chosen_statistics(evaluated, small_model, prepared):
    domain = evaluated(statistics={"night": "own"}, batch_size=1)["night"]
    frames = Frames(read_manifest(prepared / "night_val.csv"), CITYSCAPES, SIZE)
    segmenter = load_segmenter(small_model)
    images = torch.cat([to_images([frames.image(number)]) for number in range(len(frames))])
    segmenter.statistics["own"] = estimate_statistics(segmenter, [images])
    segmenter.use_statistics("own")
    for number, item in enumerate(domain["predictions"]):
        expected = upsample(class_logits(segmenter, images[number : number + 1]).softmax(dim=1), SIZE[::-1])
        agree = indices(item["prediction"]) == expected.argmax(dim=1)[0].numpy()
        assert agree.mean() > 0.999  # ties, in single precision


def test_by_default_a_set_has_a_second_score_where_it_lies_far_or_its_own_statistics_are_chosen(evaluated, monkeypatch):
    def second_scores(far):
        monkeypatch.setattr("loopda.models.statistics.FAR", far)
        domains = evaluated(other_statistics="far", statistics={"driving": "own"})
        return {name for name, domain in domains.items() if domain["statistics"]["other"]}

    assert second_scores(1e9) == {"driving"}
    assert second_scores(0.0) == {"night", "day", "driving"}


def test_the_other_statistics_can_be_left_out_and_the_distance_stays(evaluated):
    domains = evaluated(other_statistics=False)
    assert {domain["statistics"]["other"] for domain in domains.values()} == {None}
    assert all({"night", "day"} == domain["statistics"]["distances"].keys() for domain in domains.values())


def test_a_model_with_shared_statistics_is_scored_with_those_and_with_the_sets_own(evaluated, small_model, tmp_path):
    segmenter = load_segmenter(small_model)
    segmenter.section = segmenter.section.model_copy(update={"statistics": "shared"})
    segmenter.statistics = {"shared": segmenter.statistics["night"]}
    save_segmenter(segmenter, tmp_path / "shared.pt", stage="warmup", seed=0, config={})
    domains = evaluated(models=[tmp_path / "shared.pt"], statistics={"driving": "own"})
    found = {name: (its["statistics"]["used"], its["statistics"]["other"]["used"]) for name, its in domains.items()}
    assert found == {"night": ("shared", "own"), "day": ("shared", "own"), "driving": ("own", "shared")}
    assert domains["night"]["protocol"]["normalisation"] == "shared statistics"


def test_a_set_that_lies_far_from_its_statistics_is_said_to(evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "FAR", 0.0)
    evaluated(statistics={"day": "own"})
    lines = (tmp_path / "log").read_text().splitlines()
    [night] = [line for line in lines if "night: the images lie far from the night statistics (distance" in line]
    assert "evaluate.statistics.night: own" in night
    assert not any("day: the images lie far" in line for line in lines)
    monkeypatch.setattr(statistics, "FAR", 1e9)
    (tmp_path / "log").unlink()
    evaluated()
    assert "lie far" not in (tmp_path / "log").read_text()


# sizes and classes


def test_a_set_can_have_a_size_of_its_own(evaluated, tmp_path):
    domains = evaluated(sizes={"driving": [48, 48]}, full_size=["driving"])
    sizes = {name: (its["protocol"]["width"], its["protocol"]["height"]) for name, its in domains.items()}
    assert sizes == {"night": SIZE, "day": SIZE, "driving": (48, 48), "driving-full": (48, 48)}
    assert np.sum(domains["driving"]["confusion"]) == IMAGES * (48 * 48 - 3 * 6)  # the void pixel of 16x8
    text = (tmp_path / "log").read_text()
    assert (
        "driving: 5 images of 16x8 (2:1) are squeezed to 48x48 (1:1); evaluate.sizes.driving: [64, 32] would keep their"
        " shape"
    ) in text
    assert "night: 5 images" not in text


def test_the_classes_of_a_set_that_occur_or_are_named_are_scored(evaluated):
    before, after = evaluated(), evaluated(classes={"night": "present", "driving": ["sky", "road"]})
    assert after["day"] == before["day"]
    true = [name for name, row in zip(CITYSCAPES.names, before["night"]["confusion"], strict=True) if sum(row)]
    assert 0 < len(true) < 19
    assert after["night"]["protocol"]["classes"] == true
    assert after["driving"]["protocol"]["classes"] == ["road", "sky"]
    assert before["night"]["protocol"]["classes"] == []
    for name in ("night", "driving"):
        assert after[name]["confusion"] == before[name]["confusion"]
        scored = [value for value in after[name]["IoU"].values() if value is not None]
        assert after[name]["mIoU"] == pytest.approx(np.mean(scored), abs=1e-3)
        assert {key for key, value in after[name]["IoU"].items() if value is not None} <= set(
            after[name]["protocol"]["classes"]
        )


def test_a_class_that_the_list_does_not_have_is_refused(evaluated):
    with pytest.raises(ConfigError, match=r"evaluate\.classes\.night: no class street; the classes are road, sidewalk"):
        evaluated(classes={"night": ["road", "street"]})


def test_the_report_accepts_what_was_written(evaluated, tmp_path):
    evaluated(classes={"night": "present"}, statistics={"driving": "own"}, full_size=["night"])
    [read] = read_evaluations([tmp_path / "warmup.json"])
    assert read.domains["night"].statistics.other.used == "own"
    true = read.domains["night"].protocol.classes
    assert read.domains["night"].line().endswith(f"night statistics, {len(true)} of 19 classes: {', '.join(true)}")
