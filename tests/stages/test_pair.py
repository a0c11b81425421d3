"""The stage `pair` on the miniature, and on pictures made by hand."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from loopda.data.checks import check_rows
from loopda.data.layouts import TableLayout
from loopda.data.manifest import read_manifest, write_manifest
from loopda.data.ranking import read_ranking
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import CITYSCAPES
from loopda.stages import pair


@pytest.fixture
def go(miniature, tmp_path):
    """Runs the stage with changes of its section and its inputs; returns its folder."""

    def run(*, out="pair", inputs=None, **changes):
        config = miniature.section("pair", **({"replace": True, "size": [32, 16], "best": 3} | changes))
        miniature.run("pair", tmp_path / out, config=config, **(inputs or {}))
        return tmp_path / out

    return run


def manifest_of(rows, path):
    write_manifest(path, rows)
    return path


def test_every_night_image_gets_the_day_image_that_the_ranking_lists_first_if_that_reaches_tau(go, miniature):
    out = go(tau=1e-6)
    ranking = json.loads((out / "ranking.json").read_text())
    ratios = sorted(image["best"][0]["lor"] for image in ranking["images"])
    tau = ratios[len(ratios) // 2]
    strict = go(out="strict", tau=tau)
    night = read_manifest(miniature.path("prepare", "night.csv"))
    days = {str(row.image) for row in read_manifest(miniature.path("prepare", "day.csv"))}
    assert ranking["candidates"] == len(days) == len({row.reference for row in night})
    for folder, threshold in ((out, 1e-6), (strict, tau)):
        paired = read_manifest(folder / "night.csv")
        assert [row.image for row in paired] == [row.image for row in night]
        for row, image in zip(paired, ranking["images"], strict=True):
            assert image["night"] == str(row.image)
            assert {one["day"] for one in image["best"]} <= days
            lor = [one["lor"] for one in image["best"]]
            assert lor == sorted(lor, reverse=True)
            assert str(row.reference or "") == (image["best"][0]["day"] if lor[0] >= threshold else "")
    assert any(row.reference is None for row in read_manifest(strict / "night.csv"))


def test_both_tables_are_what_prepare_would_understand_of_the_pairs(go):
    out = go(tau=1e-6)
    paired = read_manifest(out / "night.csv")
    rows = TableLayout(layout="table", csv=out / "pairs.csv").rows(CITYSCAPES, labelled=False)
    assert [(row.image, row.reference) for row in rows] == [(row.image, row.reference) for row in paired]
    checked = check_rows(rows, CITYSCAPES, labelled=False, workers=1)
    assert not checked.faults
    assert checked.rows == paired  # the digests too


def test_the_same_inputs_give_the_same_bytes(go):
    first, second = go(tau=0.01), go(out="again", tau=0.01)
    for name in ("night.csv", "ranking.json", "contact_sheet.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_given_reference_stays_unless_it_is_to_be_replaced_and_none_reaches_a_tau_of_one(go, miniature, tmp_path):
    given = read_manifest(miniature.path("prepare", "night.csv"))
    assert read_manifest(go(tau=1.0, replace=False) / "night.csv") == given
    assert not any(row.reference for row in read_manifest(go(out="none", tau=1.0) / "night.csv"))
    log = (tmp_path / "none.log").read_text()
    assert f"0 of {len(given)} night images have a day image with a label overlap ratio of at least 1.0" in log


def test_only_the_night_images_without_a_reference_are_given_one(go, miniature, tmp_path):
    first, *others = read_manifest(miniature.path("prepare", "night.csv"))
    mixed = manifest_of([replace(first, reference=None), *others], tmp_path / "mixed.csv")
    paired = read_manifest(go(tau=1e-6, replace=False, inputs={"night": mixed}) / "night.csv")
    assert paired[1:] == others
    assert paired[0].reference


def test_one_night_image_and_one_day_image_are_a_pair(go, miniature, tmp_path):
    inputs = {
        name: manifest_of(read_manifest(miniature.path("prepare", f"{name}.csv"))[:1], tmp_path / f"{name}.csv")
        for name in ("night", "day")
    }
    inputs["day"] = [manifest_of([], tmp_path / "references.csv"), inputs["day"]]  # the first that names an image
    out = go(tau=1e-6, inputs=inputs)
    [row], [day] = read_manifest(out / "night.csv"), read_manifest(inputs["day"][1])
    assert row.reference == day.image


def test_no_candidates_end_in_one_message(go, tmp_path):
    with pytest.raises(DataError, match=r"day\.csv: no rows below the header; run the stage `prepare` again"):
        go(inputs={"day": [manifest_of([], tmp_path / "day.csv")]})
    assert not (tmp_path / "pair").exists()


def test_the_sheet_shows_as_many_pairs_as_it_is_told(go):
    heights = []
    for pictures in (1, 3):
        with Image.open(go(out=f"{pictures}", pictures=pictures) / "contact_sheet.png") as sheet:
            heights.append(sheet.height)
    assert heights[1] > 2 * heights[0]


def test_the_report_counts_as_many_pairs_as_the_log_says(go, tmp_path):
    ranking = json.loads((go(tau=1e-6) / "ranking.json").read_text())
    tau = sorted(image["best"][0]["lor"] for image in ranking["images"])[2]
    found = read_ranking(go(out="strict", tau=tau) / "ranking.json")
    assert found.reaching_tau() == sum(image["best"][0]["lor"] >= tau for image in ranking["images"]) > 0
    assert f"{found.reaching_tau()} of {len(found.images)} night images have" in (tmp_path / "strict.log").read_text()


def test_a_class_list_without_shift_sensitive_classes_needs_the_other_overlap():
    plain = replace(CITYSCAPES, ssc=frozenset())
    with pytest.raises(ConfigError, match=r"pair\.overlap: .* shift sensitive"):
        pair.compared_classes(plain, "shift_sensitive")
    assert pair.compared_classes(plain, "each_static") == [frozenset({index}) for index in range(11)]
    assert pair.compared_classes(CITYSCAPES, "shift_sensitive") == [CITYSCAPES.ssc]
