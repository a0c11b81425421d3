"""Stepping, timing, saving and resuming, so that a stage's loop holds nothing but its algorithm.

training = Training(...)
for step, batch in training.over(make_batch):
    ...                              # the algorithm
    training.descend(loss, optimizer)
    training.record(loss=loss)
training.publish(metrics)            # after the stage has written its results
"""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.config import Section
from loopda.data.batches import on_device, pinned
from loopda.data.dataset import files_read
from loopda.data.sampling import prefetched
from loopda.errors import DataError, DeviceError, Interrupted, NumericError
from loopda.models.compute.precision import computing_in
from loopda.models.compute.settings import Compute
from loopda.randomness import seed_torch
from loopda.runtime import distributed, processes
from loopda.runtime.files import append_text, release, sha256, take_lock, write_text
from loopda.runtime.log import Log, duration
from loopda.runtime.progress import tell
from loopda.runtime.signals import received, remembered
from loopda.training.collapse import collapsed
from loopda.training.guard import Guard
from loopda.training.optimizer import Learn
from loopda.training.state import load_state, remove_orphans, save_state

SAVE_SECONDS = 60.0  # between two checkpoints
MOST_FAILURES = 3  # checkpoints in a row that could not be saved
RECORD_STEPS = 20  # steps that one line of metrics.jsonl averages
ANCHORS = 20  # checkpoints of a training that it can go back to: at steps, not times, so that resuming changes nothing

AnyBatch = TypeVar("AnyBatch")


class Unjudged(NamedTuple):
    """A step that is done: its number, whether its updates were finite, and what it recorded."""

    step: int
    finite: Tensor
    values: dict[str, Tensor | float]


