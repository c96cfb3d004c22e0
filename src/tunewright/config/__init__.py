"""Configuration: declared beside the code, loaded from a recipe, explained, written out in full."""
