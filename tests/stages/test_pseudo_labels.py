"""The stage `pseudo_labels` on the miniature: rows that shall have no offline label."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.labels.png import read_label

HEIGHT = 32  # of the miniature's images


@pytest.fixture
def go(miniature, tmp_path):
    """Runs the stage with changes of its section; returns its label maps by domain, digests and statistics."""

    def run(out, **changes):
        miniature.run("pseudo_labels", tmp_path / out, config=miniature.section("pseudo_labels", **changes))
        with open(tmp_path / out / "labels.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        maps = {
            domain: np.stack([read_label(Path(row["label"])) for row in rows if row["domain"] == domain])
            for domain in ("night", "day")
        }
        statistics = json.loads((tmp_path / out / "statistics.json").read_text())
        return maps, [row["content"] for row in rows], statistics

    return run


def test_ignored_rows_have_no_label_in_either_domain_and_their_pixels_count_for_no_threshold(go, tmp_path):
    everything, _, _ = go("all", portion=0.0)  # the least confidence of a class is its threshold
    maps, _, statistics = go("few", portion=0.0, ignore_rows=[0.1, 0.25])
    for domain, labels in maps.items():
        assert everything[domain].max() < len(CITYSCAPES)
        assert (labels[:, :3] == IGNORE).all()
        assert (labels[:, 24:] == IGNORE).all()
        inside = everything[domain][:, 3:24]
        assert np.array_equal(labels[:, 3:24], inside)
        predicted = np.bincount(inside.ravel(), minlength=len(CITYSCAPES))
        assert [one["predicted"] for one in statistics[domain].values()] == predicted.tolist()
        assert [one["kept"] for one in statistics[domain].values()] == predicted.tolist()
    assert "100.0% of the pixels of the rows 3 to 23 kept" in (tmp_path / "few.log").read_text()


def test_a_class_that_is_only_predicted_in_ignored_rows_has_no_threshold(go):
    maps, _, _ = go("all", portion=0.0)
    _, _, statistics = go("few", ignore_rows=[0.0, 0.25])
    there = {CITYSCAPES.names[index] for index in np.unique(maps["night"][:, :24])}
    for name, one in statistics["night"].items():
        assert (one["threshold"] > 0) == (one["predicted"] > 0) == (name in there)


def test_by_default_every_row_is_labelled_as_if_there_were_no_such_key(go, tmp_path):
    maps, digests, statistics = go("default")
    none, same, also = go("none", ignore_rows=[0, 0])
    assert digests == same
    assert statistics == also
    assert maps["night"].shape[1] == HEIGHT
    assert "of the rows" not in (tmp_path / "default.log").read_text()
    assert all(np.array_equal(maps[domain], none[domain]) for domain in maps)
