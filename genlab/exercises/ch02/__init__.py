"""Exercises of chapter 02, what a generative model is."""
