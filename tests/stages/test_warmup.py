"""Row (i) of Table 3: a warm-up without loops is source supervision alone, for all of its steps."""

import json

import torch

from loopda.models.checkpoint import load_checkpoint


def test_without_loops_the_network_learns_from_the_labelled_day_alone_from_the_first_step_on(miniature, tmp_path):
    given = miniature.section("warmup")
    steps = given.steps
    loops = given.loops.model_dump(mode="json") | {"inner_loop": False, "outer_loop": False}
    section = miniature.section("warmup", loops=loops, decoder_warmup=steps)  # there is no decoder to wait for
    miniature.run("warmup", tmp_path / "alone", config=section)
    lines = [json.loads(line) for line in (tmp_path / "alone/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == steps
    assert all("seg_d" in line for line in lines)
    terms = {name for line in lines for name in line} - {"step", "seconds", "images_per_second", "lr", "skipped"}
    assert terms == {"seg_d"}
    before, after = (
        load_checkpoint(path)["model"] for path in (miniature.path("pretrain", "model.pt"), tmp_path / "alone/model.pt")
    )
    assert not all(torch.equal(before[name], after[name]) for name in before)
