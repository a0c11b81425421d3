"""Progress on disk: the newest valid checkpoint is used, every other one is passed over with a reason."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import Payload
from torch import nn

from loopda.errors import DeviceError
from loopda.runtime.files import sha256
from loopda.training import state
from loopda.training.state import load_state, save_state

Parts = dict[str, object]


class Killed(BaseException):
    """Nothing catches it, so that it leaves the disk as SIGKILL does."""


def parts(value: float = 0.0) -> Parts:
    """A small network whose every weight is `value`, with an optimiser that has a history."""
    network = nn.Linear(4, 3)
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)
    return {"network": network, "optimizer": optimizer}


def value_of(some: Parts) -> float:
    """The one value of all weights."""
    values = torch.cat([parameter.detach().flatten() for parameter in some["network"].parameters()])
    assert (values == values[0]).all()
    return float(values[0])


def loaded(folder: Path, fingerprint: str = "same") -> tuple[int, float, list[str]]:
    """(step, value of the weights, messages) of loading `folder`."""
    said: list[str] = []
    into = parts(-1.0)
    step = load_state(folder, into, fingerprint, said.append)
    return step, value_of(into), said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Progress of which step 10 holds the value 10 and step 20 the value 20."""
    for step in (10, 20):
        save_state(tmp_path / "state", step, parts(float(step)), "same")
    return tmp_path / "state"


def newest(folder: Path) -> Path:
    return folder / "step-0000020"


def test_the_newest_checkpoint_is_loaded(folder):
    step, value, said = loaded(folder)
    assert (step, value) == (20, 20.0)
    assert len(said) == 1
    assert said[0].startswith("goes on after step 20")


def test_the_optimiser_comes_back_with_its_history(folder):
    saved, into = parts(20.0), parts(-1.0)
    saved["optimizer"].state_dict()["state"][0]["exp_avg"].fill_(0.5)
    save_state(folder, 30, saved, "same")
    load_state(folder, into, "same", lambda _: None)
    assert (into["optimizer"].state_dict()["state"][0]["exp_avg"] == 0.5).all()


def test_nothing_on_disk_is_step_0_and_leaves_the_parts_alone(tmp_path):
    assert loaded(tmp_path / "state") == (0, -1.0, [])


def truncated(checkpoint: Path) -> None:
    path = checkpoint / "state.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bit_flipped(checkpoint: Path) -> None:
    path = checkpoint / "state.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(checkpoint: Path) -> None:
    (checkpoint / "state.pt").write_bytes(b"")


def without_state(checkpoint: Path) -> None:
    (checkpoint / "state.pt").unlink()


def without_manifest(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").unlink()


def half_a_manifest(checkpoint: Path) -> None:
    path = checkpoint / "manifest.json"
    path.write_text(path.read_text()[:20])


def manifest_of_another_kind(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").write_text('["step", 20]')


def manifest_of_another_checkpoint(checkpoint: Path) -> None:
    shutil.copy(checkpoint.parent / "step-0000010" / "manifest.json", checkpoint / "manifest.json")


def manifest_with_a_flipped_step(checkpoint: Path) -> None:
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"step": manifest["step"] ^ 2}))


def malicious(checkpoint: Path) -> None:
    torch.save({"network": Payload(checkpoint.parent / "payload ran")}, checkpoint / "state.pt")
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_text()) | {"sha256": sha256(checkpoint / "state.pt")}
    path.write_text(json.dumps(manifest))


def of_other_parts(checkpoint: Path) -> None:
    torch.save({"network": parts()["network"].state_dict()}, checkpoint / "state.pt")
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_text()) | {"sha256": sha256(checkpoint / "state.pt")}
    path.write_text(json.dumps(manifest))


