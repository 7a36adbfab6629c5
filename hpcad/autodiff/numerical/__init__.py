"""Numerical differentiation, and exact derivatives held against it."""
