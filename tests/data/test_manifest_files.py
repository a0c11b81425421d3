from pathlib import Path

import pytest

from loopda.data.manifest import Row, read_manifest, write_manifest
from loopda.errors import DataError


def test_a_manifest_is_read_as_it_was_written_with_blanks_commas_and_umlauts_in_paths(tmp_path):
    rows = [
        Row(Path("with space,comma/ä.png"), Path("/l.png"), Path('qu"ote.png'), "labelIds", 640, 480),
        Row(Path("b.png"), width=3, height=2),
    ]
    write_manifest(tmp_path / "out" / "m.csv", rows)
    assert read_manifest(tmp_path / "out" / "m.csv") == rows


def test_a_manifest_has_the_documented_columns_and_empty_fields_for_none(tmp_path):
    write_manifest(tmp_path / "m.csv", [Row(Path("b.png"), width=3, height=2)])
    assert (tmp_path / "m.csv").read_text() == "image,label,reference,encoding,width,height,content\nb.png,,,,3,2,\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must name the columns"),
        ("image,label\na.png,\n", "must name the columns"),
        ("image,label,reference,encoding,width,height,content\n", "no rows"),
        ("image,label,reference,encoding,width,height,content\na.png,,,,3\n", "line 2: 5 fields"),
        ("image,label,reference,encoding,width,height,content\na.png,,,,3,two,\n", "line 2: .*'two'"),
        ("image,label,reference,encoding,width,height,content\na.png,,,,3,0,\n", "line 2"),
        ("image,label,reference,encoding,width,height,content\na.png,l.png,,,3,2,\n", "line 2"),
        ("image,label,reference,encoding,width,height,content\n,,,,3,2,\n", "line 2"),
    ],
)
def test_a_damaged_manifest_is_a_data_error_that_names_file_and_line(tmp_path, text, fault):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"m.csv.*{fault}"):
        read_manifest(path)


def test_a_missing_or_binary_manifest_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="m.csv: no such table; run the stage `prepare` again"):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        DataError, match="m.csv: a damaged text in UTF-16; save it as UTF-8; run the stage `prepare` again"
    ):
        read_manifest(tmp_path / "m.csv")
