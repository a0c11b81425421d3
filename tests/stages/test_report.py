import base64
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from fabricated_results import (
    NOTES,
    STAGES,
    evaluation,
    everything,
    illustrations,
    metrics,
    pairs,
    plain_evaluation,
    section,
    with_statistics,
    write,
)
from html_page import Page
from PIL import Image

from loopda.config import parse_section
from loopda.errors import ConfigError, DataError
from loopda.evaluation.scores import Scores
from loopda.stages.report import Config, run


def report(folder, name="page", config=None, **inputs):
    """Run the stage; return the page, the table and the log as text."""
    files = {kind: folder / f"{name}.{kind}" for kind in ("page", "table", "log")}
    given = {"scores": [], "metrics": [], "pictures": [], "sections": []} | inputs
    run(config=config or Config(), **given, **files)
    return tuple(file.read_text(encoding="utf-8") for file in files.values())


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    inputs = everything(folder, seeds=(0, 1))
    return folder, inputs, report(folder, **inputs)


def test_the_page_is_well_formed_and_its_parts_are_linked(full):
    _, _, (html, _, _) = full
    page = Page(html)
    assert page.open == []
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = [value[1:] for _, name, value in page.attributes if name == "href"]
    assert set(targets) <= set(identifiers)
    parts = {
        "results",
        "gallery",
        "classes",
        "illustrations",
        "pseudo-labels",
        "curves",
        "provenance",
        "notes",
    }
    assert parts <= set(targets)


def test_the_page_needs_nothing_outside_of_itself(full):
    folder, _, (html, _, _) = full
    page = Page(html)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "data", "poster", "action"):
            assert value.startswith(("data:image/", "#")), (tag, name, value[:80])
    assert not re.search(r"https?://|@import|<link|<iframe", html)
    assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", html))
    assert str(folder) not in re.sub(r"<code>.*?</code>", "", html)
    assert len(html) < 2_000_000


def test_the_page_contains_every_score_that_was_given(full):
    _, inputs, _ = full
    single = report(full[0], name="single", scores=inputs["scores"][:4])[0]
    page = Page(single)
    for place, path in enumerate(inputs["scores"][:4]):
        for index, domain in enumerate(("night", "day")):
            block = json.loads(path.read_text())["domains"][domain]
            row = page.row(0, ["source-only", "warm-up", "self-training", "distillation"][place])
            shown = [row[1 + 4 * index], row[3 + 4 * index], row[4 + 4 * index]]
            assert shown == [f"{block[key]:.1f}" for key in ("mIoU", "fwIoU", "pixel_accuracy")]
            for name, value in block["IoU"].items():
                assert page.row(1 + index, name)[2 + place] == ("–" if value is None else f"{value:.1f}")
    assert "absent from the truth: train" in page.text


def test_means_spreads_and_changes_over_seeds_are_those_computed_by_hand(tmp_path):
    night = {"pretrain": (20, 24, 28), "warmup": (30, 32, 37), "self_train": (40, 44, 48)}
    day = {"pretrain": (60, 60, 60), "warmup": (58, 60, 62), "self_train": (55, 55, 58)}
    scores = [
        plain_evaluation(tmp_path, "loopda", seed, stage, night[stage][seed], day[stage][seed])
        for stage in night
        for seed in range(3)
    ]
    html, table, _ = report(tmp_path, scores=scores)
    page = Page(html)
    assert page.row(0, "source-only")[1:3] == ["24.0 ± 4.0", "–"]
    # 30, 32, 37: mean 33, deviations -3, -1, 4, sum of squares 26, / 2 = 13, root 3.61; paired gains 10, 8, 9
    assert page.row(0, "warm-up")[1:3] == ["33.0 ± 3.6", "+9.0 [6.5, 11.5]"]
    # by day -5, -5, -2: mean -4, deviations -1, -1, 2, sum of squares 6, / 2 = 3, root 1.73
    assert page.row(0, "self-training")[5:7] == ["56.0 ± 1.7", "-4.0 [-8.3, 0.3]"]
    assert page.row(0, "self-training")[-1] == "3"
    assert page.row(1, "car")[2:] == ["24.0", "33.0", "44.0", "+20.0"]
    lines = {line.split("  ")[0]: re.split(r"\s{2,}", line) for line in table.splitlines()}
    assert lines["warm-up"][1:3] == ["33.0 ± 3.6", "+9.0 [6.5, 11.5]"]
    assert lines["self-training"][5:] == ["56.0 ± 1.7", "-4.0 [-8.3, 0.3]"]


