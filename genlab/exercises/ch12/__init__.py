"""Exercises of chapter 12, conditional GANs and control."""
