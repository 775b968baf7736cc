"""How much of every source a run reads: by size, by weights or by token budgets, and at most so many epochs of each."""

from collections.abc import Mapping
from dataclasses import dataclass

from tilth.corpus.errors import UserError
from tilth.tokenize.blend import whole_shares


@dataclass(frozen=True)
class Mixture:
    """Shares and limits of sources; none of these: every source once, then again.

    ``weights`` are shares of the samples, ``budgets`` tokens: shares as well, and where they end. ``epochs`` is how
    often a source may be read at most; where one has ended, the others go on in their shares.
    """

    weights: Mapping[str, float] | None = None
    budgets: Mapping[str, int] | None = None
    epochs: Mapping[str, float] | None = None

    def shares(self, place: str, samples: Mapping[str, int], sequence_length: int) -> dict[str, int]:
        """Return every source's share of the samples, a whole number above zero; sources without one are left out.

        ``samples``: those of an epoch, by source. Raises ``UserError`` where what is given does not fit the sources.
        """
        if self.weights is not None and self.budgets is not None:
            raise UserError("mixture: found weights and budgets, expected one of them; remove the other")
        if self.epochs is not None:
            _same_sources("epochs", self.epochs, samples, complete=False)
        given = self.weights if self.budgets is None else self.budgets
        field = "weights" if self.budgets is None else "budgets"
        if given is None:
            shares = {name: count for name, count in samples.items() if count > 0}
            if not shares:
                raise UserError(
                    f"{place}: no source fills one sample of {sequence_length} tokens and one; shorten "
                    "sequence_length or add text"
                )
            return shares
        _same_sources(field, given, samples, complete=True)
        shares = whole_shares(given)
        for name in sorted(shares):
            if samples[name] == 0:
                raise UserError(
                    f"{field}: source '{name}' is too small for one sample of {sequence_length} tokens and one; "
                    "give it 0, shorten sequence_length or add text"
                )
        return shares

    def limits(self, samples: Mapping[str, int], sequence_length: int) -> dict[str, int]:
        """Return after how many samples a source ends, for those that do."""
        found = {name: int(epochs * samples[name]) for name, epochs in (self.epochs or {}).items()}
        for name, tokens in (self.budgets or {}).items():
            found[name] = min(found.get(name, tokens // sequence_length), tokens // sequence_length)
        return found


def _same_sources(field: str, given: Mapping[str, float], samples: Mapping[str, int], *, complete: bool) -> None:
    unknown = set(given) - set(samples)
    if unknown or (complete and set(samples) - set(given)):
        raise UserError(
            f"{field}: found {', '.join(sorted(given)) or 'none'}, expected one for each of "
            f"{', '.join(sorted(samples))}; give 0 to a source that is to be left out"
        )
    for name, value in given.items():
        if not 0 <= value < float("inf"):
            raise UserError(f"{field}: source '{name}' has {value}, expected a number of at least 0; correct it")
