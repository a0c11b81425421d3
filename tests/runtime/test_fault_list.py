from pathlib import Path

import pytest

from loopda.errors import DataError
from loopda.runtime.command import command, writes
from loopda.runtime.fault_list import MOST_LINES, shortened


def faults(count, what="image data/my drive/{number:04d}.png: no such file; fetch it, or correct its name"):
    return [what.format(number=number, id=40 + number % 7) for number in range(count)]


def test_up_to_three_faults_of_a_cause_stay_as_they_are(tmp_path):
    message = "\n".join([*faults(3), "label a.png: 8x4 pixels", "data.night: another"])
    assert shortened(message, tmp_path / "all.txt") == message
    assert not (tmp_path / "all.txt").exists()


@pytest.mark.fault(55, "one line with the count, three examples, and the file that has them all")
@pytest.mark.parametrize(
    "what",
    [
        "data.night: image data/my drive/{number:04d}.png: no such file; fetch it, or correct its name",
        "label /x/{number:04d}.png: id {id} is neither a class nor void in the encoding 'labelIds'; correct the label",
        "label /x/{number:04d}.png: {number}x4 pixels, but its image /y/{number:04d}.png has 8x4; make them the same",
        "labelTrainIds/{number:04d}.png: missing",
        "mine.csv, line {number}: 'a{number:04d},' is not a pair `night,day`; complete or delete the line",
        "image {number:04d}.png: no such file",
    ],
)
def test_many_faults_of_a_cause_become_one_line_and_all_are_in_the_file(tmp_path, what):
    lines = faults(300, what)
    message = "\n".join(["one fault", *lines, "another fault"])
    first, summary, last = shortened(message, tmp_path / "all.txt").splitlines()
    assert (first, last) == ("one fault", "another fault")
    assert summary.startswith(lines[0] + " [300 of this kind, such as ")
    assert "1" in summary.partition("such as ")[2].partition(" and ")[0]
    assert summary.endswith(f"all in {tmp_path / 'all.txt'}]")
    assert (tmp_path / "all.txt").read_text() == message + "\n"


def test_unknown_ids_of_many_files_are_listed_together(tmp_path):
    lines = [f"label {number}.png: id {number % 3}, 77 is neither a class nor void" for number in range(60)]
    [summary] = shortened("\n".join(lines), tmp_path / "all.txt").splitlines()
    assert summary.startswith(
        "label 0.png: id 0, 77 is neither a class nor void [60 of this kind, such as 1.png and 2.png"
    )
    assert "with the ids 0, 1, 2, 77; all in" in summary


def test_faults_of_other_causes_or_sets_stay_apart(tmp_path):
    lines = [f"data.{of_set}: {line}" for of_set in ("night", "day") for line in faults(5)]
    lines += [line.replace("no such file", "an empty file") for line in faults(5)]
    short = shortened("\n".join(lines), tmp_path / "all.txt").splitlines()
    assert [line.partition(" [")[2].partition(",")[0] for line in short] == 3 * ["5 of this kind"]


def test_a_message_of_very_many_causes_is_cut_off_and_says_where_it_goes_on(tmp_path):
    lines = [f"{chr(97 + number // 26)}{chr(97 + number % 26)}: wrong" for number in range(100)]
    *shown, last = shortened("\n".join(lines), tmp_path / "all.txt").splitlines()
    assert shown == lines[:MOST_LINES]
    assert last == f"and 60 more lines: all 100 are in {tmp_path / 'all.txt'}"


def test_where_the_file_cannot_be_written_the_message_stays_complete(tmp_path):
    (tmp_path / "file").touch()
    message = "\n".join(faults(30))
    assert shortened(message, tmp_path / "file/all.txt") == message


@pytest.mark.fault(55, "every command does so, beside its log or its output, until it has no fault")
@pytest.mark.parametrize("logged", [True, False])
def test_a_command_prints_many_faults_in_few_lines_and_lists_them_beside_its_log_or_output(tmp_path, capsys, logged):
    wrong = faults(4831)

    @writes("out")
    def run(*, out: Path, log: Path | None = None) -> None:
        if wrong:
            raise DataError("\n".join(wrong))

    words = ["--out", f"{tmp_path}/out"] + (["--log", f"{tmp_path}/stage.log"] if logged else [])
    with pytest.raises(SystemExit) as ended:
        command(run, words)
    assert ended.value.code == DataError.exit_code
    file = tmp_path / ("stage.faults.txt" if logged else "out.faults.txt")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"DataError: {wrong[0]} [4831 of this kind")
    assert line.endswith(f"all in {file}]")
    assert file.read_text().splitlines() == wrong
    wrong.clear()
    command(run, words)
    assert not file.exists()
