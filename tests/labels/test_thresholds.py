import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopda.labels.thresholds import ConfidenceHistogram, counted_rows, keep_confident

IGNORE = 255
STEP = 1 / 65536


def naive_thresholds(prediction, confidence, classes, portion=0.5, cap=0.9):
    """BDL's SSL.py: sort the confidences of each class, take the one at round(portion * n), at most cap."""
    thresholds = []
    for c in range(classes):
        values = sorted(float(v) for p, v in zip(prediction, confidence, strict=True) if p == c)
        if not values:
            thresholds.append(0.0)
            continue
        position = min(int(np.round(len(values) * portion)), len(values) - 1)
        thresholds.append(min(values[position], cap))
    return thresholds


def histogram(prediction, confidence, classes=3):
    result = ConfidenceHistogram(classes)
    result.add(np.asarray(prediction, dtype=np.uint8), np.asarray(confidence, dtype=np.float32))
    return result


confidences = st.one_of(
    st.floats(0, 1, width=32), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), st.floats(0.875, 0.9375, width=32)
)
pixels = st.lists(st.tuples(st.sampled_from([0, 0, 0, 2]), confidences), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(pixels)
def test_thresholds_are_those_of_sorting_all_confidences_to_one_bin(data):
    prediction, confidence = zip(*data, strict=True)
    found = histogram(prediction, confidence).thresholds(portion=0.5, cap=0.9)
    for value, expected in zip(found, naive_thresholds(prediction, confidence, 3), strict=True):
        assert expected - STEP <= value <= expected + 1e-9


@settings(max_examples=60, deadline=None)
@given(pixels, st.integers(1, 39))
def test_the_thresholds_do_not_depend_on_how_the_pixels_are_divided_into_images(data, cut):
    prediction, confidence = (np.asarray(part) for part in zip(*data, strict=True))
    whole = histogram(prediction, confidence)
    parts = histogram(prediction[:cut], confidence[:cut])
    parts.add(prediction[cut:].astype(np.uint8), confidence[cut:].astype(np.float32))
    assert np.array_equal(whole.counts, parts.counts)
    assert np.array_equal(whole.thresholds(portion=0.5, cap=0.9), parts.thresholds(portion=0.5, cap=0.9))


@settings(max_examples=100, deadline=None)
@given(pixels)
def test_a_pixel_is_kept_where_its_confidence_reaches_the_threshold_of_its_class(data):
    prediction, confidence = (np.asarray(part) for part in zip(*data, strict=True))
    prediction, confidence = prediction.astype(np.uint8), confidence.astype(np.float32)
    thresholds = histogram(prediction, confidence).thresholds(portion=0.5, cap=0.9)
    expected = naive_thresholds(prediction, confidence, 3)
    kept = keep_confident(prediction, confidence, thresholds)
    for label, c, value in zip(kept, prediction, confidence, strict=True):
        assert label in (c, IGNORE)
        if abs(value - expected[c]) >= STEP or value == expected[c] < 0.9:
            assert (label == c) == (value >= expected[c])


def test_the_median_is_the_element_at_half_the_count_rounded():
    # 5 values: round(2.5) = 2 (to even, as NumPy and BDL do); 4 values: position 2; 3 values: round(1.5) = 2
    for values, median in [
        ([0.5, 0.1, 0.4, 0.2, 0.3], 0.3),
        ([0.1, 0.2, 0.3, 0.4], 0.3),
        ([0.3, 0.1, 0.2], 0.3),
        ([0.7], 0.7),
        ([0.2, 0.4], 0.4),
    ]:
        found = histogram([1] * len(values), values).thresholds(portion=0.5, cap=0.9)
        assert found.tolist() == pytest.approx([0, median, 0], abs=STEP)


def test_a_class_that_was_never_predicted_has_the_threshold_zero():
    found = histogram([0, 0, 2], [0.6, 0.6, 0.7])
    assert found.thresholds(portion=0.5, cap=0.9)[1] == 0
    assert found.predicted().tolist() == [2, 0, 1]


def test_a_threshold_above_the_cap_is_the_cap():
    found = histogram([0] * 4 + [1] * 4, [0.97, 0.98, 0.99, 1.0, 0.2, 0.3, 0.4, 0.5])
    assert found.thresholds(portion=0.5, cap=0.9).tolist() == pytest.approx([0.9, 0.4, 0], abs=STEP)
    assert found.thresholds(portion=0.5, cap=1.0)[0] == pytest.approx(0.99, abs=STEP)


def test_portion_zero_keeps_every_pixel_and_portion_one_only_the_most_confident():
    prediction, confidence = np.zeros(4, dtype=np.uint8), np.array([0.5, 0.2, 0.8, 0.3], dtype=np.float32)
    found = histogram(prediction, confidence)
    everything = keep_confident(prediction, confidence, found.thresholds(portion=0.0, cap=0.9))
    best = keep_confident(prediction, confidence, found.thresholds(portion=1.0, cap=0.9))
    assert everything.tolist() == [0, 0, 0, 0]
    assert best.tolist() == [IGNORE, IGNORE, 0, IGNORE]


def test_equal_confidences_at_the_threshold_are_all_kept():
    prediction, confidence = np.full(6, 2, dtype=np.uint8), np.full(6, 0.7, dtype=np.float32)
    thresholds = histogram(prediction, confidence).thresholds(portion=0.5, cap=0.9)
    assert keep_confident(prediction, confidence, thresholds).tolist() == [2] * 6


def test_a_confidence_of_one_or_a_rounding_error_above_it_is_counted_and_kept():
    prediction = np.zeros(2, dtype=np.uint8)
    confidence = np.array([1.0, np.nextafter(np.float32(1), np.float32(2))], dtype=np.float32)
    found = histogram(prediction, confidence)
    assert found.predicted().tolist() == [2, 0, 0]
    kept = keep_confident(prediction, confidence, found.thresholds(portion=0.5, cap=1.0))
    assert kept.tolist() == [0, 0]


def test_the_kept_label_map_has_the_shape_of_the_prediction_and_bytes():
    prediction = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    confidence = np.array([[0.3, 0.6, 0.95], [0.1, 0.4, 0.9]], dtype=np.float32)
    kept = keep_confident(prediction, confidence, np.array([0.5, 0.5, 0.0]))
    assert kept.dtype == np.uint8
    assert kept.tolist() == [[IGNORE, 1, 2], [2, IGNORE, 0]]


shares = st.floats(0, 0.5, exclude_max=True)


@given(st.integers(1, 4096), shares, shares)
def test_the_ignored_rows_are_the_shares_to_the_nearest_row_and_one_row_always_counts(height, top, bottom):
    rows = counted_rows(height, (top, bottom))
    assert 0 <= rows.start < rows.stop <= height
    assert abs(rows.start - top * height) <= 0.5
    assert abs(height - rows.stop - bottom * height) <= 0.5 or rows.stop == rows.start + 1


@pytest.mark.parametrize("height", [80, 100, 512, 540, 1080])
def test_rows_that_are_written_as_a_share_of_the_height_are_these_rows(height):
    for number in range(height // 2):
        rows = counted_rows(height, (number / height, round(number / height, 4)))
        assert (rows.start, height - rows.stop) == (number, number)


def test_no_share_ignores_no_row_and_a_share_is_of_the_height():
    assert counted_rows(80, (0.0, 0.0)) == slice(0, 80)
    assert counted_rows(80, (0.1, 0.25)) == slice(8, 60)
    assert counted_rows(512, (15 / 512, 120 / 512)) == slice(15, 392)
