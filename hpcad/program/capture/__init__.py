"""From a call of a Python function to a list of instructions, and when that list may be used."""
