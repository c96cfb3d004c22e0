"""Engines that generate text, each in a file of its own."""
