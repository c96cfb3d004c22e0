"""One file per format that a person's data comes in."""
