"""Gradients of a model, reduced bucket by bucket while backward still runs."""
