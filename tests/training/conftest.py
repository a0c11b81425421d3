"""The tests of interrupted trainings share what those of interrupted stages have."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))  # interruption.py
