"""Results that were copied without their times, and the records that tell what they were made of."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from loopda.config import Section
from loopda.pipeline.jobs import Job, Jobs
from loopda.pipeline.stages import STAGES, TRAINING_STAGES
from loopda.runtime.command import writes
from loopda.runtime.provenance import read_record, record_path, write_record
from loopda.status import read_config, statuses
from loopda.vouch import copied_without_times, examine, vouch

PRETRAIN, WARMUP = Job("pretrain", "loopda", 0), Job("warmup", "loopda", 0)
PLACES = {"pretrain/loopda/seed0", "warmup/loopda/seed0"}


@pytest.fixture
def project(tmp_path, root, monkeypatch) -> tuple[Path, dict[str, Any]]:
    """A folder with two trained stages and their records, copied so that what was made first is newest."""
    monkeypatch.chdir(tmp_path)
    config = read_config([], root)
    jobs = Jobs(config)
    for number, job in enumerate((PRETRAIN, WARMUP)):
        for name in job.files:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(json.dumps({"step": 1, "seconds": 1.0, "of": name}) + "\n")
        Path(job.config).write_text(jobs.section_text(job))
        made_of = [Path(job.config), *([Path(PRETRAIN.files[0])] if job == WARMUP else [])]
        write_record(Path(job.files[0]), [*made_of, *map(Path, job.files)])
        for path in Path(job.folder).iterdir():
            os.utime(path, (1_800_000_000 - 100 * number, 1_800_000_000 - 100 * number))
    return tmp_path, config


def state(folder: Path, config: dict[str, Any], job: Job) -> str:
    found = {Job(one.stage, one.experiment, one.seed): one for one in statuses(config, ["loopda"], root=folder)}
    return found[job].state


@pytest.mark.fault(96, "every result that its record agrees with is up to date again")
def test_what_agrees_with_its_record_gets_one_time_and_is_up_to_date(project):
    folder, config = project
    assert copied_without_times(config, folder)
    found = examine(config, folder)
    assert {job.place for job in found.agreeing} == PLACES
    assert found.differing == {}
    vouch(found)
    assert len({path.stat().st_mtime_ns for path in found.files}) == 1
    assert not copied_without_times(config, folder)


@pytest.mark.fault(96, "what does not agree is listed and left as it is")
@pytest.mark.parametrize("damage", ["content", "section", "record", "input"])
def test_what_does_not_agree_with_its_record_is_listed_and_left(project, damage):
    folder, config = project
    model = Path(WARMUP.files[0])
    if damage == "content":
        model.write_text("other")
    if damage == "section":
        Path(WARMUP.config).write_text("steps: 1\n")
    if damage == "record":
        record_path(model).unlink()
    if damage == "input":
        Path(PRETRAIN.files[0]).write_text("other")
    before = model.stat().st_mtime_ns
    found = examine(config, folder)
    assert WARMUP in found.differing
    vouch(found)
    assert model.stat().st_mtime_ns == before


def test_the_status_goes_by_the_record_where_times_alone_have_changed(project):
    folder, config = project
    assert state(folder, config, WARMUP) == "done"
    Path(PRETRAIN.files[0]).write_text("other")
    os.utime(PRETRAIN.files[0], (1_800_000_000, 1_800_000_000))
    assert state(folder, config, WARMUP) == "outdated"


def test_a_project_with_snakemakes_own_records_is_left_to_snakemake(project):
    folder, config = project
    (folder / ".snakemake/metadata").mkdir(parents=True)
    (folder / ".snakemake/metadata/of-a-file").touch()
    assert not copied_without_times(config, folder)


def test_a_stage_that_ends_well_records_what_it_was_given_and_what_it_wrote(tmp_path):
    given, made = tmp_path / "given.txt", tmp_path / "made.txt"
    given.write_text("given")

    @writes("result")
    def run(*, source: Path, many: list[Path], result: Path, log: Path, steps: int) -> None:
        result.write_text("made")

    run(source=given, many=[given, tmp_path], result=made, log=tmp_path / "log", steps=3)
    assert read_record(made).keys() == {str(given), str(made)}


def test_the_files_that_a_section_names_are_recorded_too(tmp_path):
    class Named(Section):
        csv: Path
        of: tuple[str, ...]

    for name in ("list.csv", "weights.pth", "made.txt"):
        (tmp_path / name).write_text(name)

    @writes("result")
    def run(*, config: Named, result: Path) -> None:
        pass

    config = Named(csv=tmp_path / "list.csv", of=("a name", str(tmp_path / "weights.pth")))
    run(config=config, result=tmp_path / "made.txt")
    assert {Path(name).name for name in read_record(tmp_path / "made.txt")} == {"list.csv", "weights.pth", "made.txt"}


def test_a_stage_that_fails_records_nothing(tmp_path):
    @writes("result")
    def run(*, result: Path) -> None:
        result.write_text("half")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        run(result=tmp_path / "made.txt")
    assert read_record(tmp_path / "made.txt") is None


@pytest.mark.fault(96, "every training records what it was made of, beside the file that is asked for")
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_that_is_vouched_for_records_what_it_was_made_of(stage):
    run = importlib.import_module(f"loopda.stages.{stage}").run
    recorded = Path(Job(stage, "mine", 0, "model", "night").recorded).name
    main = {"model": "model.pt", "translated": "source.csv", "scores": "model.json", "manifest": "night.csv"}
    known = {"summary": recorded, "paired": "night.csv", "labels": "labels.csv", "out": "model.zip"}
    known |= {"illustrations": "illustrations.json", "page": "report.html"}
    assert (main | known)[run.output] == recorded
    assert stage not in TRAINING_STAGES or run.output in ("model", "translated")


@pytest.mark.fault(96, "times that are right, without Snakemake's records: nothing is said")
def test_what_a_stage_writes_after_its_main_file_is_no_sign_of_lost_times(project):
    folder, config = project
    for number, job in enumerate((PRETRAIN, WARMUP)):
        for name in (*job.files, job.config):
            os.utime(name, (1_800_000_000 + 100 * number, 1_800_000_000 + 100 * number))
        os.utime(job.files[-1], (1_800_000_050 + 100 * number, 1_800_000_050 + 100 * number))
    assert not copied_without_times(config, folder)


@pytest.mark.fault(96, "Snakemake's measurements that are older than the results, which it goes by too")
def test_old_measurements_of_a_copy_are_vouched_for_too(project):
    folder, config = project
    for job in (PRETRAIN, WARMUP):
        for name in (*job.files, job.config, job.benchmark):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
            made = 1_700_000_000 if name == job.benchmark else 1_800_000_000
            os.utime(name, (made, made))
    assert copied_without_times(config, folder)
    vouch(examine(config, folder))
    assert not copied_without_times(config, folder)


def test_what_is_not_vouched_for_can_be_removed_to_be_made_again(project):
    folder, config = project
    Path(WARMUP.files[0]).write_text("other")
    found = examine(config, folder)
    assert list(found.differing) == [WARMUP]
    Path(WARMUP.files[0]).unlink()
    found = examine(config, folder)
    vouch(found)
    assert found.differing == {}
    assert not copied_without_times(config, folder)
