"""The stage `manifest`: one data set, checked by itself; and `prepare`, which puts such sets together."""

import json
import shutil
from pathlib import Path

import pytest

from loopda.config import parse_section
from loopda.data.manifest import read_manifest
from loopda.errors import ConfigError, DataError
from loopda.pipeline import experiments
from loopda.stages import manifest, prepare


@pytest.fixture
def check(miniature, tmp_path):
    """check(set, changes): runs the stage for a set of the miniature; the folder of its files."""

    def run(name: str, **changes) -> Path:
        miniature.path("town", "town.json")
        section = experiments.set_section(miniature.config, "smoke", name)
        section["images"] |= changes
        folder = tmp_path / name
        manifest.run(
            config=parse_section(section, manifest.Config, "set"),
            manifest=tmp_path / f"{name}.csv",
            references=folder / "references.csv",
            classes=folder / "classes.json",
            found=folder / "found.json",
            workers=1,
            log=tmp_path / f"{name}.log",
        )
        return folder

    return run


def together(miniature, tmp_path, names):
    """Runs `prepare` of the sets that `manifest` has checked; its summary."""
    section = experiments.section(miniature.config, "smoke", "prepare")
    section = {key: value for key, value in section.items() if key in ("classes", *names)}
    prepare.run(
        config=parse_section(section, prepare.Config, "data"),
        found=[tmp_path / name / "found.json" for name in names],
        classes=tmp_path / "classes.json",
        summary=tmp_path / "summary.json",
        sheet=tmp_path / "sheet.png",
        log=tmp_path / "log",
    )
    return json.loads((tmp_path / "summary.json").read_text())


def test_a_set_by_itself_has_the_manifest_that_it_has_beside_others(check, miniature, tmp_path):
    for name in ("source", "night", "day_val", "night_val"):
        check(name)
        assert (tmp_path / f"{name}.csv").read_bytes() == miniature.path("prepare", f"{name}.csv").read_bytes()
    references = read_manifest(tmp_path / "night/references.csv")
    assert references == read_manifest(miniature.path("prepare", "day.csv"))
    assert read_manifest(tmp_path / "source/references.csv", empty=True) == []


def test_sets_that_are_checked_already_have_the_summary_of_sets_that_are_not(check, miniature, tmp_path):
    names = ["source", "night", "day_val", "night_val", "day_test", "night_test"]
    for name in names:
        check(name)
    summary = together(miniature, tmp_path, names)
    assert summary == json.loads(miniature.path("prepare", "summary.json").read_text())


def test_a_set_that_is_left_out_is_said_not_to_be_measured(check, miniature, tmp_path):
    for name in ("source", "night"):
        check(name)
    notes = together(miniature, tmp_path, ["source", "night"])["notes"]
    assert "night_val: there is no such set: not measured" in notes
    assert "day_val: there is no such set: not measured" in notes


def test_images_of_training_among_those_to_measure_on_are_refused_together_though_not_alone(check, miniature, tmp_path):
    check("source")
    check("day_val", split="train")
    section = experiments.section(miniature.config, "smoke", "prepare")
    assert section["day_val"]["split"] == "val"
    with pytest.raises(DataError, match=r"data\.day_val: image .*: it is in source too"):
        together(miniature, tmp_path, ["source", "day_val"])


def test_faults_of_a_set_stand_under_its_key_and_nothing_is_written(check, tmp_path):
    with pytest.raises(DataError, match=r"data\.night: .*nowhere"):
        check("night", root=str(tmp_path / "nowhere"))
    assert not (tmp_path / "night.csv").exists()


def test_a_manifest_that_is_not_the_one_that_was_checked_is_refused(check, miniature, tmp_path):
    for name in ("source", "night"):
        check(name)
    shutil.copy(tmp_path / "source.csv", tmp_path / "night.csv")
    with pytest.raises(DataError, match=r"night\.csv: not the manifest that .*found\.json was written with"):
        together(miniature, tmp_path, ["source", "night"])


def test_a_section_without_any_set_is_refused(miniature, tmp_path):
    with pytest.raises(ConfigError, match="data: no set of images"):
        together(miniature, tmp_path, [])
