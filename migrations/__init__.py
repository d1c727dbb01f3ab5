"""Numbered SQL files and the code that applies them in order, once, under a lock, with checksums. Imports nothing of ours."""
