"""Signs of collapsed discriminators in the losses of metrics.jsonl."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

STEPS = 200  # how long a sign must last: a discriminator may lead for a while
# A smaller loss means that the discriminator has won. It is a fifth of 0.25, the least loss of a constant output, and a
# quarter of the least healthy loss by AdaptSegNet's author (0.2 to 0.5; issue 22 of that code)
WON = 0.05
# A loss is constant if its lines differ by less, relatively: they differ by at most 6e-4 where nothing is learnt, and
# by 3e-3 or more elsewhere (docs/lab-notes.md)
CONSTANT = 1e-3

RATE = "discriminator_lr (of translate: discriminators.lr)"
SIGNS = {
    "won": f"stayed below {WON}: the discriminator hardly errs any more, and its gradient teaches little. "
    f"Try a lower {RATE}",
    "constant": "stayed the same: the discriminator learns nothing, or there is nothing left that it could tell apart. "
    f"Try another {RATE}",
}


def collapsed(records: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """A warning for each discriminator's loss that shows one of the SIGNS in the last STEPS steps, by the loss's name.

    records: the lines of metrics.jsonl; each may cover any number of steps. The losses are the values whose name begins
    with "discriminator". The loss of a discriminator that is always right is 0. A sum over several discriminators is
    small only if all of them have won, and constant only if all are constant.
    """
    last = records[-1]["step"]
    if last < STEPS:
        return {}
    recent = list(takewhile(lambda record: record["step"] > last - STEPS, reversed(records)))
    warnings = {}
    for name in records[-1]:
        if name.startswith("discriminator") and all(name in record for record in recent):
            losses = [record[name] for record in recent]
            difference = max(losses) - min(losses)
            sign = "won" if max(losses) < WON else "constant" if difference < CONSTANT * max(losses) else ""
            if sign:
                warnings[name] = f"from step {last - STEPS + 1} to {last} {name} {SIGNS[sign]}"
    return warnings
