"""Exercises of chapter 15, autoregressive models."""
