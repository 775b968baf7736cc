"""The report of a run: one HTML file that anybody can open, mail or archive; no network, no script, no second file."""

from tilth.report.write import write_report

__all__ = ["write_report"]
