"""Updates that are skipped and counted; after too many of them a training goes back once, and the next time ends."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interruption import Killed, die, identical
from torch import nn

from loopda.data.dataset import Frames
from loopda.data.manifest import Row
from loopda.errors import NumericError
from loopda.labels.classes import CITYSCAPES
from loopda.labels.png import write_image
from loopda.models.checkpoint import load_checkpoint
from loopda.models.compute.settings import Compute
from loopda.runtime.log import Log
from loopda.training import loop
from loopda.training.guard import HALVINGS, Guard
from loopda.training.loop import Training
from loopda.training.optimizer import descend

CPU = torch.device("cpu")
Make = Callable[[int], torch.Tensor]
KINDS = {
    "sgd": lambda values: torch.optim.SGD(values, lr=0.1, momentum=0.9, fused=True),
    "adam": lambda values: torch.optim.Adam(values, lr=0.1, fused=True),
    "adamw": lambda values: torch.optim.AdamW(values, lr=0.1, fused=True),
}


def compute(**changes: Any) -> Compute:
    section = {"precision": "fp32", "reproducibility": "seeded", "memory": "fast", "compiled": False}
    return Compute(**{**section, "skipped_steps": 3, **changes})


class Net(nn.Module):
    """A number that is learnt, behind a normalisation with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.line = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.line(self.norm(x)).square().mean()


def batch(step: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(step).normal(size=(4, 2)).astype(np.float32))