def test_the_text_table_has_aligned_columns_the_protocol_and_the_page(tmp_path):
    scores = [plain_evaluation(tmp_path, "loopda", 0, stage, 40, 50) for stage in ("warmup", "pretrain")]
    _, table, _ = report(tmp_path, scores=scores)
    lines = table.splitlines()
    assert "night validation: 5 images, 64x32, night statistics" in lines
    start = next(index for index, line in enumerate(lines) if line.startswith("stage "))
    block = lines[start : start + 3]
    assert [line.split()[0] for line in block] == ["stage", "source-only", "warm-up"]
    assert len({len(line) for line in block}) == 1
    assert block[1].split()[1:] == ["40.0", "-", "40.0", "57.1", "50.0", "-"]
    assert block[2].split()[1:] == ["40.0", "0.0", "40.0", "57.1", "50.0", "0.0"]
    assert lines[-1] == f"report: {tmp_path / 'page.page'}"


@pytest.mark.fault(48, "a report lists what is missing")
def test_what_is_missing_is_listed_and_not_invented(tmp_path):
    scores = [plain_evaluation(tmp_path, "loopda", seed, "pretrain", 20, 50) for seed in (0, 1)]
    scores += [plain_evaluation(tmp_path, "loopda", 0, "warmup", 30, 50)]
    html, table, _ = report(tmp_path, scores=scores)
    page = Page(html)
    for line in (
        "scores of self-training",
        "scores of distillation",
        "scores of warm-up, seed 1",
        "learning curves of source-only",
        "configuration of warm-up",
        "night predictions of warm-up",
        "pictures of translations and pseudo-labels",
        "label overlap ratios",
        "thresholds and counts of the offline pseudo-labels",
    ):
        assert line in page.text
        assert f"missing: {line}" in table
    assert [row[0].strip() for row in page.tables[0][2:]] == ["source-only", "warm-up"]
    assert not any(f'id="{part}"' in html for part in ("gallery", "curves", "illustrations", "pseudo-labels"))


@pytest.mark.fault(92, "the table says so")
def test_a_night_without_references_is_said_to_have_none_and_not_to_lack_a_file(full, tmp_path):
    _, inputs, _ = full
    values = json.loads(inputs["pictures"][0].read_text())
    drawn = write(tmp_path / "illustrations.json", values | {"lor": [], "panels": []})
    _, table, _ = report(tmp_path, scores=inputs["scores"], pictures=[drawn])
    assert "missing: label overlap ratios (the night images have no day references)\n" in table
    assert "pseudo-labels (there is no outer loop, and the night images have no day references)\n" in table


def test_a_full_set_of_inputs_leaves_nothing_missing(full):
    _, _, (html, table, _) = full
    assert "missing" not in table
    assert "Not on this page" not in html


def test_a_night_only_evaluation_makes_a_page_without_day(tmp_path):
    scores = [evaluation(tmp_path, "loopda", 0, stage, domains=("night",)) for stage in STAGES[:2]]
    html, table, _ = report(tmp_path, scores=scores)
    assert "day validation" not in html
    assert "day: not measured: there is no set day_val" in table
    assert "day: not measured: there is no set day_val" in html


