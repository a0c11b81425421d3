"""Networks in 16 bits: what is computed in them, what is not, and who sees none of it."""

import copy
import threading
from contextlib import suppress

import pytest
import torch
from networks import NETWORKS, built, images, tensors
from torch import nn

from loopda.losses.adversarial import generator_loss
from loopda.models.compute.precision import ScoreConvolution, computing_in
from loopda.models.perceptual import FeatureDistance, Lpips
from loopda.training.ema import Teacher
from loopda.weights.downloads import locate

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def products(network: nn.Module) -> dict[nn.Module, torch.dtype]:
    """Filled, as the network computes, with what each of its convolutions and linear layers answers in."""
    found: dict[nn.Module, torch.dtype] = {}
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
            part.register_forward_hook(lambda part, inputs, answer: found.update({part: answer.dtype}))
    return found


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_multiplies_in_16_bits_and_answers_and_learns_in_32(name, precision):
    network, inputs = built(name)
    expected = tensors(copy.deepcopy(network)(*inputs))
    found = products(network)
    with computing_in(precision):
        answer = tensors(network(*inputs))
    assert {value.dtype for value in answer} == {torch.float32}
    wanted = {torch.float32 if isinstance(part, ScoreConvolution) else DTYPES[precision] for part in found}
    assert set(found.values()) == wanted
    assert all((found[part] == torch.float32) == isinstance(part, ScoreConvolution) for part in found)
    for value, other in zip(answer, expected, strict=True):
        assert 0 < (value - other).norm() / other.norm() < 0.1
    sum(value.sum() for value in answer).backward()
    assert {value.grad.dtype for value in network.parameters() if value.grad is not None} == {torch.float32}
    statistics = {value.dtype for value in network.buffers() if value.is_floating_point()}
    assert statistics <= {torch.float32}


def test_outside_of_the_block_and_in_other_threads_networks_compute_in_32_bits():
    network, inputs = built("pspnet")
    found = products(network)

    def seen() -> set[torch.dtype]:
        found.clear()
        network(*inputs)
        return set(found.values())

    there = []
    thread = threading.Thread(target=lambda: there.append(seen()))
    with suppress(KeyError), computing_in("bf16"), computing_in("fp16"):
        thread.start()
        thread.join()
        raise KeyError
    assert there == [{torch.float32}]
    assert seen() == {torch.float32}


def test_a_block_within_another_has_its_own_precision():
    network, inputs = built("pspnet")
    found = products(network)
    with computing_in("bf16"):
        with computing_in("fp32"):
            network(*inputs)
            assert set(found.values()) == {torch.float32}
        network(*inputs)
        assert set(found.values()) == {torch.bfloat16}


def test_a_teacher_multiplies_in_the_precision_of_its_student_with_its_own_weights():
    network, inputs = built("pspnet")
    teacher = Teacher(network, 0.9)
    found = products(teacher)
    nn.init.zeros_(next(iter(network.parameters())))
    with computing_in("bf16"):
        assert not torch.equal(teacher(*inputs).features, network(*inputs).features)
    assert set(found.values()) == {torch.bfloat16}


def test_scores_near_one_differ_by_less_than_bf16_could_tell():
    network, _ = built("multi-scale")
    network.scales[0][-1].bias.data.fill_(1.0)
    with computing_in("bf16"):
        scores = network(images())[0].detach()
    assert not torch.equal(scores, scores.bfloat16().float())
    assert generator_loss(fake=[scores]).dtype == torch.float32


@pytest.mark.parametrize("name", ["lpips", "efficientnet"])
def test_a_perceptual_distance_compares_in_32_bits_what_its_trunk_sees_in_16(name):
    distance = Lpips("alex", None) if name == "lpips" else FeatureDistance(locate("efficientnet-lite0"))
    found = products(distance)
    first = torch.rand(2, 3, 64, 64) * 2 - 1
    second = (first + 0.3 * torch.randn(first.shape)).clamp(-1, 1)
    whole = distance(first, second)
    with computing_in("bf16"):
        half = distance(first, second)
    trunk = {part for part in (distance.distance.net if name == "lpips" else distance).modules() if part in found}
    assert {found[part] for part in trunk} == {torch.bfloat16}
    linear = {found[part] for part in found.keys() - trunk}
    assert linear == ({torch.float32} if name == "lpips" else set())  # LPIPS weighs its differences by convolutions
    assert half.item() == pytest.approx(whole.item(), rel=0.01)
    assert half.item() != whole.item()
    with computing_in("bf16"):
        assert distance(first, first).item() == 0