class Training:
    """The steps 1 ... `steps` of a stage, of which an earlier process may have done some.

    parts: every module and optimiser that a step changes, by name; all of them are saved and restored together.
    state: the folder of the progress, beside the declared outputs (Snakemake deletes those when a job fails).
    images: images consumed per step, for the speed. Before each step PyTorch's random generator is seeded from
    (seed, stage, step), so no generator's state has to be kept.
    compute: in which precision networks compute within `over`, and how many steps in a row may be skipped because their
    loss or gradient is not finite. Then the training goes back to an earlier state, while the order of batches goes on;
    where it happens again, or there is no such state yet, a NumericError names the files of the batch.

    Of several processes all step alike. Each loads the progress, which the first saves for all, as it writes records; a
    signal to one of them stops all after the same step. DataError where they do not find the same progress.
    """

    def __init__(
        self,
        *,
        stage: str,
        steps: int,
        parts: Mapping[str, Any],
        state: Path,
        fingerprint: str,
        seed: int,
        images: int,
        device: torch.device,
        log: Log,
        compute: Compute,
    ):
        self.device, self.compute = device, compute
        self.stage, self.steps, self.seed, self.images = stage, steps, seed, images
        self.guard = Guard(parts, compute, device)
        self.parts = {**parts, "guard": self.guard}
        self.anchor_steps = max(RECORD_STEPS, steps // ANCHORS)
        self.state, self.fingerprint, self.log = state, fingerprint, log
        self.unwritten = ""  # lines of metrics.jsonl
        self.failures = 0  # of saving, in a row
        self.noted: dict[str, Tensor | float] = {}  # by the step in progress
        self.unjudged: list[Unjudged] = []
        self.pending: dict[str, tuple[Tensor | float, int]] = {}  # sum and number of values
        self.skipped = 0  # steps since the last line of metrics.jsonl
        self._lock = take_lock(state) if processes.is_first() else None
        if processes.is_first():
            remove_orphans(state)
        self.step = load_state(state, self.parts, fingerprint, log.say)
        self._start_alike()
        self.history: list[dict[str, Any]] = []  # the lines of metrics.jsonl, of the first process
        self.warnings: dict[str, str] = {}  # of discriminators, by the names of their losses
        for record in _cut_back(self.metrics_path, self.step) if processes.is_first() else []:
            self._look_at(record)

    @property
    def metrics_path(self) -> Path:
        return self.state / "metrics.jsonl"

    @property
    def signal(self) -> int:
        """The number of the signal that asked the process to end, or 0."""
        return received()

    def over(self, make: Callable[[int], AnyBatch], *, workers: int = 1) -> Iterator[tuple[int, AnyBatch]]:
        """Yield (step, make(step)) for each step that remains; `workers` threads make the batches ahead of use."""
        self.make = make
        self.started = time.monotonic()
        self.first, self.saved = self.step, self.started
        self.elapsed = self.history[-1]["seconds"] if self.history else 0.0
        tell(self.log.path, step=self.step, steps=self.steps, warnings=list(self.warnings.values()))
        try:
            with remembered(), computing_in(self.compute.precision, compiled=self.compute.compiled):
                if self.device.type == "cuda":
                    make = partial(_pinned, make)
                for batch in prefetched(make, first=self.step + 1, last=self.steps, workers=workers):
                    seed_torch(self.seed, self.stage, self.step + 1)
                    yield self.step + 1, on_device(batch, self.device)
                    self.step += 1
                    self._after_step()
        finally:
            if self._lock and self.step < self.steps:
                release(self._lock)
        self.log.progress(f"step {self.step}/{self.steps} done", final=True)

    def descent(self, *optimizers: Optimizer) -> AbstractContextManager[Learn]:
        """One step of each optimiser along the gradient of the losses that the block learns; none where these or the
        gradient are not finite (loopda/training/guard.py)."""
        return self.guard.descent(*optimizers)

    def descend(self, loss: Tensor, *optimizers: Optimizer) -> None:
        """One step of each optimiser along the gradient of `loss`; none where one of the two is not finite."""
        self.guard.descend(loss, *optimizers)

    def record(self, **values: Tensor | float) -> None:
        """Add values of this step to the averages that metrics.jsonl shows; a value may be absent from some steps.

        Those of a skipped step do not count.
        """
        for name, value in values.items():
            self.noted[name] = value.detach() if isinstance(value, Tensor) else value

    def publish(self, metrics: Path) -> None:
        """Copy the metrics to their declared place and drop the progress: the stage is done."""
        if not self._lock:
            return
        write_text(metrics, self.metrics_path.read_text(encoding="utf-8") if self.metrics_path.exists() else "")
        shutil.rmtree(self.state, ignore_errors=True)
        release(self._lock)

    def _start_alike(self) -> None:
        """Give every process the weights of the first."""
        found = [step for (step,) in distributed.everyones([self.step])]
        if len(set(found)) > 1:
            raise DataError(
                f"{self.state}: the processes find progress up to the steps {found}; results must lie in a folder that "
                "all nodes share"
            )
        for part in self.parts.values():
            if isinstance(part, nn.Module):
                distributed.broadcast([*part.parameters(), *part.buffers()])

    def _after_step(self) -> None:
        now = time.monotonic()
        last, signal = self.step == self.steps, distributed.largest(self.signal)
        due = last or now - self.saved >= SAVE_SECONDS or signal != 0 or self.step % self.anchor_steps == 0
        complete = self.step % RECORD_STEPS == 0 or due
        self.unjudged.append(Unjudged(self.step, self.guard.verdict(), self.noted))
        self.noted = {}
        if complete or self.guard.prompt:
            self._judge()
        if complete and (self.pending or self.skipped):
            self._record(now)
        if due:
            self._refuse_broken_weights()
            if self._lock:
                self._save(final=last or signal != 0)
            self.saved = now
        if signal and not last:
            distributed.wait()  # until the first has saved: torchrun ends the others when one ends
            raise Interrupted(
                f"stopped by signal {signal} after step {self.step}, which is saved; "
                "the same command goes on from there"
            )

    def _save(self, *, final: bool) -> None:
        """Save records and state. DeviceError where that fails the last time, or MOST_FAILURES times in a row."""
        try:
            append_text(self.metrics_path, self.unwritten)
            self.unwritten = ""
            save_state(self.state, self.step, self.parts, self.fingerprint, self.anchor_steps)
            self.failures = 0
        except DeviceError as error:
            self.failures += 1
            if final or self.failures == MOST_FAILURES:
                raise
            self.log.say(f"{error} (failure {self.failures}; the training goes on, and ends at {MOST_FAILURES})")

    def _judge(self) -> None:
        """Count the steps since the last time: what they recorded, or that they were skipped."""
        steps, self.unjudged = self.unjudged, []
        for one, finite in zip(steps, self.guard.judge([one.finite for one in steps]), strict=True):
            if finite:
                for name, value in one.values.items():
                    total, count = self.pending.get(name, (0.0, 0))
                    self.pending[name] = (total + value, count + 1)
            else:
                self.skipped += 1
                # in fp16 the scale of the losses may have been too large, which says nothing about the batch
                batch = "the scale of the losses is halved" if self.guard.scaled else self._batch(one.step)
                self.log.say(f"step {one.step} is skipped: its loss or gradient is not finite; {batch}")
        if self.guard.exhausted:
            self._go_back()

    def _go_back(self) -> None:
        """To the last state of a step of the schedule before those that were skipped, once."""
        now, before = self.guard.state_dict(), self.step - self.guard.in_a_row
        found = 0
        if not self.guard.gone_back:
            found = load_state(self.state, self.parts, self.fingerprint, lambda _: None, self.anchor_steps, before)
        if not found:
            again = ", again" if self.guard.gone_back else ""
            raise NumericError(
                f"{self.stage}: the loss or the gradient is not finite{again}, in {self.guard.in_a_row} steps in a row "
                f"up to step {self.step}. Look at its batch ({self._batch(self.step)}), lower the learning rate, or "
                f"choose compute.precision fp32. The last good progress is in {self.state}"
            )
        distributed.wait()  # until all have read it, for the first goes on to write
        self.guard.load_state_dict({**now, "in_a_row": 0, "gone_back": True})
        self.log.say(f"goes back to the networks of step {found}, and on with the batch of step {self.step + 1}")

    def _batch(self, step: int) -> str:
        """The files of the images that `step` saw."""
        with files_read() as files:
            self.make(step)
        return "its images: " + ", ".join(map(str, dict.fromkeys(files)))

    def _record(self, now: float) -> None:
        losses = {name: float(total) / count for name, (total, count) in self.pending.items()}
        skipped, self.pending, self.skipped = {"skipped": self.skipped} if self.skipped else {}, {}, 0
        for name, value in losses.items():
            if not math.isfinite(value):
                raise NumericError(
                    f"{self.stage}: {name} became {value} before step {self.step}; lower the learning rate. "
                    f"The last good progress is in {self.state}"
                )
        if not self._lock:
            return
        seconds = now - self.started
        speed = (self.step - self.first) * self.images / max(seconds, 1e-9)
        line = {
            "step": self.step,
            "seconds": round(self.elapsed + seconds, 2),
            "images_per_second": round(speed, 2),
            **_gpu_memory(self.device),
            **skipped,
            **{name: round(value, 6) for name, value in losses.items()},
        }
        self.unwritten += json.dumps(line) + "\n"
        with suppress(DeviceError):  # the next checkpoint says it, and tries again
            append_text(self.metrics_path, self.unwritten)
            self.unwritten = ""
        for warning in self._look_at(line):
            self.log.say(f"warning: {warning}")
        left = (self.steps - self.step) * seconds / max(self.step - self.first, 1)
        warnings = list(self.warnings.values())
        tell(self.log.path, step=self.step, steps=self.steps, seconds_left=round(left, 1), warnings=warnings)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.log.progress(f"step {self.step}/{self.steps}  {speed:.1f} images/s  {duration(left)} left  {shown}")

    def _look_at(self, record: dict[str, Any]) -> list[str]:
        """Add a record to the history; returns what it warns of for the first time."""
        self.history.append(record)
        new = {name: text for name, text in collapsed(self.history).items() if name not in self.warnings}
        self.warnings |= new
        return list(new.values())

    def _refuse_broken_weights(self) -> None:
        for name, part in self.parts.items():
            if isinstance(part, nn.Module):
                for key, value in part.state_dict().items():
                    if value.is_floating_point() and not value.isfinite().all():
                        raise NumericError(
                            f"{self.stage}: {name}.{key} is not finite after step {self.step}; lower the learning "
                            f"rate. The last good progress is in {self.state}"
                        )


def fingerprint(config: Section, inputs: Mapping[str, Path], seed: int) -> str:
    """What a stage's progress depends on: configuration, seed, the content of its inputs, and the package's code.

    Not on compute.memory and compute.compiled, which change rounding at most, and what dropout draws: so a stage that
    ran out of memory goes on with less, for which nothing may be compiled.
    """
    digest = hashlib.sha256()
    values = config.model_dump(mode="json")
    for manner in ("memory", "compiled"):
        values.get("compute", {}).pop(manner, None)
    digest.update(json.dumps([values, seed], sort_keys=True).encode())
    for name, path in sorted(inputs.items()):
        digest.update(f"{name} {sha256(path)}".encode())
    package = Path(__file__).parents[1]
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode())
        digest.update(source.read_bytes())
    digest.update(torch.__version__.encode())
    return digest.hexdigest()


def _pinned(make: Callable[[int], AnyBatch], step: int) -> AnyBatch:
    return pinned(make(step))


def _gpu_memory(device: torch.device) -> dict[str, float]:
    """The most memory that tensors of this process took on a GPU so far, in MB; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    return {"gpu_memory_mb": round(torch.cuda.max_memory_allocated(device) / 1e6, 1)}


def _cut_back(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the records after `step`, and a half-written last line; returns what stays."""
    kept = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                break
            if record["step"] > step:
                break
            kept.append(record)
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept
