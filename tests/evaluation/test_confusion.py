import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loopda.errors import DataError
from loopda.evaluation.confusion import confusion_matrix
from loopda.labels.classes import IGNORE


def counted_one_by_one(prediction, label, classes):
    counts = np.zeros((classes, classes), dtype=np.int64)
    for predicted, true in zip(prediction.ravel().tolist(), label.ravel().tolist(), strict=True):
        if true != IGNORE:
            counts[true, predicted] += 1
    return counts


@st.composite
def label_maps(draw):
    classes = draw(st.integers(1, 30))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    kind = draw(st.sampled_from([np.uint8, np.int32, np.int64]))
    ids = st.integers(0, classes - 1)
    prediction = draw(arrays.arrays(kind, shape, elements=ids))
    label = draw(arrays.arrays(kind, shape, elements=st.one_of(ids, st.just(IGNORE))))
    return prediction, label, classes


@given(label_maps())
def test_the_matrix_counts_what_a_loop_over_pixels_counts(case):
    prediction, label, classes = case
    matrix = confusion_matrix(prediction, label, classes)
    assert matrix.dtype == np.int64
    assert np.array_equal(matrix, counted_one_by_one(prediction, label, classes))


def test_rows_are_truth_and_columns_are_prediction():
    label = np.array([[0, 0, 1], [2, IGNORE, 1]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1], [0, 2, 1]], dtype=np.uint8)
    assert confusion_matrix(prediction, label, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_an_entirely_ignored_label_counts_nothing():
    label = np.full((4, 5), IGNORE, dtype=np.uint8)
    assert confusion_matrix(np.zeros((4, 5), dtype=np.uint8), label, 2).tolist() == [[0, 0], [0, 0]]


def test_the_matrix_of_two_images_is_the_sum_of_theirs():
    generator = np.random.default_rng(0)
    prediction, label = generator.integers(0, 5, (2, 6, 7)), generator.integers(0, 5, (2, 6, 7))
    parts = sum(confusion_matrix(prediction[index], label[index], 5) for index in range(2))
    assert np.array_equal(confusion_matrix(prediction, label, 5), parts)


@pytest.mark.parametrize("classes", [253, 254])
def test_the_longest_class_lists_are_kept_apart_from_the_ignored_value(classes):
    label = np.array([classes - 1, IGNORE, 0], dtype=np.uint8)
    matrix = confusion_matrix(np.array([classes - 1, 0, 0], dtype=np.uint8), label, classes)
    assert matrix[classes - 1, classes - 1] == 1
    assert matrix[0, 0] == 1
    assert matrix.sum() == 2


@pytest.mark.parametrize("bad", [19, 33, 254, 256, -1, 70_000])
def test_a_label_id_outside_the_class_list_is_a_fault_of_the_data(bad):
    label = np.array([[0, 5, bad]], dtype=np.int64)
    with pytest.raises(DataError, match=str(bad)):
        confusion_matrix(np.zeros((1, 3), dtype=np.int64), label, 19)


@pytest.mark.parametrize("bad", [19, 254, 255, 256, -1, 70_000])
@pytest.mark.parametrize("true", [3, IGNORE])
def test_a_predicted_id_outside_the_class_list_is_a_fault_of_the_code_even_where_there_is_no_truth(bad, true):
    prediction = np.array([[0, 5, bad]], dtype=np.int64)
    with pytest.raises(ValueError, match=str(bad)):
        confusion_matrix(prediction, np.array([[0, 5, true]], dtype=np.int64), 19)


def test_maps_of_different_shape_are_refused_though_they_have_as_many_pixels():
    with pytest.raises(ValueError, match="shape"):
        confusion_matrix(np.zeros((2, 3), dtype=np.uint8), np.zeros((3, 2), dtype=np.uint8), 2)


def test_numbers_that_are_not_whole_are_refused():
    with pytest.raises(ValueError, match="float"):
        confusion_matrix(np.zeros((2, 2)), np.zeros((2, 2), dtype=np.uint8), 2)
