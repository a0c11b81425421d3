"""Compiled networks answer and learn as the others do, in the precision that is asked for."""

import copy
from functools import partial

import pytest
import torch
from networks import NETWORKS, built, images, tensors
from torch import nn

from loopda.errors import DeviceError
from loopda.methods.method import frozen
from loopda.models.compute.compilation import check_compiler
from loopda.models.compute.precision import Precision, computing_in

CPU = torch.device("cpu")


def in_double(name: str) -> tuple[nn.Module, tuple]:
    """A network and its inputs in double precision, in which the order of sums hardly shows."""
    network, inputs = built(name)
    return network.double(), tuple(value.double() if isinstance(value, torch.Tensor) else value for value in inputs)


def learnt(network: nn.Module, inputs: tuple, *, compiled: bool, precision: Precision = "fp32") -> list[torch.Tensor]:
    """What the network answers, then its gradients, and its buffers afterwards."""
    torch.manual_seed(0)
    with computing_in(precision, compiled=compiled):
        answer = tensors(network(*inputs))
    sum(value.square().sum() for value in answer).backward()
    return [*answer, *(value.grad for value in network.parameters() if value.grad is not None), *network.buffers()]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_compiled_network_is_one_graph_that_answers_and_learns_as_before(name, traced):
    network, inputs = in_double(name)
    expected = learnt(copy.deepcopy(network), inputs, compiled=False)
    assert traced() == 0
    found = learnt(network, inputs, compiled=True)
    assert traced() == 1
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other)


def test_what_was_compiled_in_16_bits_is_not_used_in_32(traced):
    network, inputs = built("multi-scale")
    kinds: tuple[Precision, ...] = ("bf16", "fp32", "bf16")
    of = partial(learnt, inputs=inputs)
    expected = [of(copy.deepcopy(network), compiled=False, precision=kind) for kind in kinds]
    found = [of(copy.deepcopy(network), compiled=True, precision=kind) for kind in kinds]
    assert traced() == 2
    for values, others in zip(found, expected, strict=True):
        for value, other in zip(values, others, strict=True):
            torch.testing.assert_close(value, other)


def test_a_constant_network_is_compiled_with_the_gradient_to_its_images(traced):
    network, _ = built("multi-scale")
    judged = images()
    gradients = []
    for compiled in (False, True):
        seen = judged.clone().requires_grad_()
        with computing_in("fp32", compiled=compiled):
            sum(scores.square().sum() for scores in frozen(network)(seen)).backward()
        gradients.append(seen.grad)
    assert traced() == 1
    torch.testing.assert_close(*gradients)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_kernels_that_pytorch_makes_here_answer_as_before():
    try:
        check_compiler(CPU)
    except DeviceError as error:
        pytest.skip(str(error))
    network, inputs = in_double("score")
    expected = learnt(copy.deepcopy(network), inputs, compiled=False)
    for value, other in zip(learnt(network, inputs, compiled=True), expected, strict=True):
        torch.testing.assert_close(value, other)
