"""The sections of the page, one module and one template each.

A module has ANCHOR (the section's id), LINK (its name at the head of the page) and `section`, which gives the values of
its template, or None where there is nothing to show.
"""
