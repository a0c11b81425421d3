"""Stepping, recording, saving and stopping, on a training of one number."""

import gc
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from loopda.errors import DataError, DeviceError, Interrupted, NumericError
from loopda.models.checkpoint import load_checkpoint
from loopda.models.compute.settings import Compute
from loopda.runtime import progress, signals
from loopda.runtime.log import Log
from loopda.training import loop, metrics, state
from loopda.training.loop import Training
from loopda.training.state import save_state

COMPUTE = Compute(precision="fp32", reproducibility="seeded", memory="fast", compiled=False, skipped_steps=3)
SIGNALS = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The signal handlers of the test run come back after a training."""
    yield
    restore()


def restore() -> None:
    for number, handler in SIGNALS.items():
        signal.signal(number, handler)
    gc.collect()


def training(folder: Path, *, steps: int = 50, network: nn.Module | None = None, **changes: Any) -> Training:
    network = network or nn.Linear(1, 1)
    arguments = {
        "stage": "warmup",
        "steps": steps,
        "parts": {"network": network},
        "state": folder / "state",
        "fingerprint": "same",
        "seed": 0,
        "images": 4,
        "device": torch.device("cpu"),
        "log": Log(folder / "log.txt", "warmup"),
        "compute": COMPUTE,
    }
    return Training(**arguments | changes)


def number(step: int) -> torch.Tensor:
    return torch.tensor(float(step))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "state").glob("step-*"))


def test_every_step_comes_once_in_order_with_its_own_batch(tmp_path):
    seen = [(step, float(batch)) for step, batch in training(tmp_path, steps=7).over(number)]
    assert seen == [(step, float(step)) for step in range(1, 8)]


def test_a_record_averages_the_steps_since_the_one_before(tmp_path):
    run = training(tmp_path, steps=50)
    for step, batch in run.over(number):
        run.record(loss=batch, **({"rare": 1.0} if step == 30 else {}))
    found = records(run.metrics_path)
    assert [line["step"] for line in found] == [20, 40, 50]
    assert [line["loss"] for line in found] == [10.5, 30.5, 45.5]
    assert [line.get("rare") for line in found] == [None, 1.0, None]
    assert all(line["images_per_second"] > 0 and line["seconds"] >= 0 for line in found)


def test_randomness_in_a_step_depends_on_seed_stage_and_step_alone(tmp_path):
    def drawn(name: str, **changes: Any) -> list[float]:
        numbers = [float(torch.rand(())) for _ in training(tmp_path / name, steps=5, **changes).over(number)]
        restore()
        return numbers

    (tmp_path / "log.txt").touch()
    for name in "abcd":
        (tmp_path / name).mkdir()
    first = drawn("a")
    torch.manual_seed(123)
    assert drawn("b") == first
    assert len(set(first)) == 5
    assert not set(drawn("c", seed=1)) & set(first)
    assert not set(drawn("d", stage="self_train")) & set(first)


@pytest.mark.fault(33, "the same batches in the same order")
def test_the_number_of_loading_threads_changes_no_batch(tmp_path):
    for workers in (0, 1, 3):
        folder = tmp_path / str(workers)
        folder.mkdir()
        seen = [float(batch) for _, batch in training(folder, steps=9).over(number, workers=workers)]
        assert seen == [float(step) for step in range(1, 10)]


def test_progress_lines_appear_in_the_log_without_a_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("loopda.runtime.log.QUIET_SECONDS", 0.0)
    run = training(tmp_path, steps=45)
    assert not run.log.terminal
    for _, batch in run.over(number):
        run.record(seg_d=batch)
    line = r"step (\d+)/45  [\d.]+ images/s  \d+:\d\d:\d\d left  seg_d \d+\.\d{3}"
    assert re.findall(line, (tmp_path / "log.txt").read_text()) == ["20", "40", "45"]
    shown = capsys.readouterr().err
    assert re.findall(f"warmup: {line}", shown) == ["20", "40", "45"]
    assert "\r" not in shown


def test_progress_lines_keep_15_seconds_apart_without_a_terminal(tmp_path):
    log = Log(tmp_path / "log.txt", "warmup")
    for step in range(100):
        log.progress(f"step {step}")
    log.progress("step 100", final=True)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["step 0", "step 100"]


@pytest.mark.fault(42, "cut back to the saved step, each step once")
def test_a_resumed_training_cuts_the_records_back_to_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "RECORD_STEPS", 1)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    run = training(tmp_path, steps=6)
    for step, batch in run.over(number):
        run.record(loss=batch)
        if step == 4:
            break
    del run
    restore()
    assert checkpoints(tmp_path) == ["step-0000002", "step-0000003"]
    with open(tmp_path / "state" / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "seconds": 1.0, "loss": 99.0}\n{"step": 5, "sec')
    run = training(tmp_path, steps=6)
    assert run.step == 3
    for _, batch in run.over(number):
        run.record(loss=batch)
    assert [(line["step"], line["loss"]) for line in records(run.metrics_path)] == [
        (step, float(step)) for step in range(1, 7)
    ]
    seconds = [line["seconds"] for line in records(run.metrics_path)]
    assert seconds == sorted(seconds)


@pytest.mark.fault(39, "the message holds the host and the pid of the first")
def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path):
    first = training(tmp_path)
    with pytest.raises(DataError, match=rf"another process \(.* pid {os.getpid()} since .*\) is writing it"):
        training(tmp_path)
    assert first.step == 0


@pytest.mark.fault(7, "the second process that would train here is refused by the name of the first")
def test_a_second_process_is_refused_while_the_first_lives_and_admitted_after(tmp_path):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys\n"
            "file = open(sys.argv[1], 'a+')\n"
            "fcntl.flock(file, fcntl.LOCK_EX)\n"
            "file.write('elsewhere pid 1'); file.flush()\n"
            "print('held', flush=True); sys.stdin.read()",
            tmp_path / ".state.lock",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataError, match="elsewhere pid 1"):
            training(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    assert training(tmp_path).step == 0


def test_a_finished_training_gives_back_its_lock_and_the_signal_handlers(tmp_path):
    run = training(tmp_path, steps=2)
    for _, batch in run.over(number):
        run.record(loss=batch)
    run.publish(tmp_path / "metrics.jsonl")
    del run
    gc.collect()
    assert signal.getsignal(signal.SIGTERM) == SIGNALS[signal.SIGTERM]
    assert training(tmp_path, steps=2).step == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.fault(26, "exit code 5, and no saved state holds it")
def test_a_loss_that_is_not_finite_stops_the_training_before_it_is_saved(tmp_path, bad, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    network = nn.Linear(1, 1)
    run = training(tmp_path, network=network)

    def train() -> None:
        for step, _ in run.over(number):
            if step == 4:
                nn.init.constant_(network.weight, math.nan)
            run.record(seg_d=torch.tensor(bad if step == 4 else 1.0))

    with pytest.raises(NumericError, match="seg_d became") as raised:
        train()
    assert raised.value.exit_code == 5
    assert checkpoints(tmp_path) == ["step-0000002", "step-0000003"]
    for name in checkpoints(tmp_path):
        weights = load_checkpoint(tmp_path / "state" / name / "state.pt")["network"]["weight"]
        assert weights.isfinite().all()


@pytest.mark.fault(26, "exit code 5, and no saved state holds them")
def test_weights_that_are_not_finite_are_never_saved_even_if_the_loss_before_was(tmp_path, monkeypatch):
    """A finite loss can have an infinite gradient; saved, it would spoil every later attempt to go on."""
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    network = nn.Linear(1, 1)
    run = training(tmp_path, network=network)

    def train() -> None:
        for step, _ in run.over(number):
            spoilt = bool(network.weight.isnan())
            run.record(seg_d=torch.tensor(math.nan if spoilt else 1.0))
            if step == 4:
                nn.init.constant_(network.weight, math.nan)

    with pytest.raises(NumericError):
        train()
    for name in checkpoints(tmp_path):
        weights = load_checkpoint(tmp_path / "state" / name / "state.pt")["network"]["weight"]
        assert weights.isfinite().all(), name


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.fault(6, "the step is saved and the training stops with exit code 75")
def test_a_signal_ends_the_step_saves_it_and_stops(tmp_path, sent):
    run = training(tmp_path)
    done = []

    def train() -> None:
        for step, batch in run.over(number):
            if step == 5:
                os.kill(os.getpid(), sent)
            done.append(step)
            run.record(loss=batch)

    with pytest.raises(Interrupted) as raised:
        train()
    assert raised.value.exit_code == 75
    assert done == [1, 2, 3, 4, 5]
    assert checkpoints(tmp_path) == ["step-0000005"]
    assert [line["step"] for line in records(run.metrics_path)] == [5]


def test_a_signal_in_the_last_step_does_not_stop_a_training_that_is_done(tmp_path):
    run = training(tmp_path, steps=3)
    for step, batch in run.over(number):
        run.record(loss=batch)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
    assert run.step == 3
    assert checkpoints(tmp_path) == ["step-0000003"]


@pytest.mark.fault(3, "the second one ends a training at once")
@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (signal.SIGINT, signal.SIGINT, 60.0),
        (signal.SIGTERM, signal.SIGINT, 60.0),
        (signal.SIGTERM, signal.SIGTERM, 0.0),
    ],
)
def test_a_second_signal_ends_the_process_at_once(tmp_path, monkeypatch, first, second, together):
    monkeypatch.setattr(signals, "TOGETHER", together)
    pid = os.fork()
    if pid == 0:
        run = training(tmp_path)
        for _ in run.over(number, workers=0):
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), second)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == second
    assert checkpoints(tmp_path) == []


def test_sigterm_twice_in_a_row_as_slurm_sends_it_is_one_request_to_save_and_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "TOGETHER", 60.0)
    run = training(tmp_path)

    def train() -> None:
        for _ in run.over(number):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train()
    assert checkpoints(tmp_path) == ["step-0000001"]


class FullDisk:
    """In the place of `loop.save_state`: fails as it does on a full disk in the given attempts, counted from 1."""

    def __init__(self, *failing: int):
        self.failing, self.attempts = failing, 0

    def __call__(self, *arguments: Any) -> None:
        self.attempts += 1
        if self.attempts in self.failing:
            raise DeviceError("cannot save the progress (No space left on device)")
        save_state(*arguments)


@pytest.mark.fault(10, "the older checkpoint stays, a warning says why, and the training goes on")
def test_a_disk_that_is_full_for_two_checkpoints_is_a_warning_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "save_state", FullDisk(3, 4, 6, 7))
    run = training(tmp_path, steps=9)
    for step, batch in run.over(number):
        run.record(loss=batch)
        if step == 5:
            assert checkpoints(tmp_path) == ["step-0000001", "step-0000002"]
    assert checkpoints(tmp_path) == ["step-0000008", "step-0000009"]
    assert [line["step"] for line in records(run.metrics_path)] == list(range(1, 10))
    assert (tmp_path / "log.txt").read_text().count("No space left on device") == 4


@pytest.mark.parametrize(("failing", "stopped"), [((3, 4, 5), 5), ((9,), 9)], ids=["three in a row", "the last one"])
@pytest.mark.fault(10, "after three checkpoints in a row that could not be saved the stage ends with exit code 4")
def test_a_disk_that_stays_full_ends_the_training(tmp_path, monkeypatch, failing, stopped):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "save_state", FullDisk(*failing))
    run = training(tmp_path, steps=9)

    def train() -> None:
        for _, batch in run.over(number):
            run.record(loss=batch)

    with pytest.raises(DeviceError, match="No space left") as raised:
        train()
    assert raised.value.exit_code == 4
    assert run.step == stopped


def test_records_that_could_not_be_written_come_with_the_next_that_can(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "RECORD_STEPS", 1)
    append, full = metrics.append_text, iter([False, True, True])

    def failing(path: Path, text: str) -> None:
        if next(full, False):
            raise DeviceError("full")
        append(path, text)

    monkeypatch.setattr(metrics, "append_text", failing)
    run = training(tmp_path, steps=4)
    for _, batch in run.over(number):
        run.record(loss=batch)
    assert [line["step"] for line in records(run.metrics_path)] == [1, 2, 3, 4]


@pytest.mark.fault(4, "the checkpoint that is being saved is finished, and the next step stops")
def test_a_signal_while_a_checkpoint_is_saved_leaves_a_valid_one(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    write = state._write_state

    def signalled(path: Path, content: object) -> None:
        if "0000003" in str(path):
            os.kill(os.getpid(), signal.SIGTERM)
        write(path, content)

    monkeypatch.setattr(state, "_write_state", signalled)
    run = training(tmp_path, steps=9)

    def train() -> None:
        for _, batch in run.over(number):
            run.record(loss=batch)

    with pytest.raises(Interrupted):
        train()
    assert run.step == 4
    assert training(tmp_path, steps=9).step == 4


@pytest.mark.fault(5, "what a process that was killed while it saved has left is removed by the next one")
def test_leftovers_of_a_process_that_was_killed_while_it_saved_are_removed(tmp_path):
    half = tmp_path / "state" / ".step-0000007.123"
    half.mkdir(parents=True)
    (half / "state.pt").write_bytes(b"half")
    (tmp_path / ".model.123.456.part.pt").write_bytes(b"half")
    assert training(tmp_path).step == 0
    assert not half.exists()
    assert not (tmp_path / ".model.123.456.part.pt").exists()


def test_publishing_moves_the_records_to_their_place_and_drops_the_progress(tmp_path):
    run = training(tmp_path, steps=3)
    for _, batch in run.over(number):
        run.record(loss=batch)
    run.publish(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in records(tmp_path / "metrics.jsonl")] == [3]
    assert not (tmp_path / "state").exists()


def test_progress_without_its_records_still_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    run = training(tmp_path, steps=4)
    for step, batch in run.over(number):
        run.record(loss=batch)
        if step == 3:
            break
    del run
    restore()
    (tmp_path / "state" / "metrics.jsonl").unlink()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    run = training(tmp_path, steps=4)
    for _, batch in run.over(number):
        run.record(loss=batch)
    assert [line["step"] for line in records(run.metrics_path)] == [3, 4]


def trained_until(folder: Path, last: int, *, won: range) -> list[str]:
    """Train up to step `last` of 400 with a discriminator that errs nowhere in the steps `won`.

    Returns the warnings that this process has added to the log.
    """
    before = warned(folder)
    run = training(folder, steps=400)
    for step, _ in run.over(number):
        run.record(discriminator_night=0.001 if step in won else 1.5 + 0.1 * math.sin(step))
        if step == last:
            break
    del run
    restore()
    return warned(folder)[len(before) :]


def warned(folder: Path) -> list[str]:
    log = folder / "log.txt"
    return re.findall(r"warning: (.*)", log.read_text()) if log.exists() else []


@pytest.mark.fault(28, "the log says it once, even if it ends, and the status shows it as long as the stage is there")
def test_a_discriminator_that_has_collapsed_is_logged_once_and_in_the_status_from_then_on(tmp_path):
    (warning,) = trained_until(tmp_path, 400, won=range(1, 301))
    assert warning.startswith("from step 1 to 200 discriminator_night stayed below ")
    assert progress.read(tmp_path / "log.txt")["warnings"] == [warning]


def test_a_healthy_discriminator_has_no_warning(tmp_path):
    assert trained_until(tmp_path, 400, won=range(1, 181)) == []
    assert progress.read(tmp_path / "log.txt")["warnings"] == []


@pytest.mark.fault(28, "a training that is resumed warns as if it had not been interrupted, and repeats nothing")
def test_a_resumed_training_knows_the_warnings_of_the_records_that_it_keeps(tmp_path):
    assert trained_until(tmp_path, 190, won=range(1, 301)) == []
    (warning,) = trained_until(tmp_path, 350, won=range(1, 301))
    assert warning.startswith("from step 1 to 200 ")
    assert trained_until(tmp_path, 360, won=range(1, 301)) == []
    assert progress.read(tmp_path / "log.txt")["warnings"] == [warning]

    # back to before the warning, which is not true any more
    for name in checkpoints(tmp_path):
        shutil.rmtree(tmp_path / "state" / name)
    assert trained_until(tmp_path, 150, won=range(0)) == []
    assert progress.read(tmp_path / "log.txt")["warnings"] == []
