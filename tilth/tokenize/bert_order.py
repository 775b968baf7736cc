"""Rows for BERT: segments ``[class] text [separator]`` packed until a row is 97 % full, in the order of training.

Megatron-core's BERT dataset pads each sample to the full length: 69 % fill at 512 tokens on six domains. Here several
segments share a row, attention stays inside each (``segments``), and rows that best fit leaves too empty are poured
again. With pairs, a segment is ``[class] A [separator] B [separator]``, A and B neighbours in a document. In some, B
does not follow A: ``order`` puts B before A; ``next`` lets the Bs of a row change places, so that no token is lost or
read twice for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xxhash

from tilth.corpus.errors import UserError
from tilth.corpus.stage import fingerprint
from tilth.tokenize.mixture import Mixture
from tilth.tokenize.packing import Rows, cut_long, pack_full
from tilth.tokenize.places import Places
from tilth.tokenize.streams import Stream, Streams
from tilth.tokenize.token_set import TokenSet

VERSION = 1  # raised when the same arguments give other rows or another order
FILL = 0.97  # share of a row, below which its segments are poured again

Pairs = Literal["none", "order", "next"]


@dataclass(frozen=True)
class BertRows:
    """Rows of segments; all arrays (rows, sequence_length)."""

    tokens: np.ndarray  # int64
    segments: np.ndarray  # int32: number of the segment in its row, -1 for padding
    types: np.ndarray  # int8: 1 in B, else 0
    follows: np.ndarray  # int8: at a class token whether B follows A, 1 or 0; -1 elsewhere and where there is no pair


class BertOrder:
    """Rows of segments in the order of training."""

    def __init__(
        self,
        token_set: TokenSet,
        sequence_length: int,
        seed: int,
        special: Mapping[str, int],
        weights: Mapping[str, float] | None = None,
        pairs: Pairs = "none",
        *,
        budgets: Mapping[str, int] | None = None,
        epochs: Mapping[str, float] | None = None,
    ) -> None:
        """Index and pack ``token_set``; ``special``: ids of ``class`` and ``padding`` (``Tokenizer.needed``).

        A budget's tokens are places in rows, special tokens among them. Raises ``UserError`` where a special token is
        missing, rows are too short for a segment, or as ``TrainingOrder`` does.
        """
        missing = sorted({"class", "padding"} - set(special))
        if missing:
            raise UserError(f"special: found no id for {', '.join(missing)}; expected both; name a BERT tokenizer")
        self.token_set = token_set
        self.sequence_length = sequence_length
        self.special = dict(special)
        self.pairs: Pairs = pairs
        self._overhead = 2 if pairs == "none" else 3
        # two segments a row at least, so that there is another B to change with
        self._most = (sequence_length // 2 if pairs == "next" else sequence_length) - self._overhead
        if self._most < 2:
            raise UserError(f"sequence_length: found {sequence_length}, expected at least 10 for BERT; raise it")
        self._streams = Streams.of(token_set)
        self.rows = {name: self._packed(stream) for name, stream in self._streams.by_source.items()}
        samples = {name: rows.count for name, rows in self.rows.items()}
        self.mixture = Mixture(weights, budgets, epochs)
        shares = self.mixture.shares(str(token_set.folder), samples, sequence_length)
        self.places = Places(samples, shares, self.mixture.limits(samples, sequence_length), seed)
        told = [self.special, pairs, *([self.places.limits] if self.places.limits else [])]
        self.fingerprint = fingerprint(
            "bert order", VERSION, token_set.digest, sequence_length, seed, self.places.shares, *told
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the arguments: the other process opens and packs the shards itself."""
        return _again, (
            self.token_set,
            self.sequence_length,
            self.places.seed,
            self.special,
            self.mixture,
            self.pairs,
        )

    def fill(self) -> float:
        """Return the share of all rows, of every source once, that is no padding."""
        used = [rows.used(self._overhead) for name, rows in self.rows.items() if name in self.places.sources]
        return float(sum(one.sum() for one in used)) / (sum(map(len, used)) * self.sequence_length)

    def batch(self, first: int, count: int) -> BertRows:
        """Return rows ``first`` to ``first + count - 1``."""
        shape = (count, self.sequence_length)
        out = BertRows(
            np.full(shape, self.special["padding"], np.int64),
            np.full(shape, -1, np.int32),
            np.zeros(shape, np.int8),
            np.full(shape, -1, np.int8),
        )
        sources, places = self.places.at(first, count)
        for row, (source, place) in enumerate(zip(sources.tolist(), places.tolist(), strict=True)):
            self._write(out, row, self.places.sources[source], place, first + row)
        return out

    def documents_at(self, sample: int) -> list[tuple[str, str]]:
        """Return (document id in hex, source) of every segment in row ``sample``, as they lie in their source."""
        name, ranges = self._ranges(sample)
        stream = self._streams.by_source[name]
        return [(self._streams.documents(stream, start, end)[0].hex(), name) for start, end in ranges]

    def document_of(self, position: int) -> tuple[str, str] | None:
        """Return (document id in hex, source) of the token at ``position`` of a run; None where it is padding.

        A class token is of the text that follows it, a separator of the text before it.
        """
        sample, offset = divmod(position, self.sequence_length)
        name, ranges = self._ranges(sample)
        texts = [np.arange(start, end) for start, end in ranges]
        at = 0
        for segment in split_pairs(texts, self.pairs, self._chance(sample))[0]:
            for number, text in enumerate(segment):
                begin = text[:1] if number == 0 else text[:0]  # the class token
                places = np.concatenate([begin, text, text[-1:]])
                if offset < at + len(places):
                    place = int(places[offset - at])
                    (found,) = self._streams.documents(self._streams.by_source[name], place, place + 1)
                    return found.hex(), name
                at += len(places)
        return None

    def _ranges(self, sample: int) -> tuple[str, list[tuple[int, int]]]:
        """Return the source of row ``sample`` and where its texts lie in it."""
        sources, places = self.places.at(sample, 1)
        name = self.places.sources[int(sources[0])]
        rows, place = self.rows[name], int(places[0])
        these = slice(int(rows.firsts[place]), int(rows.firsts[place + 1]))
        starts, lengths = rows.starts[these].tolist(), rows.lengths[these].tolist()
        return name, [(start, start + length) for start, length in zip(starts, lengths, strict=True)]

    def _chance(self, sample: int) -> np.random.Generator:
        key = xxhash.xxh3_64_intdigest(f"{self.places.seed}/{sample}/pairs".encode())
        return np.random.Generator(np.random.Philox(key=key))

    def _packed(self, stream: Stream) -> Rows:
        ends = self._streams.ends(stream)
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends
        pieces = cut_long(starts, ends - starts - 1, self._most)  # a document's separator is the segment's
        return pack_full(*pieces, self.sequence_length, self._overhead, FILL)

    def _write(self, out: BertRows, row: int, name: str, place: int, sample: int) -> None:
        rows, stream = self.rows[name], self._streams.by_source[name]
        texts = []
        for piece in range(int(rows.firsts[place]), int(rows.firsts[place + 1])):
            text = np.empty(int(rows.lengths[piece]), np.int64)
            self._streams.read(stream, int(rows.starts[piece]), text)
            texts.append(text)
        parts, follows = split_pairs(texts, self.pairs, self._chance(sample))
        at = 0
        for number, (segment, label) in enumerate(zip(parts, follows, strict=True)):
            first = at
            out.tokens[row, at] = self.special["class"]
            out.follows[row, at] = label
            at += 1
            for kind, text in enumerate(segment):
                after = at + len(text)
                out.tokens[row, at:after] = text
                out.tokens[row, after] = self.token_set.encoding.separator
                out.types[row, at : after + 1] = kind
                at = after + 1
            out.segments[row, first:at] = number


