import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loopda.errors import ConfigError, DataError
from loopda.labels.class_files import load_classes, read_class_list, read_classes
from loopda.labels.classes import (
    CITYSCAPES,
    IGNORE,
    INDICES,
    SYNTHIA,
    UNKNOWN,
    ClassList,
    Encoding,
)


def entry(name="road", colour=(1, 2, 3), ids=(0,), group="static", **more):
    return {"name": name, "colour": list(colour), "ids": list(ids), "group": group, **more}


def class_file(folder, entries, **more):
    path = folder / "classes.yaml"
    path.write_text(json.dumps({"classes": entries, **more}))  # every JSON text is YAML
    return path


def test_label_ids_of_cityscapes_become_the_published_train_ids():
    table = CITYSCAPES.lookup_table("labelIds")
    # labelId -> trainId of cityscapesScripts' labels.py
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12}
    expected |= {26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert {int(raw): int(table[raw]) for raw in np.flatnonzero(table != IGNORE)} == expected


@pytest.mark.fault(91, "refused by the class list's name before anything trains")
@pytest.mark.parametrize("values", [{"classes": [entry()]}, {"base": "cityscapes", "keep": ["road"]}])
def test_a_list_of_one_class_is_refused_when_it_is_read(tmp_path, values):
    path = tmp_path / "classes.yaml"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"classes\.yaml: class list: 'road' is its only class") as caught:
        read_classes(path)
    assert str(caught.value).count("classes.yaml") == 1


def test_label_ids_without_a_train_id_are_void_and_not_unknown():
    void = CITYSCAPES.void_ids("labelIds")
    assert {0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255} <= void
    assert 35 in CITYSCAPES.unknown_ids("labelIds")
    assert not void & CITYSCAPES.unknown_ids("labelIds")


def test_train_ids_are_taken_as_they_are_and_never_mapped_again():
    table = CITYSCAPES.lookup_table("labelTrainIds")
    assert table[:19].tolist() == list(range(19))
    assert (table[19:] == IGNORE).all()
    assert CITYSCAPES.void_ids("labelTrainIds") == {255}
    assert CITYSCAPES.unknown_ids("labelTrainIds") == set(range(19, 255))


def test_every_class_of_cityscapes_is_static_or_dynamic_and_the_thin_static_ones_are_shift_sensitive():
    assert {CITYSCAPES.names[index] for index in CITYSCAPES.ssc} == {"pole", "traffic light", "traffic sign"}
    assert CITYSCAPES.static == set(range(11))
    assert CITYSCAPES.dynamic == set(range(11, 19))


def test_every_list_understands_files_that_already_hold_class_indices():
    table = CITYSCAPES.lookup_table(INDICES)
    assert table[18] == 18
    assert table[19] == IGNORE
    assert CITYSCAPES.unknown_ids(INDICES) == set(range(19, 255))


def test_an_encoding_the_list_does_not_know_is_a_config_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match="'rgb'; it has labelIds, labelTrainIds, synthia, indices, colours"):
        CITYSCAPES.lookup_table("rgb")


def test_a_colour_map_shows_each_class_in_its_colour_and_ignored_pixels_black():
    colours = CITYSCAPES.colour_map(np.array([[0, 13], [18, IGNORE]], dtype=np.uint8))
    assert colours.dtype == np.uint8
    assert colours.tolist() == [[[128, 64, 128], [0, 0, 142]], [[119, 11, 32], [0, 0, 0]]]


def test_a_class_list_survives_json_and_a_weights_only_checkpoint(tmp_path):
    torch = pytest.importorskip("torch")
    assert ClassList.from_json(json.loads(json.dumps(CITYSCAPES.to_json()))) == CITYSCAPES
    torch.save({"classes": CITYSCAPES.to_json()}, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=True)
    assert ClassList.from_json(loaded["classes"]) == CITYSCAPES


@pytest.mark.parametrize("damage", ['{"names": ["road"]}', "[]", "{", '{"names": null}', "null"])
def test_a_damaged_class_list_is_a_data_error_that_names_the_file(tmp_path, damage):
    path = tmp_path / "classes.json"
    path.write_text(damage)
    with pytest.raises(DataError, match="classes.json: damaged class list"):
        load_classes(path)


