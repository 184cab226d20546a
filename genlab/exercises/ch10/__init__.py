"""Exercises of chapter 10, the GAN doctor."""
