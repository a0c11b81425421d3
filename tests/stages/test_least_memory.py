"""With compute.memory least the stages with loops run these one after the other, to the same losses and gradients."""

import pytest
from double_precision import ROUNDING
from torch.testing import assert_close

from loopda.methods.loopda import Loops

TURNS = {"fast": [["ud", "d", "n"]], "least": [["ud"], ["d"], ["n"]]}


@pytest.fixture
def run(first_step, monkeypatch):
    """Runs a stage of one step, in which all networks learn; returns the loops of each turn of it, and its results."""
    own_run, turns = Loops.run, []

    def noted(nets, segmenter, *loops):
        turns.append([])
        for turn in own_run(nets, segmenter, *loops):
            turns[-1].append([looped.of for looped in turn])
            yield turn

    monkeypatch.setattr(Loops, "run", noted)

    def run(stage, memory, **changes):
        turns.clear()
        changes |= {"decoder_warmup": 0} if stage == "warmup" else {}
        found = first_step(stage, {"memory": memory}, **changes)
        return turns[0], found

    return run


@pytest.mark.parametrize("stage", ["warmup", "self_train"])
@pytest.mark.fault(97, "the losses and gradients of a step, computed in two orders, agree to nine digits")
def test_each_loop_has_a_turn_of_its_own_and_the_losses_and_gradients_stay(run, stage):
    found = {memory: run(stage, memory) for memory in TURNS}
    assert {memory: turns for memory, (turns, _) in found.items()} == TURNS
    fast, least = (step for _, step in found.values())
    assert fast.recorded.keys() > {"inner_d", "outer_n", "adv_d2n", "discriminator_day"}
    assert least.recorded == pytest.approx(fast.recorded, rel=ROUNDING)
    assert_close(least.weights, fast.weights, rtol=ROUNDING, atol=ROUNDING)


def test_without_loops_the_nights_turn_teaches_nothing(run, miniature):
    loops = miniature.section("warmup").loops.model_dump(mode="json") | {"inner_loop": False, "outer_loop": False}
    turns, step = run("warmup", "least", loops=loops)
    assert turns == [["d"], ["n"]]
    assert "seg_d" in step.recorded
