"""Masks what tells a person's identity: mail and IP addresses, phone and card numbers, IBANs; as recorded edits.

A kernel looks for what each kind cannot do without (an ``@``, four digits near each other, two capitals before two
digits), and only documents that have it meet a regular expression, over their bytes. Card numbers must pass their check
digit (Luhn, ISO/IEC 7812-1), IBANs theirs (ISO 13616, modulo 97), and IP addresses must be public: without that, tables
of numbers are full of finds.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.filters.kernel import kernel
from tilth.filters.spans import Spans, edit_batch
from tilth.filters.texts import Texts

MAIL, NUMBER, ACCOUNT = 1, 2, 4  # what the kernel saw in a document

PATTERNS: Final[Mapping[str, tuple[int, re.Pattern[bytes]]]] = {  # where two overlap, the first kind has it
    "iban": (
        ACCOUNT,
        re.compile(rb"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"),
    ),
    "card": (NUMBER, re.compile(rb"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![\d-]|[.,]\d)")),
    "email": (
        MAIL,
        re.compile(rb"(?<![\w.+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"),
    ),
    "ip": (NUMBER, re.compile(rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)")),
    "phone": (
        NUMBER,
        re.compile(
            rb"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]\d{2,4}){1,4}"
            rb"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}-\d{3}-\d{4})(?![\w-]|\.\d)"
        ),
    ),
}
MASKS: Final = {kind: f"[{kind.upper()}]" for kind in PATTERNS}


@dataclass(frozen=True)
class MaskPersonal(MapStage):
    """Puts a mask in place of every find of the ``kinds``, and measures how many finds there were.

    ``masks`` names kinds and what stands in their place; by default ``[EMAIL]`` and so on. Signals are called
    ``NAME.email``. Raises ``UserError`` for a kind that is not known.
    """

    kinds: tuple[str, ...] = tuple(PATTERNS)
    masks: tuple[tuple[str, str], ...] = ()

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = ("text", "url", "date", "language", "metadata")

    def __post_init__(self) -> None:
        for kind in (*self.kinds, *(kind for kind, _ in self.masks)):
            if kind not in PATTERNS:
                raise UserError(f"{self.name}: kinds: found '{kind}', expected some of {', '.join(PATTERNS)}")

    @property
    def measures(self) -> tuple[str, ...]:
        """How many finds of each kind."""
        return tuple(f"{self.name}.{kind}" for kind in self.kinds)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Mask every text; all documents go on."""
        texts = Texts.of(batch.column("text"))
        kinds = [kind for kind in PATTERNS if kind in self.kinds]
        found = [
            (row, *span)
            for row, seen in enumerate(suspects(texts).tolist())
            if seen
            for span in personal_spans(texts, row, seen, kinds)
        ]
        rows, starts, ends, rules = (np.array([span[place] for span in found], np.int64) for place in range(4))
        masks = {**MASKS, **dict(self.masks)}
        names = [f"{self.name}.{kind}" for kind in kinds]
        spans = Spans(rows, starts, ends, rules, rules, names, [masks[kind] for kind in kinds])
        outcome = edit_batch(batch, spans)
        signals = {
            name: pa.array(np.bincount(rows[rules == place], minlength=batch.num_rows).astype(np.float64))
            for place, name in enumerate(names)
        }
        return Outcome(outcome.kept, edits=outcome.edits, signals=signals)


def personal_spans(texts: Texts, row: int, seen: int, kinds: list[str]) -> Iterator[tuple[int, int, int]]:
    """Yield what a document holds of the kinds: start, end (bytes of the buffer), place in ``kinds``; ascending."""
    begin, end = int(texts.offsets[row]), int(texts.offsets[row + 1])
    text = texts.data[begin:end].tobytes()
    found: list[tuple[int, int, int]] = []
    for place, kind in enumerate(kinds):
        needed, pattern = PATTERNS[kind]
        if seen & needed:
            for match in pattern.finditer(text):
                if CHECKS.get(kind, _always)(match[0]):
                    found.append((match.start(), match.end(), place))
    found.sort()
    for place, (start, stop, kind_place) in enumerate(found):
        others = [*found[max(0, place - len(kinds)) : place], *found[place + 1 : place + 1 + len(kinds)]]
        # finds of one kind are apart, so only as many neighbours as there are kinds can overlap on a side
        if all(other[1] <= start or stop <= other[0] or other[2] > kind_place for other in others):
            yield begin + start, begin + stop, kind_place


def _always(found: bytes) -> bool:
    return True


def luhn(found: bytes) -> bool:
    """Say whether the check digit of a card number is right (ISO/IEC 7812-1, annex B)."""
    digits = [byte - 48 for byte in found if 48 <= byte <= 57]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (doubled + sum(digits[::-2])) % 10 == 0


def iban(found: bytes) -> bool:
    """Say whether the check digits of an IBAN are right (ISO 13616: modulo 97)."""
    text = found.decode().replace(" ", "")
    return 15 <= len(text) <= 34 and int("".join(str(int(mark, 36)) for mark in text[4:] + text[:4])) % 97 == 1


def public_address(found: bytes) -> bool:
    """Say whether the bytes are a public IPv4 address."""
    try:
        return ipaddress.IPv4Address(found.decode()).is_global
    except ValueError:  # a number beyond 255, or one with a leading zero
        return False


CHECKS: Final = {"card": luhn, "iban": iban, "ip": public_address}


def suspects(texts: Texts) -> np.ndarray:
    """Return what each document holds that a kind cannot do without: bits, uint8."""
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    seen = np.zeros(len(texts), np.uint8)
    _look(data, texts.offsets, seen)
    return seen


@kernel
def _look(data: np.ndarray, offsets: np.ndarray, seen: np.ndarray) -> None:
    """Look for ``@``, for four digits with at most three other marks between two, for two capitals and two digits."""
    for document in range(len(seen)):
        bits = 0
        digits = gap = 0
        for at in range(offsets[document], offsets[document + 1]):
            byte = data[at]
            if byte == 64:
                bits |= MAIL
            if 48 <= byte <= 57:
                digits += 1
                gap = 0
                if digits >= 4:
                    bits |= NUMBER
                before = at - offsets[document]
                if before >= 3 and 48 <= data[at - 1] <= 57 and 65 <= data[at - 2] <= 90 and 65 <= data[at - 3] <= 90:
                    bits |= ACCOUNT
            elif byte == 32 or 40 <= byte <= 46:  # blank ( ) * + , - .
                gap += 1
                if gap > 3:
                    digits = 0
            else:
                digits = 0
        seen[document] = bits
