"""Stage `prepare`: find the data sets of an experiment, check every file of them, and write their
manifests.

source: labelled day images to learn from. night: unlabelled night images to adapt to, with day references
where there are any. day_val, night_val: labelled images to measure on; night_tests: more of them, by name.
Optional, day: unlabelled day images, among which the stage `pair` looks for references.
"""

import os
from itertools import combinations
from pathlib import Path

from pydantic import Field, field_validator

from loopda.config import Section
from loopda.data.layouts import DataSet
from loopda.data.manifest import Row, same_labels, same_pictures, write_manifest
from loopda.data.sets import UNLABELLED, Found, absent, candidates, find, named, read_found, statistics
from loopda.data.tiles import data_set_rows
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import ClassList, read_class_list
from loopda.labels.contact_sheet import write_contact_sheet
from loopda.pipeline.checking.names import faults_of_set_names
from loopda.runtime.command import command, writes
from loopda.runtime.files import write_json


class Config(Section):
    """The section `data`.

    classes: `cityscapes`, or the path of a class list (YAML), see `loopda.labels.classes.read_classes`.
    night_tests: further labelled sets of night images; `evaluate` scores each under its name.
    A set that is left out is not there: no model is measured on it, and no stage reads it.
    """

    classes: str
    source: DataSet | None = None
    night: DataSet | None = None
    day_val: DataSet | None = None
    night_val: DataSet | None = None
    day: DataSet | None = None
    night_tests: dict[str, DataSet] = Field(default_factory=dict)

    @field_validator("night_tests")
    @classmethod
    def _have_names_of_their_own(cls, value: dict[str, DataSet]) -> dict[str, DataSet]:
        if wrong := faults_of_set_names(value):
            raise ValueError("; ".join(wrong))
        return value


@writes("summary")
def run(
    *,
    config: Config,
    found: list[Path] | None = None,
    town: Path | None = None,
    source: Path | None = None,
    night: Path | None = None,
    day_val: Path | None = None,
    night_val: Path | None = None,
    day: Path | None = None,
    classes: Path,
    summary: Path,
    sheet: Path,
    workers: int | None = None,
    log: Path,
) -> None:
    """Check every file of the data sets, then write a manifest for each, the class list, a summary,
    and a contact sheet of what was understood. The manifests of night_tests lie in a folder of that name beside the
    summary, which says where, and what is in them.

    found: by name of their folders, the found.json of sets that the stage `manifest` has checked already; they are not
    opened again. source ... day: where to write the manifests; none is written of a set that the section leaves out.
    day: without a set of that name, the different day references of `night`; without any, the images of `source`.
    Nothing is written when anything is wrong: one DataError (or, where the section itself is at fault, a ConfigError)
    lists the faults of all data sets, each with the set's key in the configuration, its folder or file, and the remedy.
    town: not read; the workflow may name it where the data are the built-in town, so that the town is built
    first. workers: threads that open files, by default one for each processor that the process may use; their
    number changes no result.
    """
    class_list = read_class_list(config.classes)
    manifests = {"source": source, "night": night, "day_val": day_val, "night_val": night_val}
    tests = {name: summary.parent / "night_tests" / f"{name}.csv" for name in config.night_tests}
    data_sets = {name: getattr(config, name) for name in (*manifests, "day")} | config.night_tests
    data_sets = {name: data_set for name, data_set in data_sets.items() if data_set is not None}
    keys = {name: f"data.night_tests.{name}" if name in tests else f"data.{name}" for name in data_sets}
    if not data_sets:
        raise ConfigError("data: no set of images; name one, such as source (docs/data.md)")
    checked = {path.parent.name: path for path in found or ()}
    sets: dict[str, Found] = {}
    faults: list[str] = []
    wrong: list[str] = []

    # find and check
    for name, data_set in data_sets.items():
        try:
            if name in checked:
                sets[name] = read_found(checked[name])
                continue
            sets[name] = find(data_set, class_list, labelled=name not in UNLABELLED, workers=workers)
            faults += [f"{keys[name]}: {fault}" for fault in sets[name].checked.faults]
        except ConfigError as error:
            wrong += [f"{keys[name]}: {line}" for line in str(error).splitlines()]
        except DataError as error:
            faults += [f"{keys[name]}: {line}" for line in str(error).splitlines()]
    if wrong:
        raise ConfigError("\n".join([*wrong, *faults]))
    if faults := [*faults, *misplaced(sets)]:
        raise DataError("\n".join(faults))

    # write
    for name, path in (manifests | tests).items():
        if name in sets and name not in checked and path is not None:
            write_manifest(path, sets[name].checked.rows)
    if day is not None and {"source", "night"} <= sets.keys():
        write_manifest(day, candidates(sets["night"], sets["source"], sets.get("day")))
    write_json(classes, class_list.to_json())
    shown = {name: of_set.checked.rows for name, of_set in sets.items()}
    write_contact_sheet(sheet, data_set_rows(shown, class_list))
    notes = remarks(sets, class_list)
    tests = {name: path for name, path in tests.items() if name not in checked}
    write_json(
        summary,
        {
            "classes": list(class_list.names),
            "sets": {name: statistics(of_set, class_list) for name, of_set in sets.items()},
            **({"night_tests": {name: named(path) for name, path in tests.items()}} if tests else {}),
            "notes": notes,
        },
    )
    with open(log, "a", encoding="utf-8") as file:
        for name, of_set in sets.items():
            rows = of_set.checked.rows
            references = sum(row.reference is not None for row in rows)
            print(f"{name}: {len(rows)} images checked, {references} with a day reference", file=file)
        print(*notes, f"{sheet}: what was understood of each set; look at it", sep="\n", file=file)


