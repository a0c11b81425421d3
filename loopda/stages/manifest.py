"""Stage `manifest`: check every file of one data set, and write its manifest.

The workflow runs it once for each set of an experiment, so that a stage depends on the sets that it reads and on no
other; `prepare` puts the sets of an experiment together.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from loopda.config import Section
from loopda.data.layouts import DataSet
from loopda.data.sets import UNLABELLED, check_set
from loopda.errors import ConfigError, DataError
from loopda.labels.class_files import read_class_list, write_classes
from loopda.runtime.command import command, writes
from loopda.runtime.log import Log


class Config(Section):
    """One set of the section `data`. name: its key there; that of a further night set is "night_tests/<name>"."""

    classes: str
    name: Annotated[str, Field(min_length=1)]
    images: DataSet


@writes("manifest")
def run(
    *,
    config: Config,
    town: Path | None = None,
    manifest: Path,
    references: Path,
    classes: Path,
    found: Path,
    workers: int | None = None,
    log: Path,
) -> None:
    """Read every file of the set to its end, then write its manifest, that of its different day references, the class
    list, and what was counted (found).

    Nothing is written when anything is wrong: one DataError lists all faults with the file and the remedy.
    town, workers: as in `prepare`.
    """
    logger = Log(log, f"manifest {config.name}")
    key = f"data.{config.name.replace('/', '.')}"
    class_list = read_class_list(config.classes)
    try:
        data_set = check_set(config.images, class_list, labelled=config.name not in UNLABELLED, workers=workers)
    except (DataError, ConfigError) as error:
        raise type(error)("\n".join(f"{key}: {line}" for line in str(error).splitlines())) from None
    if data_set.checked.faults:
        raise DataError("\n".join(f"{key}: {fault}" for fault in data_set.checked.faults))
    write_classes(classes, class_list)
    data_set.write(manifest=manifest, references=references, found=found)
    for line in data_set.skipped:
        logger.say(line)
    logger.say(
        f"{len(data_set.checked.rows)} images checked, {len(data_set.checked.references)} different day references"
    )


if __name__ == "__main__":
    command(run)