def with_test_sets(path):
    """The scores at `path`, where what was validation is test, and the validation has the scores of other images."""
    values = json.loads(path.read_text())
    night, day = (values["domains"][name] for name in ("night", "day"))
    values["domains"] = {"night": day, "day": night, "night-test": night, "day-test": day}
    return write(path, values)


def test_where_there_are_test_sets_their_scores_stand_first_and_validation_smaller_beside_them(tmp_path):
    scores = [with_test_sets(evaluation(tmp_path, "loopda", 0, stage)) for stage in STAGES[:2]]
    html, table, _ = report(tmp_path, scores=scores)
    heads = [line.split() for line in table.splitlines() if line.startswith("stage ")]
    assert heads == [
        ["stage", "night", "test", "mIoU", "change", "fwIoU", "accuracy", "day", "test", "mIoU", "change"],
        ["stage", "night", "val", "mIoU", "change", "day", "val", "mIoU", "change"],
    ]
    assert "Settings are to be chosen on the validation images; the test images are for the results." in table
    assert "not measured" not in table
    page = Page(html)
    [tile] = re.findall(r"<dt>Night test mIoU, %</dt><dd>([\d.]+)", html)
    assert tile == f"{json.loads(scores[1].read_text())['domains']['night-test']['mIoU']:.1f}"
    assert "Night validation mIoU, %" not in page.text, "a tile"
    assert '<th class="group edge night" colspan="4">night test</th>' in html
    assert '<th class="group edge night aside" colspan="2">night validation</th>' in html
    assert '<h3>Night test</h3>\n<div class="pictures' in html
    assert '<h3>Night validation</h3>\n<div class="pictures' not in html


def test_further_sets_have_their_own_lines_and_a_score_at_full_size_repeats_no_picture(tmp_path):
    scores = [evaluation(tmp_path, "loopda", 0, stage) for stage in STAGES[:2]]
    for path in scores:
        values = json.loads(path.read_text())
        night = values["domains"]["night"]
        full = night["protocol"] | {"scored_at": ["1920x1080"]}
        values["domains"] |= {"driving": night, "driving-full": night | {"protocol": full}}
        write(path, values)
    html, table, _ = report(tmp_path, scores=scores)
    lines = table.splitlines()
    assert "driving: 4 images, 64x32, night statistics" in lines
    assert "driving, full size: 4 images, 64x32 scored at 1920x1080, night statistics" in lines
    heads = [line.split() for line in lines if line.startswith("stage ")]
    assert heads == [
        ["stage", "night", "val", "mIoU", "change", "fwIoU", "accuracy", "day", "val", "mIoU", "change"],
        ["stage", "driving", "mIoU", "change", "driving,", "full", "size", "mIoU", "change"],
    ]
    assert not any("driving" in line for line in lines if line.startswith("missing"))
    page = Page(html)
    assert "4 driving images of 64x32 pixels" in page.text
    assert "4 driving-full images" not in page.text
    assert "driving, full size" in page.text
    assert '<h3>Driving, full size</h3>\n<div class="card' in html  # its IoU by class
    assert '<h3>Driving, full size</h3>\n<div class="pictures' not in html
    assert '<h3>Driving</h3>\n<div class="pictures' in html


def test_a_model_stage_unknown_to_the_page_is_shown_after_the_known_ones(tmp_path):
    scores = [plain_evaluation(tmp_path, "advent", 0, stage, 30, 40) for stage in ("adapt_it", "pretrain")]
    page = Page(report(tmp_path, scores=scores)[0])
    assert [row[0].strip() for row in page.tables[0][2:]] == ["source-only", "adapt it"]


def test_the_same_inputs_give_the_same_bytes(full):
    folder, inputs, _ = full
    turned = {key: paths[::-1] if isinstance(paths, list) else paths for key, paths in inputs.items()}
    one = report(folder, name="again", **inputs)[0].encode()
    other = report(folder, name="again", **turned)[0].encode()
    assert one == other


