"""The progress of a training on disk: exact, verified, and never half written.

    <folder>/step-0000200/state.pt        networks and optimisers
    <folder>/step-0000200/manifest.json   step, sha256 of state.pt, fingerprint; written last, it makes the rest valid

A checkpoint is a folder that is renamed into place when it is complete. Loading takes the newest valid one, else the
one before it, else none, and says what it found.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from loopda.config import Section
from loopda.errors import DataError, DeviceError
from loopda.models.checkpoint import load_checkpoint
from loopda.runtime.files import flush, sha256, write_json

KEPT = 2  # checkpoints on disk: the newest, and one in case it is damaged


def save_state(folder: Path, step: int, parts: Mapping[str, Any], fingerprint: str, every: int = 0) -> None:
    """Save the state_dict of each of `parts` as the checkpoint of `step`, and delete all but the newest two.

    every: the newest two whose steps are its multiples are kept too; 0: none. On a full disk the older checkpoints
    stay, and a DeviceError says what to do.
    """
    final = folder / _name(step)
    temporary = folder / f".{_name(step)}.{os.getpid()}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _write_state(temporary / "state.pt", {name: part.state_dict() for name, part in parts.items()})
        manifest = {"step": step, "sha256": sha256(temporary / "state.pt"), "fingerprint": fingerprint}
        write_json(temporary / "manifest.json", manifest)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except (OSError, RuntimeError, DeviceError) as error:  # torch reports a full disk as a RuntimeError
        shutil.rmtree(temporary, ignore_errors=True)
        raise DeviceError(
            f"{final}: cannot save the progress ({str(error).splitlines()[0]}); "
            "free some disk space and run the same command again: it goes on from the checkpoint before"
        ) from error
    kept = {*_checkpoints(folder)[:KEPT], *(_checkpoints(folder, every)[:KEPT] if every else ())}
    for checkpoint in _checkpoints(folder):
        if checkpoint not in kept:
            shutil.rmtree(checkpoint, ignore_errors=True)


def remove_orphans(folder: Path) -> None:
    """Remove temporary files in `folder` and beside it, left by processes that were killed while they saved.

    The caller holds the lock of the folder.
    """
    for orphan in folder.glob(".step-*"):
        shutil.rmtree(orphan, ignore_errors=True)
    for orphan in folder.parent.glob(".*.part*"):
        orphan.unlink(missing_ok=True)


def load_state(
    folder: Path,
    parts: Mapping[str, Any],
    fingerprint: str,
    say: Callable[[str], None],
    every: int = 1,
    until: int | None = None,
) -> int:
    """Load the newest valid checkpoint into `parts` and return its step; 0 when there is none.

    every, until: only steps that are multiples of `every` and at most `until`. A checkpoint of another configuration,
    other inputs or other code (a different fingerprint) is not used.
    """
    for checkpoint in _checkpoints(folder, every, until):
        fault = _fault(checkpoint, fingerprint)
        if fault:
            say(f"{checkpoint}: not used: {fault}")
            continue
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
        states = load_checkpoint(checkpoint / "state.pt")
        if set(states) != set(parts):
            say(f"{checkpoint}: not used: it holds other parts")
            continue
        for name, part in parts.items():
            part.load_state_dict(states[name])
        say(f"goes on after step {manifest['step']} ({checkpoint})")
        return manifest["step"]
    return 0


def fingerprint(config: Section, inputs: Mapping[str, Path], seed: int) -> str:
    """A digest of all that a stage's progress depends on: configuration, seed, content of the inputs, package's code.

    compute.memory and compute.compiled do not count; they change at most rounding and the draws of dropout. So a stage
    that ran out of memory can resume with another `memory`, and without compilation where that `memory` excludes it.
    """
    digest = hashlib.sha256()
    values = config.model_dump(mode="json")
    for key in ("memory", "compiled"):
        values.get("compute", {}).pop(key, None)
    digest.update(json.dumps([values, seed], sort_keys=True).encode())
    for name, path in sorted(inputs.items()):
        digest.update(f"{name} {sha256(path)}".encode())
    package = Path(__file__).parents[1]
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode())
        digest.update(source.read_bytes())
    digest.update(torch.__version__.encode())
    return digest.hexdigest()


def _fault(checkpoint: Path, fingerprint: str) -> str:
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
        if manifest["fingerprint"] != fingerprint:
            return "it belongs to another configuration, other inputs or other code"
        if checkpoint.name != _name(manifest["step"]):
            return f"its manifest is of step {manifest['step']}"
        if sha256(checkpoint / "state.pt") != manifest["sha256"]:
            return "its content does not match its sha256"
        load_checkpoint(checkpoint / "state.pt")
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        return f"it is damaged ({error})"
    return ""


def _checkpoints(folder: Path, every: int = 1, until: int | None = None) -> list[Path]:
    """The newest first."""
    steps = {path: int(path.name.removeprefix("step-")) for path in folder.glob("step-*")}
    wanted = [path for path, step in steps.items() if step % every == 0 and (until is None or step <= until)]
    return sorted(wanted, reverse=True)


def _name(step: int) -> str:
    return f"step-{step:07d}"


def _write_state(path: Path, state: Mapping[str, Any]) -> None:
    with open(path, "wb") as file:
        torch.save(dict(state), file)
    flush(path)
