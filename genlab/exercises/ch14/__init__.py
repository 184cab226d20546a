"""Exercises of chapter 14, overfitting, memorisation and regularisation."""
