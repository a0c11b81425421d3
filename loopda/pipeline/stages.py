"""The stages of the pipeline: one table, from which everything that lists stages is derived.

A new stage is an entry of this table, a file loopda/stages/<name>.py and a rule of the same name (CONTRIBUTING.md).
`export`, `predict` and the comparisons have no entry, because they belong to no experiment and no stage reads their
files. The Snakefile imports this module each time it is parsed, so it imports nothing heavy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# the sets of images of the section `data`
SETS = ("source", "night", "day", "day_val", "night_val", "day_test", "night_test")
# what is measured: the name of a set in scores and tables -> its key in `data`. Settings are chosen on the sets of
# validation (*_val); the sets of test (*_test) come first, because results are those on them
MEASURED = {"night-test": "night_test", "day-test": "day_test", "night": "night_val", "day": "day_val"}
TESTS = "night_tests"  # the key of further labelled night sets, which are called "night_tests/<name>"
ENSEMBLE = "ensemble"  # stands in the place of a stage where the models of several experiments are averaged
LAST = "distill"  # the stage that an experiment ends with, unless `until` names another

# Whether something holds in an experiment, by the resolved section of each stage in it: sections("pair")["enabled"].
Condition = Callable[[Callable[[str], Mapping[str, Any]]], bool]


@dataclass(frozen=True)
class Parent:
    """A stage whose files another stage reads in some experiments.

    where: the experiments in which it is a parent. read_where: of these, the experiments in which its files are read.
    None means all.
    """

    name: str
    where: Condition | None = None
    read_where: Condition | None = None


@dataclass(frozen=True)
class Stage:
    """What the pipeline knows of a stage.

    parents: the stages whose files it reads: their names, or a `Parent` with a condition.
    section: the section of config.yaml that is its own; the one of its name, unless another is given.
    sections: the sections that it shares with other stages.
    sets: the sets of images whose manifests it reads, if the experiment has them. "night_tests" stands for all sets of
    that key. A tuple of names stands for the first of them that the experiment has.
    outputs: the outputs of its rule, in their order there, in the folder of its results; {model} stands for the stage
    whose model it reads, {data_set} for a set of images.
    recorded: the output beside which the record of its inputs lies (`loopda.runtime.provenance`); the first, unless
    another is given.
    title: what the report calls it; its name, unless another is given.
    seeded: its results lie in folders seed<k>.
    trains: it trains, step by step, and writes metrics.jsonl.
    makes_model: it makes a segmentation model that is evaluated, and an experiment can end with it (`until`).
    distributed: several processes can work on it together.
    """

    name: str
    parents: tuple[str | Parent, ...] = ()
    section: str = ""
    sections: tuple[str, ...] = ()
    sets: tuple[str | tuple[str, ...], ...] = ()
    outputs: tuple[str, ...] = ()
    recorded: str = ""
    title: str = ""
    seeded: bool = True
    trains: bool = False
    makes_model: bool = False
    distributed: bool = False

    def __post_init__(self) -> None:
        """Fill in what is not given."""
        object.__setattr__(self, "section", self.section or self.name)
        object.__setattr__(self, "recorded", self.recorded or self.outputs[0])
        object.__setattr__(self, "title", self.title or self.name.replace("_", " "))


def _pairs_are_enabled(sections: Callable[[str], Mapping[str, Any]]) -> bool:
    return sections("pair")["enabled"]


def _method_reads_translations(sections: Callable[[str], Mapping[str, Any]]) -> bool:
    return sections("adapt")["method"].get("pixel", False)


def _student_starts_from_pretrain(sections: Callable[[str], Mapping[str, Any]]) -> bool:
    return sections("simclr")["start"] == "pretrain" and not sections("simclr")["weights"]


_TABLE = (  # in the order of the pipeline
    Stage("town", outputs=("town.json", "poses.csv", "oracle/night.csv", "contact_sheet.png"), seeded=False),
    Stage(
        "manifest",
        parents=("town",),
        section="data",
        outputs=("{data_set}.csv", "{data_set}/references.csv", "{data_set}/classes.json", "{data_set}/found.json"),
        seeded=False,
    ),
    Stage(
        "prepare",
        parents=("manifest",),
        section="data",
        sections=("input", "evaluate"),
        sets=(*SETS, TESTS),
        outputs=("classes.json", "summary.json", "contact_sheet.png"),
        recorded="summary.json",
        seeded=False,
    ),
    Stage(
        "pretrain",
        title="source-only",
        parents=("manifest",),
        sections=("input", "compute", "network"),
        sets=("source", "night"),
        outputs=("model.pt", "metrics.jsonl"),
        trains=True,
        makes_model=True,
        distributed=True,
    ),
    Stage(
        "warmup",
        title="warm-up",
        parents=("pretrain",),
        sections=("input", "compute", "loops"),
        sets=("source", "night"),
        outputs=("model.pt", "loops.pt", "metrics.jsonl"),
        trains=True,
        makes_model=True,
        distributed=True,
    ),
    Stage(
        "pair",
        parents=("warmup",),
        sections=("input",),
        sets=("night", ("day", "source")),
        outputs=("night.csv", "pairs.csv", "ranking.json", "contact_sheet.png"),
    ),
    Stage(
        "pseudo_labels",
        parents=("warmup", Parent("pair", where=_pairs_are_enabled)),
        sections=("input",),
        sets=("night",),
        outputs=("labels.csv", "statistics.json"),
        distributed=True,
    ),
    Stage(
        "self_train",
        title="self-training",
        parents=("pseudo_labels",),
        sections=("input", "compute", "loops", "agreement"),
        sets=("source", "night"),
        outputs=("model.pt", "metrics.jsonl"),
        trains=True,
        makes_model=True,
        distributed=True,
    ),
    Stage(
        "simclr",
        parents=(Parent("pretrain", read_where=_student_starts_from_pretrain),),
        sections=("input", "compute", "network"),
        sets=("source", "night"),
        outputs=("model.pt", "metrics.jsonl"),
        trains=True,
        distributed=True,
    ),
    Stage(
        "distill",
        title="distillation",
        parents=("self_train", "simclr"),
        sections=("input", "compute"),
        sets=("source", "night"),
        outputs=("model.pt", "metrics.jsonl"),
        trains=True,
        makes_model=True,
        distributed=True,
    ),
    Stage(
        "translate",
        parents=("pretrain",),
        sections=("input", "compute"),
        sets=("source", "night"),
        outputs=("source.csv", "generators.pt", "metrics.jsonl", "contact_sheet.png"),
        trains=True,
        distributed=True,
    ),
    Stage(
        "adapt",
        title="adaptation",
        parents=("pretrain", Parent("translate", where=_method_reads_translations)),
        sections=("input", "compute"),
        sets=("source", "night"),
        outputs=("model.pt", "metrics.jsonl"),
        trains=True,
        makes_model=True,
        distributed=True,
    ),
    Stage(
        "evaluate",
        parents=("manifest",),
        sections=("input",),
        sets=("day_val", "night_val", "day_test", "night_test", TESTS),
        outputs=("{model}.json",),
        distributed=True,
    ),
    Stage("convert", parents=("manifest",), outputs=("model.pt",)),
    Stage("submission", outputs=("{model}.zip",)),
    Stage(
        "illustrate",
        parents=("pseudo_labels",),
        sections=("input", "loops", "agreement"),
        sets=("source", "night"),
        outputs=("illustrations.json",),
    ),
    Stage("report", outputs=("report.html", "table.txt"), seeded=False),
)
STAGES: Mapping[str, Stage] = {stage.name: stage for stage in _TABLE}

MODEL_STAGES = tuple(stage.name for stage in _TABLE if stage.makes_model)
TRAINING_STAGES = tuple(stage.name for stage in _TABLE if stage.trains)
DISTRIBUTED_STAGES = tuple(stage.name for stage in _TABLE if stage.distributed)


def stage_title(name: str) -> str:
    """What the report calls the stage `name`, or what stands in the place of one."""
    return STAGES[name].title if name in STAGES else name.replace("_", " ")


def stage_order(name: str) -> tuple[int, str]:
    """A sort key: the order of the pipeline, then an ensemble, then names that the table does not have."""
    known = [*STAGES, ENSEMBLE]
    return (known.index(name), "") if name in known else (len(known), name)
