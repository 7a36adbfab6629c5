"""Derivatives of solutions of equations: linear, nonlinear, differential."""
