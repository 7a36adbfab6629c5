"""Scaling studies: running, reporting and predicting them, on laws with honest intervals."""
