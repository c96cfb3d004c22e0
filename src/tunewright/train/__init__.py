"""Training: a loop that yields the facts of each step, and consumers that answer with directives."""
