"""What YAML drops or changes without a word is refused by file and line, and what it says plainly is read as ever."""

import json
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from pydantic import Field

from loopda.config import Section, parse_section
from loopda.errors import ConfigError
from loopda.labels.class_files import read_classes
from loopda.text.strict_yaml import read_mapping, read_yaml, refuse_equal_keys

ROOT = Path(__file__).parents[2]


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    """The lines of the ConfigError that reading raises, without the folder."""
    with pytest.raises(ConfigError) as raised:
        read_yaml(path)
    return [line.removeprefix(f"{path.parent}/") for line in str(raised.value).splitlines()]


SHIPPED = [ROOT / "config.yaml", *sorted((ROOT / "workflow/config").rglob("*.yaml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_project_ships_is_read_as_yaml_itself_reads_it(path):
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.fault(56, "refused by file and line")
def test_the_first_of_two_equal_keys_does_not_vanish_wherever_they_stand(tmp_path):
    text = "run: [a]\nwarmup: {steps: 1, steps: 2}\nlist:\n- {a: 1,\n   'a': 2}\nrun: [b]\nrun: [c]\n"
    found = faults(written(tmp_path, text))
    advice = ", and YAML would drop all but the last; join them, or remove one"
    assert [fault.removesuffix(advice) for fault in found] == [
        "mine.yaml:2: 'steps' occurs twice in warmup (line 2)",
        "mine.yaml:5: 'a' occurs twice in list.1 (line 4)",
        "mine.yaml:6: 'run' occurs twice in the file (line 1)",
        "mine.yaml:7: 'run' occurs twice in the file (line 1)",
    ]


@pytest.mark.fault(56, "refused by file and line in JSON")
def test_equal_keys_of_json_are_refused_even_where_tabs_indent_it(tmp_path):
    path = written(tmp_path, '{"run": ["a"],\n\t"warmup": {},\n\t"warmup": {"steps": 1}}', "mine.json")
    (fault,) = faults(path)
    assert fault.startswith("mine.json:3: 'warmup' occurs twice in the file (line 2)")
    assert read_yaml(written(tmp_path, '{"a":\n\t1e-4}')) == {"a": 1e-4}


def test_anchors_aliases_and_merge_keys_are_read(tmp_path):
    path = written(tmp_path, "a: &x {lr: 1.0, steps: 2}\nb: *x\nc: {<<: *x, steps: 3}\nd: {<<: [*x, {m: 1}]}\n")
    assert read_yaml(path) == {
        "a": {"lr": 1.0, "steps": 2},
        "b": {"lr": 1.0, "steps": 2},
        "c": {"lr": 1.0, "steps": 3},
        "d": {"lr": 1.0, "steps": 2, "m": 1},
    }


def test_an_alias_to_what_holds_it_is_refused(tmp_path):
    assert faults(written(tmp_path, "a: &x\n  b: *x\n")) == [
        "mine.yaml:1: a.b contains itself, through an alias; write out its content"
    ]


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        ("data:\n  night:   # its value is a comment\nrun: [a]\n", 2, "data.night"),
        ("warmup:\n", 1, "warmup"),
        ("experiments: {mine: , b: {}}\n", 1, "experiments.mine"),
        ("experiments:\n  mine: {warmup: }\n", 2, "experiments.mine.warmup"),
        ("methods:\n  advent:\n  dann: {}\n", 2, "methods.advent"),
        ("run:\n- a\n-\n", 3, "item 2 of run"),
        ("void:\n", 1, "void"),
    ],
)
@pytest.mark.fault(57, "refused by file and line")
def test_a_key_without_a_value_is_not_the_default(tmp_path, text, line, name):
    (fault,) = faults(written(tmp_path, text))
    assert fault.startswith(f"mine.yaml:{line}: {name} has no value; write one")


def test_a_null_that_is_written_is_a_value(tmp_path):
    assert read_yaml(written(tmp_path, "a: null\nb: ~\nc: ''\n")) == {"a": None, "b": None, "c": ""}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("no", "a truth value"),
        ("Yes", "a truth value"),
        ("off", "a truth value"),
        ("true", "a truth value"),
        ("2024", "a number"),
        ("007", "a number"),
        ("1_000", "a number"),
        ("0x1F", "a number"),
        ("1.0", "a number"),
        ("1:30", "a number"),
        (".inf", "a number"),
        ("2024-01-05", "a date"),
        ("2024-13-45", "a date"),
        ("null", "no value"),
        ("~", "no value"),
    ],
)
@pytest.mark.fault(58, "refused by file and line, with the quotes that help")
def test_a_name_that_yaml_changes_is_refused_and_kept_in_quotes(tmp_path, name, meant):
    found = faults(written(tmp_path, f"experiments:\n  {name}: {{}}\n"))
    assert found == [f'mine.yaml:2: YAML reads the name {name} in experiments as {meant}; put it in quotes: "{name}"']
    assert read_yaml(written(tmp_path, f'experiments:\n  "{name}": {{}}\n')) == {"experiments": {name: {}}}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("017705", ["octal, 8133", "write 17705"]),
        ("0_17", ["octal, 15", "write 17"]),
        ("1:30", ["base 60"]),
        ("1:30.5", ["base 60"]),
        ("2024-01-05", ["a date", '"2024-01-05"']),
        ("2024-13-45", ["a date"]),
        ("2024-01-05 10:00:00", ["a date"]),
        (".nan", ["not a finite number"]),
        ("-.INF", ["not a finite number"]),
        ("1.0e+999", ["not a finite number"]),
        ("=", ["in quotes"]),
        ("!!binary aGk=", ["tag"]),
        ("!!set {a, b}", ["tag"]),
        ("!!python/tuple [a]", ["tag"]),
    ],
)
@pytest.mark.fault(58, "a value that YAML changes is refused as well")
def test_a_value_that_yaml_changes_is_refused_by_its_line(tmp_path, value, says):
    found = faults(written(tmp_path, f"a: 1\nb: [2, {value}]\n"))
    assert all(fault.startswith("mine.yaml:2: ") for fault in found)
    assert all(word in found[0] for word in says), found


