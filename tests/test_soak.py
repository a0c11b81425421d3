"""A short soak: the first stages of the miniature pipeline, interrupted in each of them; and the plan of a long one."""

import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniature import ROOT
from soak_plan import DAMAGES, KINDS, MOST, damage, damaged, planned, rounds, table

STAGES = ("town", "prepare", "pretrain", "warmup", "pair")
SAVING = ("pretrain", "warmup")
seeds = st.integers(0, 10**6)


@pytest.mark.fault(38, "the pipeline ends with the bytes of an undisturbed run")
def test_a_pipeline_interrupted_at_random_ends_with_the_files_of_an_undisturbed_one():
    words = ["-m", "tests.soak", "--interruptions", "3", "--seed", "1", "--last", "pretrain"]
    process = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.startswith("seed 1; ")
    *_, made, last = process.stdout.splitlines()
    assert ": 0 differences" in last
    assert made.split()[-1] == "3"


@given(st.integers(0, 120), seeds)
def test_every_stage_gets_its_share_of_the_interruptions_and_of_each_kind(count, seed):
    plan = planned(count, seed=seed, stages=STAGES, saving=SAVING)
    assert len(plan) == count
    shares = Counter(one.stage for one in plan)
    assert max(shares.values(), default=0) - min(shares[stage] for stage in STAGES) <= 1
    for stage in STAGES:
        kinds = Counter(one.kind for one in plan if one.stage == stage)
        possible = [kind for kind in KINDS if kind != "DAMAGE" or stage in SAVING]
        assert set(kinds) <= set(possible)
        assert max(kinds.values(), default=0) - min(kinds[kind] for kind in possible) <= 1
    assert all(0 <= one.moment < 1 for one in plan)


def test_equal_seeds_make_equal_plans_and_others_make_others():
    plans = [planned(20, seed=seed, stages=STAGES, saving=SAVING) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]


@given(st.integers(0, 120), seeds)
def test_the_runs_of_a_plan_hold_all_of_it_and_few_interruptions_of_a_stage_each(count, seed):
    plan = planned(count, seed=seed, stages=STAGES, saving=SAVING)
    found = rounds(plan, seed=seed)
    assert Counter(one for run in found for one in run) == Counter(plan)
    for run in found:
        assert 1 <= max(Counter(one.stage for one in run).values()) <= MOST


@given(st.sets(st.sampled_from(sorted(DAMAGES)), min_size=1), seeds)
def test_what_is_damaged_is_a_file_that_is_there_and_is_another_afterwards(tmp_path_factory, names, seed):
    checkpoint, draws = tmp_path_factory.mktemp("checkpoint"), random.Random(seed)
    for name in names:
        (checkpoint / name).write_bytes(b"weights")
    (checkpoint / "empty").touch()
    chosen = damage(checkpoint, draws)
    assert chosen.path.name in names
    assert chosen.how in DAMAGES[chosen.path.name]
    content = damaged(b"weights", chosen.how, draws)
    assert content != b"weights"
    assert (content is None) == (chosen.how == "removed")


def test_the_table_counts_by_stage_and_kind():
    lines = table({("town", "KILL"): 2, ("warmup", "DAMAGE"): 1, ("warmup", "KILL"): 3}, ("town", "warmup", "pair"))
    assert [line.split() for line in lines.splitlines()] == [
        ["TERM", "INT", "KILL", "DAMAGE", "FULL", "DISK", "all"],
        ["town", "0", "0", "2", "0", "0", "2"],
        ["warmup", "0", "0", "3", "1", "0", "4"],
        ["pair", "0", "0", "0", "0", "0", "0"],
        ["all", "0", "0", "5", "1", "0", "6"],
    ]
