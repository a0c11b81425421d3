"""A stage with compute.compiled: about the same losses, and the same bits whether or not it was killed."""

import json

import pytest
import torch
import torch._inductor.config
from interruption import STEP, Killed, die, identical, killed_in

from loopda.errors import ConfigError, DeviceError
from loopda.models.segmenter import load_checkpoint
from loopda.training.loop import fingerprint


@pytest.fixture
def section(miniature):
    """The miniature's warm-up with other numbers in its section `compute`."""

    def changed(**compute):
        section = miniature.section("warmup", decoder_warmup=0)
        return section.model_copy(update={"compute": section.compute.model_copy(update=compute)})

    return changed


def test_compiled_networks_learn_as_the_others_and_go_on_to_the_same_bits(miniature, section, traced, tmp_path):
    eager_run, whole, killed = (tmp_path / name for name in ("eager", "whole", "killed"))
    miniature.run("warmup", eager_run, config=section())
    miniature.run("warmup", whole, config=section(compiled=True))
    assert traced() > 5
    compiled, eager = (
        json.loads(path.read_text().splitlines()[-1]) for path in (whole / "metrics.jsonl", eager_run / "metrics.jsonl")
    )
    for name in eager.keys() - {"images_per_second", "seconds"}:
        assert compiled[name] == pytest.approx(eager[name], rel=0.01), name

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
