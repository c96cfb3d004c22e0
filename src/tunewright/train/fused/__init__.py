"""Trunks computed with fewer passes over memory: one file to a family, each equal to the stock modules (numerics tests)."""
