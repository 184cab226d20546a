"""Exercises of chapter 07, the VAE's descendants."""
