"""The tables and pages of comparisons, from fabricated scores."""

import csv
import json
import re

import pytest
import yaml
from fabricated_results import benchmark, compared, evaluation, plain_evaluation, with_statistics
from html_page import Page

from loopda.errors import DataError
from loopda.pipeline import experiments
from loopda.report.comparison_tables import TITLES
from loopda.report.inputs import read_metrics, read_peak_memory
from loopda.report.published import published_scores
from loopda.stages.compare import run

NIGHT = {
    ("loopda", "pretrain"): (20, 24, 28),
    ("minent", "adapt"): (25, 24, 29),
    ("advent", "adapt"): (30, 32, 37),
    ("advent-ensemble", "ensemble"): (40, 41, 42),
    ("loopda", "warmup"): (28, 30, 32),
    ("loopda", "self_train"): (35, 35, 35),
    ("loopda", "distill"): (36, 36, 36),
    ("oracle", "pretrain"): (60, 62, 64),
}
WIDE = {"until": "warmup", "network": {"width": 24}}  # another network: a source-only model of its own
NIGHT_OF_RUN = {
    ("loopda", "pretrain"): (20, 24, 28),
    ("loopda", "warmup"): (30, 32, 37),
    ("no-outer-loop", "warmup"): (25, 27, 32),
    ("wide", "pretrain"): (30, 34, 38),
    ("wide", "warmup"): (40, 42, 47),
}


@pytest.fixture
def config(root):
    """config.yaml with a shorter list."""
    config = yaml.safe_load((root / "config.yaml").read_text())
    return config | {"compare": ["minent", "advent", "advent-ensemble", "loopda", "oracle"]}


def plain(folder, experiment, seed, stage):
    night = NIGHT.get((experiment, stage), (33, 33, 33))[seed]
    return plain_evaluation(folder, experiment, seed, stage, night, 50)


def compare(folder, inputs):
    """Run the stage; return the Markdown, its rows by method, the CSV by method and set of images, and the page."""
    paths = {"page": folder / "report.html", "table": folder / "table.md", "csv": folder / "table.csv"}
    run(**inputs, **paths, log=folder / "log")
    text = paths["table"].read_text()
    table = text.split("\n\n")[1]
    head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    with open(paths["csv"], newline="") as file:
        values = {(one["method"], one["images"]): one for one in csv.DictReader(file)}
    return text, {line[0]: dict(zip(head, line, strict=True)) for line in lines}, values, paths["page"].read_text()


@pytest.fixture
def inputs(tmp_path, config):
    return compared(tmp_path, config, "compare", evaluated=plain)


@pytest.fixture
def full(tmp_path, inputs):
    return compare(tmp_path, inputs)


def test_rows_stand_in_the_order_of_the_list_between_source_only_and_the_oracle(full):
    _, rows, _, _ = full
    assert list(rows) == [
        "source-only",
        "minent",
        "advent",
        "advent-ensemble",
        "loopda, warm-up",
        "loopda, self-training",
        "loopda, distillation",
        "oracle",
    ]


def test_mean_deviation_and_gain_are_those_computed_by_hand(full):
    _, rows, values, _ = full
    # 30, 32, 37: mean 33, root(26 / 2) = 3.606; gains 10, 8, 9
    line = values["advent", "night"]
    assert (line["seeds"], line["mIoU"], line["mIoU_std"]) == ("3", "33.0000", "3.6056")
    assert (line["gain"], line["gain_std"]) == ("9.0000", "1.0000")
    assert rows["advent"]["night validation mIoU"] == "33.0 ± 3.6"
    assert rows["source-only"]["night validation mIoU"] == "24.0 ± 4.0"
    assert values["source-only", "night"]["gain"] == ""
    # the oracle is held against the source-only model too: 60 - 20, 62 - 24, 64 - 28
    assert (values["oracle", "night"]["gain"], values["oracle", "night"]["gain_std"]) == ("38.0000", "2.0000")
    assert values["advent", "day"]["mIoU"] == "50.0000"
    # of both classes IoU 33 % comes of as many hits per class
    assert (values["advent", "night"]["road"], values["advent", "night"]["car"]) == ("33.0000", "33.0000")


