"""The signals: one file each, found by its name."""
