"""Exercises of chapter 09, training a GAN."""
