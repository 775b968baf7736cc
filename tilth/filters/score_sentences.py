"""A fastText classifier sentence by sentence: how bad the worst one is, and what share of the text is bad.

One insult in a long page hardly moves the page's own score, which is a mean over all of its words. For toxicity the
worst sentence says more, and the share tells a quotation from a rant. Sentences end at line feeds, and at stops,
question and exclamation marks before white space: cruder than the rules that count sentences, and enough to score by.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome
from tilth.filters.fasttext_model import label_probabilities
from tilth.filters.fasttext_reading import gathered
from tilth.filters.kernel import kernel
from tilth.filters.score import verified_model


@dataclass(frozen=True)
class ScoreSentences(MapStage):
    """Measure ``NAME.worst``, the highest probability of ``label`` of a sentence, and ``NAME.share``.

    ``NAME.share`` is the share of the sentences' bytes in those of at least ``threshold``. Both are 0 for a text
    without a sentence.
    """

    model: Asset
    label: str
    threshold: float = 0.5

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES

    @property
    def measures(self) -> tuple[str, ...]:
        """The two signals."""
        return f"{self.name}.worst", f"{self.name}.share"

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Score every sentence; all documents go on. Raises ``UserError`` where the model has no such label."""
        model = verified_model(self.model.path, self.model.digest)
        if self.label not in model.labels:
            raise UserError(
                f"{self.model.path}: label {self.label!r} of {self.name} is not in the model; it has "
                f"{', '.join(model.labels[:10])}; name one of them"
            )
        starts, ends, rows = sentence_spans(batch.column("text"))
        data, _ = utf8_buffers(batch.column("text"))
        scores = label_probabilities(model, gathered(data, starts, ends))[:, model.labels.index(self.label)]
        worst = np.zeros(batch.num_rows, np.float64)
        np.maximum.at(worst, rows, scores)
        sizes = (ends - starts).astype(np.float64)
        bad = np.bincount(rows, sizes * (scores >= self.threshold), batch.num_rows)
        share = bad / np.maximum(np.bincount(rows, sizes, batch.num_rows), 1)
        return Outcome(batch, signals=dict(zip(self.measures, map(pa.array, (worst, share)), strict=True)))


def sentence_spans(text: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start and end (int64 bytes in the array's buffer) and row (int64) of every sentence of every text."""
    data, offsets = utf8_buffers(text)
    most = int(offsets[-1] - offsets[0]) // 2 + len(text) + 1  # a byte, and one that parts it from the next
    starts, ends, rows = (np.empty(most, np.int64) for _ in range(3))
    data = data.view()
    data.flags.writeable = False  # the kernel is compiled for one kind of array only
    count = _find_sentences(data, offsets, starts, ends, rows)
    return starts[:count], ends[:count], rows[:count]


@kernel
def _find_sentences(
    data: np.ndarray, offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray, rows: np.ndarray
) -> int:
    """Write the sentences, without white space around them; return their number."""
    count = 0
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        while at < stop:
            while at < stop and data[at] <= 32:
                at += 1
            begin = at
            last = begin  # after the last byte that is no white space
            ended = False  # a stop stands before ``at``, with marks or nothing behind it
            while at < stop:
                byte = data[at]
                at += 1
                if byte == 10 or (byte <= 32 and ended):
                    break
                if byte > 32:
                    last = at
                    # quotes and brackets that close belong to the stop before them
                    closes = byte == 34 or byte == 39 or byte == 41 or byte == 93
                    ended = byte == 46 or byte == 33 or byte == 63 or (ended and closes)
            if last > begin:
                starts[count], ends[count], rows[count] = begin, last, row
                count += 1
    return count
