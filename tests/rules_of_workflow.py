"""The rules of the Snakefile as Snakemake has read them, in JSON: their commands, and the names of their files.

    python tests/rules_of_workflow.py SNAKEFILE

A process of its own, for Snakemake changes the folder and the logging of the one that it works in.
"""

import json
import re
import sys
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
    StorageSettings,
    WorkflowSettings,
)


def described(rule) -> dict[str, object]:
    """The text of a rule: its wildcards without their constraints."""

    def plain(path: object) -> str:
        return re.sub(r"\{(\w+),[^{}]*\}", r"{\1}", str(path))

    return {
        "name": rule.name,
        "description": rule.docstring,
        "shell": rule.shellcmd,
        "inputs": list(rule.input.keys()),
        "outputs": {name: plain(path) for name, path in rule.output.items()},
        "log": [plain(path) for path in rule.log],
        "benchmark": rule.benchmark and plain(rule.benchmark),
    }


if __name__ == "__main__":
    snakefile = Path(sys.argv[1]).absolute()
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        read = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(),
            workflow_settings=WorkflowSettings(),
            storage_settings=StorageSettings(),
            snakefile=snakefile,
        )
        json.dump([described(rule) for rule in read._workflow.rules], sys.stdout)
