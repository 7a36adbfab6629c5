"""The compiled step: a captured program, improved, planned and replayed."""
