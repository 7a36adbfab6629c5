"""Reports of scaling studies: tables, fits, plots, and the comparison of two studies.

Everything is computed from the raw samples into one report (:mod:`.report`), a tree of plain
numbers and texts that is written as ``report.json``; tables, page and most plots are made of it.
"""