def test_the_gallery_shows_the_asked_number_of_images_with_every_stage_and_the_truth(full):
    folder, inputs, _ = full
    config = Config(gallery_images=3, gallery_day_images=0, picture_width=32)
    html, table, _ = report(folder, name="few", config=config, scores=inputs["scores"])
    assert html.count('src="data:image/') == 3 * 6
    for column in ("image", "source-only", "warm-up", "self-training", "distillation", "truth"):
        assert html.count(f'alt="{column}"') == 3
    assert "predictions of" not in table


def test_curves_have_one_plot_for_each_recorded_quantity(full):
    _, _, (html, _, _) = full
    for stage in ("pretrain", "warmup", "self_train", "distill"):
        for name in ("loss", "inner_loop"):
            assert html.count(f'aria-label="{name} over the steps of {stage}"') == 1
    assert "images_per_second" not in html


def test_pseudo_label_statistics_are_those_given(full):
    _, inputs, (html, _, _) = full
    page, values = Page(html), json.loads(inputs["pictures"][0].read_text())
    road = values["thresholds"]["road"]
    table = next(index for index, rows in enumerate(page.tables) if rows[0][1].strip() == "threshold")
    share = 100 * road["kept"] / road["predicted"]
    expected = [f"{road['threshold']:.3f}", f"{road['predicted']:,}", f"{road['kept']:,}", f"{share:.1f} %"]
    assert page.row(table, "road")[1:] == expected
    kept = sum(one["kept"] for one in values["thresholds"].values())
    assert page.row(table, "all classes")[3] == f"{kept:,}"
    above = sum(one["lor"] > 0.5 for one in values["lor"])
    assert f"τ = 0.5: {above} lie above" in page.text
    assert "LPIPS trunk: random weights" in page.text


def test_configurations_of_seeds_that_agree_stand_there_once_and_others_apart(tmp_path):
    scores = [plain_evaluation(tmp_path, "loopda", seed, "pretrain", 20, 50) for seed in (0, 1)]
    sections = [section(tmp_path, "loopda", seed, "pretrain") for seed in (0, 1)]
    sections += [section(tmp_path, "loopda", seed, "warmup", f"steps: {100 + seed}\n") for seed in (0, 1)]
    sections += [tmp_path / "results/prepare/town/config.yaml"]  # data are prepared once for all seeds
    sections[-1].parent.mkdir(parents=True)
    sections[-1].write_text("size: [256, 128]\n")
    page = Page(report(tmp_path, scores=scores, sections=sections)[0])
    for text in ("stage: pretrain", "loopda, seeds 0 and 1", "steps: 100", "steps: 101", "size: [256, 128]"):
        assert page.text.count(text) == 1


def test_text_from_files_cannot_break_the_page(tmp_path):
    score = plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50)
    evil = "</pre><script>alert(1)</script>"
    html, _, _ = report(
        tmp_path,
        config=Config(title="<b>bold & title</b>"),
        scores=[score],
        sections=[section(tmp_path, "loopda", 0, "pretrain", f"title: {evil}")],
        metrics=[metrics(tmp_path, "loopda", 0, "pretrain", names=("<script>",))],
    )
    page = Page(html)
    assert html.count("<script>") == 1
    assert page.open == []
    assert evil in page.text
    assert "<b>bold & title</b>" in page.text


def test_the_models_behind_the_numbers_are_named_with_their_checksum_and_versions(full):
    _, _, (html, _, _) = full
    text = Page(html).text
    for fact in ("912,345", "000000000000", "results/distill/loopda/seed1/model.pt", "python", "matplotlib"):
        assert fact in text


def test_different_class_lists_are_refused(tmp_path):
    scores = [
        plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50),
        evaluation(tmp_path, "loopda", 0, "warmup", predictions=False),
    ]
    with pytest.raises(DataError, match="class lists"):
        report(tmp_path, scores=scores)
    assert not (tmp_path / "page.page").exists()
    assert not (tmp_path / "page.table").exists()


