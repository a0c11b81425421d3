"""With compute.memory least the stages with loops take one domain after the other, to the same losses and gradients."""

import pytest
from double_precision import ROUNDING
from torch.testing import assert_close

from loopda.methods.loopda import Loops

PASSES = {"fast": [["ud", "d", "n"]], "least": [["ud"], ["d"], ["n"]]}


@pytest.fixture
def run(first_step, monkeypatch):
    """Runs a stage of one step, in which all networks learn; returns the domains of each pass, and its results."""
    forward, passes = Loops.forward, []

    def observed(nets, segmenter, x, y, **how):
        passes.append(list(x))
        return forward(nets, segmenter, x, y, **how)

    monkeypatch.setattr(Loops, "forward", observed)

    def run(stage, memory, **changes):
        passes.clear()
        changes |= {"decoder_warmup": 0} if stage == "warmup" else {}
        step = first_step(stage, {"memory": memory}, **changes)
        return list(passes), step

    return run


@pytest.mark.parametrize("stage", ["warmup", "self_train"])
@pytest.mark.fault(97, "the losses and gradients of a step, computed in two orders, agree to nine digits")
def test_each_domain_has_a_pass_of_its_own_and_the_losses_and_gradients_stay(run, stage):
    found = {memory: run(stage, memory) for memory in PASSES}
    assert {memory: passes for memory, (passes, _) in found.items()} == PASSES
    fast, least = (step for _, step in found.values())
    assert fast.recorded.keys() > {"inner_d", "outer_n", "adv_d2n", "discriminator_day"}
    assert least.recorded == pytest.approx(fast.recorded, rel=ROUNDING)
    assert_close(least.weights, fast.weights, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(
    ("inner_loop", "outer_loop", "passes"),
    [(False, False, [["d"]]), (False, True, [["d"], ["n"]]), (True, False, [["ud"], ["d"], ["n"]])],
)
def test_the_warm_up_encodes_no_images_that_have_no_loop(run, miniature, inner_loop, outer_loop, passes):
    loops = miniature.section("warmup").loops.model_dump(mode="json")
    loops |= {"inner_loop": inner_loop, "outer_loop": outer_loop}
    encoded, step = run("warmup", "least", loops=loops)
    assert encoded == passes
    assert "seg_d" in step.recorded
    assert ("discriminator_day" in step.recorded) == outer_loop