def test_gains_and_differences_from_the_last_model_of_loopda_have_intervals_computed_by_hand(full):
    text, rows, values, html = full
    # 30, 32, 37 less 36: -6, -4, 1: mean -3, deviation root(26 / 2) = 3.606
    # t(0.975, 2) = 4.303: half of the interval is 4.303 * 3.606 / root(3) = 8.957
    line = values["advent", "night"]
    assert [line[f"gain_{end}"] for end in ("low", "high", "seeds")] == ["6.5159", "11.4841", "3"]
    assert line["differences_from"] == "loopda, distillation"
    assert [line[f"difference{end}"] for end in ("", "_std", "_seeds")] == ["-3.0000", "3.6056", "3"]
    assert float(line["difference_low"]) == pytest.approx(-3 - 8.957, abs=2e-3)
    assert float(line["difference_high"]) == pytest.approx(-3 + 8.957, abs=2e-3)
    assert values["loopda, distillation", "night"]["difference"] == ""
    table = text.split("### mIoU less that of loopda, distillation\n\n")[1].split("\n\n")[0].splitlines()
    assert [cell.strip() for cell in table[0].split("|")[1:4]] == ["method", "night validation", "day validation"]
    found = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in table[2:]}
    assert list(found) == [name for name in rows if name != "loopda, distillation"]
    assert found["advent"] == "−3.0 [−12.0, 6.0]"
    assert found["loopda, self-training"] == "−1.0 [−1.0, −1.0]"
    assert Page(html).row(1, "advent")[1] == "-3.0 [-12.0, 6.0]"
    assert "the 95 % confidence interval of a difference" in text


@pytest.mark.parametrize("chosen", ["", "dann"])
def test_without_a_listed_experiment_to_subtract_there_is_no_table_of_differences(tmp_path, config, chosen):
    config["differences_from"] = chosen
    text, _, values, html = compare(tmp_path, compared(tmp_path, config, "compare", evaluated=plain))
    assert "mIoU less that of" not in text.replace("Gain: mIoU less that of source-only", "") + Page(html).text.replace(
        "Gain: mIoU less that of source-only", ""
    )
    assert values["advent", "night"]["differences_from"] == values["advent", "night"]["difference"] == ""


def test_a_row_names_its_own_settings_as_the_configuration_has_them(full):
    _, rows, values, html = full
    minent = "methods.advent: entropy 0.1, adversarial 0"
    own = {name: line["own settings"] for name, line in rows.items()}
    assert own["source-only"] == own["advent"] == ""
    trained = "warmup.optimizer: lr 0.002; self_train.optimizer: lr 0.002"
    assert own["loopda, warm-up"] == "warmup.optimizer: lr 0.002"
    assert own["loopda, self-training"] == trained
    assert own["minent"] == minent
    assert own["advent-ensemble"] == "mean of the probabilities of minent and advent"
    assert own["loopda, distillation"] == f"{trained}; distill: batch_size 4; distill.optimizer: lr 0.003"
    assert "results/town/oracle/night.csv" in own["oracle"]
    assert values["minent", "night"]["own_settings"] == minent
    assert minent in Page(html).text


def test_time_adds_up_memory_is_the_largest_and_speed_the_last_trainings(tmp_path, inputs):
    for seed in range(3):
        benchmark(tmp_path, "loopda", seed, "warmup", 1500 + seed)
        benchmark(tmp_path, "loopda", seed, "self_train", 900)
    _, rows, values, _ = compare(tmp_path, inputs)
    warmed, trained = values["loopda, warm-up", "night"], values["loopda, self-training", "night"]
    # a fabricated training takes 60 * 3.1 s
    assert (float(warmed["training_seconds"]), float(trained["training_seconds"])) == (186.0, 372.0)
    assert rows["loopda, self-training"]["training"] == "0:06:12"
    assert (float(trained["peak_memory_mb"]), float(trained["peak_memory_mb_std"])) == (1501.0, 1.0)
    assert trained["memory_of"] == "process"
    assert values["advent-ensemble", "night"]["training_seconds"] == "372.0000"
    assert rows["advent-ensemble"]["images/s"] == "–"
    speeds = [read_metrics(path).speed for path in inputs["metrics"] if path.parts[-4:-2] == ("self_train", "loopda")]
    assert float(trained["images_per_second"]) == pytest.approx(sum(speeds) / 3, abs=1e-4)
    assert (rows["source-only"]["steps"], rows["loopda, self-training"]["steps"]) == ("800", "450")


