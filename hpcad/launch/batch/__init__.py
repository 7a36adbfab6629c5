"""Batch scripts and launch commands for a job file, from a description of the site."""
