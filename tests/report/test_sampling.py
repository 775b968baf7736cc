from hypothesis import given
from hypothesis import strategies as st

from tilth.report.sampling import covering, spread, within_bytes


@given(st.integers(0, 10_000), st.integers(1, 200))
def test_spread_parts_are_distinct_ascending_and_reach_both_ends(parts: int, most: int) -> None:
    chosen = spread(parts, most)
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) == min(parts, most)
    assert all(0 <= part < parts for part in chosen)
    if parts > most > 1:
        assert (chosen[0], chosen[-1]) == (0, parts - 1)


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(0, 100_000))
def test_a_small_run_is_read_whole_and_a_large_one_at_least_once(sizes: list[int], most: int) -> None:
    chosen = within_bytes(sizes, most)
    assert chosen
    assert (len(chosen) == len(sizes)) or sum(sizes) > most
    assert len(chosen) <= max(1, len(sizes) * most / sum(sizes)) if sum(sizes) > most else True


def test_a_rare_rule_brings_in_the_part_that_has_most_of_it() -> None:
    counts = {"common": {0: 9, 1: 9, 7: 9}, "rare": {3: 1, 5: 4, 6: 4}, "absent": {}}
    assert covering(counts, (0, 7)) == (0, 5, 7)
