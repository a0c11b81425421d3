"""Overlays over their base, and files as Snakemake merges them."""

import pytest

from loopda.pipeline.merging import merged, merged_by_key, normalised


def test_mappings_merge_key_by_key_and_lists_are_replaced():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged(base, {"a": {"c": [9]}}) == {"a": {"b": 1, "c": [9]}, "d": 3}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


def test_an_overlay_of_another_layout_replaces_the_mapping_and_one_of_the_same_layout_merges():
    base = {"night": {"layout": "dark_zurich", "root": "here", "split": "train"}}
    table = merged(base, {"night": {"layout": "table", "csv": "mine.csv"}})
    assert table == {"night": {"layout": "table", "csv": "mine.csv"}}
    moved = merged(base, {"night": {"layout": "dark_zurich", "root": "there"}})
    assert moved == {"night": {"layout": "dark_zurich", "root": "there", "split": "train"}}
    assert merged(base, {"night": {"root": "there"}}) == moved


def test_a_null_in_an_overlay_is_a_value_and_not_the_value_beneath():
    assert merged({"a": {"b": 1}, "c": 2}, {"a": None}) == {"a": None, "c": 2}
    assert merged({"a": {"b": 1}}, {"a": {"b": None}}) == {"a": {"b": None}}


@pytest.mark.fault(61, "the keys of the layout that is replaced are gone")
def test_a_layout_at_the_top_of_a_later_file_replaces_that_of_an_earlier_one_as_in_an_experiment(config):
    mine = {"layout": "folder", "root": "mine", "images": "*.jpg"}
    moved = {"layout": "dark_zurich", "root": "elsewhere"}
    overlay = {"data": {"night": mine, "night_val": moved}, "device": "cpu"}
    by_key = merged_by_key(config, overlay)
    assert "split" in by_key["data"]["night"]  # as Snakemake merges
    found = normalised(by_key, config, [overlay])
    assert found["data"]["night"] == mine
    assert found["data"]["night_val"] == {**moved, "split": "val"}
    assert found["data"]["source"] == config["data"]["source"]
    assert found["device"] == "cpu"
    assert list(found) == list(by_key)


@pytest.mark.fault(61, "also where a third file goes back to the first layout")
def test_a_layout_that_a_file_replaces_and_the_next_one_names_again_has_the_keys_of_the_last_alone(config):
    overlays = [
        {"experiments": {"mine": {"data": {"night": {"layout": "folder", "root": "x", "images": "*.jpg"}}}}},
        {"experiments": {"mine": {"data": {"night": {"layout": "table", "csv": "x.csv"}}}}},
    ]
    by_key = merged_by_key(merged_by_key(config, overlays[0]), overlays[1])
    found = normalised(by_key, config, overlays)
    assert found["experiments"]["mine"]["data"]["night"] == {"layout": "table", "csv": "x.csv"}
