"""The command python -m loopda.benchmark, on measurements of its own making."""

import importlib
import json
from xml.etree import ElementTree

import pytest
import torch

from loopda.benchmark.cases import one_by_one, sections
from loopda.benchmark.measure import milliseconds, ratio
from loopda.benchmark.variants import LEVERS, REPLACEMENTS, VARIANTS
from loopda.errors import ConfigError
from loopda.stages import warmup

benchmark = importlib.import_module("loopda.benchmark.__main__")


def measurement(scale, stage, variant, **times):
    counts = {"gflop": 12.0, "saved_mb": 345.0, "peak_mb": 678.0}
    return {"scale": scale, "stage": stage, "variant": variant.name, "plain": variant.plain} | counts | times


@pytest.fixture
def measured(monkeypatch):
    asked = []

    def instead(scale, stage, variants, device, *, repeats, clock):
        asked.append((scale, stage, repeats))
        times = {"device": "cpu", "milliseconds": 90.0, "times_plain": 1.25, "images_per_second": 66.7}
        times |= {"share_of_matmul": 0.5, "turns": [80.0, 90.0, 100.0]}
        return [measurement(scale, stage, variant, **(times if repeats else {})) for variant in variants]

    monkeypatch.setattr(benchmark, "measured", instead)
    return asked


def test_the_papers_scale_is_counted_and_the_towns_timed_where_there_is_no_gpu(measured, tmp_path, capsys):
    benchmark.main(["--device", "cpu", "--repeats", "3", "--out", str(tmp_path)])
    stages = ("warmup", "self_train")
    assert measured == [(scale, stage, repeats) for scale, repeats in (("town", 3), ("paper", 0)) for stage in stages]
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:2] == ["ms", "times"]
    (town,) = [line for line in table if line.startswith("town warmup: loopda ")]
    assert town.split()[3:] == ["90.0", "1.25", "66.7", "12.0", "345", "678", "50%"]
    (paper,) = [line for line in table if line.startswith("paper warmup: loopda ")]
    assert paper.split()[3:] == ["12.0", "345", "678"]
    document = json.loads((tmp_path / "benchmark.json").read_text())
    assert [result["variant"] for result in document["results"]] == [variant.name for variant in VARIANTS] * 4
    texts = ElementTree.parse(tmp_path / "benchmark.svg").getroot().iter("{http://www.w3.org/2000/svg}g")
    assert len(list(texts)) > 20


def test_the_levers_are_measured_besides_when_they_are_asked_for(measured, tmp_path, capsys):
    arguments = ["--device", "cpu", "--repeats", "0", "--levers", "--scales", "paper", "--stages", "warmup"]
    benchmark.main([*arguments, "--out", str(tmp_path)])
    names = [result["variant"] for result in json.loads((tmp_path / "benchmark.json").read_text())["results"]]
    assert names == [variant.name for variant in (*VARIANTS, *LEVERS)]


def test_other_precisions_are_left_out_when_that_is_asked_for(measured, tmp_path, capsys):
    benchmark.main(["--device", "cpu", "--repeats", "0", "--fp32", "--levers", "--out", str(tmp_path)])
    names = {result["variant"] for result in json.loads((tmp_path / "benchmark.json").read_text())["results"]}
    assert {"plain", "loopda", "memory least", "without x_d2n encoded once"} <= names
    assert not [name for name in names if "16" in name]


def test_compiled_networks_are_measured_when_that_is_asked_for(measured, tmp_path, capsys):
    arguments = ["--device", "cpu", "--fp32", "--compiled", "--scales", "town", "--stages", "warmup"]
    benchmark.main([*arguments, "--out", str(tmp_path)])
    results = json.loads((tmp_path / "benchmark.json").read_text())["results"]
    assert [result["variant"] for result in results] == ["plain", "loopda", "loopda, compiled"]


def test_parts_without_turns_are_refused_before_anything_is_counted(measured, tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--repeats", "0", "--parts", "--out", str(tmp_path)])
    assert "--parts takes times" in capsys.readouterr().err
    assert not measured


def test_each_lever_is_in_the_code_where_the_benchmark_takes_it_away():
    for place, name, _ in REPLACEMENTS.values():
        assert callable(getattr(place, name))
    assert {variant.without for variant in LEVERS} > set(REPLACEMENTS)


def test_the_turns_of_all_are_taken_in_turn_after_one_that_does_not_count():
    called, now = [], [0.0]

    def step(name, seconds):
        def run():
            called.append(name)
            now[0] += seconds

        return run

    steps = {"one": step("one", 2.0), "two": step("two", 0.5)}
    times = milliseconds(steps, repeats=2, device=torch.device("cpu"), clock=lambda: now[0])
    assert called == ["one", "two"] * 3
    assert times == {"one": [2000.0, 2000.0], "two": [500.0, 500.0]}
    assert ratio(times["one"], times["two"]) == 4


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD])
def test_an_optimiser_that_takes_one_parameter_after_the_other_makes_the_same_steps(kind):
    values = [[torch.nn.Parameter(torch.arange(1.0, 4.0)), torch.nn.Parameter(torch.ones(2))] for _ in range(2)]
    fused = kind(values[0], lr=0.1, weight_decay=0.1, fused=True)
    single = one_by_one(kind(values[1], lr=0.1, weight_decay=0.1, fused=True))
    for _ in range(3):
        for optimizer, parameters in zip((fused, single), values, strict=True):
            optimizer.zero_grad()
            sum((parameter**2).sum() for parameter in parameters).backward()
            optimizer.step()
    for one, other in zip(*values, strict=True):
        assert torch.allclose(one, other, rtol=1e-6)


def test_the_networks_measured_are_those_of_the_configuration():
    config, network = sections("paper", "warmup")
    assert isinstance(config, warmup.Config)
    assert (network.blocks, network.width) == ((3, 4, 23, 3), 64)
    assert config.input.crop == (496, 512)
    assert config.loops.decoders.lpips_weights == ""


def test_outside_of_a_checkout_the_missing_file_is_named(monkeypatch, tmp_path):
    cases = importlib.import_module("loopda.benchmark.cases")
    monkeypatch.setattr(cases, "__file__", str(tmp_path / "loopda" / "benchmark" / "cases.py"))
    with pytest.raises(ConfigError, match=r"config\.yaml: not found; run the benchmark in a checkout"):
        sections("town", "warmup")
