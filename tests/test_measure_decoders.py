"""The script that measures what decoders have learnt."""

import json
import sys

import pytest
import torch
import yaml
from loops import CheapDistance, loop_settings

import loopda.methods.loopda as module
from loopda.methods.loopda import Loops
from loopda.models.checkpoint import load_segmenter


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("measure_decoders")


@pytest.fixture
def measured(script, small_model, monkeypatch):
    monkeypatch.setattr(module, "Lpips", lambda net, trunk: CheapDistance())

    def measure(side, *, outer=True, **decoders):
        torch.manual_seed(0)
        segmenter = load_segmenter(small_model)
        nets = Loops(loop_settings(decoders=decoders), segmenter).eval()
        return script.measure(segmenter, nets, side, torch.rand(2, 3, 32, 64) * 2 - 1, outer=outer)

    return measure


def test_decoders_that_render_miss_what_they_are_not_told(measured):
    found = measured("night")
    assert set(found) == {"inner", "blind", "wrong", "translated", "outer"}
    assert len({found[name] for name in ("inner", "blind", "wrong")}) == 3
    assert found["translated"] > 0


def test_decoders_without_rendering_miss_nothing(measured):
    found = measured("night", rendering="none")
    assert found["inner"] == found["blind"] == found["wrong"]
    assert found["translated"] == 0


def test_a_reference_has_no_way_back_and_without_an_outer_loop_nothing_is_translated(measured):
    assert set(measured("day")) == {"inner", "blind", "wrong", "translated"}
    assert set(measured("night", outer=False)) == {"inner", "blind", "wrong"}


def test_the_command_measures_a_warm_up(script, miniature, tmp_path, monkeypatch):
    config = tmp_path / "warmup.yaml"
    config.write_text(yaml.safe_dump(miniature.section("warmup").model_dump(mode="json", exclude_none=True)))
    files = {name: miniature.path(*place.split("/")) for name, place in WHERE.items()}
    flags = [f"--{name}={path}" for name, path in {**files, "config": config, "out": tmp_path / "out.json"}.items()]
    monkeypatch.setattr(script, "BATCH", 2)
    monkeypatch.setattr(sys, "argv", ["measure_decoders.py", "--steps=3", *flags])
    script.main()
    found = json.loads((tmp_path / "out.json").read_text())
    assert found.keys() == {"night", "day"}
    assert found["night"].keys() == {"inner", "blind", "wrong", "translated", "outer", "fresh", "fresh_blind"}
    assert all(0 < value < 2 for its in found.values() for value in its.values())


WHERE = {
    "model": "warmup/model.pt",
    "loops": "warmup/loops.pt",
    "night": "prepare/night.csv",
    "classes": "prepare/classes.json",
}
