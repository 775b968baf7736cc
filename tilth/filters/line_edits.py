"""Turns verdicts on lines into edits: lines that go, white space and pieces that go inside the lines that stay.

What is left is the lines that stay, each on a line of its own, with one line feed between them and none around. The
same edits make the text that is measured and the text that is written, so a decision is always about what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilth.filters.chosen import chosen_lines, pieces_of
from tilth.filters.kernel import kernel
from tilth.filters.lines import Lines
from tilth.filters.spans import Spans
from tilth.filters.texts import Texts

WHITE_SPACE, KEPT = 0, 0  # the rule of white space around lines; the fate of a line that stays


@dataclass(frozen=True, eq=False)
class LineVerdicts:
    """What becomes of the ``lines`` of a batch.

    ``begins`` and ``stops`` int64 are the bytes of each line that stay, ``fates`` uint8 0 where it stays, else the
    place of a rule in ``rules``. ``inner_starts``, ``inner_ends`` and ``inner_rules`` int64 are pieces that go inside
    lines that stay, ascending. ``rules[0]`` is the name for white space.
    """

    lines: Lines
    begins: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    fates: npt.NDArray[np.uint8]
    inner_starts: npt.NDArray[np.int64]
    inner_ends: npt.NDArray[np.int64]
    inner_rules: npt.NDArray[np.int64]
    rules: Sequence[str]

    def chosen(self, rows: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64]) -> "LineVerdicts":
        """Return those of documents ``rows``, each document's ``shifts`` bytes further in the buffer."""
        places, begins = pieces_of(self.lines.rows, rows)
        moved = np.repeat(shifts, np.diff(begins))
        inner_bounds = np.searchsorted(self.inner_starts, np.append(self.lines.starts, np.iinfo(np.int64).max))
        inner, inner_begins = pieces_of(inner_bounds[self.lines.rows], rows)
        inner_moved = np.repeat(shifts, np.diff(inner_begins))
        return LineVerdicts(
            chosen_lines(self.lines, rows, shifts),
            self.begins[places] + moved,
            self.stops[places] + moved,
            self.fates[places],
            self.inner_starts[inner] + inner_moved,
            self.inner_ends[inner] + inner_moved,
            self.inner_rules[inner],
            self.rules,
        )


def line_spans(texts: Texts, verdicts: LineVerdicts) -> Spans:
    """Return the edits that leave of every document the lines that stay."""
    lines = verdicts.lines
    most = 3 * len(lines.starts) + len(verdicts.inner_starts)
    rows, starts, ends, rules, replacements = (np.empty(most, np.int64) for _ in range(5))
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    count = _write_spans(
        data,
        texts.offsets,
        lines.starts,
        lines.rows,
        verdicts.begins,
        verdicts.stops,
        verdicts.fates,
        verdicts.inner_starts,
        verdicts.inner_ends,
        verdicts.inner_rules,
        rows,
        starts,
        ends,
        rules,
        replacements,
    )
    return Spans(
        rows[:count], starts[:count], ends[:count], rules[:count], replacements[:count], verdicts.rules, ("", "\n")
    )


@kernel
def _write_spans(
    data: np.ndarray,
    offsets: np.ndarray,
    line_starts: np.ndarray,
    line_rows: np.ndarray,
    begins: np.ndarray,
    stops: np.ndarray,
    fates: np.ndarray,
    inner_starts: np.ndarray,
    inner_ends: np.ndarray,
    inner_rules: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rules: np.ndarray,
    replacements: np.ndarray,
) -> int:
    """Write the columns of ``Spans``; return how many there are: at most three a line and the inner ones."""
    count = 0
    inner = 0
    for document in range(len(offsets) - 1):
        first, last = line_rows[document], line_rows[document + 1]
        final = last - 1  # the last line that stays
        while final >= first and fates[final] != KEPT:
            final -= 1
        for line in range(first, last):
            after = line_starts[line + 1] if line + 1 < last else offsets[document + 1]
            spans_before = count
            if fates[line] != KEPT:
                starts[count], ends[count] = line_starts[line], after
                rules[count], replacements[count] = fates[line], 0
                count += 1
            else:
                if line_starts[line] < begins[line]:
                    starts[count], ends[count] = line_starts[line], begins[line]
                    rules[count], replacements[count] = WHITE_SPACE, 0
                    count += 1
                while inner < len(inner_starts) and inner_starts[inner] < after:
                    starts[count], ends[count] = inner_starts[inner], inner_ends[inner]
                    rules[count], replacements[count] = inner_rules[inner], 0
                    count += 1
                    inner += 1
                stop = stops[line]
                fed = after - stop == 1 and data[stop] == 10
                if (line == final and stop < after) or (line != final and not fed):
                    starts[count], ends[count] = stop, after
                    rules[count], replacements[count] = WHITE_SPACE, np.int64(line != final)
                    count += 1
            for span in range(spans_before, count):
                rows[span] = document
    return count
