"""The metrics: one file each. ``observe`` gives a row of statistics per example, ``value`` the number over weighted rows."""
