"""Kernels of our own, compiled on the machine that they run on; without a compiler, torch's operators do the same."""
