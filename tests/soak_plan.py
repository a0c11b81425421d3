"""Which interruptions a soak makes: each stage gets its share of them, and of each kind as many as of any other."""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

KINDS = ("TERM", "INT", "KILL", "DAMAGE", "FULL DISK")
MOST = 3  # interruptions of a stage between its start and its end
DAMAGES = {
    "state.pt": ("truncated", "emptied", "flipped", "removed"),
    "manifest.json": ("truncated", "emptied", "flipped", "removed"),
}


class Interruption(NamedTuple):
    """moment: when it comes, as a share of the time that the stage takes undisturbed, in [0, 1)."""

    stage: str
    kind: str
    moment: float


class Damage(NamedTuple):
    """What happens to a file of a checkpoint, as a disk might do it."""

    path: Path
    how: str


def planned(interruptions: int, *, seed: int, stages: Sequence[str], saving: Collection[str]) -> list[Interruption]:
    """So many interruptions of `stages`, in random order.

    Of two stages one has at most one more than the other, and so has of two kinds within a stage. DAMAGE is for those
    that are `saving` their progress: the others have nothing to damage.
    """
    draws = random.Random(seed)
    kinds: dict[str, list[str]] = {stage: [] for stage in stages}
    found: list[Interruption] = []
    while len(found) < interruptions:
        for stage in draws.sample(stages, min(len(stages), interruptions - len(found))):
            possible = [kind for kind in KINDS if kind != "DAMAGE" or stage in saving]
            kinds[stage] = kinds[stage] or draws.sample(possible, len(possible))
            found.append(Interruption(stage, kinds[stage].pop(), draws.random()))
    return found


def rounds(plan: Sequence[Interruption], *, seed: int) -> list[list[Interruption]]:
    """The plan by runs of the pipeline: in each at most MOST interruptions of a stage, in the order of the plan."""
    draws = random.Random(seed)
    found: list[list[Interruption]] = []
    for stage in dict.fromkeys(one.stage for one in plan):
        left, number = [one for one in plan if one.stage == stage], 0
        while left:
            count = draws.randint(1, MOST)
            found += [[]] if number == len(found) else []
            found[number] += left[:count]
            left, number = left[count:], number + 1
    return found


def damage(checkpoint: Path, draws: random.Random) -> Damage:
    """What is done to a checkpoint: to a file that it has, and that has content."""
    files = [checkpoint / name for name in DAMAGES if (checkpoint / name).exists()]
    path = draws.choice([path for path in files if path.stat().st_size])
    return Damage(path, draws.choice(DAMAGES[path.name]))


def damaged(content: bytes, how: str, draws: random.Random) -> bytes | None:
    """The content of a file that was truncated, emptied, or had a bit flipped; None for one that was removed."""
    match how:
        case "truncated":
            return content[: len(content) // 2]
        case "emptied":
            return b""
        case "flipped":
            place, bit = draws.randrange(len(content)), 1 << draws.randrange(8)
            return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    return None


def table(made: Mapping[tuple[str, str], int], stages: Sequence[str]) -> str:
    """How often each stage was interrupted in each way: a line for each stage, and one for all of them."""
    counts = Counter(made)
    head = f"{'':14}" + "".join(f"{kind:>10}" for kind in KINDS) + f"{'all':>6}"
    lines = [head]
    for name, rows in [*((stage, [stage]) for stage in stages), ("all", stages)]:
        numbers = [sum(counts[row, kind] for row in rows) for kind in KINDS]
        lines.append(f"{name:14}" + "".join(f"{number:10}" for number in numbers) + f"{sum(numbers):6}")
    return "\n".join(lines)
