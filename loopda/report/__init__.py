"""The parts of the report: what it reads, what it counts, its figures, its pictures and its page."""
