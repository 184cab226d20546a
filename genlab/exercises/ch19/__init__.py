"""Exercises of chapter 19, generation as reinforcement learning."""
