"""Distances and scores as pure functions of feature matrices (n, d) and (m, d), tensors or arrays; float64 inside."""

from genlab.metrics.comparison import compare
from genlab.metrics.distances import KernelDistance, frechet, frechet_distance, kernel_distance, kernel_estimate
from genlab.metrics.features import accuracy, features
from genlab.metrics.judges import Inception, Judge, inception, resolve_net
from genlab.metrics.manifolds import DensityCoverage, Modes, PrecisionRecall, density_coverage, modes, precision_recall
from genlab.metrics.memorisation import nearest

__all__ = [
    "DensityCoverage",
    "Inception",
    "Judge",
    "KernelDistance",
    "Modes",
    "PrecisionRecall",
    "accuracy",
    "compare",
    "density_coverage",
    "features",
    "frechet",
    "frechet_distance",
    "inception",
    "kernel_distance",
    "kernel_estimate",
    "modes",
    "nearest",
    "precision_recall",
    "resolve_net",
]
