"""One file per way of cleaning a text; each changes the text or gives the reason to reject the row."""
