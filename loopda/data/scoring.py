"""How each labelled set is scored, as far as its images and labels must fit: the size, and the classes."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from loopda.config import Section
from loopda.data.dataset import Input, Length, Size
from loopda.errors import ConfigError
from loopda.labels.classes import ClassList

PRESENT = "present"

Chosen = Literal["present"] | Annotated[tuple[str, ...], Field(min_length=1)]


class Scoring(Section):
    """Keys of the section `evaluate`, by the names of the sets: night, day, or a name of data.night_tests.

    sizes: (width, height) of the network's input and of the labels; by default those of the section `input`.
    classes: the classes whose mean IoU is taken, by default all: a list of names, or `present` for those that occur in
    the labels of the set. Pixels of other true classes are ignored; predictions of other classes remain errors.
    """

    sizes: dict[str, tuple[Length, Length]] = Field(default_factory=dict)
    classes: dict[str, Chosen] = Field(default_factory=dict)

    def size_of(self, name: str, sizes: Input) -> Size:
        """The size at which the set `name` is scored."""
        return self.sizes.get(name) or (sizes.labelled_day if domain_of(name) == "day" else sizes.size)

    def check_classes(self, known: ClassList) -> None:
        """ConfigError where `classes` names a class that the class list does not have."""
        for name, chosen in self.classes.items():
            if unknown := _unknown(chosen, known):
                raise ConfigError(
                    f"evaluate.classes.{name}: no class {', '.join(unknown)}; the classes are {', '.join(known.names)}"
                )


def domain_of(name: str) -> str:
    """The domain of a set that is scored: night, or day."""
    return "day" if name in ("day", "day-test") else "night"


def _unknown(chosen: str | Iterable[str], known: ClassList) -> list[str]:
    return [] if chosen == PRESENT else [name for name in chosen if name not in known.names]
