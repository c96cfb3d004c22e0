"""Objectives, one file each: logits and targets to a summed loss and the count that normalises it."""
