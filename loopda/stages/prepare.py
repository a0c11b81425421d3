"""Stage `prepare`: find the data sets of an experiment, check every file of them, and write their manifests.

source: labelled day images to learn from. night: unlabelled night images to adapt to, with day references where there
are any. day_val, night_val: labelled images to choose settings by. day_test, night_test: labelled images on which
nothing was chosen; night_tests: more of them, by name. day (optional): unlabelled day images, among which the stage
`pair` looks for references.
"""

from pathlib import Path

from pydantic import Field, field_validator

from loopda.config import Section
from loopda.data.cross_checks import images_in_two_sets, notes_on_sets, notes_on_shapes
from loopda.data.dataset import Input
from loopda.data.layouts import DataSet
from loopda.data.manifest import write_manifest
from loopda.data.scoring import Scoring
from loopda.data.sets import UNLABELLED, CheckedSet, candidates, check_set, manifest_entry, read_checked_set, statistics
from loopda.data.tiles import data_set_rows
from loopda.errors import ConfigError, DataError
from loopda.labels.class_files import read_class_list, write_classes
from loopda.labels.contact_sheet import write_contact_sheet
from loopda.pipeline.checking.names import faults_of_set_names
from loopda.runtime.command import command, writes
from loopda.runtime.files import write_json


class Config(Section):
    """The section `data`.

    classes: `cityscapes`, or the path of a class list (YAML), see `loopda.labels.class_files.read_class_list`.
    input, evaluate: the sections of these names, as far as images and labels must fit them. Without `input`, shapes are
    not compared with the sizes.
    night_tests: further labelled sets of night images; `evaluate` scores each under its name. A set may be left out:
    no stage reads it then, and no model is measured on it.
    """

    classes: str
    source: DataSet | None = None
    night: DataSet | None = None
    day_val: DataSet | None = None
    night_val: DataSet | None = None
    day_test: DataSet | None = None
    night_test: DataSet | None = None
    day: DataSet | None = None
    night_tests: dict[str, DataSet] = Field(default_factory=dict)
    input: Input | None = None
    evaluate: Scoring = Scoring()

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
    day_test: Path | None = None,
    night_test: Path | None = None,
    day: Path | None = None,
    classes: Path,
    summary: Path,
    sheet: Path,
    workers: int | None = None,
    log: Path,
) -> None:
    """Check every file of the data sets; write a manifest for each, the class list, a summary, and a contact sheet.

    The manifests of night_tests lie in a folder of that name beside the summary, which names them with their digests.

    found: the found.json of each set that the stage `manifest` has checked, in a folder of the set's name; the files of
    these sets are not opened again. source ... day: where to write the manifests; a set that the section leaves out
    gets none. day: without a set of that name it lists the different day references of `night`; without references, the
    images of `source`.
    Nothing is written when anything is wrong: one DataError (or, where the section itself is at fault, a ConfigError)
    lists the faults of all data sets, each with the set's key in the configuration, its folder or file, and the remedy.
    town: not read; the workflow names it where the data are the built-in town, so that the town is built first.
    workers: threads that open files, by default one for each processor that the process may use; their number changes
    no result.
    """
    class_list = read_class_list(config.classes)
    config.evaluate.check_classes(class_list)
    manifests = {"source": source, "night": night, "day_val": day_val, "night_val": night_val}
    manifests |= {"day_test": day_test, "night_test": night_test}
    tests = {name: summary.parent / "night_tests" / f"{name}.csv" for name in config.night_tests}
    layouts = {name: getattr(config, name) for name in (*manifests, "day")} | config.night_tests
    layouts = {name: layout for name, layout in layouts.items() if layout is not None}
    keys = {name: f"data.night_tests.{name}" if name in tests else f"data.{name}" for name in layouts}
    if not layouts:
        raise ConfigError("data: no set of images; name one, such as source (docs/data.md)")
    checked = {path.parent.name: path for path in found or ()}
    sets: dict[str, CheckedSet] = {}
    faults: list[str] = []
    wrong: list[str] = []  # of the section itself

    # find and check
    for name, layout in layouts.items():
        try:
            if name in checked:
                sets[name] = read_checked_set(checked[name])
                continue
            sets[name] = check_set(layout, class_list, labelled=name not in UNLABELLED, workers=workers)
            faults += [f"{keys[name]}: {fault}" for fault in sets[name].checked.faults]
        except ConfigError as error:
            wrong += [f"{keys[name]}: {line}" for line in str(error).splitlines()]
        except DataError as error:
            faults += [f"{keys[name]}: {line}" for line in str(error).splitlines()]
    if wrong:
        raise ConfigError("\n".join([*wrong, *faults]))
    if faults := [*faults, *images_in_two_sets(sets, keys)]:
        raise DataError("\n".join(faults))

    # write
    for name, path in (manifests | tests).items():
        if name in sets and name not in checked and path is not None:
            write_manifest(path, sets[name].checked.rows)
    if day is not None and {"source", "night"} <= sets.keys():
        write_manifest(day, candidates(sets["night"], sets["source"], sets.get("day")))
    write_classes(classes, class_list)
    shown = {name: data_set.checked.rows for name, data_set in sets.items()}
    write_contact_sheet(sheet, data_set_rows(shown, class_list))
    notes = notes_on_sets(sets, class_list)
    if config.input:
        notes += notes_on_shapes(sets, config.input, config.evaluate)
    tests = {name: path for name, path in tests.items() if name not in checked}
    write_json(
        summary,
        {
            "classes": list(class_list.names),
            "sets": {name: statistics(data_set, class_list) for name, data_set in sets.items()},
            **({"night_tests": {name: manifest_entry(path) for name, path in tests.items()}} if tests else {}),
            "notes": notes,
        },
    )
    with open(log, "a", encoding="utf-8") as file:
        for name, data_set in sets.items():
            rows = data_set.checked.rows
            references = sum(row.reference is not None for row in rows)
            print(f"{name}: {len(rows)} images checked, {references} with a day reference", file=file)
        print(*notes, f"{sheet}: images of each set with their labels and references; look at it", sep="\n", file=file)


if __name__ == "__main__":
    command(run)
