"""Stepping, timing, saving and resuming, so that a stage's loop holds nothing but its algorithm.

training = Training(...)
for step, batch in training.over(make_batch):
    ...                              # the algorithm
    training.record(loss=loss)
training.publish(metrics)            # after the stage has written its results
"""

import fcntl
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from loopda.config import Section
from loopda.data.batches import on_device, pinned
from loopda.data.sampling import prefetched
from loopda.errors import DataError, DeviceError, Interrupted, NumericError
from loopda.files import sha256, write_text
from loopda.randomness import seed_torch
from loopda.training.log import Log, duration
from loopda.training.signals import Signals
from loopda.training.state import load_state, save_state

SAVE_SECONDS = 60.0  # between two checkpoints
RECORD_STEPS = 20  # steps that one line of metrics.jsonl averages

AnyBatch = TypeVar("AnyBatch")


class Training:
    """The steps 1 ... `steps` of a stage, of which an earlier process may have done some.

    parts: every module and optimiser that a step changes, by name; all of them are saved and restored together.
    state: the folder of the progress, beside the declared outputs (Snakemake deletes those when a job fails).
    images: images consumed per step, for the speed. Before each step PyTorch's random generator is seeded from
    (seed, stage, step), so no generator's state has to be kept.
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
    ):
        self.device = device
        self.stage, self.steps, self.parts, self.seed, self.images = stage, steps, parts, seed, images
        self.state, self.fingerprint, self.log = state, fingerprint, log
        self.pending: dict[str, tuple[Tensor | float, int]] = {}  # sum and number of values
        self.signals = Signals()
        self._lock = _lock(state)
        self.step = load_state(state, parts, fingerprint, log.say)
        self.history = _cut_back(self.metrics_path, self.step)

    @property
    def metrics_path(self) -> Path:
        return self.state / "metrics.jsonl"

    @property
    def signal(self) -> int:
        """The number of the signal that asked the process to end, or 0."""
        return self.signals.number

    def over(self, make: Callable[[int], AnyBatch], *, workers: int = 1) -> Iterator[tuple[int, AnyBatch]]:
        """Yield (step, make(step)) for each step that remains; `workers` threads make the batches ahead of use."""
        self.started = time.monotonic()
        self.first, self.saved = self.step, self.started
        self.elapsed = self.history[-1]["seconds"] if self.history else 0.0
        try:
            with self.signals:
                if self.device.type == "cuda":
                    make = partial(_pinned, make)
                for batch in prefetched(make, first=self.step + 1, last=self.steps, workers=workers):
                    seed_torch(self.seed, self.stage, self.step + 1)
                    yield self.step + 1, on_device(batch, self.device)
                    self.step += 1
                    self._after_step()
        finally:
            if self.step < self.steps:
                self._lock.close()
        self.log.progress(f"step {self.step}/{self.steps} done", final=True)

    def record(self, **values: Tensor | float) -> None:
        """Add values of this step to the averages that metrics.jsonl shows; a value may be absent from some steps."""
        for name, value in values.items():
            value = value.detach() if isinstance(value, Tensor) else value
            total, count = self.pending.get(name, (0.0, 0))
            self.pending[name] = (total + value, count + 1)

    def publish(self, metrics: Path) -> None:
        """Copy the metrics to their declared place and drop the progress: the stage is done."""
        write_text(metrics, self.metrics_path.read_text() if self.metrics_path.exists() else "")
        shutil.rmtree(self.state, ignore_errors=True)
        self._lock.close()

    def _after_step(self) -> None:
        now = time.monotonic()
        last = self.step == self.steps
        due = last or now - self.saved >= SAVE_SECONDS or self.signal != 0
        if self.pending and (self.step % RECORD_STEPS == 0 or due):
            self._write_record(now)
        if due:
            self._refuse_broken_weights()
            save_state(self.state, self.step, self.parts, self.fingerprint)
            self.saved = now
        if self.signal and not last:
            raise Interrupted(
                f"stopped by signal {self.signal} after step {self.step}, which is saved; "
                "the same command goes on from there"
            )

    def _write_record(self, now: float) -> None:
        losses = {name: float(total) / count for name, (total, count) in self.pending.items()}
        self.pending = {}
        for name, value in losses.items():
            if not math.isfinite(value):
                raise NumericError(
                    f"{self.stage}: {name} became {value} before step {self.step}; lower the learning rate. "
                    f"The last good progress is in {self.state}"
                )
        seconds = now - self.started
        speed = (self.step - self.first) * self.images / max(seconds, 1e-9)
        line = {
            "step": self.step,
            "seconds": round(self.elapsed + seconds, 2),
            "images_per_second": round(speed, 2),
            **_gpu_memory(self.device),
            **{name: round(value, 6) for name, value in losses.items()},
        }
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            with open(self.metrics_path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise DeviceError(
                f"{self.metrics_path}: cannot be written ({error.strerror}); free some disk space and run the same "
                "command again: it goes on from the last checkpoint"
            ) from error
        left = (self.steps - self.step) * seconds / max(self.step - self.first, 1)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.log.progress(f"step {self.step}/{self.steps}  {speed:.1f} images/s  {duration(left)} left  {shown}")

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
    """What a stage's progress depends on: configuration, seed, the content of its inputs, and the package's code."""
    digest = hashlib.sha256()
    digest.update(json.dumps([config.model_dump(mode="json"), seed], sort_keys=True).encode())
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


def _lock(folder: Path) -> Any:
    """Hold the folder's lock until the process ends; DataError when another process trains here."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = open(folder.parent / f".{folder.name}.lock", "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        raise DataError(f"{folder}: another process ({file.read().strip()}) trains this stage; end it first") from None
    file.truncate(0)
    file.write(f"{os.uname().nodename} pid {os.getpid()}")
    file.flush()
    return file


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
