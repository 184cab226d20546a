"""Exercises of chapter 11, stabilising."""
