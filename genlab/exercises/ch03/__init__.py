"""Exercises of chapter 03, autoencoders, and why they do not generate."""
