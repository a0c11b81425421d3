"""What stages do besides their iterations: its measurement."""

import time

import numpy as np

from loopda.benchmark.parts import CLASSES, masked_matrix, measured_parts, part_line
from loopda.evaluation.confusion import confusion_matrix
from loopda.labels.classes import IGNORE


def test_every_part_is_measured_beside_the_usual_way_and_shown_in_a_line():
    matrix, thresholds, saving, resuming = measured_parts(repeats=1, clock=time.perf_counter)
    assert thresholds["bytes"] < thresholds["usual_bytes"] / 500
    assert 0 < saving["share_of_training"] < 1
    shown = part_line(matrix)
    assert f"{matrix['milliseconds']:.1f} ms, {matrix['usual_milliseconds']:.1f} ms the usual way" in shown
    assert "of training" in part_line(saving)
    (inside,), (bare,), (second,) = (resuming["turns"][loop] for loop in ("inside", "bare", "second"))
    assert resuming["times_usual"] == inside / bare
    assert resuming["times_usual_itself"] == second / bare
    assert f"ratio {inside / bare:.3f}, of the usual way to itself {second / bare:.3f}" in part_line(resuming)


def test_the_usual_way_of_the_matrix_counts_the_same():
    rng = np.random.default_rng(0)
    truth = rng.choice([*range(CLASSES), IGNORE], (40, 60)).astype(np.uint8)
    answer = rng.integers(0, CLASSES, (40, 60), dtype=np.uint8)
    assert np.array_equal(masked_matrix(answer, truth, CLASSES), confusion_matrix(answer, truth, CLASSES))
