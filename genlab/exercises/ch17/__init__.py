"""Exercises of chapter 17, diffusion."""
