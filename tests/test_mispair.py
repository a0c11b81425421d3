"""The script that gives night images the day references of other places."""

import sys

from loopda.data.manifest import read_manifest


def test_each_image_gets_the_reference_of_one_half_the_list_away(load_script, miniature, tmp_path, monkeypatch):
    night, out = miniature.path("prepare", "night.csv"), tmp_path / "mispaired.csv"
    monkeypatch.setattr(sys, "argv", ["mispair.py", f"--night={night}", f"--out={out}"])
    load_script("mispair").main()
    before, after = read_manifest(night), read_manifest(out)
    assert [row.image for row in after] == [row.image for row in before]
    half = len(before) // 2
    assert [row.reference for row in after] == [row.reference for row in before[half:] + before[:half]]