def test_a_missing_class_list_says_which_stage_writes_it(tmp_path):
    with pytest.raises(DataError, match="classes.json: no such class list; the stage `prepare`"):
        load_classes(tmp_path / "classes.json")
    (tmp_path / "mine.yaml").write_text("base: cityscapes\nkeep: [road, car]\n")
    with pytest.raises(DataError, match="a YAML file; wanted is the classes.json that the stage `prepare` makes of it"):
        load_classes(tmp_path / "mine.yaml")
    with pytest.raises(DataError, match="a class list that cannot be read .Is a directory"):
        load_classes(tmp_path)


def test_a_class_list_in_yaml_gives_names_groups_ids_and_void(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(
        """
        void: [0, 255]
        classes:
          - {name: road, colour: [128, 64, 128], ids: [3, 4], group: static}
          - {name: pole, colour: [153, 153, 153], ids: [7], group: static, shift_sensitive: true}
          - {name: car, colour: [0, 0, 142], ids: [9], group: dynamic}
        """
    )
    classes = read_classes(path)
    assert classes.names == ("road", "pole", "car")
    assert classes.colours[1] == (153, 153, 153)
    assert (classes.static, classes.dynamic, classes.ssc) == ({0, 1}, {2}, {1})
    assert classes.lookup_table("ids")[[0, 3, 4, 7, 9, 255]].tolist() == [255, 0, 0, 1, 2, 255]
    assert classes.void_ids("ids") == {0, 255}
    assert 5 in classes.unknown_ids("ids")


def subset_file(folder, **values):
    path = folder / "classes.yaml"
    path.write_text(json.dumps({"base": "cityscapes", **values}))
    return path


def test_a_subset_of_cityscapes_keeps_names_colours_and_groups_in_its_own_order(tmp_path):
    classes = read_classes(subset_file(tmp_path, keep=["car", "road", "pole"]))
    assert classes.names == ("car", "road", "pole")
    assert classes.colours == ((0, 0, 142), (128, 64, 128), (153, 153, 153))
    assert (classes.dynamic, classes.static, classes.ssc) == ({0}, {1, 2}, {2})


@pytest.mark.parametrize(
    ("encoding", "car", "road", "sky", "unknown"),
    [("labelIds", 26, 7, 23, 35), ("labelTrainIds", 13, 0, 10, 19), ("synthia", 8, 3, 1, 23)],
)
def test_what_a_subset_leaves_out_is_void_in_every_encoding(tmp_path, encoding, car, road, sky, unknown):
    classes = read_classes(subset_file(tmp_path, keep=["car", "road"]))
    assert classes.lookup_table(encoding)[[car, road, sky]].tolist() == [0, 1, IGNORE]
    assert sky in classes.void_ids(encoding)
    assert unknown in classes.unknown_ids(encoding)
    assert classes.unknown_ids(encoding) == CITYSCAPES.unknown_ids(encoding)


def test_all_classes_kept_are_the_whole_list(tmp_path):
    assert read_classes(subset_file(tmp_path, keep=list(CITYSCAPES.names))) == CITYSCAPES


def test_files_that_hold_class_indices_mean_those_of_the_subset(tmp_path):
    classes = read_classes(subset_file(tmp_path, keep=["car", "road"]))
    assert classes.lookup_table(INDICES)[[0, 1]].tolist() == [0, 1]
    assert 13 in classes.unknown_ids(INDICES)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"keep": ["road", "tree", "lamp"]}, "no class tree, lamp; the classes are road, sidewalk"),
        ({"keep": ["road", "road"]}, "names 'road' twice"),
        ({"keep": []}, "keep"),
        ({}, "keep"),
        ({"keep": "road"}, "keep"),
        ({"base": "camvid", "keep": ["road"]}, "base: .*'cityscapes'"),
        ({"keep": ["road"], "void": [255]}, "void"),
        ({"keep": ["road"], "classes": []}, "classes"),
    ],
)
def test_a_wrong_subset_is_a_config_error_that_names_file_and_fault(tmp_path, values, fault):
    path = subset_file(tmp_path, **values)
    with pytest.raises(ConfigError, match=fault) as caught:
        read_classes(path)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())
    assert str(caught.value).count(str(path)) == len(str(caught.value).splitlines())


