"""Run a model: load a base, move flattened batches through it, predict and embed. A layer below the stages."""
