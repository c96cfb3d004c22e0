"""Task adaptation: encode the data for a base, attach the task's head, wrap it by a method."""