def test_the_ids_of_synthia_are_those_of_its_readme():
    table = CITYSCAPES.lookup_table(SYNTHIA)
    # id in SYNTHIA-RAND-CITYSCAPES -> class
    expected = {1: "sky", 2: "building", 3: "road", 4: "sidewalk", 5: "fence", 6: "vegetation", 7: "pole", 8: "car"}
    expected |= {9: "traffic sign", 10: "person", 11: "bicycle", 12: "motorcycle", 15: "traffic light", 16: "terrain"}
    expected |= {17: "rider", 18: "truck", 19: "bus", 20: "train", 21: "wall"}
    assert {int(raw): CITYSCAPES.names[table[raw]] for raw in np.flatnonzero(table != IGNORE)} == expected
    assert CITYSCAPES.void_ids(SYNTHIA) == set(range(23)) - expected.keys()


def test_only_255_is_void_unless_the_class_list_says_otherwise(tmp_path):
    assert read_classes(class_file(tmp_path, [entry(), entry("car", (4, 5, 6), ids=(1,))])).void_ids("ids") == {255}


def test_a_class_list_of_no_file_or_of_a_stage_is_said_to_be_one(tmp_path):
    with pytest.raises(ConfigError, match="Cityscapes: no such class list; .* `cityscapes` in small letters"):
        read_class_list("Cityscapes")
    (tmp_path / "classes.json").write_text(json.dumps(CITYSCAPES.to_json()))
    with pytest.raises(
        ConfigError, match="^[^\n]*classes.json: a classes.json that a stage wrote; name the class list"
    ):
        read_class_list(str(tmp_path / "classes.json"))


@pytest.mark.parametrize(
    ("entries", "more", "fault"),
    [
        ([], {}, "empty"),
        ([entry(), entry("wall", (4, 5, 6), [0])], {}, "id 0 stands for road and wall"),
        ([entry(ids=[255])], {}, "id 255 stands for road, and is void"),
        ([entry("ro\nad"), entry("car", (4, 5, 6), [1])], {}, "'ro.*ad' is empty, or has a line break or a blank"),
        ([entry("road "), entry("car", (4, 5, 6), [1])], {}, "'road ' is empty, or has a line break or a blank"),
        ([entry(), entry("road", (4, 5, 6), [1])], {}, "name 'road' occurs twice"),
        ([entry(), entry("wall", (1, 2, 3), [1])], {}, r"colour \[1, 2, 3\] occurs twice"),
        ([entry(colour=(1, 2))], {}, r"classes\.0\.colour"),
        ([entry(colour=(1, 2, 256))], {}, r"classes\.0\.colour\.2"),
        ([entry(colour=("1", 2, 3))], {}, r"classes\.0\.colour\.0"),
        ([entry(ids=[256])], {}, r"classes\.0\.ids\.0"),
        ([entry(ids=[-1])], {}, r"classes\.0\.ids\.0"),
        ([entry(ids=[])], {}, r"classes\.0\.ids"),
        ([entry(group="moving")], {}, r"classes\.0\.group"),
        ([entry(group="dynamic", shift_sensitive=True)], {}, "road: a shift sensitive class is static"),
        ([entry(color=[1, 2, 3])], {}, r"classes\.0\.color"),
        ([entry(), entry("car", (4, 5, 6), ids=(1,))], {"void": [300]}, r"void\.0"),
        ([entry(), entry("car", (4, 5, 6), ids=(1,))], {"encoding": "indices"}, "'indices' is reserved"),
        ([entry(f"c{i}", (i, 0, 0), [i]) for i in range(255)], {"void": []}, "255 classes; at most 254"),
    ],
)
def test_a_wrong_class_list_is_a_config_error_that_names_file_and_fault(tmp_path, entries, more, fault):
    path = class_file(tmp_path, entries, **more)
    with pytest.raises(ConfigError, match=fault) as caught:
        read_classes(path)
    assert all(line.startswith(str(path)) for line in str(caught.value).splitlines())


