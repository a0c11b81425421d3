"""The stage `search`: the best trial by validation, its place in the grid, and the overlay with its settings."""

import csv
import json

import pytest
import yaml
from fabricated_results import plain_evaluation
from html_page import Page

from loopda.config import parse_section
from loopda.errors import DataError
from loopda.pipeline import experiments, search
from loopda.pipeline.configuration import read_config
from loopda.stages.search import Config, run

NIGHT = {"advent": (20, 26, 23, 21), "road": (30, 30, 28, 29)}  # by trial, seed 0; seed 1 has two points more
GRIDS = {
    "advent": {"methods.advent.adversarial": [1.0e-3, 1.0e-2, 1.0e-1, 1.0]},
    "road": {"methods.road.distillation": [0.1, 1.0], "methods.road.grid": [[1, 1], [2, 2]]},
}


@pytest.fixture
def results(tmp_path, root):
    """A function that runs the stage on made-up scores, and returns the paths of its outputs."""
    config = yaml.safe_load((root / "config.yaml").read_text())
    config["search"] |= {"seeds": [0, 1], "grids": GRIDS}
    section = search.table(search.with_trials(config))
    scores = [
        plain_evaluation(tmp_path, f"{name}-trial{number}", seed, "adapt", night + 2 * seed, 50 - night)
        for name, nights in NIGHT.items()
        for number, night in enumerate(nights, start=1)
        for seed in (0, 1)
    ]

    def search_of(*, left_out=(), **changes):
        names = {"page": "report.html", "table": "table.md", "csv": "table.csv", "best": "best.yaml"}
        paths = {key: tmp_path / "search" / name for key, name in names.items()}
        given = [path for path in scores if path not in left_out]
        run(config=parse_section(section | changes, Config, "test"), scores=given, **paths, log=tmp_path / "log")
        return paths

    search_of.scores = scores
    return search_of


def test_the_best_trial_has_the_highest_mean_over_seeds_and_the_first_of_equals_wins(results):
    with open(results()["csv"], newline="") as file:
        lines = {line["trial"]: line for line in csv.DictReader(file)}
    assert [name for name, line in lines.items() if line["best"] == "True"] == ["advent-trial2", "road-trial1"]
    best = lines["advent-trial2"]
    assert (best["mIoU"], best["mIoU_std"], best["seeds"]) == ("27.0000", "1.4142", "2")  # 26 and 28
    assert best["settings"] == "methods.advent.adversarial 0.01"
    assert best["edge"] == ""


def test_another_validation_set_can_decide(results):
    text = results(score="day")["best"].read_text()
    assert yaml.safe_load(text)["experiments"]["advent"] == {"methods": {"advent": {"adversarial": 0.001}}}
    assert "on day validation images, seeds 0 and 1." in text


def test_a_best_at_the_edge_of_its_grid_is_said_and_what_has_no_order_has_no_edge(results):
    paths = results()
    edge = "methods.road.distillation 0.1 is the smallest of 2"
    for text in (paths["table"].read_text(), Page(paths["page"].read_text()).text):
        assert f"At the edge of its grid: road, {edge}." in text
        assert "At the edge of its grid: advent" not in text
        assert "No trial is scored on test images." in text


def test_the_overlay_of_the_best_settings_gives_them_to_the_experiments(results, root):
    config = read_config([results()["best"]], root)
    assert experiments.section(config, "advent", "adapt")["method"]["adversarial"] == 0.01
    assert experiments.section(config, "road", "adapt")["method"]["grid"] == [1, 1]
    assert experiments.section(config, "advent", "adapt")["optimizer"] == config["adapt"]["optimizer"]


def test_a_page_shows_every_trial(results):
    page = Page(results()["page"].read_text())
    assert page.open == []
    assert all(f"{name}-trial{number}" in page.text for name in NIGHT for number in (1, 2, 3))


def test_missing_scores_are_named(results):
    with pytest.raises(DataError, match="none of adapt of advent-trial2 with seed 1"):
        results(left_out=[path for path in results.scores if "advent-trial2/seed1" in str(path)])


def test_scores_of_test_images_are_refused(results):
    values = json.loads(results.scores[0].read_text())
    values["domains"]["night-test"] = values["domains"]["night"]
    results.scores[0].write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"advent-trial1.*it scores night-test too; settings are chosen on validation"):
        results()
