"""With compute.memory least the stages with loops run these one after the other, to the same losses."""

import json

import pytest

from loopda.methods.loopda import Loops

TURNS = {"fast": [["ud", "d", "n"]], "least": [["ud"], ["d"], ["n"]]}


@pytest.fixture
def run(miniature, tmp_path, monkeypatch):
    """Runs a stage; returns the loops of each turn of its first step, and what its last record says."""
    own_run, turns = Loops.run, []

    def noted(nets, segmenter, *loops):
        turns.append([])
        for turn in own_run(nets, segmenter, *loops):
            turns[-1].append([looped.of for looped in turn])
            yield turn

    monkeypatch.setattr(Loops, "run", noted)

    def run(stage, memory, **changes):
        section = miniature.section(stage, **changes)
        config = section.model_copy(update={"compute": section.compute.model_copy(update={"memory": memory})})
        miniature.run(stage, tmp_path / memory, config=config)
        return turns[-config.steps], json.loads((tmp_path / memory / "metrics.jsonl").read_text().splitlines()[-1])

    return run


@pytest.mark.parametrize("stage", ["warmup", "self_train"])
def test_each_loop_has_a_turn_of_its_own_and_the_losses_stay(run, stage):
    found = {memory: run(stage, memory) for memory in TURNS}
    for memory, (turns, _) in found.items():
        assert turns == TURNS[memory]
    fast, least = ({name: value for name, value in records.items() if "_" in name} for _, records in found.values())
    speed = {"images_per_second"}
    assert least.keys() == fast.keys() > {"inner_d", "outer_n", "adv_d2n", "discriminator_day"}
    for name in fast.keys() - speed:
        assert least[name] == pytest.approx(fast[name], rel=0.05), name


def test_without_loops_the_nights_turn_teaches_nothing(run, miniature):
    loops = miniature.section("warmup").loops.model_dump(mode="json") | {"inner_loop": False, "outer_loop": False}
    turns, records = run("warmup", "least", loops=loops)
    assert turns == [["d"], ["n"]]
    assert "seg_d" in records
