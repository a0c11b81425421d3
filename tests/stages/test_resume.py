"""Interrupted and resumed is the same as uninterrupted, bit for bit, in every stage that trains."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interruption import STEP, Killed, die, forgetting, identical, killed_in

from loopda.data.manifest import read_manifest, write_manifest
from loopda.errors import Interrupted
from loopda.methods.daformer import DAFormer
from loopda.models.checkpoint import load_checkpoint
from loopda.pipeline.stages import TRAINING_STAGES
from loopda.runtime.command import command
from loopda.stages import pretrain, translate, warmup
from loopda.training import loop

PARTS = [
    ("pretrain", "segmenter"),
    ("pretrain", "optimizer"),
    *[(stage, part) for stage in ("warmup", "self_train") for part in ("network", "loops", "segmenter")],
    *[(stage, part) for stage in ("warmup", "self_train") for part in ("decoders", "discriminators")],
    ("simclr", "network"),
    ("simclr", "head"),
    ("simclr", "optimizer"),
    ("distill", "network"),
    ("distill", "optimizer"),
    *[("translate", part) for part in ("generators", "discriminators", "image_buffers")],
    *[("translate", part) for part in ("generator_optimizer", "discriminator_optimizer")],
    *[("adapt", part) for part in ("network", "method", "segmenter", "discriminators")],
]
RESULTS = {"warmup": ("model.pt", "loops.pt"), "translate": ("generators.pt",)}  # the others: model.pt alone


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The signal handlers of the test run come back after a training."""
    yield
    die()


@pytest.fixture(scope="module")
def progress(miniature, tmp_path_factory):
    """Folder of a stage that was killed in the middle of step 4, after step 3 had been saved."""
    made: dict[str, Path] = {}

    def of(stage: str) -> Path:
        if stage not in made:
            made[stage] = tmp_path_factory.mktemp("progress") / stage
            with pytest.MonkeyPatch.context() as patch:
                killed_in(patch, STEP)
                run_until_killed(miniature, stage, made[stage])
        return made[stage]

    return of


def run_until_killed(miniature, stage: str, out: Path, **changes: Any) -> None:
    killed = False
    try:
        miniature.run(stage, out, **changes)
    except Killed:
        killed = True
    die()
    assert killed
    assert not all((out / name).exists() for name in results(stage))


def results(stage: str) -> tuple[str, ...]:
    """The files with what a stage has trained."""
    return RESULTS.get(stage, ("model.pt",))


def same_results(miniature, stage: str, out: Path) -> bool:
    """Whether the checkpoints in `out` equal those of the uninterrupted run, weights and statistics alike."""
    names = results(stage)
    return all(identical(load_checkpoint(miniature.path(stage, name)), load_checkpoint(out / name)) for name in names)


