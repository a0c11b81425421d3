"""What tests of the report share with those of the stages: made-up results."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))  # fabricated_results.py
