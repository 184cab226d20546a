"""Exercises of chapter 18, flow matching."""
