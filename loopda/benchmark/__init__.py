"""What a step of the loops costs, beside a plain reference of the same mathematics (__main__.py says how)."""
