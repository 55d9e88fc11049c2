"""Analyse the stored rows of a study. Data frames go in and data frames come out, without torch or Optuna."""

from explorer.analysis.accuracies import Accuracies, Interval, validation_images
from explorer.analysis.findings import Findings
from explorer.analysis.fronts import front_column, near_in_cost, pareto_front, probability_column
from explorer.analysis.looks import CONFIDENCE
from explorer.analysis.points import measured, ranked, runs_table, summarise
from explorer.analysis.published_curves import published_curve, published_source
from explorer.analysis.shapes import plane_params, share_columns, triangle

__all__ = [
    "CONFIDENCE",
    "Accuracies",
    "Findings",
    "Interval",
    "front_column",
    "measured",
    "near_in_cost",
    "pareto_front",
    "plane_params",
    "probability_column",
    "published_curve",
    "published_source",
    "ranked",
    "runs_table",
    "share_columns",
    "summarise",
    "triangle",
    "validation_images",
]
