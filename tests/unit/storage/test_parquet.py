import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.storage.parquet import FOOTER_BYTES, Tail, count_rows


def _parquet(rows: int, columns: int = 3, row_group_size: int = 1000) -> bytes:
    table = pa.table(
        {
            f"column-{number}": pa.array([[str(row)] for row in range(rows)], pa.list_(pa.string()))
            for number in range(columns)
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=row_group_size)
    return sink.getvalue()


@pytest.mark.parametrize("rows", [0, 1, 999, 12_345])
def test_rows_are_those_that_were_written(rows: int) -> None:
    assert count_rows(_parquet(rows)) == rows


def test_rows_are_found_at_the_end_of_what_is_written_piece_by_piece() -> None:
    data, tail = _parquet(5000), Tail()
    tail.write(bytes(3 * FOOTER_BYTES))
    for start in range(0, len(data), 1000):
        tail.write(data[start : start + 1000])
    assert tail.rows() == 5000


def test_schema_with_all_sorts_of_types_is_stepped_over() -> None:
    schema = pa.schema(
        [
            pa.field("when", pa.timestamp("us", tz="UTC"), metadata={"k": "v"}),
            pa.field("price", pa.decimal128(20, 3)),
            pa.field("flag", pa.bool_(), nullable=False),
            pa.field("nested", pa.struct([("a", pa.list_(pa.struct([("b", pa.int8())])))])),
            pa.field("map", pa.map_(pa.string(), pa.float64())),
        ]
    )
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    assert count_rows(sink.getvalue()) == 0


def test_footer_that_is_not_all_there_has_no_rows() -> None:
    data = _parquet(100)
    length = int.from_bytes(data[-8:-4], "little")
    assert count_rows(data[-length - 8 :]) == 100
    assert count_rows(data[-length - 7 :]) is None
    assert count_rows(data[:-1]) is None
    assert count_rows(b"") is None


@given(st.binary(max_size=200))
def test_anything_else_is_no_footer_and_no_failure(footer: bytes) -> None:
    rows = count_rows(footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert rows is None or rows >= 0


def test_lists_that_claim_to_be_endless_end() -> None:
    endless = bytes([0x19, 0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F])
    assert count_rows(endless + len(endless).to_bytes(4, "little") + b"PAR1") is None
