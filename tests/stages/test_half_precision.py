"""Stages in 16 bits: they learn about the same, go on with the same bits, and say in what they were made."""

from pathlib import Path

import pytest
import torch
from interruption import STEP, Killed, die, forgetting, identical, killed_in

from loopda.models.checkpoint import load_checkpoint, load_segmenter

PRECISIONS = ("bf16", "fp16")


@pytest.fixture(scope="module")
def whole(miniature, tmp_path_factory):
    """Folders of the warm-up in each precision, uninterrupted, and killed in step 4."""
    made: dict[tuple[str, bool], Path] = {}

    def of(precision: str, *, killed: bool = False) -> Path:
        if (precision, killed) not in made:
            made[precision, killed] = out = tmp_path_factory.mktemp(precision) / "warmup"
            with pytest.MonkeyPatch.context() as patch:
                if killed:
                    killed_in(patch, STEP)
                run(miniature, precision, out)
        return made[precision, killed]

    return of


def run(miniature, precision: str, out: Path) -> None:
    section = miniature.section("warmup")
    section = section.model_copy(update={"compute": section.compute.model_copy(update={"precision": precision})})
    try:
        miniature.run("warmup", out, config=section)
    except Killed:
        pass
    finally:
        die()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_losses_of_a_step_are_close_to_those_in_32_bits(first_step, precision):
    """bfloat16 has 8 bits, so that each layer rounds by 0.4 %; a network in training has some ten of them in a row."""
    half, full = (
        first_step("warmup", {"precision": one}, double=False, decoder_warmup=0).recorded for one in (precision, "fp32")
    )
    for name in ("inner_d", "outer_n", "percep_d", "adv_d2n", "discriminator_day"):
        assert half[name] == pytest.approx(full[name], rel=0.1), name
        assert half[name] != full[name]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.fault(44, "killed in bf16, and in fp16 with a scale for each group of optimisers: the same bits on a CPU")
def test_a_stage_in_16_bits_that_was_killed_ends_as_if_it_had_not_been(miniature, whole, precision):
    out = whole(precision, killed=True)
    assert not (out / "model.pt").exists()
    run(miniature, precision, out)
    assert "goes on after step 3" in (out.parent / "warmup.log").read_text()
    for name in ("model.pt", "loops.pt"):
        assert identical(load_checkpoint(whole(precision) / name), load_checkpoint(out / name)), name


@pytest.mark.fault(44, "an overflow is skipped, and another result without the scales")
def test_without_the_scales_a_resumed_stage_ends_otherwise(miniature, whole, tmp_path, monkeypatch):
    out = tmp_path / "warmup"
    with pytest.MonkeyPatch.context() as patch:
        killed_in(patch, STEP)
        run(miniature, "fp16", out)
    state = out / "state" / f"step-{STEP:07d}" / "state.pt"
    scales = {name: its["scale"] for name, its in load_checkpoint(state)["guard"]["scalers"].items()}
    assert scales.keys() == {"discriminators", "segmenter+decoders"}
    assert scales["segmenter+decoders"] < scales["discriminators"] == 65536
    forgetting(monkeypatch, "guard")
    run(miniature, "fp16", out)
    assert not identical(load_checkpoint(whole("fp16") / "model.pt"), load_checkpoint(out / "model.pt"))


def test_a_model_says_in_what_it_was_made_and_is_evaluated_in_32_bits(whole):
    provenance = load_checkpoint(whole("bf16") / "model.pt")["provenance"]
    assert provenance["config"]["compute"]["precision"] == "bf16"
    assert provenance["config"]["compute"]["reproducibility"] == "seeded"
    assert provenance["torch"] == str(torch.__version__)
    assert "CPU" in provenance["device"]
    segmenter = load_segmenter(whole("bf16") / "model.pt")
    assert {value.dtype for value in segmenter.parameters()} == {torch.float32}
    segmenter.use_statistics("night")
    features = segmenter(torch.rand(1, 3, 32, 64)).features
    assert not torch.equal(features, features.bfloat16().float())
