import pytest

from loopda.data.lists import read_fields, read_names, read_table
from loopda.errors import DataError


def test_names_come_with_their_line_numbers_past_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfa.png\r\n\r\n  b c.png \r\n")
    assert read_names(path) == [(1, "a.png"), (3, "b c.png")]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\n\n", "no names in it"),
        (b"\xff\xfe\0", "a damaged text in UTF-16; save it as UTF-8"),
        (b"stra\xdfe", "line 1: not UTF-8 .* save it as UTF-8"),
    ],
)
def test_a_list_without_names_is_a_data_error_that_names_it(tmp_path, content, fault):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"names.txt.*{fault}"):
        read_names(path)


def test_a_table_is_read_past_a_byte_order_mark_blank_lines_and_blanks_around_fields(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfimage, label\r\n\r\n a.png ,\r\n")
    assert read_table(path, ["image"], ["label", "reference"], remedy="") == (
        [(3, {"image": "a.png", "label": "", "reference": ""})],
        [],
    )


@pytest.mark.parametrize("header", ["lable,image", "label", "image,image", "a.png,b.png"])
def test_a_misspelt_missing_or_doubled_column_is_refused(tmp_path, header):
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\nx,y\n")
    with pytest.raises(DataError, match="t.csv: the first line must name the columns image"):
        read_table(path, ["image"], ["label"], remedy="write it anew")


@pytest.mark.fault(52, "a table of a spreadsheet program is read: separators, marks, line ends, quotes, blanks")
@pytest.mark.parametrize(
    "content",
    [
        b"Image,b\n1.png,2.png\n",
        b"\xef\xbb\xbfImage,b\r\n1.png,2.png\r\n",
        b"Image;b\r\n1.png;2.png\r\n",
        b"Image\tb\n1.png\t2.png\n",
        b"sep=;\r\nImage;b\r\n1.png;2.png\r\n",
        b'"Image" , "b"\n "1.png" ,  "2.png" \n',
        "Image\tb\r\n1.png\t2.png\r\n".encode("utf-16"),
        b"Image,b\r1.png,2.png\r",
    ],
)
def test_the_fields_of_a_table_are_read_however_it_was_saved(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    first, second = read_fields(tmp_path / "t.csv")
    assert (first[1], second[1]) == (["Image", "b"], ["1.png", "2.png"])
    assert second[0] == first[0] + 1


def test_a_comma_decides_where_there_are_several_separators(tmp_path):
    (tmp_path / "t.csv").write_text('a;b,c\n1,"2, 3"\n')
    assert [fields for _, fields in read_fields(tmp_path / "t.csv")] == [["a;b", "c"], ["1", "2, 3"]]