def build(kind: str) -> tuple[Net, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = Net()
    return net, KINDS[kind](net.parameters())


# updates


@pytest.mark.parametrize("kind", KINDS)
def test_finite_steps_are_to_the_bit_those_without_a_guard(kind):
    (net, optimizer), (plain_net, plain_optimizer) = build(kind), build(kind)
    guard = Guard({"net": net, "optimizer": optimizer}, compute(), CPU)
    for step in range(5):
        guard.descend(net(batch(step)), optimizer)
        assert guard.check([guard.all_finite()]) == [True]
        descend(plain_net(batch(step)), plain_optimizer)
    assert identical(net.state_dict(), plain_net.state_dict())
    assert guard.skipped == 0


@pytest.mark.parametrize("synchronous", [True, False], ids=["at once", "20 steps later"])
@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=["nan", "inf"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.fault(26, "the step changes nothing, whether the host looks at once or later")
def test_a_step_that_is_not_finite_leaves_no_trace(kind, bad, synchronous):
    """The first step too: a fused SGD makes its momentum in it."""
    (net, optimizer), (other, other_optimizer) = build(kind), build(kind)
    guard, expected = (
        Guard({"net": a, "optimizer": b}, compute(), CPU) for a, b in ((net, optimizer), (other, other_optimizer))
    )
    guard.synchronous = expected.synchronous = synchronous
    finite = []
    for step in range(6):
        if step in (0, 3):
            values = batch(step)
            values[0] = bad
            guard.descend(net(values), optimizer)
            finite.append(guard.all_finite())
            if step == 0:
                guard.check([finite.pop()])
        else:
            guard.descend(net(batch(step)), optimizer)
            expected.descend(other(batch(step)), other_optimizer)
            finite.append(guard.all_finite())
            if synchronous or step == 2:
                guard.check(finite)
                finite = []
    if finite:
        guard.check(finite)
    assert guard.skipped == 2
    assert identical(dict(net.named_parameters()), dict(other.named_parameters()))
    assert identical(optimizer.state_dict(), other_optimizer.state_dict())
    assert all(value.isfinite().all() for value in net.buffers())


def test_optimisers_that_step_together_are_skipped_together():
    nets = {name: build("adam") for name in ("one", "two")}
    parts = {f"{name} {number}": part for name, pair in nets.items() for number, part in enumerate(pair)}
    guard = Guard(parts, compute(), CPU)
    before = {name: [value.clone() for value in net.parameters()] for name, (net, _) in nets.items()}
    (one, first), (two, second) = nets.values()
    guard.descend(one(batch(0)) + two(batch(0)) * math.inf, first, second)
    assert guard.check([guard.all_finite()]) == [False]
    for name, (net, _) in nets.items():
        assert all(torch.equal(value, old) for value, old in zip(net.parameters(), before[name], strict=True))


def test_an_infinite_loss_is_skipped_even_where_its_gradient_is_finite():
    net, optimizer = build("adam")
    guard = Guard({"net": net, "optimizer": optimizer}, compute(), CPU)
    guard.descend(net(batch(0)) + math.inf, optimizer)
    assert guard.check([guard.all_finite()]) == [False]


def test_a_step_of_which_one_update_is_not_finite_counts_as_skipped():
    net, optimizer = build("adam")
    guard = Guard({"net": net, "optimizer": optimizer}, compute(), CPU)
    guard.descend(net(batch(0)) * math.nan, optimizer)
    guard.descend(net(batch(0)), optimizer)
    assert guard.check([guard.all_finite()]) == [False]


# the scale of fp16


def test_in_fp16_the_steps_are_those_of_the_unscaled_loss_and_each_group_has_a_scale_of_its_own():
    (net, optimizer), (plain_net, plain_optimizer) = build("adam"), build("adam")
    other, others = build("sgd")
    parts = {"net": net, "generator": optimizer, "discriminators": others, "other": other}
    guard = Guard(parts, compute(precision="fp16"), CPU)
    for step in range(3):
        guard.descend(net(batch(step)), optimizer)
        descend(plain_net(batch(step)), plain_optimizer)
    for value, expected in zip(net.parameters(), plain_net.parameters(), strict=True):
        assert torch.allclose(value, expected, atol=1e-6)
    guard.descend(other(batch(0)) * 1e36, others)  # finite, but not 65536 times as large
    assert guard.check([guard.all_finite()]) == [False]
    scales = {name: state["scale"] for name, state in guard.state_dict()["scalers"].items()}
    assert scales == {"generator": 65536.0, "discriminators": 32768.0}


def test_the_scale_of_fp16_finds_its_place_without_an_end_to_the_patience():
    net, optimizer = build("adam")
    guard = Guard({"net": net, "optimizer": optimizer}, compute(precision="fp16", skipped_steps=1), CPU)
    finite = []
    while not finite or not finite[-1]:
        guard.descend(net(batch(0)) * 1e37, optimizer)
        finite += guard.check([guard.all_finite()])
        assert not guard.exhausted
    assert 1 < len(finite) <= HALVINGS + 1


def test_a_resumed_guard_goes_on_with_counts_and_scales():
    net, optimizer = build("adam")
    parts = {"net": net, "optimizer": optimizer}
    guard, resumed = (Guard(parts, compute(precision="fp16"), CPU) for _ in range(2))
    guard.descend(net(batch(0)) * math.inf, optimizer)
    guard.check([guard.all_finite()])
    resumed.load_state_dict(guard.state_dict())
    assert (resumed.skipped, resumed.skipped_in_a_row) == (1, 1)
    for one in (guard, resumed):
        one.descend(net(batch(0)) * math.inf, optimizer)
        one.all_finite()
    assert resumed.state_dict() == guard.state_dict()
    assert resumed.state_dict()["scalers"]["optimizer"]["scale"] == 65536 / 4


# trainings


def train(
    folder: Path, bad: set[int], *, steps: int = 60, until: int = 10**6, make: Make = batch, **changes: Any
) -> tuple[Net, Training]:
    """A training whose loss is NaN in the steps `bad`; it dies in the step after `until`."""
    net, optimizer = build("adam")
    run = Training(
        stage="warmup",
        steps=steps,
        parts={"net": net, "optimizer": optimizer},
        state=folder / "state",
        fingerprint="same",
        seed=0,
        images=4,
        device=CPU,
        log=Log(folder / "log.txt", "warmup"),
        compute=compute(**changes),
    )
    try:
        for step, values in run.over(make):
            if step > until:
                raise Killed
            loss = net(values) * (math.nan if step in bad else 1.0)
            run.descend(loss, optimizer)
            run.record(loss=loss)
    except Killed:
        pass
    finally:
        die()
    return net, run


def log(folder: Path) -> str:
    return (folder / "log.txt").read_text()


@pytest.mark.fault(26, "once: the step is skipped, counted, and left out of the records")
def test_a_single_step_is_skipped_counted_and_not_averaged(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "RECORD_STEPS", 4)
    _, run = train(tmp_path, {6}, steps=8)
    first, second = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    assert "skipped" not in first
    assert second["skipped"] == 1
    assert math.isfinite(second["loss"])
    assert "step 6 is skipped: its loss or gradient is not finite" in log(tmp_path)
    assert run.step == 8


@pytest.mark.fault(26, "several in a row: back once to an earlier state, while the order of batches goes on")
def test_after_too_many_the_networks_go_back_and_the_batches_go_on(tmp_path, monkeypatch):
    seen = []

    def forward(self: Net, x: torch.Tensor) -> torch.Tensor:
        seen.append(x.clone())
        return self.line(x).square().mean()

    monkeypatch.setattr(Net, "forward", forward)
    net, run = train(tmp_path, {24, 25, 26}, steps=26)
    assert "goes back to the networks of step 20, and on with the batch of step 27" in log(tmp_path)
    assert all(torch.equal(values, batch(step)) for step, values in enumerate(seen, start=1))
    (saved,) = (tmp_path / "state").glob("step-0000020")
    weights = load_checkpoint(saved / "state.pt")["net"]
    assert torch.equal(net.line.weight, weights["line.weight"])
    assert run.guard.gone_back
    assert run.guard.skipped == 3


@pytest.mark.fault(26, "again after that: exit code 5 with the names of the batch's files, and nothing of it saved")
def test_when_it_comes_again_the_training_ends(tmp_path):
    with pytest.raises(NumericError, match="is not finite, again, in 3 steps in a row up to step 45") as raised:
        train(tmp_path, {24, 25, 26, 43, 44, 45})
    assert raised.value.exit_code == 5
    assert str(tmp_path / "state") in str(raised.value)


def test_a_training_that_has_nothing_to_go_back_to_ends_at_once(tmp_path):
    with pytest.raises(NumericError, match="in 2 steps in a row up to step 5"):
        train(tmp_path, {4, 5}, skipped_steps=2)


def test_a_state_within_the_skipped_steps_is_none_to_go_back_to(tmp_path):
    with pytest.raises(NumericError, match="up to step 21"):
        train(tmp_path, {19, 20, 21})


BAD = {8, 24, 25, 26, 42}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What a training with skipped steps ends with, which saves at the steps of its schedule alone."""
    return train(tmp_path_factory.mktemp("whole"), BAD, steps=44)[0].state_dict()


@pytest.mark.parametrize("until", [22, 24, 26, 30])
@pytest.mark.fault(26, "interrupted before, among and after skipped steps: the same bits")
def test_a_training_interrupted_around_skipped_steps_ends_as_if_it_had_not_been(tmp_path, uninterrupted, until):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "SAVE_SECONDS", 0.0)  # saves after each step
        train(tmp_path, BAD, steps=44, until=until)
    net, run = train(tmp_path, BAD, steps=44)
    assert f"goes on after step {until}" in log(tmp_path)
    assert identical(net.state_dict(), uninterrupted)
    assert (run.guard.skipped, run.guard.gone_back) == (5, True)


@pytest.mark.fault(45, "another result without the counts of skipped steps")
def test_without_its_counts_a_resumed_training_ends_otherwise(tmp_path, monkeypatch):
    bad = {24, 25, 26, 42, 43, 44}
    train(tmp_path, bad, until=40)
    shutil.copytree(tmp_path, tmp_path / "copy")
    with pytest.raises(NumericError):
        train(tmp_path, bad)
    monkeypatch.setattr(Guard, "load_state_dict", lambda self, state: None)
    _, run = train(tmp_path / "copy", bad)
    assert run.step == 60


def test_no_saved_state_holds_what_is_not_finite(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    saved = []
    save = loop.save_state

    def kept(folder: Path, step: int, *others: Any) -> None:
        save(folder, step, *others)
        saved.append(load_checkpoint(folder / f"step-{step:07d}" / "state.pt")["net"])

    monkeypatch.setattr(loop, "save_state", kept)
    monkeypatch.setattr(
        Net, "forward", lambda self, x: self.line(self.norm(x * (math.nan if len(saved) == 6 else 1.0))).square().mean()
    )
    _, run = train(tmp_path, set(), steps=12)
    assert run.guard.skipped == 1
    assert len(saved) == 12
    assert all(value.isfinite().all() for state in saved for value in state.values())


def test_the_files_of_a_skipped_batch_are_named(tmp_path):
    paths = [tmp_path / f"{name}.png" for name in ("first", "second", "third")]
    for path in paths:
        write_image(path, np.zeros((16, 16, 3), dtype=np.uint8))
    frames = Frames([Row(path) for path in paths], CITYSCAPES, (16, 16))

    def make(step: int) -> torch.Tensor:
        frames.image(step % 3)
        return batch(step)

    train(tmp_path, {4}, steps=5, make=make)
    assert f"step 4 is skipped: its loss or gradient is not finite; its images: {paths[1]}\n" in log(tmp_path)
