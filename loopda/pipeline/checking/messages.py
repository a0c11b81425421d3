"""Messages about a fault that several experiments have: one line for all of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence


def with_experiments(found: Iterable[tuple[str, str]]) -> list[str]:
    """Each fault once, followed by the experiments that have it. found: pairs of an experiment and a fault."""
    return [f"{fault} ({_named(names)})" for fault, names in _by_fault(found).items()]


def at_experiments(found: Iterable[tuple[str, str]]) -> list[str]:
    """Each fault once, at the key of the first experiment that has it, followed by the other experiments.

    found: pairs of an experiment and a fault, which begins with ".key: " or ": ".
    """
    return [
        f"experiments.{first}{fault}" + (f" (and in {_named(others)})" if others else "")
        for fault, (first, *others) in _by_fault(found).items()
    ]


def _by_fault(found: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for name, fault in found:
        names[fault].append(name)
    return names


def _named(names: Sequence[str]) -> str:
    """`experiments a, b`; of more than five, three names and how many more there are."""
    names = list(dict.fromkeys(names))
    shown = names if len(names) <= 5 else names[:3]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"experiment{'s' if len(names) > 1 else ''} {', '.join(shown)}{more}"
