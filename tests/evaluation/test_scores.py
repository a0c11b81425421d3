import contextlib
import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as cityscapes
from cityscapesscripts.helpers.labels import id2label, labels
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from loopda.evaluation.confusion import confusion_matrix
from loopda.evaluation.scores import (
    Scores,
    frequency_weighted_iou,
    iou,
    mean_iou,
    pixel_accuracy,
    present,
    spread,
)
from loopda.labels.classes import CITYSCAPES
from loopda.runtime.files import write_json

EVALUATED = [label.id for label in labels if label.id >= 0 and not label.ignoreInEval]
VOID = [label.id for label in labels if label.id >= 0 and label.ignoreInEval]


def scored_by_cityscapes(predictions, truths, folder):
    """IoU per class and their mean, in percent, by cityscapesScripts on PNGs of labelIds."""
    arguments = SimpleNamespace(evalLabels=[], evalInstLevelScore=False, evalPixelAccuracy=False)
    matrix = cityscapes.generateMatrix(arguments)
    for prediction, truth in zip(predictions, truths, strict=True):
        Image.fromarray(prediction).save(folder / "prediction.png")
        Image.fromarray(truth).save(folder / "truth.png")
        with contextlib.redirect_stdout(io.StringIO()):
            paths = str(folder / "prediction.png"), str(folder / "truth.png")
            cityscapes.evaluatePair(*paths, matrix, {}, {}, arguments)
    scores = {id2label[label].name: cityscapes.getIouScoreForLabel(label, matrix, arguments) for label in EVALUATED}
    mean = cityscapes.getScoreAverage(scores, arguments)
    return np.array([100 * scores[name] for name in CITYSCAPES.names]), 100 * mean


@pytest.mark.parametrize("seed", range(8))
def test_scores_equal_those_of_cityscapes_scripts_on_random_maps_with_void_and_absent_classes(seed, tmp_path):
    generator = np.random.default_rng(seed)
    true_ids = generator.choice(EVALUATED, size=generator.integers(1, 19), replace=False).tolist()
    predicted_ids = generator.choice(EVALUATED, size=generator.integers(1, 19), replace=False)
    truths = generator.choice(true_ids + VOID[:4], size=(3, 17, 23)).astype(np.uint8)
    predictions = generator.choice(predicted_ids, size=truths.shape).astype(np.uint8)
    predictions = np.where(generator.random(truths.shape) < 0.6, truths, predictions)
    predictions[~np.isin(predictions, EVALUATED)] = predicted_ids[0]  # we refuse predictions of void
    table = CITYSCAPES.lookup_table("labelIds")
    matrix = sum(confusion_matrix(table[p], table[t], 19) for p, t in zip(predictions, truths, strict=True))

    expected, expected_mean = scored_by_cityscapes(predictions, truths, tmp_path)

    np.testing.assert_allclose(iou(matrix), expected, rtol=1e-12)
    assert mean_iou(matrix) == pytest.approx(expected_mean, rel=1e-12)


@pytest.mark.fault(25, "absent classes are left out, invented ones count as 0, as the oracle does")
def test_cityscapes_scripts_too_drops_absent_classes_and_counts_invented_ones_as_zero(tmp_path):
    road, car, bus = 7, 26, 28
    truth = np.array([[road, road, car, car]], dtype=np.uint8)
    prediction = np.array([[road, road, bus, car]], dtype=np.uint8)
    table = CITYSCAPES.lookup_table("labelIds")
    matrix = confusion_matrix(table[prediction], table[truth], 19)
    expected, expected_mean = scored_by_cityscapes([prediction], [truth], tmp_path)
    assert expected_mean == pytest.approx((100 + 50 + 0) / 3)
    assert mean_iou(matrix) == pytest.approx(expected_mean)
    np.testing.assert_array_equal(np.isnan(iou(matrix)), np.isnan(expected))
    assert np.isnan(expected).sum() == 16


def test_where_cityscapes_scripts_accepts_a_void_prediction_as_a_miss_we_refuse_it(tmp_path):
    truth, prediction = np.full((1, 4), 7, np.uint8), np.array([[7, 7, 7, 1]], dtype=np.uint8)
    expected, _ = scored_by_cityscapes([prediction], [truth], tmp_path)
    assert expected[0] == 75.0
    table = CITYSCAPES.lookup_table("labelIds")
    with pytest.raises(ValueError, match="255"):
        confusion_matrix(table[prediction], table[truth], 19)


def test_a_matrix_scored_by_hand():
    #        predicted: 0  1  2
    matrix = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    np.testing.assert_allclose(iou(matrix)[:2], [100 * 6 / 9, 50.0])
    assert math.isnan(iou(matrix)[2])
    assert mean_iou(matrix) == pytest.approx((100 * 6 / 9 + 50) / 2)
    assert frequency_weighted_iou(matrix) == pytest.approx(8 / 12 * 100 * 6 / 9 + 4 / 12 * 50)
    assert pixel_accuracy(matrix) == pytest.approx(75.0)


