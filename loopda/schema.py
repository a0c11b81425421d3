"""The JSON schema of config.yaml, generated from the typed sections that live beside their stages.

    python -m loopda.schema > workflow/schemas/config.schema.json

The Snakefile must not import torch, so it checks with this file instead of the sections; a test fails when it is stale.
"""

import importlib
import json
from typing import Any

from loopda.experiments import STAGES
from loopda.text import begin_program


def schema() -> dict[str, Any]:
    """One schema for each stage's resolved section, by the stage's name."""
    return {stage: importlib.import_module(f"loopda.stages.{stage}").Config.model_json_schema() for stage in STAGES}


if __name__ == "__main__":
    begin_program()
    print(json.dumps(schema(), indent=1))