def test_all_faults_of_a_class_list_are_listed_at_once(tmp_path):
    path = class_file(tmp_path, [entry(), entry("road", (1, 2, 3), [0])])
    with pytest.raises(ConfigError) as caught:
        read_classes(path)
    assert len(str(caught.value).splitlines()) == 3


def test_a_list_of_254_classes_is_the_largest(tmp_path):
    entries = [entry(f"c{i}", (i, 0, 0), [i]) for i in range(254)]
    assert len(read_classes(class_file(tmp_path, entries))) == 254


@given(st.lists(st.sets(st.integers(0, 254), min_size=1, max_size=4), min_size=1, max_size=20))
def test_a_lookup_table_gives_every_raw_value_its_class_or_ignore(groups):
    taken: set[int] = set()
    ids = []
    for group in groups:
        ids.append(tuple(sorted(group - taken)))
        taken |= group
    classes = ClassList(
        names=tuple(f"c{i}" for i in range(len(ids))),
        colours=tuple((i, 0, 0) for i in range(len(ids))),
        dynamic=frozenset(),
        ssc=frozenset(),
        encodings={"ids": Encoding(tuple(ids), frozenset({255}))},
    )
    table = classes.lookup_table("ids")
    for raw in range(256):
        owners = [index for index, values in enumerate(ids) if raw in values]
        assert table[raw] == (owners[0] if owners else IGNORE)
        assert (raw in classes.unknown_ids("ids")) == (not owners and raw != 255)


def test_raw_ids_are_the_way_back_from_the_lookup_table():
    for encoding in ("labelIds", "labelTrainIds", "indices"):
        raw = CITYSCAPES.raw_ids(encoding)[np.arange(19)]
        assert CITYSCAPES.lookup_table(encoding)[raw].tolist() == list(range(19))
    assert CITYSCAPES.raw_ids("labelIds")[[0, 18, IGNORE]].tolist() == [7, 33, IGNORE]


def test_a_class_without_a_raw_id_cannot_be_encoded():
    without = Encoding((*CITYSCAPES.encodings["labelIds"].ids[:18], ()), frozenset({255}))
    classes = replace(CITYSCAPES, encodings={"own": without})
    with pytest.raises(ConfigError, match="encoding 'own' has no id for bicycle"):
        classes.raw_ids("own")


# colours and palettes


def palette_of(*names):
    """(256, 3): the colours of the classes `names` of Cityscapes, then black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(names)] = [CITYSCAPES.colours[CITYSCAPES.names.index(name)] for name in names]
    return table


LABEL_IDS = np.zeros((256, 3), dtype=np.uint8)
for ids, colour in zip(CITYSCAPES.encoding("labelIds").ids, CITYSCAPES.colours, strict=True):
    LABEL_IDS[list(ids)] = colour
LABEL_IDS[34] = (0, 0, 142)  # GTA5: a licence plate looks like its car
LABEL_IDS[18] = (153, 153, 153)  # a pole group like a pole


def voc_palette():
    """As the development kit of PASCAL VOC makes it: three bits of the index a turn."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for index in range(256):
        rest, shift = index, 7
        while rest:
            for channel in range(3):
                table[index, channel] |= (rest >> channel & 1) << shift
            rest, shift = rest >> 3, shift - 1
    return table


