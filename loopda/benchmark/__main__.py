"""An iteration of warm-up and of self-training beside a plain reference of the same mathematics, in one run.

    python -m loopda.benchmark [--scales town paper] [--stages warmup self_train] [--repeats 5] [--levers] [--parts]

Prints a table and writes benchmark.json and benchmark.svg. The networks are those of config.yaml and
workflow/config/paper.yaml; weights, images and labels are random. Without a GPU the paper's scale is not timed: its
operations and memory are counted without computing anything. Compare within a run, not between runs.

Columns: ms of the median turn; how many times as fast as the plain reference (median over the turns); images per
second; GFLOP of convolutions and matrix products; saved: MB that the forward passes keep for the backward passes; peak:
the most MB of tensors at once, besides weights and optimisers; share: GFLOP per second relative to a large matrix
product on this machine in the same precision.
bf16 and fp16 are those of compute.precision; the plain reference uses torch.autocast around all of it. memory is
compute.memory: a recomputed block keeps its input, which counts in peak and not in saved. compiled is compute.compiled:
its first turn takes minutes, and its operations and bytes are those before compiling. On a GPU "fp32" convolutions are
PyTorch's default, TF32, in all variants.
--parts also measures the confusion matrix, the offline thresholds, the saving of progress, and what exact resume adds
to a step (without saves). A step's time is noisy: this last figure needs --repeats 100.
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from loopda.benchmark.cases import SCALES, STAGES, Case
from loopda.benchmark.figure import draw
from loopda.benchmark.measure import Clock, Counts, count, gpu_peak, matmul_peak, milliseconds, ratio
from loopda.benchmark.parts import measured_parts, part_line
from loopda.benchmark.variants import COMPILED, LEVERS, PLAIN, VARIANTS, Variant
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.files import write_text
from loopda.text.encoding import begin_program

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COLUMNS = ("ms", "times plain", "images/s", "GFLOP", "saved MB", "peak MB", "share")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m loopda.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scales", nargs="+", choices=list(SCALES), default=list(SCALES))
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--fp32", action="store_true", help="no variant in another precision: for CPUs without bf16")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns; 0 counts operations and memory alone")
    parser.add_argument("--levers", action="store_true", help="also the package without each of its levers")
    parser.add_argument("--compiled", action="store_true", help="also the package with compute.compiled")
    parser.add_argument(
        "--parts", action="store_true", help="also what stages do outside their iterations, on one core"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--cpu-time", action="store_true", help="seconds of this process, not of the clock: for a busy machine"
    )
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"))
    chosen = parser.parse_args(arguments)
    if chosen.parts and not chosen.repeats:
        parser.error("--parts takes times: --repeats 1 at least")
    device = choose_device(chosen.device)
    use_threads(chosen.threads)
    variants = VARIANTS + (LEVERS if chosen.levers else ()) + (COMPILED if chosen.compiled else ())
    if chosen.fp32:
        variants = tuple(variant for variant in variants if variant.precision == "fp32")
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    results = []
    print(f"{'':46}" + "".join(f"{name:>12}" for name in COLUMNS))
    for scale in chosen.scales:
        for stage in chosen.stages:
            timed = chosen.repeats if scale == "town" or device.type == "cuda" else 0
            for result in measured(scale, stage, variants, device, repeats=timed, clock=clock):
                results.append(result)
                print(line(result), flush=True)
    document = {"device": str(device), "threads": chosen.threads, "torch": torch.__version__, "results": results}
    if chosen.parts:
        document["parts"] = measured_parts(repeats=chosen.repeats, clock=clock)
        print("\n".join(map(part_line, document["parts"])))
    write_text(chosen.out / "benchmark.json", json.dumps(document, indent=1) + "\n")
    draw(results, chosen.out / "benchmark.svg")
    print(f"{chosen.out}/benchmark.json, benchmark.svg")


def measured(
    scale: str, stage: str, variants: Sequence[Variant], device: torch.device, *, repeats: int, clock: Clock
) -> list[dict[str, Any]]:
    """The figures of each variant of an iteration; with `repeats` 0 it is only counted, on fake tensors.

    Compiled variants are then left out.
    """
    if not repeats:
        return [row_of_counts(scale, stage, variant) for variant in variants if not variant.compiled]
    cases = {variant: Case(scale, stage, variant, device) for variant in variants}
    steps = {variant: case.step for variant, case in cases.items()}
    times = milliseconds(steps, repeats=repeats, device=device, clock=clock)
    precisions = {variant.precision for variant in variants}
    limits = {name: matmul_peak(device, DTYPES[name], clock) for name in precisions}
    results = []
    for variant, case in cases.items():
        counts = count(partial(case.step, eager=True), case.constants)
        took = median(times[variant])
        result = row(scale, stage, variant, counts) | {
            "device": device.type,
            "milliseconds": took,
            "times_plain": ratio(times[PLAIN], times[variant]),
            "images_per_second": case.images / took * 1000,
            "share_of_matmul": counts.operations / (took / 1000) / limits[variant.precision],
            "turns": times[variant],
        }
        if device.type == "cuda":
            result["gpu_peak_mb"] = gpu_peak(case.step, device) / 1e6
        results.append(result)
    return results


def row_of_counts(scale: str, stage: str, variant: Variant) -> dict[str, Any]:
    """The operations and memory of an iteration, on fake tensors."""
    if variant.precision == "fp32":  # as with fake tensors, in a quarter of the time
        case = Case(scale, stage, variant, torch.device("meta"))
        return row(scale, stage, variant, count(case.step, case.constants))
    case = Case(scale, stage, variant, torch.device("cpu"))
    with case.with_fake_tensors():
        return row(scale, stage, variant, count(case.step, case.constants))


def row(scale: str, stage: str, variant: Variant, counts: Counts) -> dict[str, Any]:
    """A result with its counts."""
    names = {"scale": scale, "stage": stage, "variant": variant.name, "plain": variant.plain}
    bytes_of = {"saved_mb": counts.saved / 1e6, "peak_mb": counts.peak / 1e6}
    return {**names, "gflop": counts.operations / 1e9, **bytes_of}


def line(result: dict[str, Any]) -> str:
    """A line of the printed table."""
    keys = {
        "milliseconds": ".1f",
        "times_plain": ".2f",
        "images_per_second": ".1f",
        "gflop": ".1f",
        "saved_mb": ".0f",
        "peak_mb": ".0f",
        "share_of_matmul": ".0%",
    }
    cells = [f"{result[key]:{form}}" if key in result else "" for key, form in keys.items()]
    return f"{result['scale']} {result['stage']}: {result['variant']}".ljust(46) + "".join(f"{c:>12}" for c in cells)


if __name__ == "__main__":
    begin_program()
    main()
