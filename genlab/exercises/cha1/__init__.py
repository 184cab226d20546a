"""Exercises of appendix A1, repairing a published article."""
