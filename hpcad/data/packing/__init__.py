"""Datasets made from sources and other datasets, by all ranks together, whole or not at all."""
