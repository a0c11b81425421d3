"""Every method that the stage `adapt` knows trains, resumes exactly, and saves all that its steps change.

A method that is registered there is tested here without a further word.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from interruption import STEP, Killed, die, forgetting, identical, killed_in

from loopda.models.checkpoint import load_checkpoint
from loopda.stages import adapt as adapt_stage
from loopda.stages.adapt import METHODS

NAMES = [get_args(settings.model_fields["name"].annotation)[0] for settings in METHODS]
# of a method: an input of adapt, and the file of a stage that it is
FURTHER_INPUTS = {"cycada": {"translated": "translate/source.csv"}}


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The signal handlers of the test run come back after a training."""
    yield
    die()


@pytest.fixture(scope="module")
def adapt(miniature):
    """Train by the method of a name, with its outputs in a folder."""

    def train(name: str, out: Path, **changes: Any) -> None:
        further = {key: miniature.path(*file.split("/")) for key, file in FURTHER_INPUTS.get(name, {}).items()}
        miniature.run("adapt", out, config=miniature.method(name, **changes), **further)

    return train


@pytest.fixture(scope="module")
def whole(adapt, tmp_path_factory):
    """The folder of an uninterrupted training by a method."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("whole") / name
            adapt(name, made[name])
        return made[name]

    return of


@pytest.fixture(scope="module")
def progress(adapt, tmp_path_factory):
    """The folder of a training by a method that was killed in the middle of step 4, after step 3 had been saved."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp("progress") / name
            with pytest.MonkeyPatch.context() as patch:
                killed_in(patch, STEP)
                with pytest.raises(Killed):
                    adapt(name, out)
            die()
            assert not (out / "model.pt").exists()
            made[name] = out
        return made[name]

    return of


def results(out: Path) -> Any:
    """The checkpoint in `out`, without what it says of its configuration."""
    return {key: value for key, value in load_checkpoint(out / "model.pt").items() if key != "provenance"}


def test_each_method_has_its_section_under_its_name_and_an_experiment(base_config):
    assert sorted(base_config["methods"]) == sorted(NAMES)
    overlays = [overlay or {} for overlay in base_config["experiments"].values()]
    tried = {overlay.get("adapt", {}).get("method", base_config["adapt"]["method"]) for overlay in overlays}
    assert tried == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_trains_and_leaves_another_model_than_it_began_with(miniature, whole, name):
    before = load_checkpoint(miniature.path("pretrain", "model.pt"))
    after = load_checkpoint(whole(name) / "model.pt")
    assert before["model"].keys() == after["model"].keys()
    assert not identical(before["model"], after["model"])
    assert after["provenance"]["config"]["method"]["name"] == name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "source_only"])
def test_a_method_is_not_the_control_under_another_name(whole, name):
    assert not identical(results(whole(name)), results(whole("source_only")))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault(9, "every method goes on with the same bits")
def test_a_method_killed_in_the_middle_ends_as_if_it_had_not_been(adapt, whole, progress, name, tmp_path):
    out = tmp_path / name
    shutil.copytree(progress(name), out)
    adapt(name, out)
    assert f"goes on after step {STEP}" in (tmp_path / f"{name}.log").read_text()
    assert identical(results(out), results(whole(name)))


@pytest.mark.parametrize("name", NAMES)
def test_a_method_resumed_without_any_one_part_of_its_state_gives_another_result(
    adapt, whole, progress, name, tmp_path
):
    states = load_checkpoint(progress(name) / "state" / f"step-{STEP:07d}" / "state.pt")
    assert {"network", "method", "segmenter"} <= set(states)
    # the control adds nothing to save, and the guard counts skipped steps alone (tests/training/test_guard.py)
    for part in (part for part, state in states.items() if state and part != "guard"):
        out = tmp_path / part
        shutil.copytree(progress(name), out)
        with pytest.MonkeyPatch.context() as patch:
            forgetting(patch, part)
            adapt(name, out)
        assert f"goes on after step {STEP}" in (tmp_path / f"{part}.log").read_text()
        assert not identical(results(out), results(whole(name))), part


def test_the_log_says_which_network_road_keeps_frozen(whole):
    log = whole("road").parent / "road.log"
    assert "the frozen network: the source-only model" in log.read_text()


def test_progress_with_other_weights_of_the_frozen_network_is_not_used(miniature, adapt, whole, tmp_path):
    weights, out = tmp_path / "weights.pt", tmp_path / "road"
    shutil.copy(miniature.path("pretrain", "model.pt"), weights)
    with pytest.MonkeyPatch.context() as patch:
        killed_in(patch, STEP)
        with pytest.raises(Killed):
            adapt("road", out, weights=str(weights))
    die()
    shutil.copy(whole("source_only") / "model.pt", weights)
    adapt("road", out, weights=str(weights))
    log = (tmp_path / "road.log").read_text()
    assert f"the frozen network: the backbone is imported from {weights}" in log
    assert "not used: it belongs to another configuration, other inputs or other code" in log
    assert "goes on" not in log


@pytest.mark.parametrize(("decay_steps", "over"), [(0, 6), (4, 6), (12, 12)])
def test_the_rate_falls_over_the_steps_of_the_decay_where_these_are_more(
    miniature, tmp_path, monkeypatch, decay_steps, over
):
    factors = []
    monkeypatch.setattr(adapt_stage, "set_learning_rate", lambda _, factor: factors.append(factor))
    section = miniature.method("source_only")
    optimizer = section.optimizer.model_copy(update={"power": 1.0})
    changes = {"decay_steps": decay_steps, "steps": 6, "warmup_steps": 0, "optimizer": optimizer}
    miniature.run("adapt", tmp_path / "model", config=section.model_copy(update=changes))
    assert factors == pytest.approx([1 - step / over for step in range(6)])