def recorded_steps(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stage", TRAINING_STAGES)
def test_a_checkpoint_compares_as_different_when_one_bit_of_it_differs(miniature, stage):
    whole = load_checkpoint(miniature.path(stage, results(stage)[0]))
    changed = load_checkpoint(miniature.path(stage, results(stage)[0]))
    assert identical(whole, changed)
    if stage == "translate":
        values = changed["generators"]["night"]
    else:
        values = changed["statistics"]["night"] if changed["statistics"] else changed["model"]
    first = next(iter(values))
    bits = values[first].view(torch.int32)
    bits[(0,) * bits.ndim] ^= 1
    assert not identical(whole, changed)


@pytest.mark.parametrize("stage", TRAINING_STAGES)
@pytest.mark.fault(1, "the rerun goes on from the saved step and ends with the same bits, in every stage that trains")
def test_a_stage_killed_in_the_middle_ends_as_if_it_had_not_been(miniature, progress, stage, tmp_path):
    out = tmp_path / stage
    shutil.copytree(progress(stage), out)
    miniature.run(stage, out)
    assert "goes on after step 3" in (tmp_path / f"{stage}.log").read_text()
    assert same_results(miniature, stage, out)
    assert recorded_steps(out) == sorted(set(recorded_steps(out)))
    assert recorded_steps(out)[-1] == miniature.section(stage).steps
    assert not (out / "state").exists()


@pytest.mark.parametrize("stage", TRAINING_STAGES)
@pytest.mark.fault(1, "killed before its results were written: the same bits")
def test_a_stage_killed_after_its_last_step_ends_as_if_it_had_not_been(miniature, stage, tmp_path, monkeypatch):
    out = tmp_path / stage

    def dying(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("loopda.training.stage.save_segmenter", dying)
        patch.setattr(translate, "save_generators", dying)
        run_until_killed(miniature, stage, out)
    miniature.run(stage, out)
    log = (tmp_path / f"{stage}.log").read_text()
    assert f"goes on after step {miniature.section(stage).steps}" in log
    assert same_results(miniature, stage, out)


@pytest.mark.parametrize(("stage", "part"), PARTS)
@pytest.mark.fault(45, "another result for every part of every stage")
def test_resuming_without_one_part_of_the_state_gives_another_result(
    miniature, progress, stage, part, tmp_path, monkeypatch
):
    out = tmp_path / stage
    shutil.copytree(progress(stage), out)
    forgetting(monkeypatch, part)
    miniature.run(stage, out)
    assert "goes on after step 3" in (tmp_path / f"{stage}.log").read_text()
    assert not same_results(miniature, stage, out)


def test_every_part_of_every_state_is_in_the_list_that_is_dropped_in_turn(progress):
    for stage in TRAINING_STAGES:
        states = load_checkpoint(progress(stage) / "state" / f"step-{STEP:07d}" / "state.pt")
        # the guard's part matters where steps were skipped: tests/training/test_guard.py
        assert set(states) == {"guard"} | {part for name, part in PARTS if name == stage}


@pytest.mark.parametrize("stage", TRAINING_STAGES)
@pytest.mark.fault(2, "the step is saved, exit code 75, no outputs; the rerun ends with the same bits")
def test_sigterm_saves_the_step_in_progress_and_exits_with_75(miniature, stage, tmp_path, monkeypatch):
    out = tmp_path / stage
    record = loop.Training.record

    def terminated(self: loop.Training, **values: Any) -> None:
        if self.step == STEP and not self.signal:
            os.kill(os.getpid(), signal.SIGTERM)
        record(self, **values)

    run = importlib.import_module(f"loopda.stages.{stage}").run
    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "record", terminated)
        with pytest.raises(SystemExit) as exited:
            command(run, miniature.flags(stage, out))
    assert exited.value.code == Interrupted.exit_code == 75
    del exited
    die()
    assert "stopped by signal 15 after step 4, which is saved" in (tmp_path / f"{stage}.log").read_text()
    assert not any((out / name).exists() for name in results(stage))
    assert [folder.name for folder in (out / "state").glob("step-*")] == ["step-0000004"]

    command(run, miniature.flags(stage, out))
    assert "goes on after step 4" in (tmp_path / f"{stage}.log").read_text()
    assert same_results(miniature, stage, out)


@pytest.mark.fault(1, "a real SIGKILL: the same bits")
def test_a_process_killed_by_sigkill_goes_on_when_it_is_started_again(miniature, tmp_path):
    out = tmp_path / "warmup"
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\n"
        "from loopda.runtime.command import command\n"
        "from loopda.stages import warmup\n"
        "from loopda.training import loop\n"
        "record = loop.Training.record\n"
        "def dying(self, **values):\n"
        f"    if self.step == {STEP}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    record(self, **values)\n"
        "loop.SAVE_SECONDS = 0.0\n"
        "loop.Training.record = dying\n"
        "command(warmup.run)\n"
    )
    flags = miniature.flags("warmup", out)
    process = subprocess.run([sys.executable, script, *flags], capture_output=True, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not (out / "model.pt").exists()

    miniature.run("warmup", out)
    assert "goes on after step 3" in (tmp_path / "warmup.log").read_text()
    assert same_results(miniature, "warmup", out)


@pytest.mark.fault(38, "killed in each step: the same bits, and each step is recorded once")
def test_a_stage_killed_in_every_step_ends_as_if_it_had_not_been(miniature, tmp_path):
    out = tmp_path / "pretrain"
    steps = miniature.section("pretrain").steps
    for step in range(steps):
        with pytest.MonkeyPatch.context() as patch:
            killed_in(patch, step)
            run_until_killed(miniature, "pretrain", out)
    miniature.run("pretrain", out)
    assert same_results(miniature, "pretrain", out)
    assert recorded_steps(out) == list(range(1, steps + 1))


@pytest.mark.parametrize("stage", TRAINING_STAGES)
@pytest.mark.fault(17, "progress of another seed is not used, and the log says why")
def test_progress_of_another_seed_is_not_used(miniature, progress, stage, tmp_path):
    out = tmp_path / stage
    shutil.copytree(progress(stage), out)
    miniature.run(stage, out, seed=1)
    log = (tmp_path / f"{stage}.log").read_text()
    assert "not used" in log
    assert "goes on" not in log
    assert not same_results(miniature, stage, out)


@pytest.mark.fault(17, "progress of another configuration is not used, and the log says why")
def test_progress_of_another_configuration_is_not_used(miniature, progress, tmp_path):
    out = tmp_path / "pretrain"
    shutil.copytree(progress("pretrain"), out)
    miniature.run("pretrain", out, config=miniature.section("pretrain", aux=0.2))
    log = (tmp_path / "pretrain.log").read_text()
    assert "not used: it belongs to another configuration" in log
    assert "goes on" not in log


@pytest.mark.fault(29, "with compute.memory small the stage goes on from the saved step, and ends with the same bits")
def test_a_stage_that_ran_out_of_memory_goes_on_with_less_of_it(miniature, progress, tmp_path):
    out = tmp_path / "warmup"
    shutil.copytree(progress("warmup"), out)
    section = miniature.section("warmup")
    smaller = section.model_copy(update={"compute": section.compute.model_copy(update={"memory": "small"})})
    miniature.run("warmup", out, config=smaller)
    assert "goes on after step 3" in (tmp_path / "warmup.log").read_text()
    whole, found = (load_checkpoint(path) for path in (miniature.path("warmup", "model.pt"), out / "model.pt"))
    assert found["provenance"]["config"]["compute"]["memory"] == "small"
    assert all(identical(whole[key], found[key]) for key in ("model", "statistics"))


@pytest.mark.fault(17, "progress with other pseudo-labels of the same names is not used")
def test_progress_made_with_other_pseudo_labels_is_not_used(miniature, tmp_path):
    """The label maps are written anew under their old names: the text of their manifest must tell."""
    out, labels = tmp_path / "self_train", tmp_path / "pseudo_labels"
    miniature.run("pseudo_labels", labels)
    with pytest.MonkeyPatch.context() as patch:
        killed_in(patch, STEP)
        run_until_killed(miniature, "self_train", out, labels=labels / "labels.csv")
    other = miniature.section("pseudo_labels", portion=0.1, cap=0.1)
    before = {path: path.read_bytes() for path in labels.rglob("*.png")}
    miniature.run("pseudo_labels", labels, config=other)
    assert before != {path: path.read_bytes() for path in labels.rglob("*.png")}
    miniature.run("self_train", out, labels=labels / "labels.csv")
    assert "goes on" not in (tmp_path / "self_train.log").read_text()


@pytest.mark.fault(17, "progress with other images of the same names is not used")
def test_progress_made_with_other_images_is_not_used(miniature, tmp_path):
    """Images are drawn anew under their old names, and prepared again: the text of the manifest must tell."""
    out, prepared = tmp_path / "pretrain", tmp_path / "prepare"
    miniature.path("prepare", "source.csv")
    shutil.copytree(miniature.folder / "town", tmp_path / "town")
    values = json.loads(miniature.section("prepare").model_dump_json(exclude_none=True))
    moved = json.loads(json.dumps(values).replace(str(miniature.folder / "town"), str(tmp_path / "town")))
    data = miniature.section("prepare", **moved)
    miniature.run("prepare", prepared, config=data)
    with pytest.MonkeyPatch.context() as patch:
        killed_in(patch, STEP)
        run_until_killed(miniature, "pretrain", out, source=prepared / "source.csv")
    images = sorted((tmp_path / "town" / "Cityscapes" / "leftImg8bit" / "train").rglob("*.png"))
    contents = [path.read_bytes() for path in images]
    for path, content in zip(images, reversed(contents), strict=True):
        path.write_bytes(content)
    miniature.run("prepare", prepared, config=data)
    miniature.run("pretrain", out, source=prepared / "source.csv")
    assert "goes on" not in (tmp_path / "pretrain.log").read_text()


@pytest.mark.fault(18, "it trains from the start and ends with the same bits")
def test_a_finished_stage_that_is_run_again_trains_from_the_start(miniature, tmp_path):
    out = tmp_path / "pretrain"
    miniature.run("pretrain", out)
    die()
    miniature.run("pretrain", out)
    assert "goes on" not in (tmp_path / "pretrain.log").read_text()
    assert same_results(miniature, "pretrain", out)


@pytest.mark.fault(34, "files dated in 2099 and another time zone: the same bits")
def test_neither_the_dates_of_files_nor_the_time_zone_reach_the_result(miniature, progress, tmp_path, monkeypatch):
    out = tmp_path / "pretrain"
    shutil.copytree(progress("pretrain"), out)
    in_2099 = 4_070_908_800
    for path in out.rglob("*"):
        os.utime(path, (in_2099, in_2099))
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Pacific/Kiritimati")
        time.tzset()
        miniature.run("pretrain", out)
    time.tzset()
    assert "goes on after step 3" in (tmp_path / "pretrain.log").read_text()
    assert same_results(miniature, "pretrain", out)


@pytest.mark.fault(35, "locale C, umlauts and blanks in a long relative path through a link: the same bytes")
def test_the_place_and_the_locale_do_not_reach_the_result(miniature, tmp_path):
    folder = tmp_path / "Nächte am Fluß, 2. Teil" / ("lang" * 40)
    folder.mkdir(parents=True)
    (tmp_path / "Verweis").symlink_to(folder.parent)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from miniature import base_config, miniature_in\n"
        "folder = Path('Verweis', 'lang' * 40)\n"
        "miniature_in(folder, base_config()).path('pretrain', 'model.pt')\n"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "LC_ALL": "C", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (folder / "pretrain" / "model.pt").read_bytes() == miniature.path("pretrain", "model.pt").read_bytes()


# what lies between two stages


@pytest.mark.fault(15, "the next stage names the file and ends with exit code 3 before it trains")
def test_a_flipped_bit_in_a_model_is_refused_by_the_stage_that_reads_it(miniature, tmp_path):
    damaged = tmp_path / "damaged.pt"
    content = bytearray(miniature.path("pretrain", "model.pt").read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(SystemExit) as exited:
        command(warmup.run, miniature.flags("warmup", tmp_path / "out", pretrained=damaged))
    assert exited.value.code == 3
    message = (tmp_path / "out.log").read_text()
    assert f"{damaged}: its content does not match the SHA-256 in it" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["deleted", "truncated"])
@pytest.mark.fault(23, "exit code 3 with the name of the image")
def test_an_image_that_went_bad_after_prepare_is_named(miniature, tmp_path, damage):
    rows = read_manifest(miniature.path("prepare", "source.csv"))
    image = tmp_path / "image.png"
    if damage == "truncated":
        image.write_bytes(rows[0].image.read_bytes()[:100])
    write_manifest(tmp_path / "source.csv", [replace(rows[0], image=image), *rows[1:]])
    with pytest.raises(SystemExit) as exited:
        command(pretrain.run, miniature.flags("pretrain", tmp_path / "out", source=tmp_path / "source.csv"))
    assert exited.value.code == 3
    assert f"DataError: {image}: " in (tmp_path / "out.log").read_text()


# DAFormer's teacher: the public codes of DAFormer, HRDA and MIC restart it from the student when they resume


@pytest.fixture(scope="module")
def with_a_teacher(miniature, tmp_path_factory):
    """Two folders of the stage adapt with daformer: one uninterrupted, one that was killed in step 4."""
    whole, killed = tmp_path_factory.mktemp("whole") / "adapt", tmp_path_factory.mktemp("killed") / "adapt"
    miniature.run("adapt", whole, config=miniature.method("daformer"))
    die()
    with pytest.MonkeyPatch.context() as patch:
        killed_in(patch, STEP)
        run_until_killed(miniature, "adapt", killed, config=miniature.method("daformer"))
    return whole, killed


def test_daformers_teacher_survives_a_resume_so_that_the_student_ends_as_if_nothing_had_been(
    miniature, with_a_teacher, tmp_path
):
    whole, killed = with_a_teacher
    shutil.copytree(killed, tmp_path / "adapt")
    states = load_checkpoint(tmp_path / "adapt" / "state" / f"step-{STEP:07d}" / "state.pt")
    assert int(states["method"]["teacher.n_averaged"]) == STEP
    miniature.run("adapt", tmp_path / "adapt", config=miniature.method("daformer"))
    assert "goes on after step 3" in (tmp_path / "adapt.log").read_text()
    assert identical(load_checkpoint(whole / "model.pt"), load_checkpoint(tmp_path / "adapt" / "model.pt"))


@pytest.mark.fault(45, "another result without DAFormer's teacher")
def test_a_teacher_that_starts_again_gives_another_student(miniature, with_a_teacher, tmp_path, monkeypatch):
    whole, killed = with_a_teacher
    shutil.copytree(killed, tmp_path / "adapt")
    restore = DAFormer.load_state_dict

    def without_teacher(self, state):
        kept = {name: value for name, value in state.items() if not name.startswith("teacher.")}
        return restore(self, kept, strict=False)

    monkeypatch.setattr(DAFormer, "load_state_dict", without_teacher)
    miniature.run("adapt", tmp_path / "adapt", config=miniature.method("daformer"))
    assert "goes on after step 3" in (tmp_path / "adapt.log").read_text()
    assert not identical(load_checkpoint(whole / "model.pt"), load_checkpoint(tmp_path / "adapt" / "model.pt"))
