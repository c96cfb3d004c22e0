"""From files to a Dataset: read, recognise, clean, account for every row, split, check."""