DAMAGES = [
    truncated,
    bit_flipped,
    emptied,
    without_state,
    without_manifest,
    half_a_manifest,
    manifest_of_another_kind,
    manifest_of_another_checkpoint,
    manifest_with_a_flipped_step,
    malicious,
    of_other_parts,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.fault(14, "eleven kinds of damage: the one before is used with a warning")
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before_with_a_message(folder, damage):
    damage(newest(folder))
    step, value, said = loaded(folder)
    assert (step, value) == (10, 10.0)
    assert "step-0000020" in said[0]
    assert "not used" in said[0]
    assert said[1].startswith("goes on after step 10")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.fault(14, "without a valid one it starts at 0 and says so")
def test_when_every_checkpoint_is_damaged_the_training_starts_at_0_and_says_why(folder, damage):
    damage(newest(folder))
    shutil.rmtree(folder / "step-0000010")
    step, value, said = loaded(folder)
    assert (step, value) == (0, -1.0)
    assert len(said) == 1
    assert "not used" in said[0]


@pytest.mark.fault(16, "code in a state is not run")
def test_code_in_a_checkpoint_is_not_run(folder):
    malicious(newest(folder))
    loaded(folder)
    assert not (folder / "payload ran").exists()


@pytest.mark.fault(14, "a flipped bit, which torch loads, is found by the SHA-256")
def test_a_bit_in_the_middle_of_the_weights_is_found_although_torch_would_load_it(tmp_path):
    network = nn.Linear(400, 400)
    save_state(tmp_path, 1, {"network": network}, "same")
    path = tmp_path / "step-0000001" / "state.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["network"].keys() == network.state_dict().keys()
    said: list[str] = []
    assert load_state(tmp_path, {"network": network}, "same", said.append) == 0
    assert "sha256" in said[0]


@pytest.mark.fault(17, "another fingerprint is not used")
def test_a_checkpoint_of_another_fingerprint_is_not_used(folder):
    step, value, said = loaded(folder, "other")
    assert (step, value) == (0, -1.0)
    assert len(said) == 2
    assert all("another configuration, other inputs or other code" in line for line in said)


def test_only_the_newest_two_checkpoints_are_kept(folder):
    save_state(folder, 30, parts(30.0), "same")
    assert sorted(path.name for path in folder.iterdir()) == ["step-0000020", "step-0000030"]


def test_saving_a_step_again_replaces_it(folder):
    save_state(folder, 20, parts(21.0), "same")
    assert loaded(folder)[:2] == (20, 21.0)


@pytest.mark.parametrize("moment", ["_write_state", "sha256", "write_json", "os.replace"])
@pytest.mark.fault(5, "the one before is used, whatever the moment")
def test_death_while_saving_leaves_the_checkpoint_before(folder, moment, monkeypatch):
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"loopda.training.state.{moment}", die)
        with pytest.raises(Killed):
            save_state(folder, 30, parts(30.0), "same")
    assert len(list(folder.iterdir())) == 3, "a half-written folder lies beside the two checkpoints"
    assert loaded(folder)[:2] == (20, 20.0)


@pytest.mark.fault(5, "half a file: the one before is used")
def test_death_in_the_middle_of_writing_leaves_the_checkpoint_before(folder, monkeypatch):
    def half(path: Path, _: object) -> None:
        path.write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(state, "_write_state", half)
        with pytest.raises(Killed):
            save_state(folder, 30, parts(30.0), "same")
    assert loaded(folder)[:2] == (20, 20.0)
    save_state(folder, 30, parts(30.0), "same")
    assert loaded(folder)[:2] == (30, 30.0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.fault(12, "no space, quota, input/output error: one message, the older checkpoints stay")
def test_an_error_of_the_disk_while_saving_is_one_message_and_keeps_what_was_there(folder, number, monkeypatch):
    def fails(path: Path, _: object) -> None:
        path.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(state, "_write_state", fails)
    with pytest.raises(DeviceError) as raised:
        save_state(folder, 30, parts(30.0), "same")
    assert "free some disk space" in str(raised.value)
    assert os.strerror(number) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["step-0000010", "step-0000020"]
    assert loaded(folder)[:2] == (20, 20.0)


@pytest.mark.fault(10, "on a real disk without room: one message, and the older checkpoint loads")
def test_a_really_full_disk_is_one_message_and_keeps_what_was_there(tmp_path, tiny_disk):
    def fill() -> str:
        big = {"network": nn.Linear(100, 100)}  # 40 kB in a disk of 256
        nn.init.constant_(big["network"].weight, 1.0)
        save_state(tmp_path / "state", 1, big, "same")
        with open(tmp_path / "ballast", "wb") as ballast:
            ballast.write(bytes(190 * 1024))
        nn.init.constant_(big["network"].weight, 2.0)
        try:
            save_state(tmp_path / "state", 2, big, "same")
        except DeviceError as error:
            message = str(error)
        else:
            return "the disk was not full"
        if "free some disk space" not in message or len(message.splitlines()) != 1:
            return message
        if [path.name for path in (tmp_path / "state").iterdir()] != ["step-0000001"]:
            return f"the folder holds {sorted((tmp_path / 'state').iterdir())}"
        step = load_state(tmp_path / "state", big, "same", lambda _: None)
        return "" if step == 1 and (big["network"].weight == 1).all() else "the older checkpoint is damaged"

    assert tiny_disk(tmp_path, fill) == ""
