"""Exercises of chapter 08, the minimax game."""
