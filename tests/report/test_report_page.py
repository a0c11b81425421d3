import re
from pathlib import Path

import pytest
from fabricated_results import plain_evaluation

from loopda.report import report_page, sections
from loopda.report.inputs import read_evaluations
from loopda.report.page import PageSettings
from loopda.report.results import Results, one_experiment
from loopda.report.summary import mean_scores

FOLDER = Path(sections.__file__).parent


@pytest.fixture
def results(tmp_path):
    scores = [plain_evaluation(tmp_path, "loopda", 0, stage, 20, 50) for stage in ("pretrain", "warmup")]
    return Results(one_experiment(read_evaluations(scores)))


def test_every_module_and_every_template_of_a_section_is_on_the_page():
    listed = {module.__name__.rpartition(".")[2] for module in report_page.SECTIONS}
    assert {path.stem for path in FOLDER.glob("[a-z]*.py")} == listed
    assert {path.stem for path in FOLDER.glob("*.html")} == listed


@pytest.mark.parametrize("module", report_page.SECTIONS, ids=lambda module: module.ANCHOR)
def test_the_anchor_of_a_section_is_its_id_on_the_page(module):
    template = Path(module.__file__).with_suffix(".html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="([^"]+)"', template) == [module.ANCHOR]


@pytest.mark.parametrize("module", report_page.SECTIONS, ids=lambda module: module.ANCHOR)
def test_a_page_without_a_section_has_all_others(results, monkeypatch, module):
    def parts(html):
        return re.findall(r'<section id="([^"]+)"', html), re.findall(r'<a href="#([^"]+)"', html)

    whole, links = parts(report_page.report_page(results, "all", PageSettings()))
    assert whole == links == ["results", "classes", "provenance", "notes"]
    monkeypatch.setattr(report_page, "SECTIONS", [one for one in report_page.SECTIONS if one is not module])
    rest, links = parts(report_page.report_page(results, "rest", PageSettings()))
    assert rest == links == [anchor for anchor in whole if anchor != module.ANCHOR]


def test_what_several_sections_read_is_computed_once(results, monkeypatch):
    calls = []
    monkeypatch.setattr("loopda.report.results.mean_scores", lambda *of: calls.append(of[2]) or mean_scores(*of))
    report_page.report_page(results, "page", PageSettings())
    assert sorted(calls) == ["day", "day", "night", "night"]  # two stages on two sets