def test_a_lost_benchmark_leaves_a_dash_and_a_peak_of_the_gpu_takes_its_place(tmp_path, inputs):
    for path in inputs["benchmarks"]:
        path.unlink()
    on_gpu = [path for path in inputs["metrics"] if path.parts[-3] == "advent"]
    for path in on_gpu:
        records = [json.loads(line) | {"gpu_memory_mb": 321.5} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    _, rows, values, _ = compare(tmp_path, inputs)
    memory = {name: line["memory, MB"] for name, line in rows.items()}
    assert memory["advent"] == "322 (GPU)"
    assert {text for name, text in memory.items() if name != "advent"} == {"–"}
    assert values["advent", "night"]["memory_of"] == "GPU"
    assert "gpu_memory_mb" not in read_metrics(on_gpu[0]).curves


@pytest.mark.parametrize(
    ("text", "peak"),
    [
        ("s\tmax_rss\n3.1\t512.25\n", 512.25),
        ("s\tmax_rss\n0.1\t-\n", None),
        ("s\tmax_rss\n0.1\tNA\n", None),
        ("s\tmax_rss\n1\t100\n1\t90.5\n", 100.0),
        ("", None),
    ],
)
def test_the_peak_of_a_benchmark_file_is_its_largest_measurement(tmp_path, text, peak):
    (tmp_path / "seed0.tsv").write_text(text)
    assert read_peak_memory(tmp_path / "seed0.tsv") == peak


def test_the_page_is_well_formed_needs_nothing_else_and_keeps_published_numbers_apart(full):
    _, rows, _, html = full
    page = Page(html)
    assert page.open == []
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", html)
    targets = {value for tag, name, value in page.attributes if (tag, name) == ("section", "id")}
    assert {value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")} <= targets
    ours, differences, night, day, papers = page.tables
    assert [row[0].strip() for row in differences[1:]] == [name for name in rows if name != "loopda, distillation"]
    assert [row[0].strip() for row in night[1:]][:2] == ["source-only", "minent"]
    assert len(night) == len(day) == len(NIGHT) + 1
    assert page.row(4, "LoopDA with distillation")[4] == "38.7"
    assert not {row[0].strip() for row in papers[1:]} & {row[0].strip() for row in ours[2:]} - {"source-only", "oracle"}


def test_scores_by_other_statistics_have_a_table_and_columns_of_their_own(tmp_path, config):
    def evaluated(folder, experiment, seed, stage):
        distance = 1.5 if experiment == "minent" else 0.2
        return with_statistics(plain(folder, experiment, seed, stage), night=60 + seed, distance=distance)

    inputs = compared(tmp_path, config, "compare", evaluated=evaluated)
    text, _, values, html = compare(tmp_path, inputs)
    _, _, after = text.partition("### Mean IoU by the statistics of")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in after.split("\n\n")[1].splitlines()]
    assert lines[0] == ["images", "method", "statistics", "mIoU", "other statistics", "mIoU", "distance"]
    assert ["night", "source-only", "night", "24.0 ± 4.0", "own", "61.0 ± 1.0", "0.20"] in lines
    assert {line[0] for line in lines[2:]} == {"night"}  # the scores by day are of an earlier version
    warning = "The night images lie far from the night statistics for minent (distance 1.50, where day is 1 from night"
    assert warning in text
    assert warning in Page(html).text
    assert Page(html).open == []
    found = values["minent", "night"]
    assert (found["statistics"], found["other_statistics"], found["mIoU_other"]) == ("night", "own", "61.0000")
    assert float(found["distance"]) == 1.5
    assert values["minent", "day"]["statistics"] == ""


@pytest.mark.parametrize("comparison", ["parts", "networks", "ablation", "tau"])
def test_every_other_list_has_its_page_table_and_figure_in_the_same_way(tmp_path, config, comparison):
    text, rows, _, html = compare(tmp_path, compared(tmp_path, config, comparison, evaluated=plain))
    page = Page(html)
    assert page.open == []
    assert "source-only" in rows
    assert [row[0] for row in page.tables[-1][1:]] == [one.method for one in published_scores(comparison)]
    assert len(re.findall("<svg", html)) == 1 + (3 if comparison == "tau" else 1)
    assert ("agreement: tau 0.25" in text) == (comparison == "tau")


def test_one_seed_has_no_deviation(tmp_path, config):
    inputs = compared(tmp_path, config, "compare", seeds=(0,), evaluated=plain)
    _, rows, values, html = compare(tmp_path, inputs)
    assert rows["advent"]["night validation mIoU"] == "30.0"
    assert values["advent", "night"]["mIoU_std"] == ""
    assert "±" not in Page(html).text
    assert rows["advent"]["gain"] == "0.0", "by day, without an interval"
    assert "Of one seed there is no interval" in Page(html).text


def test_a_row_without_scores_is_refused_by_its_name(tmp_path, inputs):
    scores = [path for path in inputs["scores"] if "advent-ensemble" not in path.parts]
    with pytest.raises(DataError, match="none of ensemble of advent-ensemble"):
        compare(tmp_path, inputs | {"scores": scores})
    with pytest.raises(DataError, match="--scores names no file"):
        compare(tmp_path, inputs | {"scores": []})


def test_rows_that_were_measured_on_other_images_are_refused(tmp_path, inputs):
    last = inputs["scores"][-1]
    values = json.loads(last.read_text())
    values["domains"]["night"]["protocol"]["images"] = 6
    last.write_text(json.dumps(values))
    with pytest.raises(DataError, match="different night sets"):
        compare(tmp_path, inputs)


def test_every_list_has_a_title():
    assert set(TITLES) == set(experiments.COMPARISONS)


def test_every_published_number_says_where_it_stands_and_on_what_it_was_measured():
    assert published_scores("run") == []
    lists = [name for name in experiments.COMPARISONS if name != "run"]
    for name in lists:
        found = published_scores(name)
        assert found
        for one in found:
            assert all((one.method, one.training, one.test, one.source))
            assert all(0 < value <= 100 for value in (one.mIoU, one.fwIoU, one.accuracy) if value is not None)
    assert [one.mIoU for one in published_scores("ablation")] == [20.6, 22.0, 26.3, 28.6, 29.5, 35.7, 37.6, 38.7]
    assert {one.method for name in lists for one in published_scores(name) if one.mIoU == 20.6} == {
        "(i) source supervision alone",
        "source supervision alone",
    }
    assert [one.mIoU for one in published_scores("tau")] == [35.7, 36.4, 37.6, 37.1, 36.9]


@pytest.fixture
def of_run(tmp_path, config):
    """The inputs of the comparison of the experiments `names`, of which `wide` may be measured elsewhere."""

    def inputs(*names, evaluated=None, seeds=(0, 1, 2)):
        def measured(folder, experiment, seed, stage):
            if evaluated and experiment == "wide":
                return evaluated(folder, experiment, seed, stage)
            night = NIGHT_OF_RUN.get((experiment, stage), (33, 33, 33))[seed]
            return plain_evaluation(folder, experiment, seed, stage, night, 50)

        known = config["experiments"] | {"wide": WIDE}
        return compared(
            tmp_path, config | {"run": list(names), "experiments": known}, "run", seeds=seeds, evaluated=measured
        )

    return inputs


def cells(text):
    """The rows of the first table by method; `compare` has of the columns of one name only the last."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n\n")[1].splitlines()[2:]]
    return {method: values for method, *values in lines}


def elsewhere(folder, experiment, seed, stage):
    """Scores on other images, with other classes."""
    return evaluation(folder, experiment, seed, stage, predictions=False)


def test_the_experiments_of_run_have_the_mean_deviation_seeds_and_gain_computed_by_hand(tmp_path, of_run):
    text, _, values, _ = compare(tmp_path, of_run("loopda"))
    # 30, 32, 37: mean 33, root(26 / 2) = 3.606; gains 10, 8, 9: mean 9, deviation 1
    assert cells(text)["source-only"][:2] == ["24.0 ± 4.0", "–"]
    assert cells(text)["loopda, warm-up"][:2] == ["33.0 ± 3.6", "+9.0 [6.5, 11.5]"]
    assert cells(text)["loopda, warm-up"][4:6] == ["50.0 ± 0.0", "0.0 [0.0, 0.0]"]
    line = values["loopda, warm-up", "night"]
    assert (line["experiment"], line["model_stage"], line["seeds"]) == ("loopda", "warmup", "3")
    assert (line["mIoU"], line["mIoU_std"]) == ("33.0000", "3.6056")
    assert (line["gain"], line["gain_std"]) == ("9.0000", "1.0000")
    assert values["source-only", "night"]["gain"] == ""
    assert "Night validation: 5 images, 64x32, night statistics." in text
    assert "over seeds 0, 1 and 2." in text


def test_the_experiments_of_run_have_no_deviation_over_one_seed(tmp_path, of_run):
    text, _, values, _ = compare(tmp_path, of_run("loopda", seeds=(0,)))
    assert cells(text)["source-only"][:6] == ["20.0", "–", "20.0", "33.3", "50.0", "–"]
    assert values["source-only", "day"]["mIoU_std"] == ""
    assert "±" not in text


def test_the_page_of_run_has_no_published_numbers(tmp_path, of_run):
    text, *_, html = compare(tmp_path, of_run("loopda"))
    page = Page(html)
    assert page.open == []
    assert "Published" not in text + page.text
    assert len(page.tables) == 3, "the scores, and the classes at night and by day"


def test_an_experiment_of_run_is_compared_with_the_source_only_model_that_it_shares(tmp_path, of_run):
    text, *_ = compare(tmp_path, of_run("loopda", "no-outer-loop"))
    assert cells(text)["no-outer-loop"][:2] == ["28.0 ± 3.6", "+4.0 [1.5, 6.5]"]


@pytest.mark.parametrize("evaluated", [None, elsewhere])
def test_an_experiment_of_run_is_compared_with_no_other_source_only_model(tmp_path, of_run, evaluated):
    text, rows, values, _ = compare(tmp_path, of_run("loopda", "wide", "no-outer-loop", evaluated=evaluated))
    assert cells(text)["no-outer-loop"][:2] == ["28.0 ± 3.6", "+4.0 [1.5, 6.5]"]
    assert next(iter(rows)) == "loopda, source-only"
    assert values["loopda, source-only", "night"]["gain"] == values["wide, source-only", "night"]["gain"] == ""
    assert rows["wide, source-only"]["own settings"] == "network: width 24"
    assert rows["wide, warm-up"]["own settings"] == "warmup.optimizer: lr 0.002"
    if evaluated is None:
        assert rows["wide, warm-up"]["gain"] == "0.0 [0.0, 0.0]", "by day"
        assert values["wide, warm-up", "night"]["gain"] == "9.0000", "40, 42, 47 less 30, 34, 38"
    assert "Gain: mIoU less that of the row's own source-only model" in text


def test_gains_are_paired_over_the_seeds_that_both_models_have(tmp_path, of_run):
    inputs = of_run("loopda")
    scores = [path for path in inputs["scores"] if path.parts[-2:] != ("seed2", "pretrain.json")]
    text, _, values, _ = compare(tmp_path, inputs | {"scores": scores})
    # the gains of seeds 0 and 1 are 10 and 8
    assert cells(text)["loopda, warm-up"][:2] == ["33.0 ± 3.6", "+9.0 [−3.7, 21.7], 2 seeds"]
    assert (values["source-only", "night"]["seeds"], values["loopda, warm-up", "night"]["seeds"]) == ("2", "3")


def test_experiments_of_run_on_different_data_stand_apart_with_their_protocols(tmp_path, of_run):
    text, _, values, html = compare(tmp_path, of_run("loopda", "wide", evaluated=elsewhere))
    for experiment, images in (("loopda", 5), ("wide", 4)):
        assert f"Night validation ({experiment}): {images} images, 64x32, night statistics." in text
        assert f"### IoU per class, night validation ({experiment})" in text
    page = Page(html)
    assert page.open == []
    assert len(page.tables) == 1 + 2 * 2
    assert len(re.findall("<svg", html)) == 1 + 2
    assert values["loopda, source-only", "night"]["bicycle"] == "", "a class of the other data"


def on_both(folder, experiment, seed, stage):
    """Scores of validation and, ten points lower, of test."""
    path = plain(folder, experiment, seed, stage)
    values = json.loads(path.read_text())
    lower = {name: scores["mIoU"] - 10 for name, scores in values["domains"].items()}
    of_test = json.loads(plain_evaluation(folder / "test", experiment, seed, stage, **lower).read_text())["domains"]
    values["domains"] |= {f"{name}-test": scores for name, scores in of_test.items()}
    path.write_text(json.dumps(values))
    return path


def test_a_comparison_shows_test_where_there_is_one_and_validation_beside_it(tmp_path, config):
    text, rows, values, html = compare(tmp_path, compared(tmp_path, config, "compare", evaluated=on_both))
    assert rows["advent"]["night test mIoU"] == "23.0 ± 3.6"
    assert rows["advent"]["night validation mIoU"] == "33.0 ± 3.6"
    assert list(rows["advent"])[1] == "night test mIoU"
    assert (values["advent", "night-test"]["mIoU"], values["advent", "night"]["mIoU"]) == ("23.0000", "33.0000")
    assert "Settings are to be chosen on the validation images; the test images are for the results." in text
    assert "Mean IoU of every row, night test" in html
    assert '<th class="group edge night aside" colspan="2">night validation</th>' in html


def test_models_with_one_source_only_model_and_different_classes_are_refused(tmp_path, of_run):
    inputs = of_run("loopda", "wide")
    elsewhere(tmp_path, "wide", 2, "warmup")
    with pytest.raises(DataError, match="class lists"):
        compare(tmp_path, inputs)


def test_experiments_without_labelled_images_have_their_costs_side_by_side(tmp_path, of_run):
    inputs = of_run("loopda")
    for path in inputs["scores"]:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"domains": {}}))
    text, rows, _, html = compare(tmp_path, inputs)
    assert rows["loopda, warm-up"]["steps"] == "150"
    assert "no labelled images" in Page(html).text
    assert "validation" not in text
