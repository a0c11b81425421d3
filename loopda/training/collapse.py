"""Discriminators that have collapsed, as the records of metrics.jsonl show it."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

STEPS = 200  # that a sign must last: a discriminator may be ahead for a while
# of a loss: a fifth of 0.25, which is the least that a constant answer costs, and a quarter of the least that is sound
# according to AdaptSegNet's author (0.2 to 0.5; issue 22 of the authors' code)
WON = 0.05
# relative difference of records: at most 6e-4 where nothing is learnt, else 3e-3 and more (docs/lab-notes.md)
CONSTANT = 1e-3

RATE = "discriminator_lr (of translate: discriminators.lr)"
SIGNS = {
    "won": f"stayed below {WON}: the discriminator hardly errs any more, and its gradient teaches little. "
    f"Try a lower {RATE}",
    "constant": "stayed the same: the discriminator learns nothing, or there is nothing left that it could tell apart. "
    f"Try another {RATE}",
}


def collapsed(records: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """A sentence for each discriminator that shows one of the SIGNS in all of the last STEPS steps, by its loss.

    A loss of discriminators is a value of `records` whose name begins so; 0 is that of one that never errs. A sum over
    several is small only if all of them have won, and constant only if all of them are. Records may be of any number of
    steps, for a training writes one whenever it saves.
    """
    last = records[-1]["step"]
    if last < STEPS:
        return {}
    window = list(takewhile(lambda record: record["step"] > last - STEPS, reversed(records)))
    found = {}
    for name in records[-1]:
        if name.startswith("discriminator") and all(name in record for record in window):
            least, most = (extreme(record[name] for record in window) for extreme in (min, max))
            sign = "won" if most < WON else "constant" if most - least < CONSTANT * most else ""
            if sign:
                found[name] = f"from step {last - STEPS + 1} to {last} {name} {SIGNS[sign]}"
    return found