def test_scores_on_different_images_are_refused(tmp_path):
    scores = [
        evaluation(tmp_path, "loopda", 0, stage, images=count, predictions=False)
        for stage, count in (("pretrain", 2), ("warmup", 3))
    ]
    with pytest.raises(DataError, match="images is 3 and 2"):
        report(tmp_path, scores=scores)


def test_scores_at_different_sizes_of_the_labels_are_refused(tmp_path):
    scores = [plain_evaluation(tmp_path, "loopda", 0, stage, 40, 50) for stage in ("pretrain", "warmup")]
    values = json.loads(scores[1].read_text())
    values["domains"]["night"]["protocol"]["scored_at"] = ["1920x1080"]
    write(scores[1], values)
    with pytest.raises(DataError, match="different night sets: scored_at is"):
        report(tmp_path, scores=scores)


def test_models_under_different_normalisation_are_shown_with_a_warning(tmp_path):
    scores = [plain_evaluation(tmp_path, "loopda", 0, stage, 40, 50) for stage in ("pretrain", "warmup")]
    values = json.loads(scores[1].read_text())
    values["domains"]["night"]["protocol"]["normalisation"] = "day statistics"
    write(scores[1], values)
    text = Page(report(tmp_path, scores=scores)[0]).text
    assert "evaluated on the night validation images under 2 protocols" in text
    assert "5 images, 64x32, day statistics (warm-up, seed 0)" in text


def test_a_score_that_its_confusion_matrix_contradicts_is_refused(tmp_path):
    score = plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50)
    values = json.loads(score.read_text())
    values["domains"]["night"]["mIoU"] = 25.0
    write(score, values)
    with pytest.raises(DataError, match=r"pretrain\.json.*mIoU is 25\.0, but its .* gives 20\.0"):
        report(tmp_path, scores=[score])


def test_scores_by_other_statistics_stand_in_a_table_of_their_own_and_a_far_set_is_warned_of(tmp_path):
    scores = [
        with_statistics(plain_evaluation(tmp_path, "loopda", seed, stage, night, 50), night=other, distance=distance)
        for stage, seed, night, other, distance in (
            ("pretrain", 0, 30, 60, 0.4),
            ("pretrain", 1, 40, 80, 0.6),
            ("warmup", 0, 20, 70, 1.2),
            ("warmup", 1, 20, 70, 1.4),
        )
    ]
    html, table, _ = report(tmp_path, scores=scores)
    far = (
        "The night images lie far from the night statistics for warm-up (distance 1.30, where day is 1 from night; more"
        " than 1 is far): other statistics may suit them better (evaluate.statistics)."
    )
    assert far in table
    page = Page(html)
    assert page.open == []
    assert far in page.text
    rows = re.findall(r'<tr><th scope="row">night</th>(.*?)</tr>', html)
    shown = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in rows]
    assert shown == [
        "source-only night 35.0 ± 7.1 own 70.0 ± 14.1 0.50",
        "warm-up night 20.0 ± 0.0 own 70.0 ± 0.0 1.30 far",
    ]


def test_a_set_that_lies_near_and_has_no_other_score_is_not_in_the_table_by_statistics(tmp_path):
    def pages(distance):
        score = with_statistics(
            plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50), night=30, distance=distance
        )
        values = json.loads(score.read_text())
        values["domains"]["night"]["statistics"]["other"] = None
        score.write_text(json.dumps(values))
        return report(tmp_path, scores=[score])[0]

    assert "By normalisation statistics" not in pages(0.1)
    assert "By normalisation statistics" in pages(1.2)


def test_scores_of_earlier_versions_have_no_table_by_statistics(tmp_path):
    html, _, _ = report(tmp_path, scores=[plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50)])
    assert "By normalisation statistics" not in html


