"""Lets the tests of the stages import what they share (fabricated_results.py, interruption.py) by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
