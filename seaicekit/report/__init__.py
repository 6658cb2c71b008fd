"""A run's scores, its page and its comparison with other runs."""

from seaicekit.report.comparison import compare
from seaicekit.report.metrics import save_metrics, summary
from seaicekit.report.page import write

__all__ = ["compare", "save_metrics", "summary", "write"]
