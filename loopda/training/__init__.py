"""The training loop: resume, guard against non-finite numbers, optimisers, schedules, statistics of normalisation."""
