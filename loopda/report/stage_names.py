"""The stages by the names and in the order that the pages show."""

MODEL_STAGES = {
    "pretrain": "source-only",
    "warmup": "warm-up",
    "self_train": "self-training",
    "distill": "distillation",
    "adapt": "adaptation",
    "ensemble": "ensemble",
}
"""The stages that end in an evaluated model, in the order of the pipeline, and what a person calls them."""

PIPELINE = [
    "prepare",
    "pretrain",
    "warmup",
    "pseudo_labels",
    "self_train",
    "simclr",
    "distill",
    "translate",
    "adapt",
    "evaluate",
]
"""All stages that make or change a model or a data set, in the order of the pipeline."""


def stage_order(stage: str) -> tuple[int, str]:
    """A sort key: the pipeline's order, then stages that it does not know by name."""
    known = list(MODEL_STAGES)
    return (known.index(stage), "") if stage in known else (len(known), stage)


def stage_title(stage: str) -> str:
    """What a person calls a model stage."""
    return MODEL_STAGES.get(stage, stage.replace("_", " "))


def pipeline_order(stage: str) -> tuple[int, str]:
    """A sort key: stages as the pipeline runs them, then unknown ones by name."""
    return (PIPELINE.index(stage), "") if stage in PIPELINE else (len(PIPELINE), stage)
