from pathlib import Path

import pytest

from loopda.data.poses import PairDistance, read_poses, write_poses
from loopda.errors import DataError


def test_poses_are_read_as_they_were_written(tmp_path):
    pairs = [PairDistance(Path("DarkZurich/n.png"), Path("DarkZurich/d.png"), 0.125, 1.5)]
    write_poses(tmp_path / "poses.csv", pairs)
    text = "night,reference,metres,degrees\nDarkZurich/n.png,DarkZurich/d.png,0.125,1.500\n"
    assert (tmp_path / "poses.csv").read_text() == text
    assert read_poses(tmp_path / "poses.csv") == pairs


@pytest.mark.parametrize("text", ["night,metres\na.png,1\n", "night,reference,metres,degrees\na,b,far,0\n", None])
def test_what_are_no_poses_is_refused_by_its_name(tmp_path, text):
    if text is not None:
        (tmp_path / "poses.csv").write_text(text)
    with pytest.raises(DataError, match=r"poses\.csv: not the poses of the town .*; run the stage `town` again"):
        read_poses(tmp_path / "poses.csv")
