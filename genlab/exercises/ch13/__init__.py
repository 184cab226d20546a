"""Exercises of chapter 13, judging a generator."""