def test_a_number_in_json_that_is_none_is_refused(tmp_path):
    assert faults(written(tmp_path, '{"a": {"b": [NaN]}}')) == ["mine.yaml: a.b: nan is not a finite number; write one"]


def test_plain_numbers_truth_values_and_words_stay_what_they_are(tmp_path):
    text = "a: [0, 10, -3, 1_000, 0x1F, 1.0e-4, .5, 0.05, yes, false, y, '017', ''] \nb: \"no\"\n"
    assert read_yaml(written(tmp_path, text)) == {
        "a": [0, 10, -3, 1000, 31, 1e-4, 0.5, 0.05, True, False, "y", "017", ""],
        "b": "no",
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"run:\n\t- a\n", ":2: not valid YAML: a tab; indent with spaces"),
        (b"run: [a]\n---\nrun: [b]\n", ":2: a second document begins here"),
        (b"run: a: b\n", ":1: not valid YAML: mapping values are not allowed here; a text with ': '"),
        (
            b"a: 1\nimages: *.jpg\n",
            ":2: not valid YAML: expected alphabetic or numeric character, but found '.'; a text",
        ),
        (b"labels: {stem}.png\n", ":1: not valid YAML: expected <block end>, but found '<scalar>'; a text"),
        (b"labels: {stem}\n", ":1: labels.stem has no value; write one ({} is a section without any), or remove"),
        (b"run: [a\nb: 1\n", ":2: not valid YAML: "),
        (b"run: *a\n", ":1: not valid YAML: found undefined alias"),
        (b"# caf\xe9\nrun: [a]\n", ", line 1: not UTF-8"),
        (b"\xff\xfer\0u\0n\0", ": a text in UTF-16; save it as UTF-8"),
        (b"run:\n- a\0b\n", ": not a text (it has a zero byte)"),
        (b"[" * 3000, ": not valid YAML: "),
        (b"steps: " + b"9" * 5000 + b"\n", ": not valid YAML: "),
        (b"{[a]: 1}\n", ":1: a name in the file is a list or a mapping"),
        (b"x: !!int three\n", ": not valid YAML: "),
    ],
)
@pytest.mark.fault(59, "refused by file and line")
def test_a_file_that_is_no_yaml_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    (fault,) = faults(path)
    assert fault.startswith(f"mine.yaml{says}")


def test_a_file_that_cannot_be_opened_is_refused_by_name(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=path.name):
            read_yaml(path)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "3\n", "run\n"])
def test_a_file_without_sections_is_refused_where_sections_are_wanted(tmp_path, text):
    with pytest.raises(ConfigError, match=r"mine\.yaml: expected sections"):
        read_mapping(written(tmp_path, text))


def test_of_another_workflows_file_equal_keys_alone_are_refused(tmp_path):
    refuse_equal_keys(written(tmp_path, "other:\n2024: no\n"))
    with pytest.raises(ConfigError, match=r"mine\.yaml:2: 'a' occurs twice"):
        refuse_equal_keys(written(tmp_path, "a: 1\na: 2\n"))
    with pytest.raises(ConfigError, match=r"mine\.json:2: 'a' occurs twice"):
        refuse_equal_keys(written(tmp_path, '{"a": 1,\n\t"a": 2}', "mine.json"))


class Numbers(Section):
    """A section with a value of each kind."""

    rate: float = 1.0
    steps: int = 1
    flag: bool = True
    word: str = ""
    several: tuple[int, ...] = ()
    pattern: Annotated[str, Field(pattern="^..$", description="two letters")] = "ab"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rate": "1e-4"}, "write 1.0e-4"),
        ({"rate": "1.5E5"}, "write 1.5e+5"),
        ({"rate": "2"}, "write 2"),
        ({"steps": "1e3"}, "write 1000"),
        ({"steps": 1e3}, "write 1000"),
        ({"steps": "08"}, "write 8"),
        ({"flag": "y"}, "write true or false"),
        ({"word": False}, "put the word in quotes"),
        ({"word": 2024}, 'in quotes, "2024"'),
        ({"several": 7}, "a list of one is written [7]"),
        ({"pattern": "x"}, "pattern: 'x' is not two letters"),
    ],
    ids=str,
)
@pytest.mark.fault(60, "the message says how YAML writes it")
def test_a_value_of_another_type_is_refused_with_what_to_write(values, says):
    with pytest.raises(ConfigError, match="mine: .*") as raised:
        parse_section(json.loads(json.dumps(values)), Numbers, "mine")
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("base: cityscapes\nkeep: [road, no]\n", "keep.1: "),
        ("base: cityscapes\nkeep: road\n", "a list of one is written [road]"),
        ("base: cityscapes\nkeep: [road]\nkeep: [car]\n", ":3: 'keep' occurs twice"),
        ("classes:\n- {name: off, colour: [0, 0, 0], ids: [0], group: static}\n", "put the word in quotes"),
        ("classes:\n- {name: a, colour: [0, 0, 0], ids: [010], group: static}\n", ":2: YAML reads 010 as octal"),
        ("void:\nclasses: []\n", ":1: void has no value"),
    ],
)
@pytest.mark.fault(56, "in a class list too")
def test_a_class_list_is_read_as_strictly(tmp_path, text, says):
    with pytest.raises(ConfigError) as raised:
        read_classes(written(tmp_path, text))
    assert says in str(raised.value)
