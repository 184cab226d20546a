"""Distances and scores as pure functions of feature matrices (n, d) and (m, d), tensors or arrays; float64 inside."""

from genlab.metrics.comparison import compare
from genlab.metrics.distances import (
    Floor,
    KernelDistance,
    Limit,
    frechet,
    frechet_distance,
    frechet_floor,
    frechet_limit,
    kernel_distance,
    kernel_estimate,
    sliced_wasserstein,
)
from genlab.metrics.diversity import Score, inception_score, vendi_score
from genlab.metrics.features import accuracy, features
from genlab.metrics.human import (
    Exposure,
    Game,
    Rate,
    Sensitivity,
    Staircase,
    Threshold,
    d_prime,
    exposure_time,
    hype,
)
from genlab.metrics.intervals import Interval, bootstrap, jackknife, wilson
from genlab.metrics.judges import Inception, Judge, inception, resolve_net
from genlab.metrics.likelihood import Bound, ais, ais_upper
from genlab.metrics.manifolds import DensityCoverage, Modes, PrecisionRecall, density_coverage, modes, precision_recall
from genlab.metrics.memorisation import Extraction, Novelty, authenticity, data_copying, extraction, nearest, novelty
from genlab.metrics.moments import Moments
from genlab.metrics.samples import TwoSample, classifier_test, neighbour_test

__all__ = [
    "Bound",
    "DensityCoverage",
    "Exposure",
    "Extraction",
    "Floor",
    "Game",
    "Inception",
    "Interval",
    "Judge",
    "KernelDistance",
    "Limit",
    "Modes",
    "Moments",
    "Novelty",
    "PrecisionRecall",
    "Rate",
    "Score",
    "Sensitivity",
    "Staircase",
    "Threshold",
    "TwoSample",
    "accuracy",
    "ais",
    "ais_upper",
    "authenticity",
    "bootstrap",
    "classifier_test",
    "compare",
    "d_prime",
    "data_copying",
    "density_coverage",
    "exposure_time",
    "extraction",
    "features",
    "frechet",
    "frechet_distance",
    "frechet_floor",
    "frechet_limit",
    "hype",
    "inception",
    "inception_score",
    "jackknife",
    "kernel_distance",
    "kernel_estimate",
    "modes",
    "nearest",
    "neighbour_test",
    "novelty",
    "precision_recall",
    "resolve_net",
    "sliced_wasserstein",
    "vendi_score",
    "wilson",
]
