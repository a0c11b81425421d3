"""Which label map belongs to an image, and what its values mean: the name of the file decides.

Train id 7 is a sign and label id 7 is road; the pixels do not show which was meant.
"""

from collections.abc import Sequence
from pathlib import Path

from loopda.data.listing import files
from loopda.data.paths import existing, none_is_there
from loopda.data.skipped import collect_skipped, record_skipped
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import COLOURS, ClassList
from loopda.text.names import examples

LABEL_KINDS = ("labelIds", "labelTrainIds")
"""The ends of label file names, as Cityscapes, Dark Zurich and ACDC have them: each is the name of an encoding.

labelIds come first because they are what was published; labelTrainIds are made by the user's own tools.
"""


def label_file(stem: Path, classes: ClassList, *, labelled: bool) -> tuple[Path | None, str]:
    """The label map `<stem>_<kind>.png` and its encoding: the first of LABEL_KINDS, as in `first_label`."""
    candidates = [(stem.with_name(f"{stem.name}_{kind}.png"), kind) for kind in LABEL_KINDS]
    return first_label(candidates, classes, labelled=labelled)


def first_label(
    candidates: Sequence[tuple[Path, str]], classes: ClassList, *, labelled: bool
) -> tuple[Path | None, str]:
    """Of (file, encoding), the first that exists and whose encoding the class list understands.

    Without such a file: the first to expect where `labelled` (`check_rows` reports it), else (None, "").
    ConfigError where the class list understands none of the encodings, and one is needed.
    """
    understood = [(path, kind) for path, kind in candidates if kind in classes.encodings]
    for path, kind in understood:
        if (file := existing(path)).exists():
            return file, kind
    if not labelled:
        return None, ""
    if not understood:
        kinds = [kind for _, kind in candidates]
        raise ConfigError(
            f"the class list understands label files of the kind {', '.join(classes.encodings)}, but this"
            f" layout holds {' or '.join(kinds)}; give the list `encoding: {kinds[0]}` and ids"
        )
    return understood[0]


def check_labels(labels: Sequence[Path | None], folder: Path, pattern: str, remedy: str) -> None:
    """DataError, which ends in the `remedy`, where many images of a set need labels and none is there.

    Label maps in `folder` that belong to no image are recorded as skipped; their names are those of the glob `pattern`
    with one of LABEL_KINDS.
    """
    named = [label for label in labels if label]
    if none_is_there(named):
        raise DataError(f"{folder}: none of the {len(named)} label maps is there, such as {examples(named)}; {remedy}")
    used = {_without_kind(label) for label in named}
    with collect_skipped():  # what lies beside label maps is no image
        present = [path for kind in LABEL_KINDS for path in files(folder, f"{pattern}_{kind}.png")]
    record_skipped("label maps without an image", *(path for path in present if _without_kind(path) not in used))


def _without_kind(label: Path) -> Path:
    return label.with_name(label.stem.rpartition("_")[0])


def encoding_by_name(label: Path, classes: ClassList) -> str:
    """What the values of `label` mean where the user does not say: the one encoding of the class list, or that of
    LABEL_KINDS which its name ends with. ConfigError where neither decides, or they contradict each other."""
    known = list(classes.encodings)
    named = next((kind for kind in LABEL_KINDS if label.stem.endswith(f"_{kind}")), None)
    if named in known:
        return named
    if len(known) == 1 and (named is None or known[0] not in LABEL_KINDS):
        return known[0]
    kinds = " or ".join([*known, COLOURS])
    if named is not None:
        raise ConfigError(
            f"{label}: its name says that its values are {named}, which the class list does not understand; add"
            f" `encoding: {kinds}` to the data set if it is wrong"
        )
    raise ConfigError(f"{label}: its name does not say what its values mean; add `encoding: {kinds}` to the data set")
