"""Exercises of chapter 16, normalising flows."""
