"""The references that a tuned model has to beat: one file each, fitted on the training rows only."""
