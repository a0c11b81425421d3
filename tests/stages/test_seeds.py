import csv

import pytest
from fabricated_results import evaluation, plain_evaluation

from loopda.errors import DataError
from loopda.stages.seeds import run

NIGHT = {"pretrain": (20, 24, 28), "warmup": (30, 32, 37)}


def tables(folder, scores):
    """Run the stage; return the Markdown, its rows by (experiment, stage), the CSV rows by these and set."""
    run(scores=scores, table=folder / "seeds.md", csv=folder / "seeds.csv", log=folder / "seeds.log")
    text = (folder / "seeds.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    with open(folder / "seeds.csv", newline="") as file:
        values = {(one["experiment"], one["model_stage"], one["images"]): one for one in csv.DictReader(file)}
    return text, {tuple(row[:2]): row[2:] for row in rows}, values


def three_seeds(folder, experiment="loopda", stages=("pretrain", "warmup"), more=0):
    return [
        plain_evaluation(folder, experiment, seed, stage, NIGHT[stage][seed] + more, 50)
        for stage in stages
        for seed in range(3)
    ]


def test_mean_deviation_number_of_seeds_and_gain_are_those_computed_by_hand(tmp_path):
    text, rows, values = tables(tmp_path, three_seeds(tmp_path))
    # 30, 32, 37: mean 33, root(26 / 2) = 3.606; gains 10, 8, 9: mean 9, deviation 1
    assert rows["loopda", "source-only"][:2] == ["24.0 ± 4.0", "–"]
    assert rows["loopda", "warm-up"][:2] == ["33.0 ± 3.6", "+9.0 ± 1.0"]
    assert rows["loopda", "warm-up"][-3:] == ["50.0 ± 0.0", "0.0 ± 0.0", "3"]
    line = values["loopda", "warmup", "night"]
    assert (line["seeds"], line["mIoU"], line["mIoU_std"]) == ("3", "33.0000", "3.6056")
    assert (line["gain"], line["gain_std"]) == ("9.0000", "1.0000")
    assert values["loopda", "pretrain", "night"]["gain"] == ""
    assert "Night validation: 5 images, 64x32, night statistics." in text


def test_one_seed_has_no_deviation(tmp_path):
    _, rows, values = tables(tmp_path, [plain_evaluation(tmp_path, "loopda", 4, "pretrain", 20, 50)])
    assert rows["loopda", "source-only"] == ["20.0", "–", "20.0", "33.3", "50.0", "–", "1"]
    assert values["loopda", "pretrain", "day"]["mIoU_std"] == ""


def test_an_ablation_is_compared_with_the_only_source_only_model_there_is(tmp_path):
    scores = three_seeds(tmp_path) + three_seeds(tmp_path, "no-outer-loop", ("warmup",), more=-5)
    _, rows, _ = tables(tmp_path, scores)
    assert rows["no-outer-loop", "warm-up"][:2] == ["28.0 ± 3.6", "+4.0 ± 1.0"]


def test_an_ablation_is_not_compared_with_a_source_only_model_on_other_data(tmp_path):
    scores = three_seeds(tmp_path) + three_seeds(tmp_path, "no-outer-loop", ("warmup",), more=-5)
    scores += [evaluation(tmp_path, "other-data", seed, "pretrain", predictions=False) for seed in range(3)]
    _, rows, _ = tables(tmp_path, scores)
    assert rows["no-outer-loop", "warm-up"][:2] == ["28.0 ± 3.6", "+4.0 ± 1.0"]


def test_a_gain_is_left_out_where_the_source_only_model_is_in_doubt(tmp_path):
    scores = three_seeds(tmp_path) + three_seeds(tmp_path, "other-data", more=10)
    scores += three_seeds(tmp_path, "no-outer-loop", ("warmup",))
    _, rows, values = tables(tmp_path, scores)
    assert rows["no-outer-loop", "warm-up"][:2] == ["33.0 ± 3.6", "–"]
    assert rows["other-data", "warm-up"][1] == "+9.0 ± 1.0"
    assert values["no-outer-loop", "warmup", "night"]["gain"] == ""


def test_gains_are_paired_over_the_seeds_that_both_stages_have(tmp_path):
    scores = three_seeds(tmp_path)
    missing = next(path for path in scores if path.parts[-2:] == ("seed2", "pretrain.json"))
    _, rows, _ = tables(tmp_path, [path for path in scores if path != missing])
    # the gains of seeds 0 and 1 are 10 and 8
    assert rows["loopda", "warm-up"][:2] == ["33.0 ± 3.6", "+9.0 ± 1.4"]


def test_experiments_on_different_data_name_their_protocols(tmp_path):
    scores = [*three_seeds(tmp_path), evaluation(tmp_path, "town", 0, "pretrain", predictions=False)]
    text, _, _ = tables(tmp_path, scores)
    assert "Night validation (loopda): 5 images, 64x32, night statistics." in text
    assert "Night validation (town): 4 images, 64x32, night statistics." in text


def test_models_of_one_experiment_with_different_classes_are_refused(tmp_path):
    scores = [*three_seeds(tmp_path), evaluation(tmp_path, "loopda", 3, "pretrain", predictions=False)]
    with pytest.raises(DataError, match="class lists"):
        tables(tmp_path, scores)


def test_no_scores_at_all_are_refused(tmp_path):
    with pytest.raises(DataError, match="--scores"):
        tables(tmp_path, [])
