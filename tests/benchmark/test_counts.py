"""What an iteration costs, counted on tensors without content: it may not grow by more than 2 %.

That it can be counted at all shows that no step asks for a value, for which the GPU would have to be waited for.
"""

import pytest
import torch

from loopda.benchmark.cases import Case, OneStep
from loopda.benchmark.measure import CountingMode, count
from loopda.benchmark.variants import FAST, Variant

LIMITS = {  # GFLOP, and MB kept for the backward passes
    ("town", "warmup"): (21.12, 247.5),
    ("town", "self_train"): (21.12, 254.0),
    ("paper", "warmup"): (22591.7, 32152.3),
    ("paper", "self_train"): (22591.7, 32280.3),
}


@pytest.mark.parametrize(("scale", "stage"), LIMITS)
def test_an_iteration_needs_no_more_operations_and_memory_than_it_did(scale, stage):
    case = Case(scale, stage, FAST, torch.device("meta"))
    counts = count(case.step, case.constants)
    operations, saved = LIMITS[scale, stage]
    assert counts.operations / 1e9 < 1.02 * operations
    assert counts.saved / 1e6 < 1.02 * saved


@pytest.mark.parametrize(
    ("stage", "memory", "operations", "peak"),
    [
        ("warmup", "balanced", 21.90, 222.3),
        ("warmup", "small", 24.00, 188.3),
        ("warmup", "least", 23.96, 99.1),
        ("self_train", "least", 23.96, 107.3),
    ],
)
def test_with_less_memory_an_iteration_has_no_more_of_it_at_once_than_it_had(stage, memory, operations, peak):
    """Of 251 MB (self-training 261), with 21.1 GFLOP, where everything is kept."""
    case = Case("town", stage, Variant(memory, memory=memory), torch.device("meta"))
    counts = count(case.step, case.constants)
    assert counts.operations / 1e9 < 1.02 * operations
    assert counts.peak / 1e6 < 1.02 * peak


class TwoSteps(OneStep):
    def over(self, make):
        for _ in range(2):
            yield from super().over(make)


@pytest.mark.parametrize("stage", ["warmup", "self_train"])
def test_a_step_finds_nothing_in_memory_of_the_one_before_but_the_gradients_of_the_discriminators(stage):
    def peak(training):
        case = Case("town", stage, FAST, torch.device("meta"))
        with CountingMode() as observed:
            case.train(training(case.config.steps))
        gradients = sum(4 * value.numel() for value in case.nets.discriminators.parameters())
        return observed.storages.peak, gradients

    (one, gradients), (two, _) = peak(OneStep), peak(TwoSteps)
    assert two < one + 1.01 * gradients


def test_what_is_counted_in_any_precision_is_the_same_in_fp32_and_less_in_bf16():
    def counted(precision):
        case = Case("town", "self_train", Variant(precision, precision=precision), torch.device("cpu"))
        with case.with_fake_tensors():
            return count(case.step, case.constants)

    case = Case("town", "self_train", FAST, torch.device("meta"))
    full, half = count(case.step, case.constants), counted("bf16")
    # without content, a normalisation by kept statistics returns a copy of them, which a CPU's does not
    assert counted("fp32") == pytest.approx(full, rel=1e-3)
    assert half.operations == full.operations
    assert half.peak / 1e6 < 1.02 * 171.9
    assert half.peak > full.peak / 2


def test_operations_and_memory_are_those_counted_by_hand():
    weight = torch.zeros(5, 7, requires_grad=True)
    vector = torch.zeros(3, 5)

    def step():
        hidden = (vector @ weight).exp()  # 2 * 3 * 5 * 7 operations, (3, 7) values kept of exp, (3, 5) of the product
        hidden.sum().backward()  # again as many, for the weight's gradient

    counts = count(step, [weight])
    assert counts.operations == 2 * 2 * 3 * 5 * 7
    assert counts.saved == 4 * (3 * 7 + 3 * 5)
    assert counts.peak >= 4 * 2 * 3 * 7
