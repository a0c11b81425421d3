import json

import pytest

from loopda.errors import DataError
from loopda.report.data_notes import SHOWN, DataNotes, read_data_notes, shortened


def written(path, notes, sets=("source", "night")):
    path.write_text(json.dumps({"sets": {name: {"images": 1} for name in sets}, "notes": notes}))
    return path


def test_notes_are_grouped_by_data_set_and_each_stands_once(tmp_path):
    path = written(
        tmp_path / "summary.json",
        ["night: no references: terms are left out", "source: a", "night: b", "source: a"],
    )
    by_set = {"night": ["no references: terms are left out", "b"], "source": ["a"]}
    assert read_data_notes(path) == DataNotes(by_set, path)


def test_a_note_on_a_set_that_does_not_exist_is_left_out_because_the_page_says_so_elsewhere(tmp_path):
    path = written(tmp_path / "summary.json", ["day_val: there is no such set: not measured", "night: b"])
    assert list(read_data_notes(path).by_set) == ["night"]


def test_a_long_list_of_notes_is_shortened_and_says_where_the_others_are(tmp_path):
    path = written(tmp_path / "summary.json", [f"night: {number}" for number in range(SHOWN + 3)] + ["source: a"])
    assert shortened(read_data_notes(path)) == [
        ("night", [*map(str, range(SHOWN)), f"and 3 more in {path}"]),
        ("source", ["a"]),
    ]


def test_a_damaged_summary_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text('{"sets": {}}')
    with pytest.raises(DataError, match=r"summary\.json: notes: .*; run the stage `prepare` again"):
        read_data_notes(path)
