"""Passes that make the list of instructions shorter, or its instructions cheaper."""
