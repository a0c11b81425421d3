"""What a step of the loops costs, beside a plain reference of the same mathematics: python -m loopda.benchmark --help."""
