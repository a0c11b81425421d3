"""Stepping, timing, saving and resuming: a stage's loop holds its algorithm alone.

training = Training(...)
for step, batch in training.over(make_batch):
    ...                              # the algorithm
    training.descend(loss, optimizer)
    training.record(loss=loss)
training.publish(metrics)            # after the stage has written its results
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loopda.data.batches import on_device, pinned
from loopda.data.dataset import files_read
from loopda.data.sampling import prefetched
from loopda.errors import DataError, DeviceError, Interrupted, NumericError
from loopda.models.compute.precision import computing_in
from loopda.models.compute.settings import Compute
from loopda.randomness import seed_torch
from loopda.runtime import distributed, processes
from loopda.runtime.files import take_lock, write_text
from loopda.runtime.log import Log, duration
from loopda.runtime.progress import report_progress
from loopda.runtime.signals import received, remembered
from loopda.training.guard import Guard
from loopda.training.metrics import MetricsWriter
from loopda.training.optimizer import Backward
from loopda.training.state import load_state, remove_orphans, save_state

SAVE_SECONDS = 60.0  # between two checkpoints
MOST_FAILURES = 3  # checkpoints in a row that could not be saved
RECORD_STEPS = 20  # steps that one line of metrics.jsonl averages
ANCHORS = 20  # checkpoints at fixed steps, so that resuming changes nothing: a training can go back to the last ones

AnyBatch = TypeVar("AnyBatch")


class UncheckedStep(NamedTuple):
    """A finished step: its number, whether its updates were finite (a bool on the device), and its recorded values."""

    step: int
    finite: Tensor
    values: dict[str, Tensor | float]


class Training:
    """The steps 1 ... `steps` of a stage; those that an earlier process has done and saved are not repeated.

    parts: every module and optimiser that a step changes, by name; all are saved and restored together.
    state: the folder of the progress, beside the declared outputs (Snakemake deletes those when a job fails).
    images: the number of images per step, for the speed. seed: before each step PyTorch's random generator is seeded
    from (seed, stage, step), so that no generator's state has to be kept.
    compute: the precision of the networks within `over`, and how many steps in a row may be skipped because their loss
    or gradient is not finite. After that many, the training goes back to an earlier state, and on with the next
    batches. If it happens again, or there is no such state yet, a NumericError names the files of the batch.

    Several processes take the same steps. Each loads the progress; the first alone saves it and writes the metrics. A
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
        self.failures = 0  # of saving, in a row
        self.values: dict[str, Tensor | float] = {}  # recorded by the step in progress
        self.unchecked: list[UncheckedStep] = []
        self._lock = take_lock(state) if processes.is_first() else None
        if processes.is_first():
            remove_orphans(state)
        self.step = load_state(state, self.parts, fingerprint, log.say)
        self._synchronize()
        self.metrics = MetricsWriter(self.metrics_path, writes=processes.is_first(), until=self.step)

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
        self.elapsed = self.metrics.seconds
        report_progress(self.log.path, step=self.step, steps=self.steps, warnings=list(self.metrics.warnings.values()))
        try:
            with remembered(), computing_in(self.compute.precision, compiled=self.compute.compiled):
                if self.device.type == "cuda":
                    make = partial(_pinned, make)
                for batch in prefetched(make, range(self.step + 1, self.steps + 1), workers=workers):
                    seed_torch(self.seed, self.stage, self.step + 1)
                    yield self.step + 1, on_device(batch, self.device)
                    self.step += 1
                    self._after_step()
        finally:
            if self._lock and self.step < self.steps:
                self._lock.release()
        self.log.progress(f"step {self.step}/{self.steps} done", final=True)

    def descent(self, *optimizers: Optimizer) -> AbstractContextManager[Backward]:
        """As `optimizer.descent`: one step of each optimiser along the summed gradient of the block's backward passes.

        No step where a loss or the gradient is not finite (training/guard.py).
        """
        return self.guard.descent(*optimizers)

    def descend(self, loss: Tensor, *optimizers: Optimizer) -> None:
        """One step of each optimiser along the gradient of `loss`; no step where either is not finite."""
        self.guard.descend(loss, *optimizers)

    def record(self, **values: Tensor | float) -> None:
        """Add values of this step to the averages in metrics.jsonl; a value may be absent from some steps.

        The values of a skipped step do not count.
        """
        for name, value in values.items():
            self.values[name] = value.detach() if isinstance(value, Tensor) else value

    def publish(self, metrics: Path) -> None:
        """Copy the metrics to their declared place and drop the progress: the stage is done."""
        if not self._lock:
            return
        write_text(metrics, self.metrics.text())
        shutil.rmtree(self.state, ignore_errors=True)
        self._lock.release()

    def _synchronize(self) -> None:
        """Check that all processes resume after the same step, and give them the weights of the first."""
        steps = [step for (step,) in distributed.gather_integers([self.step])]
        if len(set(steps)) > 1:
            raise DataError(
                f"{self.state}: the processes find progress up to the steps {steps}; results must lie in a folder that "
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
        self.unchecked.append(UncheckedStep(self.step, self.guard.all_finite(), self.values))
        self.values = {}
        if complete or self.guard.synchronous:
            self._check_steps()
        if complete and self.metrics.has_new:
            self._write_metrics(now)
        if due:
            self._check_weights()
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
        """Save metrics and state. DeviceError where the final save fails, or MOST_FAILURES saves in a row."""
        try:
            self.metrics.flush()
            save_state(self.state, self.step, self.parts, self.fingerprint, self.anchor_steps)
            self.failures = 0
        except DeviceError as error:
            self.failures += 1
            if final or self.failures == MOST_FAILURES:
                raise
            self.log.say(f"{error} (failure {self.failures}; the training goes on, and ends at {MOST_FAILURES})")

    def _check_steps(self) -> None:
        """Add the values of the unchecked steps to the metrics, or count them as skipped."""
        steps, self.unchecked = self.unchecked, []
        for step, finite in zip(steps, self.guard.check([step.finite for step in steps]), strict=True):
            if finite:
                self.metrics.add(step.values)
            else:
                self.metrics.skip()
                # in fp16 the scale of the losses may have been too large, which says nothing about the batch
                cause = "the scale of the losses is halved" if self.guard.scaled else self._files(step.step)
                self.log.say(f"step {step.step} is skipped: its loss or gradient is not finite; {cause}")
        if self.guard.exhausted:
            self._go_back()

    def _go_back(self) -> None:
        """Load the last anchor before the skipped steps; NumericError the second time, or where there is none."""
        guard, before = self.guard.state_dict(), self.step - self.guard.skipped_in_a_row
        found = 0
        if not self.guard.gone_back:
            found = load_state(self.state, self.parts, self.fingerprint, lambda _: None, self.anchor_steps, before)
        if not found:
            again, skipped = ", again" if self.guard.gone_back else "", self.guard.skipped_in_a_row
            raise NumericError(
                f"{self.stage}: the loss or the gradient is not finite{again}, in {skipped} steps in a row up to step "
                f"{self.step}. Look at its batch ({self._files(self.step)}), lower the learning rate, or choose "
                f"compute.precision fp32. The last good progress is in {self.state}"
            )
        distributed.wait()  # until all have read it, for the first goes on to write
        self.guard.load_state_dict({**guard, "skipped_in_a_row": 0, "gone_back": True})
        self.log.say(f"goes back to the networks of step {found}, and on with the batch of step {self.step + 1}")

    def _files(self, step: int) -> str:
        """The files of the images of `step`, for a message."""
        with files_read() as files:
            self.make(step)
        return "its images: " + ", ".join(map(str, dict.fromkeys(files)))

    def _write_metrics(self, now: float) -> None:
        means, skipped = self.metrics.averages()
        for name, value in means.items():
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
            **({"skipped": skipped} if skipped else {}),
            **{name: round(value, 6) for name, value in means.items()},
        }
        for warning in self.metrics.write(line):
            self.log.say(f"warning: {warning}")
        left = (self.steps - self.step) * seconds / max(self.step - self.first, 1)
        warnings = list(self.metrics.warnings.values())
        report_progress(self.log.path, step=self.step, steps=self.steps, seconds_left=round(left, 1), warnings=warnings)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        self.log.progress(f"step {self.step}/{self.steps}  {speed:.1f} images/s  {duration(left)} left  {shown}")

    def _check_weights(self) -> None:
        for name, part in self.parts.items():
            if isinstance(part, nn.Module):
                for key, value in part.state_dict().items():
                    if value.is_floating_point() and not value.isfinite().all():
                        raise NumericError(
                            f"{self.stage}: {name}.{key} is not finite after step {self.step}; lower the learning "
                            f"rate. The last good progress is in {self.state}"
                        )


def _pinned(make: Callable[[int], AnyBatch], step: int) -> AnyBatch:
    return pinned(make(step))


def _gpu_memory(device: torch.device) -> dict[str, float]:
    """The peak of this process's tensors on a GPU so far, in MB; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    return {"gpu_memory_mb": round(torch.cuda.max_memory_allocated(device) / 1e6, 1)}
