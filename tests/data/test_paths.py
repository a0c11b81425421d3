import os
import unicodedata

import pytest

from loopda.data.paths import existing, from_folder, named_path
from loopda.errors import ConfigError


@pytest.mark.fault(52, "backslashes are taken for / where there is no such file; a drive of Windows is refused")
def test_a_path_in_a_table_may_have_backslashes_a_home_and_variables(tree, monkeypatch):
    folder = tree("night/images/1.PNG", "odd\\name.png", "$RECYCLE.BIN/2.png")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PART", "night")
    monkeypatch.delenv("RECYCLE", raising=False)
    assert named_path("night\\images\\1.png", folder) == folder / "night/images/1.PNG"
    assert named_path("odd\\name.png", folder) == folder / "odd\\name.png"
    assert named_path("~/$PART/images/1.PNG", folder / "x") == folder / "night/images/1.PNG"
    assert named_path("$RECYCLE.BIN/2.png", folder) == folder / "$RECYCLE.BIN/2.png"
    with pytest.raises(ConfigError, match="no variable RECYCLE; set it, or write the path without it"):
        named_path("$RECYCLE/2.png", folder)
    with pytest.raises(ConfigError, match="a path of a Windows machine"):
        named_path("\\\\nas\\night\\1.png", folder)


@pytest.mark.fault(52, "an address is no path: refused, and nothing is written to a folder of its name")
@pytest.mark.parametrize("address", ["https://host/1.png", "s3://bucket/1.png", "file:///1.png", "https:/host/1.png"])
def test_an_address_is_no_path_of_this_machine(tree, address):
    with pytest.raises(ConfigError, match=f"^{address}: an address, not a path; download the file first"):
        named_path(address, tree("1.png"))
    with pytest.raises(ConfigError, match="C:/1.png: a path of a Windows machine"):
        named_path("C:/1.png", tree("1.png"))
    odd = tree("odd:/1.png")
    assert named_path("odd:/1.png", odd) == odd / "odd:/1.png"


@pytest.mark.fault(52, "accented letters are the same in both forms of Unicode")
@pytest.mark.parametrize(("stored", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_with_accents_is_found_in_either_form_of_unicode(tree, stored, asked):
    folder = tree(unicodedata.normalize(stored, "Zürich/Grün.PNG"))
    name = unicodedata.normalize(asked, "Zürich/Grün.png")
    assert existing(folder / name) == folder / unicodedata.normalize(stored, "Zürich/Grün.PNG")
    assert existing(folder / "Zürich/Blau.png") == folder / "Zürich/Blau.png"


@pytest.mark.fault(51, "a relative path is written from the real folder")
def test_a_relative_path_from_a_linked_folder_leads_to_the_file(tree, tmp_path, monkeypatch):
    folder = tree("1.png")
    (tmp_path / "scratch/deep/results").mkdir(parents=True)
    (tmp_path / "results").symlink_to(tmp_path / "scratch/deep/results")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "results", tmp_path / "results/pair", tmp_path):
        place.mkdir(exist_ok=True)
        for file in (folder / "1.png", (tmp_path / "d/../d/1.png").relative_to(tmp_path)):
            assert os.path.samefile(place / from_folder(file, place), folder / "1.png")
