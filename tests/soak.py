"""The miniature pipeline, interrupted at random until it is done, ends with the bytes of an undisturbed run.

    python -m tests.soak --interruptions 100 --seed 7

The pipeline is one process that runs each stage whose outputs are not there, in order. It is stopped by TERM or INT,
killed, killed with its newest checkpoint damaged, or its disk is filled; then it is started again. Which stage is
interrupted how stands in a plan (tests/soak_plan.py), which takes several runs of the pipeline. After each
interruption, every result that exists must be the final one; the last lines say what was made of the plan.

May differ: the times in metrics.jsonl, and so its digest in a record; logs; progress; hidden leftovers of processes
that were killed while they wrote.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import small_disk
from miniature import WIRING, base_config, miniature_in
from soak_plan import Interruption, damage, damaged, planned, rounds, table

from loopda.runtime.command import command
from loopda.runtime.signals import SIGNALS
from loopda.training import loop

STAGES = (
    "town",
    "prepare",
    "pretrain",
    "warmup",
    "pair",
    "pseudo_labels",
    "self_train",
    "simclr",
    "translate",
    "adapt",
)
STAGES += ("distill", "evaluate", "illustrate")
SAVING = tuple(stage for stage in STAGES if "metrics" in WIRING[stage][1])  # they train
# how each may end the pipeline; a signal between two stages, or before the first, finds nothing to save
ENDS = {
    "TERM": {75, -signal.SIGTERM},
    "INT": {75, -signal.SIGINT},
    "KILL": {-signal.SIGKILL},
    "DAMAGE": {-signal.SIGKILL},
    "FULL DISK": {4},
}
TIMES = ("seconds", "images_per_second")  # in metrics.jsonl
KILOBYTES = 96 * 1024
ASKED = Path("asked")  # exists from an interruption to the end of the process
LONGEST = 300.0  # seconds that a run of the pipeline may take, and what is left of it after an interruption
MOST_MISSES = 8  # of an interruption whose stage was done before its moment; each time it comes twice as soon

Words = dict[str, list[str]]


def begin(folder: Path, stages: tuple[str, ...]) -> Words:
    """Make `folder` the working folder, with the sections of the stages in it; returns each stage's command line."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    miniature = miniature_in(Path(), base_config())
    miniature.done = set(WIRING)
    return {stage: miniature.flags(stage, Path(stage)) for stage in stages}


def done(stage: str) -> bool:
    """Whether all declared outputs exist, which is all that Snakemake looks at too."""
    return all((Path(stage) / name).exists() for name in WIRING[stage][1].values())