def test_scores_by_other_statistics_that_their_confusion_matrix_contradicts_are_refused(tmp_path):
    score = with_statistics(plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50), night=30)
    values = json.loads(score.read_text())
    values["domains"]["night"]["statistics"]["other"]["mIoU"] = 25.0
    write(score, values)
    with pytest.raises(DataError, match=r"night\.statistics\.other\.mIoU is 25\.0, but its .* gives 30\.0"):
        report(tmp_path, scores=[score])


def of_one_class(path):
    """The scores of `plain_evaluation` at night on the road alone."""
    values = json.loads(path.read_text())
    night = values["domains"]["night"]
    scores = Scores(("road", "car"), np.array(night["confusion"]), ("road",))
    values["domains"]["night"] = night | scores.to_json() | {"protocol": night["protocol"] | {"classes": ["road"]}}
    return write(path, values)


def test_the_protocol_names_the_classes_where_some_are_scored_and_the_others_have_a_dash(tmp_path):
    html, table, _ = report(
        tmp_path, scores=[of_one_class(plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50))]
    )
    assert "night validation: 5 images, 64x32, night statistics, 1 of 2 classes: road" in table.splitlines()
    page = Page(html)
    assert "5 images, 64x32, night statistics, 1 of 2 classes: road" in page.text
    # 40 hits, 80 missed, and no pixel of the car that is taken for the road
    assert "33.3" in page.text


def test_scores_of_different_classes_are_refused(tmp_path):
    scores = [plain_evaluation(tmp_path, "loopda", 0, stage, 20, 50) for stage in ("pretrain", "warmup")]
    with pytest.raises(DataError, match=r"different night sets: classes is \['road'\] and \[\]"):
        report(tmp_path, scores=[scores[0], of_one_class(scores[1])])


def test_two_experiments_with_the_same_stage_are_refused(tmp_path):
    scores = [plain_evaluation(tmp_path, name, 0, "pretrain", 20, 50) for name in ("loopda", "tau-0.25")]
    with pytest.raises(DataError, match="a report is about one experiment"):
        report(tmp_path, scores=scores)


def test_the_same_result_twice_is_refused(tmp_path):
    score = plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50)
    with pytest.raises(DataError, match="give each result once"):
        report(tmp_path, scores=[score, score])


def test_no_scores_at_all_are_refused(tmp_path):
    with pytest.raises(DataError, match="--scores"):
        report(tmp_path)


def test_a_picture_that_is_not_there_is_named_with_the_file_that_names_it(tmp_path):
    score = evaluation(tmp_path, "loopda", 0, "pretrain")
    (tmp_path / "data/night0.png").unlink()
    with pytest.raises(DataError, match=r"night0\.png: no such picture, though .*pretrain\.json names it"):
        report(tmp_path, scores=[score])


def test_thresholds_of_a_class_that_the_scores_lack_are_refused(tmp_path):
    score = plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50)
    with pytest.raises(DataError, match="thresholds for sidewalk"):
        report(tmp_path, scores=[score], pictures=[illustrations(tmp_path, 0)])


def test_pictures_of_the_lowest_seed_are_shown_when_several_are_given(tmp_path):
    score = evaluation(tmp_path, "loopda", 0, "pretrain", predictions=False)
    pictures = [illustrations(tmp_path, seed, rows=1, images=10 + seed) for seed in (2, 1)]
    html = report(tmp_path, scores=[score], pictures=pictures)[0]
    assert "Label overlap ratio of 11 night images" in html
    assert html.count('src="data:image/') == 12


