"""Numbers and lists as text."""

from collections.abc import Iterable, Sequence

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"


def decimal(value: float, *, signed: bool = False) -> str:
    """One decimal; `signed` writes the plus too."""
    text = f"{value:+.1f}" if signed else f"{value:.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def seed_list(seeds: Iterable[int | None]) -> str:
    """`seed 0`, `seeds 0, 1 and 2`; nothing for what has no seed."""
    distinct = sorted({seed for seed in seeds if seed is not None})
    if not distinct:
        return ""
    return f"seed{'s' if len(distinct) > 1 else ''} {listed([str(seed) for seed in distinct])}"


def short_count(number: int) -> str:
    """`912 thousand`, `44.5 million`."""
    for size, word in ((1_000_000, "million"), (1_000, "thousand")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return str(number)


def share(part: int, whole: int) -> str:
    """`12.3 %`; `absent` for nothing."""
    if part == 0:
        return "absent"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.05 else "< 0.1 %"
