"""What tests of stages share: modules that they import by name (fabricated_results.py), and a stage of one step."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from double_precision import double_precision
from torch.nn import functional

from loopda.models.checkpoint import load_checkpoint
from loopda.training.loop import Training

sys.path.insert(0, str(Path(__file__).parent))

# its step is as large as the gradient: what two gradients differ by shows in the weights
PLAIN = {"name": "sgd", "lr": 1.0, "head_factor": 1.0, "momentum": 0.0, "weight_decay": 0.0, "power": 0.0}


class FirstStep(NamedTuple):
    """What a stage's only step recorded, and the weights and statistics of its model afterwards."""

    recorded: dict[str, float]
    weights: dict[str, torch.Tensor]


@pytest.fixture
def first_step(miniature, tmp_path) -> Callable[..., FirstStep]:
    """first_step(stage, compute, **changes): a stage of one step, with this in section `compute`.

    In double precision, or in single. Without dropout unless asked for: which of its draws an image gets depends on the
    images beside which it is computed.
    """

    def run(
        stage: str, compute: dict[str, Any], *, double: bool = True, dropout: bool = False, **changes: Any
    ) -> FirstStep:
        recorded, out = {}, tmp_path / "-".join([stage, *map(str, compute.values())])
        section = miniature.section(stage, **{"steps": 1, "optimizer": PLAIN} | changes)
        config = section.model_copy(update={"compute": section.compute.model_copy(update=compute)})
        arguments = {**miniature.inputs(stage), "config": config}
        record = Training.record

        def recording(self: Training, **values: Any) -> None:
            recorded.update({name: float(value) for name, value in values.items()})
            record(self, **values)

        with double_precision() if double else nullcontext(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Training, "record", recording)
            if not dropout:
                patch.setattr(functional, "dropout2d", lambda x, *_: x)
            miniature.run(stage, out, **arguments)
        model = load_checkpoint(out / "model.pt")
        weights = {"model": model["model"], **model["statistics"]}
        return FirstStep(recorded, {f"{of}: {name}": value for of in weights for name, value in weights[of].items()})

    return run
