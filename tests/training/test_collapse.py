"""The signs of a discriminator that has collapsed, on curves that were made up and on some that were measured."""

import math
from pathlib import Path

import pytest

from loopda.config import Section
from loopda.pipeline.jobs import Job
from loopda.status import statuses, table
from loopda.training import collapse, loop
from loopda.training.collapse import collapsed

# records of 20 steps: the town's warm-up (chance is 2.0), then what the miniature has of the most even beginnings
MEASURED = {
    "loops, by day": [2.562, 2.538, 2.53, 2.139, 2.089, 2.253, 2.115, 2.157, 2.14, 2.09, 2.195, 2.181, 1.874, 2.157],
    "AdvEnt": [0.69308, 0.69299, 0.69296, 0.69287, 0.69255, 0.69206, 0.6913, 0.69031, 0.68905, 0.68728, 0.68376],
    "AdaptSegNet": [0.69322, 0.69291, 0.6925, 0.69146, 0.68982, 0.68609, 0.68168, 0.67486, 0.66251, 0.6554, 0.6333],
    "CyCADA": [0.68881, 0.68829, 0.68861, 0.68846, 0.68782, 0.68749, 0.68722, 0.68879, 0.68906, 0.68758, 0.68971],
}


def recorded(values: list[float], *, name: str = "discriminators", every: int = 20) -> list[dict[str, float]]:
    """A record of `every` steps for each value."""
    return [{"step": every * number, "seg_d": 0.001, name: value} for number, value in enumerate(values, start=1)]


def wave(level: float, share: float) -> list[float]:
    """Ten values about `level`, of which the greatest is above the least by `share` of it."""
    return [level * (1 + share * math.sin(number) / 2) for number in range(10)]


def test_one_that_errs_nowhere_for_long_enough_has_won():
    found = collapsed(recorded([0.7, *wave(0.03, 0.5)]))
    assert list(found) == ["discriminators"]
    assert found["discriminators"].startswith("from step 21 to 220 discriminators stayed below 0.05: ")
    assert "Try a lower discriminator_lr (of translate: discriminators.lr)" in found["discriminators"]


def test_one_that_is_always_the_same_learns_nothing_whatever_its_loss():
    for level in (0.25, math.log(2), 3.5):
        found = collapsed(recorded(wave(level, 1e-5)))
        assert found["discriminators"].startswith("from step 1 to 200 discriminators stayed the same: ")


def test_one_step_of_doubt_in_the_last_200_is_no_collapse():
    for place in range(1, 11):
        for calm, doubt in ((0.03, 0.06), (0.7, 0.71)):
            values = [calm] * 11
            values[place] = doubt
            assert collapsed(recorded(values)) == {}
    assert collapsed(recorded([0.71] + [0.7] * 10))


def test_nothing_is_said_before_200_steps():
    assert collapsed(recorded([0.0] * 9)) == {}
    assert collapsed(recorded([0.0] * 10))


def test_what_counts_is_the_number_of_steps_and_not_of_records():
    assert collapsed(recorded([0.0] * 199, every=1)) == {}
    assert collapsed(recorded([0.0] * 200, every=1)).keys() == collapsed(recorded([0.0] * 3, every=100)).keys()


def test_one_that_began_later_or_paused_is_given_as_much_time():
    began = recorded([0.0] * 19)
    for record in began[:9]:
        del record["discriminators"]
    assert collapsed(began[:18]) == {}
    assert collapsed(began)
    del began[12]["discriminators"]
    assert collapsed(began) == {}


def test_only_discriminators_are_looked_at_each_by_itself():
    records = recorded([0.0] * 10, name="discriminator_night")
    for record, value in zip(records, wave(2.0, 0.1), strict=True):
        record["discriminator_day"] = value
    assert list(collapsed(records)) == ["discriminator_night"]
    assert collapsed([{**record, "discriminator_night": 0.5 + record["step"]} for record in records]) == {}


@pytest.mark.parametrize("name", MEASURED)
def test_no_measured_curve_of_one_that_learns_is_a_collapse(name):
    for end in range(1, len(MEASURED[name]) + 1):
        assert collapsed(recorded(MEASURED[name][:end])) == {}


# real trainings, whose records and whose patience are shorter


def loops_section(miniature, **rates: float) -> Section:
    """The section of `warmup` with other learning rates, whose decoders do nothing but learn."""
    section = miniature.section("warmup", steps=60, decoder_warmup=60)
    decoders = section.loops.decoders.model_copy(update=rates)
    return section.model_copy(update={"loops": section.loops.model_copy(update={"decoders": decoders})})


@pytest.mark.fault(28, "one that wins a real training: a warning in its log and its status, and the training ends well")
def test_a_discriminator_that_learns_too_fast_for_its_decoder_is_a_warning_of_the_status(
    miniature, tmp_path, monkeypatch
):
    monkeypatch.setattr(collapse, "STEPS", 20)
    monkeypatch.setattr(loop, "RECORD_STEPS", 5)
    job = Job("warmup", "smoke", 0)
    log = tmp_path / f"logs/{job.place}.log"
    log.parent.mkdir(parents=True)
    section = loops_section(miniature, lr=1e-9, discriminator_lr=5e-3)
    miniature.run("warmup", tmp_path / job.folder, config=section, log=log)

    found = statuses(miniature.config, ["smoke"], root=tmp_path)
    (status,) = [one for one in found if one.stage == "warmup"]
    by_night = [warning for warning in status.warnings if "discriminator_night stayed below 0.05" in warning]
    assert len(by_night) == 1
    assert log.read_text().count(f"warning: {by_night[0]}") == 1
    assert "discriminator_night stayed below 0.05" in table(found, width=120, now=0.0)
    assert (tmp_path / job.folder / "model.pt").exists()


@pytest.mark.fault(28, "one that learns nothing in a real training: a warning in its log, and the training ends well")
def test_a_discriminator_that_learns_nothing_is_a_warning_of_the_log(miniature, tmp_path, monkeypatch):
    monkeypatch.setattr(collapse, "STEPS", 40)
    section = miniature.method("advent", discriminator_lr=1e-12).model_copy(update={"steps": 60})
    miniature.run("adapt", tmp_path / "still", config=section)
    assert warnings(tmp_path / "still.log") == ["from step 1 to 40 discriminators stayed the same"]
    assert (tmp_path / "still" / "model.pt").exists()


def warnings(log: Path) -> list[str]:
    """The warnings of a log as far as their colons."""
    return [line.split(": ")[1] for line in log.read_text().splitlines() if "warning: " in line]
