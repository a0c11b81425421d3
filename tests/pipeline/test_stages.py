"""The table of stages, and what repeats it where no table can be read."""

from loopda.pipeline.experiments import parents, parents_read
from loopda.pipeline.stages import ENSEMBLE, MODEL_STAGES, STAGES, TRAINING_STAGES, stage_order, stage_title


def test_each_stage_has_a_module_and_stands_behind_those_that_it_reads(root):
    assert set(STAGES) <= {path.stem for path in (root / "loopda/stages").glob("[a-z]*.py")}
    order = list(STAGES)
    for name, stage in STAGES.items():
        before = [parent if isinstance(parent, str) else parent.name for parent in stage.parents]
        assert all(order.index(parent) < order.index(name) for parent in before)


def test_a_stage_that_trains_writes_its_metrics_and_one_that_makes_a_model_writes_it_first():
    for name in TRAINING_STAGES:
        assert "metrics.jsonl" in STAGES[name].outputs
    for name in MODEL_STAGES:
        assert STAGES[name].outputs[0] == "model.pt"


def test_the_student_reads_the_source_only_model_where_it_starts_from_it_alone(base_config):
    for changes, read in (({}, ("pretrain",)), ({"start": "random"}, ()), ({"weights": "simclrv2-r101"}, ())):
        config = base_config | {"simclr": base_config["simclr"] | changes}
        assert parents(config, "smoke", "simclr") == ("pretrain",)
        assert parents_read(config, "smoke", "simclr") == read


def test_titles_and_order_know_an_ensemble_and_names_that_are_not_in_the_table():
    names = ["zebra", ENSEMBLE, "adapt", "prepare", "self_train"]
    assert sorted(names, key=stage_order) == ["prepare", "self_train", "adapt", ENSEMBLE, "zebra"]
    assert [stage_title(name) for name in ("self_train", ENSEMBLE, "pseudo_labels", "my_own")] == [
        "self-training",
        "ensemble",
        "pseudo labels",
        "my own",
    ]
