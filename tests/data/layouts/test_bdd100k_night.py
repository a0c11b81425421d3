import public_trees as trees
import pytest

from loopda.data.checks import Checked, check_rows
from loopda.data.layouts.bdd100k_night import Bdd100kNightLayout
from loopda.data.manifest import Row
from loopda.errors import DataError
from loopda.labels.classes import CITYSCAPES


def checked(rows: list[Row], *, labelled: bool = True) -> Checked:
    return check_rows(rows, CITYSCAPES, labelled=labelled, workers=1)


def rows_of(root, names):
    return Bdd100kNightLayout(layout="bdd100k_night", root=root, names=names).rows(CITYSCAPES, labelled=True)


@pytest.mark.parametrize("new", [True, False])
def test_the_same_list_names_the_same_images_in_both_layouts(new, tmp_path):
    root = trees.bdd100k(tmp_path, new=new)
    rows = rows_of(root, root / trees.MGCDA_LIST)
    assert [row.image.stem for row in rows] == ["aa01", "aa02", "bb01", "aa03", "bb02"]
    assert {row.encoding for row in rows} == {"labelTrainIds"}
    assert checked(rows).faults == []


def test_the_new_layout_is_read_where_both_are_there(tmp_path):
    trees.bdd100k(tmp_path, new=False)
    root = trees.bdd100k(tmp_path)
    rows = rows_of(root, root / trees.MGCDA_LIST)
    assert {row.image.relative_to(root).parts[0] for row in rows} == {"images"}


def test_every_line_that_names_no_image_of_train_or_val_is_told_by_its_number(tmp_path):
    root = trees.bdd100k(tmp_path)
    names = root / "names.txt"
    names.write_text("seg/images/train/aa01.jpg\nseg/images/test/aa02.jpg\naa03.jpg\nval/bb01.png\n")
    with pytest.raises(DataError) as caught:
        rows_of(root, names)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].split(", ")[-1] for line in lines] == ["line 2", "line 3", "line 4"]
