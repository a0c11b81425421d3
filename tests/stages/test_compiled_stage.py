"""A stage with compute.compiled: the losses and gradients of any other, and the same bits after it was killed."""

import pytest
import torch
import torch._inductor.config
from double_precision import ROUNDING, double_precision
from interruption import STEP, Killed, die, identical, killed_in
from torch.testing import assert_close

from loopda.errors import ConfigError, DeviceError
from loopda.models.checkpoint import load_checkpoint
from loopda.training.state import fingerprint


@pytest.fixture
def section(miniature):
    """The miniature's warm-up with other numbers in its section `compute`."""

    def changed(**compute):
        section = miniature.section("warmup", decoder_warmup=0)
        return section.model_copy(update={"compute": section.compute.model_copy(update=compute)})

    return changed


@pytest.mark.fault(97, "a step of compiled networks agrees with that of the others to nine digits")
def test_compiled_networks_have_the_losses_and_gradients_of_the_others_and_go_on_to_the_same_bits(
    miniature, section, first_step, traced, tmp_path
):
    """One test, for what is compiled once serves all of it."""
    eager, compiled = (
        first_step("warmup", {"compiled": compiled}, dropout=True, decoder_warmup=0) for compiled in (False, True)
    )
    assert traced() > 5
    assert compiled.recorded == pytest.approx(eager.recorded, rel=ROUNDING)
    assert_close(compiled.weights, eager.weights, rtol=ROUNDING, atol=ROUNDING)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with double_precision():
        miniature.run("warmup", whole, config=section(compiled=True))
        with pytest.MonkeyPatch.context() as patch:
            killed_in(patch, STEP)
            with pytest.raises(Killed):
                miniature.run("warmup", killed, config=section(compiled=True))
            die()
        assert not (killed / "model.pt").exists()
        miniature.run("warmup", killed, config=section(compiled=True))
    for name in ("model.pt", "loops.pt"):
        assert identical(load_checkpoint(killed / name), load_checkpoint(whole / name)), name


def test_what_cannot_be_compiled_is_refused_before_any_step(miniature, section, tmp_path):
    with pytest.raises(
        ConfigError, match=r"warmup: compute\.compiled: .*memory to fast, or compute\.compiled to false"
    ):
        miniature.run("warmup", tmp_path, config=section(compiled=True, memory="small"))


def test_progress_that_was_compiled_goes_on_with_less_memory_for_which_nothing_is(section):
    compiled, smaller = section(compiled=True), section(memory="small")
    assert fingerprint(compiled, {}, 0) == fingerprint(smaller, {}, 0) != fingerprint(section(precision="bf16"), {}, 0)


def test_a_machine_without_a_compiler_is_named_before_any_step(miniature, section, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (str(tmp_path / "no-compiler"),))
    torch.compiler.reset()
    with pytest.raises(DeviceError, match=r"torch\.compile does not work .* a C\+\+ compiler is missing"):
        miniature.run("warmup", tmp_path / "warmup", config=section(compiled=True))
    assert not (tmp_path / "warmup/state").exists()
