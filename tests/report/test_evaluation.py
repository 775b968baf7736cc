from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tilth.corpus.errors import UserError
from tilth.report.evaluation import ALL, FILE, evaluation

SCHEMA = pa.schema(
    [("checkpoint", pa.string()), ("id", pa.binary(16)), ("source", pa.string()), ("bytes", pa.int64()),
     ("tokens", pa.int64()), ("bits", pa.float64()), ("correct", pa.int64())]
)  # fmt: skip


def write(folder: Path, rows: list[tuple[str, str, int, float]]) -> None:
    table: list[dict[str, Any]] = [
        {
            "checkpoint": checkpoint,
            "id": b"0" * 16,
            "source": source,
            "bytes": size,
            "tokens": 4,
            "bits": bits,
            "correct": 3,
        }
        for checkpoint, source, size, bits in rows
    ]
    with pa.ipc.new_file(str(folder / FILE), SCHEMA) as writer:
        for row in table:
            writer.write_table(pa.Table.from_pylist([row], schema=SCHEMA))


def test_bits_per_byte_are_of_all_bytes_together_not_means_of_documents(tmp_path: Path) -> None:
    write(tmp_path, [("before", "b", 10, 40.0), ("before", "b", 990, 1980.0), ("before", "a", 1000, 3000.0),
                     ("after", "b", 10, 20.0), ("after", "b", 990, 990.0), ("after", "a", 1000, 1500.0)])  # fmt: skip
    result = evaluation(tmp_path)
    assert result.checkpoints == ("before", "after")
    assert [row.source for row in result.sources] == ["a", "b"]
    assert result.sources[1].amount.documents == 2
    assert result.sources[1].bits_per_byte == {"before": 2.02, "after": 1.01}
    assert result.total.source == ALL
    assert result.total.bits_per_byte == {"before": 2.51, "after": 1.255}
    assert result.total.accuracy == {"before": 0.75, "after": 0.75}


def test_the_columns_are_those_that_the_evaluation_writes() -> None:
    bits = pytest.importorskip("tilth.eval.bits_per_byte", reason="needs the train extra")
    assert bits.RESULT == FILE
    assert {field.name: field.type for field in bits.BITS} == {field.name: field.type for field in SCHEMA}


def test_an_evaluation_of_nothing_is_told_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, [])
    with pytest.raises(UserError, match="holds no document"):
        evaluation(tmp_path)
