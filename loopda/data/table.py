"""The name by which scripts outside of the package import `write_table`."""

from loopda.data.layouts.table import write_table

__all__ = ["write_table"]
