"""A signal in each loop besides the steps of a training: exit code 75, nothing half-written, the same end after it."""

import importlib
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interruption import die
from miniature import WIRING

from loopda.runtime import signals
from loopda.runtime.command import command

LOOPS = [
    ("town", "loopda.stages.town"),
    ("prepare", "loopda.data.checks"),
    ("pretrain", "loopda.data.dataset"),
    ("pretrain", "loopda.data.batches"),
    ("pair", "loopda.data.batches"),
    ("pseudo_labels", "loopda.data.batches"),
    ("self_train", "loopda.data.pseudo_labels"),
    ("translate", "loopda.data.batches"),
    ("evaluate", "loopda.data.batches"),
    ("illustrate", "loopda.stages.illustrate"),
]
MEASURED = "metrics.jsonl"  # holds times


def terminated(items: Iterable[Any], *remedy: str) -> Iterator[Any]:
    """`interruptible`, with a signal while the first of several items is in work."""
    items = list(items)
    for number, item in enumerate(signals.interruptible(items, *remedy)):
        if number == 0 and len(items) > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        yield item


def outputs(stage: str, out: Path) -> dict[str, bytes]:
    """The declared outputs that exist, but for the one with times in it."""
    names = [name for name in WIRING[stage][1].values() if name != MEASURED]
    return {name: (out / name).read_bytes() for name in names if (out / name).exists()}


@pytest.mark.parametrize(("stage", "module"), LOOPS)
@pytest.mark.fault(9, "exit code 75 from every loop of every stage; outputs are whole or absent; a rerun ends the same")
def test_a_signal_in_a_loop_ends_the_stage_and_a_rerun_ends_as_if_nothing_had_been(
    miniature, stage, module, tmp_path, monkeypatch
):
    run = importlib.import_module(f"loopda.stages.{stage}").run
    out = tmp_path / stage
    miniature.path("town", "town.json")
    for with_large_batches in ("loopda.models.statistics", "loopda.stages.translate"):
        monkeypatch.setattr(f"{with_large_batches}.BATCH", 2)  # else one batch has all images
    changes: dict[str, Any] = {}
    if stage in ("evaluate", "pair", "pseudo_labels"):
        changes["config"] = miniature.section(stage, batch_size=1)
    words = miniature.flags(stage, out, **changes)
    command(run, words)
    whole = outputs(stage, out)
    assert len(whole) == len([name for name in WIRING[stage][1].values() if name != MEASURED])
    shutil.rmtree(out)

    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.interruptible", terminated)
        with pytest.raises(SystemExit) as exited:
            command(run, words)
    assert exited.value.code == 75
    del exited
    die()
    assert "stopped by signal 15" in (tmp_path / f"{stage}.log").read_text()
    left = outputs(stage, out)
    assert len(left) < len(whole)
    assert left.items() <= whole.items()

    command(run, words)
    assert outputs(stage, out) == whole
