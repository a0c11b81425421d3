import pytest

from loopda.data.listing import files, read_names
from loopda.errors import DataError


def test_files_are_sorted_without_folders_and_hidden_ones(tmp_path):
    for name in ("b.png", "a.png", "._a.png", "c.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    assert [path.name for path in files(tmp_path, "*.png")] == ["a.png", "b.png"]


def test_a_link_to_nowhere_is_listed_so_that_the_check_finds_it(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "moved.png")
    assert files(tmp_path, "*.png") == [tmp_path / "a.png"]


def test_there_are_no_files_in_a_folder_that_is_not_there(tmp_path):
    assert files(tmp_path / "none", "*") == []


def test_names_come_with_their_line_numbers_past_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfa.png\r\n\r\n  b c.png \r\n")
    assert read_names(path) == [(1, "a.png"), (3, "b c.png")]


@pytest.mark.parametrize(("content", "fault"), [(b"\n\n", "no names in it"), (b"\xff\xfe", "UTF-16; save it as UTF-8")])
def test_a_list_without_names_is_a_data_error_that_names_it(tmp_path, content, fault):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"names.txt.*: .*{fault}"):
        read_names(path)
