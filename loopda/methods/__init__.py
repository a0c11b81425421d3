"""The methods, LoopDA and those that it is compared with, one file each."""
