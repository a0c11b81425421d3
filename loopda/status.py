"""The state of a run at a glance: every job of the workflow, read off the files that it leaves.

    python -m loopda.status [TARGET ...] [--configfile FILE ...] [--all] [--watch [SECONDS]] [--json]

Runs in the folder that snakemake works in, while it works or after. It takes no lock, changes nothing and imports
nothing heavy.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from loopda.errors import LoopdaError
from loopda.pipeline.configuration import read_config
from loopda.pipeline.job_status import statuses
from loopda.pipeline.status_table import table
from loopda.text.encoding import begin_program


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with the code of a LoopdaError."""
    options = _parsed(arguments)
    try:
        config = read_config(options.configfile)
        while True:
            found = statuses(config, options.targets, every=options.all)
            if options.json:
                shown = json.dumps([asdict(status) for status in found], indent=1)
            else:
                shown = table(found, width=shutil.get_terminal_size((120, 24)).columns, now=time.time())
            print(f"\033[H\033[J{shown}" if options.watch else shown, flush=True)
            if not options.watch:
                return
            time.sleep(options.watch)
    except LoopdaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        return


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loopda.status", description="What is done, running, failed, and waiting for what."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="as snakemake's, or experiments")
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="as snakemake takes it")
    parser.add_argument("--all", action="store_true", help="every experiment, begun or not, for every seed")
    parser.add_argument("--watch", nargs="?", type=float, const=5.0, metavar="SECONDS", help="show it again and again")
    parser.add_argument("--json", action="store_true", help="for programs: a list of objects")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    begin_program()
    main()
