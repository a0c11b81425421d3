import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from loopda.report import figures
from loopda.report.illustrations import Overlap
from loopda.report.summary import Cell

STEPS = np.arange(1, 101) * 20
LINES = [figures.SeedCurve(seed, STEPS, np.exp(-STEPS / 500) + seed) for seed in (0, 1)]
OVERLAPS = [
    Overlap(night=str(place), lor=lor, chosen="static", metres=metres)
    for place, (lor, metres) in enumerate([(0.0, 9.0), (0.3, 2.0), (0.5, None), (1.0, 0.1)])
]
STAGE_SCORES = {
    "night": [Cell(20.0, 1.0, 3), Cell(31.5, 2.0, 3)],
    "day": [None, Cell(50.0, None, 1)],
}
CLASS_SCORES = ["road", "train"], [10.0, np.nan], [22.5, np.nan], ("before", "after")
FIGURES = {
    "stages": lambda: figures.stage_chart(["a", "b"], STAGE_SCORES),
    "classes": lambda: figures.class_chart(*CLASS_SCORES),
    "curve": lambda: figures.learning_curve("warmup", "inner_loop", LINES),
    "overlap": lambda: figures.overlap_histogram(OVERLAPS, 0.25),
}


@pytest.fixture(scope="module")
def drawn():
    return {name: draw() for name, draw in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_element_that_tells_nothing_of_the_machine(drawn, name):
    assert ElementTree.fromstring(drawn[name]).tag == "svg"
    assert not re.search(r"http|matplotlib (v|\d)|<metadata|<style|<!--|\d{4}-\d\d-\d\d", drawn[name], re.IGNORECASE)


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_numbers_give_the_same_bytes(drawn, name):
    assert FIGURES[name]() == drawn[name]


@pytest.mark.parametrize("name", FIGURES)
def test_every_colour_is_a_variable_that_the_page_defines_for_light_and_for_dark(drawn, name):
    style = Path(figures.__file__).with_name("page.css")
    light, dark = style.read_text().split("prefers-color-scheme: dark", 1)
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", drawn[name]))
    assert used
    for variable in used:
        assert f"{variable}:" in light
        assert f"{variable}:" in dark
    assert not re.search(r"#[0-9a-f]{6}", drawn[name])


def test_identifiers_of_different_figures_differ_and_references_stay_within_their_figure(drawn):
    found = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in drawn.items()}
    names = list(found)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            assert not found[one] & found[other]
        references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', drawn[one])
        assert {first or second for first, second in references} <= found[one]


def test_figures_write_their_numbers_as_text(drawn):
    assert "31.5" in drawn["stages"]
    assert "50.0" in drawn["stages"]
    assert "+12.5" in drawn["classes"]
    assert "train" in drawn["classes"]
    assert "τ = 0.25" in drawn["overlap"]
    assert "distance unknown" in drawn["overlap"]
    assert "inner loop" in drawn["curve"]


def test_a_running_mean_is_centred_so_that_it_keeps_a_straight_line():
    line = 3.0 - 0.25 * np.arange(60)
    np.testing.assert_allclose(figures.running_mean(line), line)


def test_a_running_mean_averages_a_tenth_of_the_curve():
    values = np.zeros(41)
    values[20] = 5.0
    smooth = figures.running_mean(values)
    np.testing.assert_allclose(smooth[18:23], 1.0)
    assert np.count_nonzero(np.abs(smooth) > 1e-12) == 5


def test_few_points_are_not_smoothed():
    assert figures.running_mean(np.ones(5)) is None


def test_thinning_keeps_short_curves_and_the_mean_of_long_ones():
    steps, values = np.arange(10), np.arange(10.0)
    assert figures.thinned(steps, values)[0] is steps
    long = np.random.default_rng(0).normal(size=2400)
    few_steps, few = figures.thinned(np.arange(2400), long)
    assert len(few) == len(few_steps) == 240
    assert few.mean() == pytest.approx(long.mean())


def test_images_are_grouped_by_distance_with_each_upper_bound_in_the_next_group():
    groups = {name: [one.lor for one in members] for name, members in figures.distance_groups(OVERLAPS)}
    assert groups == {
        "under 0.5 m": [1.0],
        "0.5 to 2 m": [],
        "2 to 5 m": [0.3],
        "5 m and more": [0.0],
        "distance unknown": [0.5],
    }


def test_without_any_known_distance_there_is_one_group():
    overlaps = [one.model_copy(update={"metres": None}) for one in OVERLAPS]
    assert [(name, len(members)) for name, members in figures.distance_groups(overlaps)] == [("night images", 4)]


def test_figures_of_extreme_inputs_are_drawn():
    figures.overlap_histogram(OVERLAPS[:1], None)
    figures.learning_curve("warmup", "loss", [figures.SeedCurve(0, np.array([20]), np.array([1.0]))])
    figures.learning_curve("warmup", "loss", [figures.SeedCurve(0, STEPS, np.zeros(100))])
    figures.stage_chart(["a"], {"night": [Cell(0.0, None, 1)]})
    figures.stage_chart(["a"], {"night": [None]})