def test_a_class_that_is_predicted_but_never_true_counts_as_zero_in_the_mean_and_not_by_frequency():
    matrix = np.array([[3, 1], [0, 0]])
    assert iou(matrix).tolist() == [75.0, 0.0]
    assert mean_iou(matrix) == 37.5
    assert frequency_weighted_iou(matrix) == 75.0


def test_without_a_labelled_pixel_every_score_is_undefined_and_null_in_json():
    scores = Scores(("road", "car"), np.zeros((2, 2), dtype=np.int64))
    assert math.isnan(mean_iou(scores.confusion))
    values = scores.to_json()
    assert values["mIoU"] is None
    assert values["fwIoU"] is None
    assert values["pixel_accuracy"] is None
    assert values["IoU"] == {"road": None, "car": None}
    assert scores.absent == ["road", "car"]


def test_scores_become_json_with_names_and_counts(tmp_path):
    scores = Scores(("road", "car", "train"), np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]))
    values = scores.to_json()
    assert values["IoU"] == {"road": 66.6667, "car": 50.0, "train": None}
    assert values["mIoU"] == 58.3333
    assert values["pixel_accuracy"] == 75.0
    assert values["fwIoU"] == 61.1111
    assert values["confusion"] == [[6, 2, 0], [1, 3, 0], [0, 0, 0]]
    assert scores.absent == ["train"]
    write_json(tmp_path / "scores.json", values)


@given(st.data(), st.integers(1, 8))
def test_scores_lie_in_bounds_and_a_perfect_prediction_has_100(data, classes):
    matrix = data.draw(arrays.arrays(np.int64, (classes, classes), elements=st.integers(0, 50)))
    for value in (mean_iou(matrix), frequency_weighted_iou(matrix), pixel_accuracy(matrix), *iou(matrix)):
        assert math.isnan(value) or -1e-9 <= value <= 100 + 1e-9
    if matrix.sum():
        assert frequency_weighted_iou(matrix) <= pixel_accuracy(matrix) + 1e-9
    perfect = np.diag(matrix.sum(axis=1))
    if perfect.sum():
        assert mean_iou(perfect) == 100
        assert frequency_weighted_iou(perfect) == pytest.approx(100)
        assert pixel_accuracy(perfect) == 100


@pytest.mark.parametrize(("shape", "kind"), [((2, 3), np.int64), ((2, 2), np.float64), ((4,), np.int64)])
def test_what_is_no_confusion_matrix_is_refused(shape, kind):
    with pytest.raises(ValueError, match="confusion matrix"):
        iou(np.zeros(shape, dtype=kind))


def test_scores_for_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="3 classes"):
        Scores(("a", "b", "c"), np.zeros((2, 2), dtype=np.int64))


def test_the_spread_over_seeds_is_the_sample_standard_deviation():
    assert spread([30.0, 34.0, 38.0]) == (34.0, 4.0)
    assert spread([30.0]) == (30.0, None)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_scores_of_some_classes_ignore_the_pixels_of_the_others_and_count_their_predictions_as_errors():
    matrix = np.array([[6, 1, 3], [2, 4, 0], [5, 1, 9]])
    scores = Scores(("road", "car", "sky"), matrix, ("road", "car")).to_json()
    # road: 6 hits, 4 missed (3 of them as sky), 2 of the car; the 5 of the sky do not count
    road, car = 100 * 6 / 12, 100 * 4 / 7
    assert scores["IoU"] == {"road": 50.0, "car": round(car, 4), "sky": None}
    assert scores["mIoU"] == round((road + car) / 2, 4)
    assert scores["pixel_accuracy"] == 62.5
    assert scores["fwIoU"] == round(road * 10 / 16 + car * 6 / 16, 4)
    assert scores["confusion"] == matrix.tolist()


def test_a_scored_class_that_is_predicted_and_never_true_counts_as_nothing_and_the_present_ones_leave_it_out():
    matrix = np.array([[6, 2], [0, 0]])
    assert Scores(("road", "car"), matrix, ("road", "car")).to_json()["mIoU"] == 37.5
    assert present(("road", "car"), matrix) == ("road",)
    of_present = Scores(("road", "car"), matrix, present(("road", "car"), matrix))
    assert of_present.to_json()["mIoU"] == 75.0
    assert of_present.absent == []


def test_all_classes_by_name_are_scored_as_by_default():
    matrix = np.array([[6, 1, 3], [2, 4, 0], [5, 1, 9]])
    names = ("road", "car", "sky")
    assert Scores(names, matrix, names).to_json() == Scores(names, matrix).to_json()


def test_a_scored_class_must_be_in_the_list():
    with pytest.raises(ValueError, match="train: scored, but no class"):
        Scores(("road", "car"), np.zeros((2, 2), dtype=np.int64), ("train",))
