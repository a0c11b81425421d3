"""Blocks that compute again: the same bits, running statistics that have seen each batch once, and less kept."""

import copy

import pytest
import torch
from checkpoints import small_network
from torch import Tensor, nn

from loopda.labels.classes import CITYSCAPES
from loopda.models.compute.precision import computing_in
from loopda.models.compute.recomputation import Recomputed, recompute
from loopda.models.segmenter import Segmenter
from loopda.models.translator import Translator

TRANSFORMER = {"name": "daformer", "encoder": "mit_tiny", "drop_path": 0.5}
NETWORKS = {
    "pspnet": {},
    "deeplab": {"name": "deeplab"},
    "daformer": TRANSFORMER,
    "efficientnet": {"encoder": "efficientnet_lite0"},
}


def twins(**changes: object) -> tuple[Segmenter, Segmenter]:
    """Two equal networks, of which the second computes again."""
    torch.manual_seed(0)
    one = Segmenter(small_network(**changes), CITYSCAPES).train()
    other = copy.deepcopy(one)
    recompute(other, "small")
    return one, other


def state(network: nn.Module) -> dict[str, Tensor]:
    """Weights, buffers and gradients."""
    gradients = {f"gradient of {name}": value.grad for name, value in network.named_parameters()}
    return network.state_dict() | {name: value for name, value in gradients.items() if value is not None}


def batches() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.rand(count, 3, 32, 48) * 2 - 1 for count in (2, 3, 2)]


def learn(segmenter: Segmenter) -> None:
    """A step on three domains in one call, with dropout."""
    torch.manual_seed(2)
    outputs = segmenter.forward_batches(batches(), aux=[False] * 3)
    sum(each.logits.square().mean() + each.features.mean() for each in outputs).backward()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_dropout_and_running_statistics_are_those_of_a_network_that_keeps_everything(name, precision):
    one, other = twins(**NETWORKS[name])
    for segmenter in (one, other):
        with computing_in(precision):
            learn(segmenter)
    expected, found = state(one), state(other)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert sum(isinstance(part, Recomputed) for part in other.modules()) >= 4


def test_a_generator_that_computes_again_has_the_same_gradients():
    torch.manual_seed(0)
    one = Translator(width=4, levels=1, residual_blocks=2)
    other = copy.deepcopy(one)
    recompute(other, "small")
    for network in (one, other):
        network(batches()[0]).square().mean().backward()
    for value, again in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(value.grad, again.grad)


def test_of_balanced_memory_every_second_block_computes_again_and_of_fast_none():
    for memory, share in (("fast", 0.0), ("balanced", 0.5), ("small", 1.0), ("least", 1.0)):
        segmenter = Segmenter(small_network(blocks=(2, 2, 4, 2)), CITYSCAPES)
        recompute(segmenter, memory)
        blocks = [part.again for part in segmenter.modules() if isinstance(part, Recomputed)]
        assert sum(blocks) == share * len(blocks)


def test_nothing_is_computed_again_without_a_graph():
    _, segmenter = twins()
    calls = []
    block = next(part for part in segmenter.modules() if isinstance(part, Recomputed))
    block.register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        segmenter(batches()[0])
    assert len(calls) == 1
    segmenter(batches()[0]).features.mean().backward()
    assert len(calls) == 3
