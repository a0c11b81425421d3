import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopda.data.sampling import batch_indices, evenly, prefetched


def order(count, batch_size, steps, seed=0, stream="day"):
    batches = [
        batch_indices(count=count, batch_size=batch_size, step=step, seed=seed, stream=stream)
        for step in range(1, steps + 1)
    ]
    assert all(len(batch) == batch_size for batch in batches)
    return [index for batch in batches for index in batch]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 1000))
def test_every_epoch_is_a_permutation_of_all_images_also_across_batches(count, batch_size, seed):
    epochs = 3
    steps = -(-epochs * count // batch_size)
    indices = order(count, batch_size, steps, seed)
    for epoch in range(epochs):
        assert sorted(indices[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_the_order_of_an_epoch_depends_on_seed_stream_and_epoch():
    first = order(40, 4, 20)
    assert first[:40] != first[40:]
    assert first[:40] != list(range(40))
    assert order(40, 4, 10, seed=1) != first[:40]
    assert order(40, 4, 10, stream="night") != first[:40]


def test_the_order_of_the_images_does_not_depend_on_the_batch_size():
    assert order(7, 1, 12) == order(7, 2, 6) == order(7, 3, 4) == order(7, 4, 3)


def test_a_batch_does_not_depend_on_which_batches_were_asked_for_before():
    arguments = {"count": 9, "batch_size": 2, "seed": 5, "stream": "night"}
    forwards = {step: batch_indices(step=step, **arguments) for step in range(1, 200)}
    assert {step: batch_indices(step=step, **arguments) for step in reversed(range(1, 200))} == forwards


@pytest.mark.parametrize("workers", [0, 1, 2, 7, 30])
@pytest.mark.parametrize(("first", "last"), [(1, 20), (6, 20), (20, 20), (21, 20)])
def test_prefetched_batches_come_in_order_and_are_complete_for_any_number_of_workers(workers, first, last):
    found = list(prefetched(lambda step: step * step, range(first, last + 1), workers=workers))
    assert found == [step * step for step in range(first, last + 1)]


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_made_no_further_ahead_than_twice_the_workers(workers):
    made, lock = [], threading.Lock()

    def make(step):
        with lock:
            made.append(step)
        return step

    for step in prefetched(make, range(1, 31), workers=workers):
        assert max(made) <= step + 2 * workers
    assert sorted(made) == list(range(1, 31))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.fault(32, "an error in a loading thread reaches the training at its step")
def test_a_fault_in_making_a_batch_reaches_the_training_loop_at_its_step(workers):
    def make(step):
        if step == 4:
            raise OSError("damaged image")
        return step

    seen = []

    def train():
        for step in prefetched(make, range(1, 10), workers=workers):
            seen.append(step)

    with pytest.raises(OSError, match="damaged image"):
        train()
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    ("count", "indices"),
    [(0, []), (1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (5, [0, 1, 3, 4]), (100, [0, 33, 66, 99])],
)
def test_indices_are_spread_evenly_from_the_first_to_the_last(count, indices):
    assert evenly(count, 4) == indices


def test_few_or_no_indices_are_spread_as_well():
    assert (evenly(3, 6), evenly(5, 1), evenly(5, 0), evenly(0, 4)) == ([0, 1, 2], [0], [], [])