def start(words: Words, log: Path) -> int:
    """The pid of a process that works through the stages that are not done; what it prints goes to `log`."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        loop.SAVE_SECONDS = 0.0
        for stage, flags in words.items():
            if not done(stage):
                command(importlib.import_module(f"loopda.stages.{stage}").run, flags)
                if ASKED.exists():  # the interruption came too late for this stage, and is not for another
                    os._exit(0)
    except SystemExit as exited:
        os._exit(exited.code or 0)
    os._exit(0)


def wait(pid: int, seconds: float = 300.0) -> int | None:
    """The exit code of a process, minus the signal that killed it, or None where it lives on after `seconds`."""
    process = os.pidfd_open(pid)
    ended, _, _ = select.select([process], [], [], seconds)
    os.close(process)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if ended else None


def at_work(stages: tuple[str, ...]) -> str | None:
    """The stage that the pipeline is at; None at its end."""
    return next((stage for stage in stages if not done(stage)), None)


def undisturbed(pid: int, stages: tuple[str, ...]) -> tuple[int, dict[str, float]]:
    """The exit code of the pipeline, and the seconds that each stage took."""
    seconds, began, now, code = dict.fromkeys(stages, 0.0), time.monotonic(), at_work(stages), None
    while code is None and time.monotonic() - began < LONGEST:
        before, code, stage = time.monotonic(), wait(pid, 0.002), now
        now = at_work(stages)
        if stage:
            seconds[stage] += time.monotonic() - before
    if code is None:
        raise lives_on(pid, stages)
    return code, seconds


def lives_on(pid: int, stages: tuple[str, ...]) -> SystemExit:
    """What ends the soak where the pipeline does not end, which is killed here."""
    stage = at_work(stages)
    os.kill(pid, signal.SIGKILL)
    wait(pid)
    return SystemExit(f"the pipeline lives on, in {stage or 'no stage'}")


def come(pid: int, one: Interruption, seconds: float, stages: tuple[str, ...]) -> bool:
    """Wait for the moment of an interruption; False where its stage was done before.

    It is counted from the start of the stage, or where a checkpoint will be damaged from its first checkpoint. The
    process lives on, or has ended and can still be waited for.
    """
    process = os.pidfd_open(pid)
    latest, moment = time.monotonic() + LONGEST, None
    try:
        while time.monotonic() < latest:
            stage = at_work(stages)
            if stage is None or stages.index(stage) > stages.index(one.stage):
                return False
            begun = stage == one.stage and (one.kind != "DAMAGE" or checkpoints(one.stage))
            moment = time.monotonic() + one.moment * seconds if begun and moment is None else moment
            if moment is not None and time.monotonic() >= moment:
                return True
            if select.select([process], [], [], 0.002)[0]:
                return False
    finally:
        os.close(process)
    raise lives_on(pid, stages)


def interrupt(pid: int, one: Interruption, draws: random.Random, real_disk: bool) -> tuple[int, str]:
    """Do it to the pipeline, and wait for its end: its exit code, and what was done in words."""
    ASKED.touch()
    match one.kind:
        case "TERM" | "INT":
            os.kill(pid, getattr(signal, f"SIG{one.kind}"))
        case "KILL" | "DAMAGE":
            os.kill(pid, signal.SIGKILL)
        case "FULL DISK" if real_disk:
            fill(Path("ballast"))
        case "FULL DISK":
            with suppress(ProcessLookupError):  # it has just ended
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    code = wait(pid, LONGEST)
    if code is None:
        raise lives_on(pid, STAGES)
    for path in (ASKED, Path("ballast")):
        path.unlink(missing_ok=True)
    return code, damage_newest(one.stage, draws) if one.kind == "DAMAGE" else ""


def fill(ballast: Path) -> None:
    """Take all that is left of the disk."""
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def checkpoints(stage: str) -> list[Path]:
    """Those of a stage that are whole, the newest last."""
    return sorted(path.parent for path in Path(stage).glob("state/step-*/manifest.json"))


def damage_newest(stage: str, draws: random.Random) -> str:
    """Damage the newest checkpoint of the stage; returns what was done, in words, or "" where it has none any more."""
    found = checkpoints(stage)
    if not found:
        return ""
    chosen = damage(found[-1], draws)
    content = damaged(chosen.path.read_bytes(), chosen.how, draws)
    if content is None:
        chosen.path.unlink()
    else:
        chosen.path.write_bytes(content)
    return f", {chosen.path} {chosen.how}"


def artefacts(stages: tuple[str, ...]) -> dict[str, str]:
    """The SHA-256 of every result by its path; those in the folder of a stage that is not done are left out."""
    found = {}
    for stage in stages:
        for path in sorted(Path(stage).rglob("*")):
            if path.is_file() and done(stage) and not path.name.startswith(".") and "state" not in path.parts:
                found[str(path)] = hashlib.sha256(timeless(path)).hexdigest()
    return found


def declared(stages: tuple[str, ...]) -> dict[str, str]:
    """The SHA-256 of the declared outputs that exist, whether or not their stage is done."""
    paths = [Path(stage) / name for stage in stages for name in WIRING[stage][1].values()]
    return {str(path): hashlib.sha256(timeless(path)).hexdigest() for path in paths if path.exists()}


def timeless(path: Path) -> bytes:
    """The content of a file without the times in records, and without the digests of these."""
    if path.name.endswith(".made.json"):
        made = json.loads(path.read_text(encoding="utf-8"))["sha256"]
        return json.dumps({name: one for name, one in made.items() if Path(name).name != "metrics.jsonl"}).encode()
    if path.name != "metrics.jsonl":
        return path.read_bytes()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps([{key: value for key, value in line.items() if key not in TIMES} for line in lines]).encode()


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The paths that are not in both, or have other content."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def soak(folder: Path, *, interruptions: int, seed: int, stages: tuple[str, ...]) -> str:
    """Interrupt the pipeline `interruptions` times; returns lines about it. SystemExit says what differed."""
    draws, log = random.Random(seed), Path(tempfile.mkdtemp(prefix="soak-")) / "log.txt"
    folder.mkdir(parents=True, exist_ok=True)
    real_disk = small_disk.mount(folder, KILOBYTES)
    code, seconds = undisturbed(start(begin(folder / "whole", stages), log), stages)
    if code:
        raise SystemExit(f"the undisturbed run ended with {code}; see {log}")
    golden = artefacts(stages)
    print(f"seed {seed}; {'a real small disk' if real_disk else 'a limit of file sizes'}; log {log}")
    print(f"undisturbed: {len(golden)} files in {sum(seconds.values()):.1f} s", flush=True)

    plan = planned(interruptions, seed=seed, stages=stages, saving=SAVING)
    ahead, made, misses, runs = rounds(plan, seed=seed), Counter[tuple[str, str]](), Counter[Interruption](), 0
    while ahead:
        runs += 1
        left = sorted(ahead.pop(0), key=lambda one: stages.index(one.stage))
        words, late = begin(folder / "disturbed", stages), []
        pid = start(words, log)
        while left:
            one = left.pop(0)
            if not come(pid, one, seconds[one.stage], stages):
                late.append(one)
                continue
            code, story = interrupt(pid, one, draws, real_disk)
            if one.kind == "DAMAGE" and not story:
                late.append(one)
            else:
                made[one.stage, one.kind] += 1
                print(f"{made.total():4} {one.kind:9} in {one.stage}{story}: exit {code}", flush=True)
            if code not in ENDS[one.kind] | {0}:
                raise SystemExit(f"{one.kind} must not end in exit {code}; see {log}")
            if wrong := [path for path, digest in declared(stages).items() if golden[path] != digest]:
                raise SystemExit(f"not as they end undisturbed: {', '.join(wrong)}")
            pid = start(words, log)
        code = wait(pid, LONGEST)
        if code != 0:
            raise SystemExit(f"run {runs} ended with {code}; see {log}")
        if wrong := differences(golden, artefacts(stages)):
            raise SystemExit(f"run {runs}: these differ: {', '.join(wrong)}")
        for one in late:
            misses[one._replace(moment=0.0)] += 1
            if misses[one._replace(moment=0.0)] > MOST_MISSES:
                raise SystemExit(f"{one.stage} is always done before {one.kind}")
        ahead += [[one._replace(moment=one.moment / 2) for one in late]] if late else []
    head = f"{made.total()} interruptions in {runs} runs of {len(golden)} files: 0 differences"
    return f"{table(made, stages)}\n{head}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--interruptions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="of the interruptions; by default another each time")
    parser.add_argument("--last", choices=STAGES, default=STAGES[-1], help="the stage to end with")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    stages = STAGES[: STAGES.index(arguments.last) + 1]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        pid = os.fork()  # the disk in the folder is that process's own, and goes with it
        if pid == 0:
            try:
                print(soak(Path(folder), interruptions=arguments.interruptions, seed=seed, stages=stages), flush=True)
            except SystemExit as exited:
                print(exited, flush=True)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
