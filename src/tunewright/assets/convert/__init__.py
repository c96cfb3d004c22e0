"""What an archive's members become: one file per format, each with ``convert``."""
