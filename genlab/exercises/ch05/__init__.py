"""Exercises of chapter 05, training a VAE."""
