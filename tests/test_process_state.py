"""No test leaves anything in its process to the next: what tests/process_state.py puts back."""

import os
import random
import signal
import sys

import matplotlib
import numpy as np
import pytest
import torch
from double_precision import double_precision
from process_state import Arithmetic, same_arithmetic, same_process

from loopda.models.compute.compilation import compiled_once
from loopda.models.compute.settings import make_reproducible
from loopda.runtime.device import use_threads

LEFT_BEHIND = {
    "threads": lambda folder: use_threads(torch.get_num_threads() + 1),
    "precision": lambda folder: torch.set_default_dtype(torch.float64),
    "no gradients": lambda folder: torch.set_grad_enabled(False),
    "deterministic algorithms": lambda folder: make_reproducible("exact"),
    "fast kernels": lambda folder: make_reproducible("fast"),
    "draws of PyTorch": lambda folder: torch.rand(3),
    "draws of NumPy": lambda folder: np.random.rand(3),  # noqa: NPY002
    "draws of Python": lambda folder: random.random(),
    "a variable": lambda folder: os.environ.update(LOOPDA_DEVICE="cuda"),
    "a variable less": lambda folder: os.environ.pop("PATH"),
    "a folder": os.chdir,
    "a place to import from": lambda folder: sys.path.insert(0, str(folder)),
    "arguments": lambda folder: sys.argv.append("--help"),
    "a handler": lambda folder: signal.signal(signal.SIGUSR1, lambda number, frame: None),
    "colours": lambda folder: matplotlib.rcParams.update({"axes.facecolor": "red"}),
    "compiled networks": lambda folder: compiled_once(torch.sin),
}


def state() -> tuple:
    draws = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    rest = dict(os.environ), os.getcwd(), tuple(sys.path), tuple(sys.argv), signal.getsignal(signal.SIGUSR1)
    return Arithmetic.now(), *draws, *rest, dict(matplotlib.rcParams), compiled_once.cache_info().currsize


@pytest.mark.parametrize("what", LEFT_BEHIND)
@pytest.mark.fault(98, "whatever a test changes is as it was before the next one")
def test_what_a_test_leaves_behind_is_put_back(what, tmp_path):
    before = state()
    with same_process():
        LEFT_BEHIND[what](tmp_path)
        assert state() != before
    assert state() == before


def test_what_a_test_draws_without_a_seed_is_the_same_whatever_was_drawn_before():
    found = []
    for count in (1, 5):
        torch.rand(count)
        with same_arithmetic():
            found.append((torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()))  # noqa: NPY002
    assert found[0] == found[1]


def test_a_block_in_double_precision_computes_in_it_and_the_rest_does_not():
    with double_precision():
        assert torch.ones(1).dtype == torch.ones(1, dtype=torch.bfloat16).float().dtype == torch.float64
    assert torch.ones(1).dtype == torch.ones(1, dtype=torch.bfloat16).float().dtype == torch.float32