def test_the_sheet_of_pairs_stands_on_the_page_at_its_size_with_how_many_were_kept_at_which_tau(tmp_path):
    scores = [plain_evaluation(tmp_path, "loopda", seed, "pretrain", 20, 50) for seed in (1, 2)]
    # a ratio of 7/10 in single precision is less than 0.7, and `pair` keeps it all the same
    given = pairs(tmp_path, 1, lors=[0.9, 0.699999988079071, 0.6, 0.0], tau=0.7)
    html, _, _ = report(tmp_path, config=Config(picture_width=32), scores=scores, **given)
    [picture] = re.findall(r'<img loading="lazy" alt="night image, best day image, [^"]*" src="([^"]*)"', html)
    kind, data = picture.split(";base64,")
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert (kind, image.size) == ("data:image/jpeg", (1350, 40))
    page = Page(html)
    assert "Seed 1: 2 of 4 night images have a day image, among 7, whose label overlap ratio" in page.text
    assert "reaches τ = 0.7 (pair.overlap: each_static)" in page.text
    assert ("a", "href", "#illustrations") in page.attributes


def test_a_page_without_pairs_does_not_speak_of_them_and_half_of_what_pair_wrote_is_refused(full):
    folder, inputs, (html, _, _) = full
    assert "Day references by label overlap" not in html
    given = pairs(folder, 0, lors=[0.5], tau=0.4)
    for name in given:
        with pytest.raises(ConfigError, match="--ranking and --sheet: give both"):
            report(folder, name="half", scores=inputs["scores"], **{name: given[name]})


def test_the_notes_of_prepare_stand_on_the_page_once_under_their_data_set(full):
    folder, inputs, (html, _, _) = full
    text = Page(html).text
    for note in NOTES:
        assert text.count(note.partition(": ")[2]) == 1
    assert "<dt>night</dt><dd>no references" in re.sub(r"\n", "", html)
    without, _, _ = report(folder, name="without", **{key: paths for key, paths in inputs.items() if key != "data"})
    assert 'class="data-notes"' not in without


def test_notes_of_prepare_alone_make_a_section_of_notes(full):
    folder, inputs, _ = full
    given = {key: inputs[key] for key in ("scores", "metrics", "pictures", "sections")}
    drawn = write(folder / "silent.json", json.loads(inputs["pictures"][0].read_text()) | {"notes": []})
    (folder / "pictures").symlink_to(inputs["pictures"][0].parent / "pictures")
    given["pictures"] = [drawn]
    assert 'id="notes"' not in report(folder, name="silent", **given)[0]
    assert 'id="notes"' in report(folder, name="spoken", data=inputs["data"], **given)[0]


def test_a_wrong_setting_of_the_page_is_refused():
    with pytest.raises(ConfigError, match="gallery_images"):
        parse_section({"gallery_images": -1}, Config, "config.yaml")


def test_the_report_is_made_on_machines_without_torch_and_from_the_command_line(tmp_path):
    score = plain_evaluation(tmp_path, "loopda", 0, "pretrain", 20, 50)
    (tmp_path / "config.yaml").write_text("title: Town\n")
    program = (
        "import sys; sys.modules['torch'] = None\n"  # an import of torch now fails
        "from loopda.runtime.command import command; from loopda.stages.report import run\n"
        f"command(run, ['--config', r'{tmp_path}/config.yaml', '--scores', r'{score}',"
        f" '--metrics', '--pictures', '--sections', '--page', r'{tmp_path}/page.page',"
        f" '--table', r'{tmp_path}/page.table',"
        f" '--log', r'{tmp_path}/page.log'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "<h1>Town</h1>" in (tmp_path / "page.page").read_text()


def test_the_page_of_a_baseline_misses_none_of_loopda_s_stages(tmp_path):
    wrong = {"night": 0.3, "day": 0.1}
    scores = [evaluation(tmp_path, "advent", 0, "pretrain"), evaluation(tmp_path, "advent", 0, "adapt", wrong=wrong)]
    html, table, _ = report(tmp_path, scores=scores)
    assert "adaptation" in Page(html).text
    for absent in ("warm-up", "distillation", "label overlap", "pseudo-labels"):
        assert f"missing: scores of {absent}" not in table
        assert absent not in table
