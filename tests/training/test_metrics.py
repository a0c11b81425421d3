"""The averages of metrics.jsonl, its lines, and what is left of them when a training resumes."""

import json

import pytest
import torch

from loopda.errors import DeviceError
from loopda.training import metrics
from loopda.training.metrics import MetricsWriter


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_an_average_is_over_the_steps_that_have_the_value(path):
    averages = MetricsWriter(path, writes=True, until=0)
    averages.add({"seg_d": torch.tensor(1.0), "lor": 0.5})
    averages.add({"seg_d": torch.tensor(4.0)})
    assert averages.averages() == ({"seg_d": 2.5, "lor": 0.5}, 0)


def test_skipped_steps_are_counted_and_every_call_begins_anew(path):
    averages = MetricsWriter(path, writes=True, until=0)
    assert not averages.has_new
    averages.skip()
    averages.skip()
    assert averages.has_new
    assert averages.averages() == ({}, 2)
    assert not averages.has_new
    assert averages.averages() == ({}, 0)


def test_lines_after_the_resumed_step_and_a_half_written_one_are_dropped(path):
    lines = [{"step": step, "seconds": float(step)} for step in (20, 40, 60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 80, "sec')
    resumed = MetricsWriter(path, writes=True, until=40)
    assert resumed.history == lines[:2]
    assert resumed.seconds == 40.0
    assert [json.loads(line) for line in resumed.text().splitlines()] == lines[:2]


def test_a_process_that_does_not_write_leaves_the_file_alone(path):
    path.write_text('{"step": 60, "seconds": 1.0}\n')
    assert MetricsWriter(path, writes=False, until=40).history == []
    assert path.read_text() == '{"step": 60, "seconds": 1.0}\n'


def test_a_line_that_a_full_disk_refuses_is_written_with_the_next(path, monkeypatch):
    append, failures = metrics.append_text, iter([True, True])

    def failing(file, text):
        if next(failures, False):
            raise DeviceError("full")
        append(file, text)

    monkeypatch.setattr(metrics, "append_text", failing)
    written = MetricsWriter(path, writes=True, until=0)
    written.write({"step": 20})
    with pytest.raises(DeviceError):
        written.flush()
    written.write({"step": 40})
    assert written.text() == '{"step": 20}\n{"step": 40}\n'


def test_a_collapsed_discriminator_is_a_new_warning_once(path, monkeypatch):
    monkeypatch.setattr("loopda.training.collapse.STEPS", 2)
    written = MetricsWriter(path, writes=True, until=0)
    assert written.write({"step": 1, "discriminators": 0.001}) == []
    (warning,) = written.write({"step": 2, "discriminators": 0.002})
    assert written.write({"step": 3, "discriminators": 0.001}) == []
    assert written.warnings == {"discriminators": warning}
