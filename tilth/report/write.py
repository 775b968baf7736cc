"""Write the report of a run: gather, render, put in place whole or not at all."""

from pathlib import Path

from tilth.corpus.store import write_atomically

FILE = "report.html"


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path. The same run gives the same bytes.

    Raises ``UserError`` where the folder holds no run, or where a file of the run is missing or damaged.
    """
    # matplotlib and jinja2 take half a second to import: not before somebody wants a report
    from tilth.report.gather import gather
    from tilth.report.page import render

    path = run_folder / FILE
    write_atomically(path, render(gather(run_folder)).encode())
    return path
