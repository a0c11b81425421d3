"""LoopDA: semantic segmentation networks that see at night without night labels."""

__version__ = "0.1.0"
