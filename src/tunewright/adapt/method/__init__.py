"""Methods of tuning, one file each; a method wraps a module and folds back into it."""
