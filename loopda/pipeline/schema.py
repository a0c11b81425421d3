"""The JSON schema of config.yaml, generated from the typed sections that live beside their stages.

    python -m loopda.pipeline.schema > schema.json && mv schema.json loopda/pipeline/config.schema.json

The Snakefile and the status must not import torch, so they check with this file of the package instead of the
sections; a test fails when it is stale.
"""

import importlib
import json
from pathlib import Path
from typing import Any

from loopda.pipeline.stages import STAGES
from loopda.text.encoding import begin_program

FILE = Path(__file__).with_name("config.schema.json")


def schema() -> dict[str, Any]:
    """One schema for each stage's resolved section, by the stage's name."""
    return {stage: importlib.import_module(f"loopda.stages.{stage}").Config.model_json_schema() for stage in STAGES}


def read_schemas() -> dict[str, Any]:
    """What `schema` has written to the file of the package."""
    return json.loads(FILE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    begin_program()
    print(json.dumps(schema(), indent=1))
