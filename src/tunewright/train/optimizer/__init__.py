"""Optimisers, one file each: groups of parameters to a torch optimiser over them."""
