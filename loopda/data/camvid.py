"""CamVid by day and at dusk, as tables: `python -m loopda.data.camvid --root <folder> --out data/camvid`.

The 701 labelled frames of CamVid (Brostow et al., Pattern Recognition Letters 2009), split by the light they
were filmed in: sequence 0001TP at dusk (`night`), the other three by day. The folder must look like this:

    <root>/{day,night}/images/<name>.png or .jpg
    <root>/{day,night}/labels/<name>.png       8-bit train ids of Cityscapes, 255 = void
    <root>/{day_train,day_val,day_test,night_train,night_test}.txt     one <name> a line

The lists are CamVid's own splits by light; its split val has no dusk. So the dusk frames of its split test, a second
apart in one drive, are divided by time: first those of validation, then a gap, then those of test.
CamVid has no day references. Its classes: workflow/config/camvid/classes.yaml.
"""

import sys
from pathlib import Path

from loopda.data.layouts.table import write_table
from loopda.data.lists import read_names
from loopda.data.manifest import Row
from loopda.data.paths import existing
from loopda.data.skipped import collect_skipped
from loopda.errors import DataError
from loopda.runtime.command import command

GAP = 4  # frames at dusk between validation and test, in neither: neighbours show almost the same street [ours]
# table: (domain, split list, whether its labels are named); only the oracle sees those of the dusk training frames
TABLES = {
    "source.csv": ("day", "day_train.txt", True),
    "day_val.csv": ("day", "day_val.txt", True),
    "day_test.csv": ("day", "day_test.txt", True),
    "night.csv": ("night", "night_train.txt", False),
    "night_val.csv": ("night", "night_test.txt", True),
    "night_test.csv": ("night", "night_test.txt", True),
}


def run(*, root: Path, out: Path) -> None:
    """Write the tables of `TABLES` into `out`, for `layout: table`.

    And oracle.csv, the images of night.csv with their labels, for the oracle that trains with them; it is not written
    where some of these labels are missing, since nothing else needs them. DataError lists everything else that is
    missing from `root`; then nothing is written.
    """
    faults: list[str] = []
    with collect_skipped() as skipped:
        tables = {name: _rows(root.absolute(), *of_table, faults) for name, of_table in TABLES.items()}
    if not faults:
        try:
            tables["night_val.csv"], tables["night_test.csv"] = apart_in_time(tables["night_test.csv"], gap=GAP)
        except ValueError as error:
            faults.append(f"{root / 'night_test.txt'}: {error}")
    print(*skipped.lines(), sep="\n", end="\n" if skipped.lines() else "", file=sys.stderr)
    if faults:
        expected = "expected {day,night}/images/, {day,night}/labels/ and " + ", ".join(
            dict.fromkeys(split for _, split, _ in TABLES.values())
        )
        raise DataError("\n".join([f"{root}: not the expected folder: {expected}", *faults]))
    oracle = _rows(root.absolute(), "night", "night_train.txt", True, faults)
    if faults:
        print("oracle.csv is left out:", *faults, sep="\n", file=sys.stderr)
    else:
        tables["oracle.csv"] = oracle
    for name, rows in tables.items():
        write_table(out / name, rows)


def apart_in_time(rows: list[Row], *, gap: int) -> tuple[list[Row], list[Row]]:
    """The first and the last frames of one drive, equally many, with at least `gap` frames between them.

    The names of frames end in their numbers, so their order is that of time. ValueError where there are too few.
    """
    count = (len(rows) - gap) // 2
    if count < 1:
        raise ValueError(
            f"{len(rows)} frames; it takes {gap + 2} to validate and test on frames that are apart in time"
        )
    ordered = sorted(rows, key=lambda row: row.image.stem)
    return ordered[:count], ordered[-count:]


def _rows(root: Path, domain: str, split: str, labelled: bool, faults: list[str]) -> list[Row]:
    """The rows of the list `split`, and new lines in `faults` for what is missing."""
    try:
        names = read_names(root / split)
    except DataError as error:
        faults.append(str(error))
        return []
    rows = []
    for _, name in names:
        candidates = [existing(root / domain / "images" / f"{name}{suffix}") for suffix in (".png", ".jpg")]
        image = next((candidate for candidate in candidates if candidate.is_file()), None)
        label = existing(root / domain / "labels" / f"{name}.png")
        if image is None:
            faults.append(f"{candidates[0]}: no such file, nor one that ends in .jpg; {split} names it")
        elif labelled and not label.is_file():
            faults.append(f"{label}: no such file; {split} names it")
        else:
            rows.append(Row(image, label if labelled else None))
    return rows


if __name__ == "__main__":
    command(run)
