"""The cost of a step of the loops, beside a plain reference of the same mathematics (usage: __main__.py)."""
