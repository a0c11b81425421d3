from pathlib import Path

import numpy as np
import pytest

from loopda.data.pseudo_labels import (
    ClassStatistics,
    PseudoLabel,
    read_label_table,
    read_pseudo_labels,
    read_statistics,
    write_label_table,
    write_statistics,
)
from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.labels.png import write_label
from loopda.runtime.files import sha256

ROAD, POLE, CAR = (CITYSCAPES.names.index(name) for name in ("road", "pole", "car"))


def test_the_table_is_read_as_it_was_written(tmp_path):
    labels = [
        PseudoLabel("night", Path("some/a, b.png"), Path("night/00000_a, b.png"), "0123456789abcdef"),
        PseudoLabel("day", Path("some/b.png"), Path("day/00000_b.png"), "fedcba9876543210"),
    ]
    write_label_table(tmp_path / "labels.csv", labels)
    assert (tmp_path / "labels.csv").read_text().startswith("domain,image,label,content\nnight,")
    assert read_label_table(tmp_path / "labels.csv") == labels


def test_a_label_map_that_has_changed_since_is_refused(tmp_path):
    write_label(tmp_path / "n.png", np.zeros((2, 2), dtype=np.uint8), CITYSCAPES)
    write_label_table(tmp_path / "labels.csv", [PseudoLabel("night", "a.png", tmp_path / "n.png", "0" * 16)])
    with pytest.raises(DataError, match=r"n\.png: not as it was when .*labels\.csv was written; run pseudo_labels"):
        read_pseudo_labels(tmp_path / "labels.csv", (2, 2))


def test_pseudo_labels_are_read_by_domain_and_image_at_the_size_of_the_frames(tmp_path):
    label = np.array([[ROAD, CAR], [IGNORE, POLE]], dtype=np.uint8)
    write_label(tmp_path / "n.png", label, CITYSCAPES)
    write_label(tmp_path / "d.png", label[::-1], CITYSCAPES)
    (tmp_path / "labels.csv").write_text(
        f"domain,image,label,content\nnight,some/a.png,{tmp_path}/n.png,{sha256(tmp_path / 'n.png')[:16]}\n"
        f"day,some/b.png,{tmp_path}/d.png,{sha256(tmp_path / 'd.png')[:16]}\n"
    )
    found = read_pseudo_labels(tmp_path / "labels.csv", (4, 2))
    assert {str(path): value.tolist() for path, value in found.night.items()} == {
        "some/a.png": [[ROAD, ROAD, CAR, CAR], [IGNORE, IGNORE, POLE, POLE]]
    }
    assert {str(path): value.tolist() for path, value in found.reference.items()} == {
        "some/b.png": [[IGNORE, IGNORE, POLE, POLE], [ROAD, ROAD, CAR, CAR]]
    }


@pytest.mark.parametrize("text", ["image,label\na.png,LABEL\n", "domain,image,label\ndusk,a.png,LABEL\n", None])
def test_what_is_no_manifest_of_pseudo_labels_is_refused_by_its_name(tmp_path, text):
    write_label(tmp_path / "n.png", np.zeros((2, 2), dtype=np.uint8), CITYSCAPES)
    if text is not None:
        (tmp_path / "labels.csv").write_text(text.replace("LABEL", str(tmp_path / "n.png")))
    with pytest.raises(DataError, match=r"labels\.csv: not a manifest of pseudo-labels"):
        read_pseudo_labels(tmp_path / "labels.csv", (2, 2))


def test_statistics_are_read_as_they_were_written(tmp_path):
    statistics = {"night": {"road": ClassStatistics(0.5, 10, 5)}, "day": {"road": ClassStatistics(0.0, 0, 0)}}
    write_statistics(tmp_path / "statistics.json", statistics)
    assert read_statistics(tmp_path / "statistics.json") == statistics


@pytest.mark.parametrize("text", ['{"night": {"road": 1}}', "[]", "{", None])
def test_what_are_no_statistics_is_refused_by_its_name(tmp_path, text):
    if text is not None:
        (tmp_path / "statistics.json").write_text(text)
    with pytest.raises(
        DataError, match=r"statistics\.json: not the statistics of pseudo-labels .* run that stage again"
    ):
        read_statistics(tmp_path / "statistics.json")
