"""The forms in which a tuned model leaves: one file each, named by ``export --format``."""
