"""Exercises of chapter 01, from rules to generation."""
