"""Exercises of chapter 06, the VAE loss."""
