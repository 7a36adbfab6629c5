"""The plots of a report, by matplotlib (the extra ``plots``), without a display."""
