"""The stages of the pipeline, one file each: `python -m loopda.stages.<stage> --help`."""