def _again(
    token_set: TokenSet, sequence_length: int, seed: int, special: Mapping[str, int], mixture: Mixture, pairs: Pairs
) -> BertOrder:
    weights, budgets, epochs = mixture.weights, mixture.budgets, mixture.epochs
    return BertOrder(token_set, sequence_length, seed, special, weights, pairs, budgets=budgets, epochs=epochs)


def split_pairs(
    texts: list[np.ndarray], pairs: Pairs, generator: np.random.Generator
) -> tuple[list[tuple[np.ndarray, ...]], list[int]]:
    """Return every text as (A,) or (A, B), and whether B follows A: 1 or 0, -1 where there is no B.

    Texts of one token have no B. Half of the others get a B that does not follow, by chance.
    """
    if pairs == "none":
        return [(text,) for text in texts], [-1] * len(texts)
    cuts = [int(generator.integers(1, len(text))) if len(text) > 1 else 0 for text in texts]
    split: list[tuple[np.ndarray, ...]] = [
        (text[:cut], text[cut:]) if cut else (text,) for text, cut in zip(texts, cuts, strict=True)
    ]
    follows = [1 if cut else -1 for cut in cuts]
    chosen = [number for number, cut in enumerate(cuts) if cut and generator.random() < 0.5]
    if pairs == "order":
        for number in chosen:
            split[number] = split[number][::-1]
            follows[number] = 0
        return split, follows
    others = [number for number, cut in enumerate(cuts) if cut and number not in chosen]
    if len(chosen) == 1:  # it cannot change with itself
        both = len(others) > 0 and generator.random() < 0.5
        chosen = sorted([*chosen, others[int(generator.integers(len(others)))]]) if both else []
    seconds = [split[number][1] for number in chosen]
    for number, second in zip(chosen, seconds[1:] + seconds[:1], strict=True):
        split[number] = (split[number][0], second)
        follows[number] = 0
    return split, follows