def misplaced(found: dict[str, Found]) -> list[str]:
    """The faults of images that are in two sets of which no image may be in both."""
    trained = [
        f"{_key(name)}: image {image}: it is in source too{_as(image, twin)}; measure on images that were not trained"
        " on"
        for name in measured(found)
        for image, twin in in_both(found, name, "source")
    ]
    by_night = [
        f"data.day: image {image}: it is in night too{_as(image, twin)}, and no night image is a day reference; name"
        " images by day alone"
        for image, twin in in_both(found, "day", "night")
    ]
    return trained + by_night


def measured(found: dict[str, Found]) -> list[str]:
    """The names of the sets that are measured on."""
    return [name for name in found if name not in ("source", *UNLABELLED)]


def in_both(found: dict[str, Found], first: str, second: str) -> list[tuple[Path, Path]]:
    """(image, its twin) for each image of the set `first` that is in the set `second` too, sorted: by name, as a link,
    or as a copy."""
    rows = [found[name].checked.rows if name in found else [] for name in (first, second)]
    return sorted(same_pictures(*rows))


def _key(name: str) -> str:
    """Where the configuration has the set `name`."""
    return f"data.{name}" if name in Config.model_fields else f"data.night_tests.{name}"


def _as(image: Path, twin: Path) -> str:
    """The other name of an image, where it has one, for a message."""
    return "" if os.path.abspath(image) == os.path.abspath(twin) else f" (as {twin})"


def orientation(rows: list[Row]) -> str:
    """Whether all images are upright, or all wide; "" where they differ, or are square."""
    found = {"upright" if row.height > row.width else "wide" if row.width > row.height else "" for row in rows}
    return found.pop() if len(found) == 1 else ""


def remarks(found: dict[str, Found], classes: ClassList) -> list[str]:
    """What is no fault, but what the reader of the results should know."""
    notes = [f"{name}: there is no such set: not measured" for name in ("night_val", "day_val") if name not in found]
    notes += [f"{name}: {line}" for name, of_set in found.items() for line in of_set.left_out]
    night = found["night"].checked.rows if "night" in found else []
    without = sum(row.reference is None for row in night)
    if night and without == len(night):
        notes.append("night: no references: terms that need one are left out")
    elif without:
        notes.append(f"night: {without} of {len(night)} images have no reference: terms that need one leave them out")
    if "night" in found and found["night"].hidden:
        notes.append(f"night: {found['night'].hidden} label maps exist and stay hidden from training")
    for name in found:
        if name not in UNLABELLED and (missing := absent(found[name], classes)):
            notes.append(f"{name}: classes without a pixel: {', '.join(missing)}")
    for name in measured(found) if "source" in found else ():
        if unlearnt := [one for one in absent(found["source"], classes) if one not in absent(found[name], classes)]:
            notes.append(
                f"{name}: {', '.join(unlearnt)}: in its labels, but not in those of source; no model can learn them,"
                " and they count as 0 in its mean (a class list with `keep` can leave them out)"
            )
        if taken := same_labels(found[name].checked.rows, found["source"].checked.rows):
            label, twin = taken[0]
            notes.append(
                f"{name}: {len(taken)} of its label maps are those of other images in source"
                f" ({label}{_as(label, twin)}, for one): right only where both images show the same scene"
            )
    references = found["night"].checked.references if "night" in found else []
    for name in measured(found):
        rows = found[name].checked.rows
        for seen, what in ((night, "in night"), (references, "day references of night")):
            if both := sorted(same_pictures(rows, seen)):
                image, twin = both[0]
                notes.append(
                    f"{name}: {len(both)} of its images are {what} too: its scores are transductive"
                    f" ({image}{_as(image, twin)}, for one)"
                )
    names = measured(found)
    for first, second in [("night", "source"), *combinations(names, 2)]:
        if both := in_both(found, first, second):
            image, twin = both[0]
            notes.append(f"{first}: {len(both)} of its images are in {second} too ({image}{_as(image, twin)}, for one)")
    shapes = {name: orientation(of_set.checked.rows) for name, of_set in found.items()}
    notes += [
        f"{name}: its images are {shape} and those of source {shapes['source']}; where both get the same size"
        " (`input.size`, `input.source_size`), one of them is squeezed"
        for name, shape in shapes.items()
        if {shape, shapes.get("source")} == {"upright", "wide"}
    ]
    notes += [f"{name}: {note}" for name, of_set in found.items() for note in of_set.checked.notes]
    return notes


if __name__ == "__main__":
    command(run)