@pytest.mark.parametrize(
    ("encoding", "palette", "found"),
    [
        ("labelIds", LABEL_IDS, [0, 7, 11, 17, 18, 23, 26, 34]),
        ("labelTrainIds", CITYSCAPES.palette(), [*range(19), 255]),
        ("indices", CITYSCAPES.palette(), [*range(19), 255]),
        ("labelIds", voc_palette(), [7, 8, 11, 21, 23, 26]),
        ("labelIds", voc_palette(), [21]),  # vegetation, in the one colour of VOC that is a road's in Cityscapes
        ("labelIds", np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1), [7, 11, 23]),
        ("labelIds", np.zeros((256, 3), dtype=np.uint8), [7, 11, 23]),
        ("labelIds", np.zeros((0, 3), dtype=np.uint8), [7, 11, 23]),
        ("labelIds", np.random.default_rng(0).integers(1, 60, (256, 3), dtype=np.uint8), [*range(34)]),
        ("colours", palette_of("pole", "sky", "road"), [0, 1, 2]),
    ],
)
@pytest.mark.fault(67, "palettes that agree with the numbers, or say nothing, are none")
def test_a_palette_that_agrees_or_says_nothing_contradicts_nothing(encoding, palette, found):
    assert CITYSCAPES.palette_contradictions(encoding, palette, found) == []


def test_one_colour_of_a_class_in_a_palette_of_others_contradicts_nothing():
    palette = np.random.default_rng(0).integers(1, 60, (256, 3), dtype=np.uint8)
    palette[11] = CITYSCAPES.colours[0]
    assert CITYSCAPES.palette_contradictions("labelIds", palette, [7, 8, 11, 21, 23]) == []


@pytest.mark.parametrize(
    ("encoding", "palette", "found", "expected"),
    [
        (
            "labelTrainIds",
            palette_of("pole", "sky", "building", "road"),
            [0, 1, 2, 3],
            ["0 means road, and has the colour of pole", "1 means sidewalk", "3 means wall"],
        ),
        ("labelIds", palette_of("sky", "road"), [0, 1], ["0 means void, and has the colour of sky", "1 means void"]),
        ("labelTrainIds", LABEL_IDS, [7, 11], ["7 means traffic sign, and has the colour of road", "11 means person"]),
        ("labelIds", CITYSCAPES.palette(), [7], ["7 means road, and has the colour of traffic sign"]),
    ],
)
@pytest.mark.fault(67, "each number that means another class than its colour is named")
def test_a_palette_in_another_order_contradicts_each_number_it_gives_to_another_class(
    encoding, palette, found, expected
):
    lines = CITYSCAPES.palette_contradictions(encoding, palette, found)
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True))


def test_every_colour_of_cityscapes_is_a_class_or_void():
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    table = CITYSCAPES.colour_table()
    for label in labels:
        red, green, blue = label.color
        found = table[red << 16 | green << 8 | blue]
        if label.name in ("polegroup", "license plate"):
            assert CITYSCAPES.names[found] in ("pole", "car")
        else:
            assert found == (IGNORE if label.ignoreInEval else label.trainId), label.name
    assert (table == UNKNOWN).sum() == (1 << 24) - len({label.color for label in labels})


def test_void_colours_are_read_from_the_list_and_are_no_colours_of_classes(tmp_path):
    colours = {"road": [0, 0, 0], "sky": [9, 9, 9]}
    entries = [
        {"name": name, "colour": colour, "ids": [number], "group": "static"}
        for number, (name, colour) in enumerate(colours.items())
    ]
    path = tmp_path / "classes.yaml"
    path.write_text(yaml.safe_dump({"void_colours": [[1, 2, 3]], "classes": entries}))
    classes = read_classes(path)
    assert classes.colour_table()[[0, 1 << 16 | 2 << 8 | 3, 5]].tolist() == [0, IGNORE, UNKNOWN]
    assert ClassList.from_json(classes.to_json()) == classes
    path.write_text(yaml.safe_dump({"void_colours": [[0, 0, 0]], "classes": entries}))
    with pytest.raises(ConfigError, match=r"void colour \[0, 0, 0\]"):
        read_classes(path)


def test_a_class_list_of_an_earlier_version_has_no_void_colours():
    values = CITYSCAPES.to_json()
    del values["void_colours"]
    assert ClassList.from_json(values).void_colours == frozenset()


def test_colours_are_no_ids_to_write():
    with pytest.raises(ConfigError, match="'colours' is no encoding to write"):
        CITYSCAPES.raw_ids("colours")
