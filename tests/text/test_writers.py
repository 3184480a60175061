import csv
import datetime
import gc
import gzip
import io
import json
import math
import random
import re
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from core.errors import UserError
from core.types import Prediction, Row
from text.readers import RowFile
from text.writers import PredictionWriter


def predictions(rows, answer=None):
    """Predictions with an answer for each row."""
    return [Prediction(row, (answer or made)(at)) for at, row in enumerate(rows)]


def made(at):
    return {"prediction": "up", "confidence": 0.125 + at}


def write(path, format, header, rows, kinds=None):
    with PredictionWriter(path, format, header, kinds) as writer:
        writer.write(rows)
    return path.read_bytes()


def rows_of(tmp_path, name, raw, columns, **options):
    path = tmp_path / name
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    file = RowFile(path, columns, **options)
    return file, list(file)


def test_tsv_keeps_the_columns_that_came_and_adds_the_answer(tmp_path):
    file, rows = rows_of(tmp_path, "x.tsv", 'id\ttext\n1\ta "b"\n2\té\n', {"t": "text"})
    wanted = 'id\ttext\tprediction\tconfidence\n1\ta "b"\tup\t0.125\n2\té\tup\t1.125\n'
    assert write(tmp_path / "out.tsv", "tsv", file.header, predictions(rows)) == wanted.encode()


def test_a_file_without_header_gets_none(tmp_path):
    file, rows = rows_of(tmp_path, "x.tsv", "1\ta\n2\tb\n", {"t": 1})
    assert write(tmp_path / "out.tsv", "tsv", file.header, predictions(rows)) == b"1\ta\tup\t0.125\n2\tb\tup\t1.125\n"


def test_csv_is_quoted_and_can_be_read_back(tmp_path):
    rng = random.Random(2)
    cells = [["".join(rng.choices('ab,"\n\r \té', k=rng.randint(0, 6))), "x"] for _ in range(100)]
    sheet = io.StringIO()
    csv.writer(sheet).writerows([["text", "label"], *cells])
    file, rows = rows_of(tmp_path, "x.csv", sheet.getvalue(), {})
    out = write(tmp_path / "out.csv", "csv", file.header, predictions(rows, lambda at: {"prediction": f"{at},"}))
    back = list(csv.reader(io.StringIO(out.decode(), newline="")))
    assert back == [["text", "label", "prediction"], *([*cell, f"{at},"] for at, cell in enumerate(cells))]


OBJECTS = [
    {"text": "a", "n": 3, "deep": {"k": [1, None]}, "none": None, "digits": "3"},
    {"text": "é", "n": 2.5, "deep": [], "none": True, "digits": "null"},
]


def test_jsonl_gives_every_value_back(tmp_path):
    file, rows = rows_of(tmp_path, "x.jsonl", "".join(json.dumps(o) + "\n" for o in OBJECTS), {"t": "text"})
    out = write(tmp_path / "out.jsonl", "jsonl", file.header, predictions(rows))
    assert list(map(json.loads, out.splitlines())) == [
        {**o, "prediction": "up", "confidence": 0.125 + at} for at, o in enumerate(OBJECTS)
    ]
    assert "é".encode() in out


def test_parquet_keeps_kinds(tmp_path):
    table = pa.table({"text": ["a", None, "c"], "n": [1, 2, None], "x": [0.5, None, 2.5], "none": [None] * 3})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    file = RowFile(tmp_path / "x.parquet", {"t": "text"})
    write(tmp_path / "out.parquet", "parquet", file.header, predictions(file), file.kinds)
    back = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert back.to_pydict() == {
        "text": ["a", None, "c"], "n": [1, 2, None], "x": [0.5, None, 2.5], "none": [None] * 3,
        "prediction": ["up"] * 3, "confidence": [0.125, 1.125, 2.125],
    }  # fmt: skip
    assert [str(kind) for kind in back.schema.types] == ["string", "int64", "double", "string", "string", "double"]


def test_parquet_keeps_kinds_that_the_first_rows_do_not_show(tmp_path):
    many, moment = 9_000, datetime.datetime(2020, 1, 2, 3)
    kinds = {
        "ids": pa.uint64(), "half": pa.float32(), "list": pa.list_(pa.int64()), "when": pa.timestamp("s"),
        "deep": pa.struct({"a": pa.list_(pa.string()), "b": pa.bool_()}), "map": pa.map_(pa.string(), pa.int8()),
        "text": pa.large_string(),
    }  # fmt: skip
    last = {
        "ids": 2**64 - 1, "half": 0.5, "list": [1, None], "when": moment, "deep": {"a": ["x"], "b": None},
        "map": [("k", 1)], "text": "3",
    }  # fmt: skip
    columns = {name: pa.array([*[None] * many, last[name]], kind) for name, kind in kinds.items()}
    columns["list"] = pa.array([*[[]] * many, last["list"]], kinds["list"])
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    file = RowFile(tmp_path / "x.parquet", {"t": "text"})
    write(tmp_path / "out.parquet", "parquet", file.header, predictions(file), file.kinds)
    back = pyarrow.parquet.read_table(tmp_path / "out.parquet").drop(["prediction", "confidence"])
    as_text = {"when": "2020-01-02 03:00:00", "map": '[["k", 1]]'}  # what JSON does not have
    assert back.schema == pa.schema({name: pa.string() if name in as_text else kinds[name] for name in kinds})
    assert back.slice(many).to_pylist() == [last | as_text]
    assert (
        back["list"][0].as_py() == []
        and back.slice(0, many).drop(["list"]).to_pylist()
        == [dict.fromkeys(name for name in kinds if name != "list")] * many
    )


def test_columns_of_json_become_text_in_parquet_because_later_rows_may_bring_anything(tmp_path):
    lines = [{"text": "a", "n": None}] * 9_000 + [{"text": "b", "n": 2**70}, {"text": "c", "n": [1, "x"]}]
    file, rows = rows_of(tmp_path, "x.jsonl", "".join(json.dumps(line) + "\n" for line in lines), {"t": "text"})
    write(tmp_path / "out.parquet", "parquet", file.header, predictions(rows))
    back = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert back["n"].to_pylist() == [None] * 9_000 + [str(2**70), '[1, "x"]']
    assert str(back.schema.field("n").type) == "string"


@pytest.mark.parametrize("format", ["tsv", "csv", "parquet"])
def test_cells_of_json_go_to_their_columns_by_name(tmp_path, format):
    lines = '{"text": "", "b": 1}\n{"text": "a", "b": 2, "c": 3}\n{"text": "d"}\n{"b": 4, "c": 5, "text": "e"}\n'
    file, rows = rows_of(tmp_path, "x.jsonl", lines, {"text": "text"})
    rows[0] = rows[0]._replace(error="text is empty.")
    path = tmp_path / f"out.{format}"
    write(path, format, file.header, predictions(rows, lambda at: {"prediction": f"p{at}"}))
    back = RowFile(path, {}, has_header=True)
    assert back.header == ["text", "b", "c", "prediction"]
    assert [list(row.cells.values()) for row in back] == [
        ["", "1", "", "p0"], ["a", "2", "3", "p1"], ["d", "", "", "p2"], ["e", "4", "5", "p3"],
    ]  # fmt: skip


@pytest.mark.parametrize("format", ["tsv", "csv", "parquet"])
def test_a_name_that_only_a_later_row_has_is_a_sentence_where_nothing_can_hold_it(tmp_path, format):
    file, rows = rows_of(tmp_path, "x.jsonl", '{"text": "a"}\n{"text": "b", "more": 1}\n', {"text": "text"})
    path = tmp_path / f"out.{format}"
    message = f"{path}: row 2 has 'more', which the first row has not: give the output a name that ends in .jsonl."
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        write(path, format, file.header, predictions(rows))
    assert not path.exists()


def test_what_parquet_cannot_hold_is_a_sentence(tmp_path):
    rows = predictions([Row(1, {"text": "a"})], lambda _: {"prediction": 1})
    late = predictions([Row(2, {"text": "b"})], lambda _: {"prediction": 2**70})
    path = tmp_path / "out.parquet"
    with (
        pytest.raises(UserError, match=r"out\.parquet: cannot be written as Parquet \(.*\)\.$"),
        PredictionWriter(path, "parquet", ["text"]) as writer,
    ):
        writer.write(rows)
        writer.write(late)
    assert not path.exists()


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_without_header_columns_are_called_as_in_the_config(tmp_path, format):
    _, rows = rows_of(tmp_path, "x.tsv", "1\ta\n2\tb\n", {"text": 1})
    path = tmp_path / f"out.{format}"
    write(path, format, None, predictions(rows))
    assert [dict(row.cells) for row in RowFile(path, {})] == [
        {"column 1": "1", "text": "a", "prediction": "up", "confidence": "0.125"},
        {"column 1": "2", "text": "b", "prediction": "up", "confidence": "1.125"},
    ]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_a_name_that_stands_twice_in_the_header_loses_no_column(tmp_path, format):
    file, rows = rows_of(tmp_path, "x.tsv", "text\tn\tn\na\t1\t2\n", {"text": "text"})
    write(tmp_path / f"out.{format}", format, file.header, predictions(rows, lambda _: {"prediction": "up"}))
    (row,) = RowFile(tmp_path / f"out.{format}", {})
    assert dict(row.cells) == {"text": "a", "n": "1", "n_2": "2", "prediction": "up"}


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
def test_a_name_that_ends_in_gz_is_gzipped(tmp_path, format):
    rows = [Row(at + 1, {"text": f"é{at}"}) for at in range(10_000)]
    write(tmp_path / f"out.{format}.gz", format, ["text"], predictions(rows))
    plain = write(tmp_path / f"out.{format}", format, ["text"], predictions(rows))
    assert gzip.decompress((tmp_path / f"out.{format}.gz").read_bytes()) == plain
    back = RowFile(tmp_path / f"out.{format}.gz", {"text": "text"})
    assert [row.cells["text"] for row in back] == [f"é{at}" for at in range(10_000)]


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
def test_order_and_number_of_rows_stay_over_many_blocks(tmp_path, format):
    rows = [Row(at + 1, {"text": str(at)}, "bad" if at % 7 == 3 else "") for at in range(20_000)]
    answers = predictions(rows, lambda at: {"prediction": "" if rows[at].error else f"p{at}"})
    with PredictionWriter(tmp_path / f"out.{format}", format, ["text"]) as writer:
        writer.write(answers[:9_000])
        writer.write(iter(answers[9_000:]))
    back = list(RowFile(tmp_path / f"out.{format}", {"text": "text", "prediction": "prediction"}))
    assert [(r.cells["text"], r.cells["prediction"]) for r in back] == [
        (str(at), "" if at % 7 == 3 else f"p{at}") for at in range(20_000)
    ]


@pytest.mark.parametrize("format", ["tsv", "csv"])
def test_the_answer_of_a_bad_row_stands_in_its_column(tmp_path, format):
    tab = "," if format == "csv" else "\t"
    text = "a,b\nc\n\nd,e,f\ng,h\n".replace(",", tab)
    file, rows = rows_of(tmp_path, f"x.{format}", text, {"text": 0, "label": 1})
    assert [bool(row.error) for row in rows] == [False, True, True, True, False]
    answers = predictions(rows, lambda at: {"prediction": "" if rows[at].error else "up"})
    out = write(tmp_path / f"out.{format}", format, file.header, answers).decode()
    assert out == "a,b,up\nc,,\n,,\nd,e f,\ng,h,up\n".replace(",", tab)


def test_the_first_good_row_says_how_many_columns_there_are(tmp_path):
    file, rows = rows_of(tmp_path, "x.tsv", "a\nb\tc\td\n", {"text": 0, "label": 1})
    answers = predictions(rows, lambda at: {"prediction": "" if rows[at].error else "up"})
    assert write(tmp_path / "out.tsv", "tsv", file.header, answers) == b"a\t\t\t\nb\tc\td\tup\n"


def test_the_columns_of_a_bad_json_line_are_not_invented(tmp_path):
    file, rows = rows_of(tmp_path, "x.jsonl", '{"a": "1"}\nnonsense\n{"a": "2", "b": 3}\n', {"text": "a"})
    out = write(tmp_path / "out.jsonl", "jsonl", file.header, predictions(rows, lambda at: {"prediction": at}))
    lines = list(map(json.loads, out.splitlines()))
    assert [line["prediction"] for line in lines] == [0, 1, 2]
    assert [lines[0]["a"], lines[2]["a"], lines[2]["b"]] == ["1", "2", 3]


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
def test_a_column_of_the_same_name_is_not_overwritten(tmp_path, format):
    rows = [Row(1, {"prediction": "old", "prediction_2": "older"})]
    path = tmp_path / f"out.{format}"
    write(path, format, ["prediction", "prediction_2"], predictions(rows, lambda at: {"prediction": "new"}))
    (row,) = RowFile(path, {}) if format in ("jsonl", "parquet") else RowFile(path, {}, has_header=True)
    assert dict(row.cells) == {"prediction": "old", "prediction_2": "older", "prediction_3": "new"}


def test_numbers_have_six_digits_and_breaks_become_spaces(tmp_path):
    values = {"a": 1 / 3, "b": np.float32(2 / 3), "c": 1e-9, "d": math.nan, "e": 7, "f": "x\ty\nz\r"}
    rows = [Row(1, {"text": "p\rq"})]
    tsv = write(tmp_path / "out.tsv", "tsv", None, predictions(rows, lambda _: values))
    assert tsv == b"p\rq\t0.333333\t0.666667\t1e-09\tnan\t7\tx y z \n"
    line = json.loads(write(tmp_path / "out.jsonl", "jsonl", None, predictions(rows, lambda _: values)))
    assert line == {"text": "p\rq", "a": 0.333333, "b": 0.666667, "c": 1e-9, "d": None, "e": 7, "f": "x\ty\nz\r"}


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
@pytest.mark.parametrize("old", [b"old", None])
def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path, format, old):
    path = tmp_path / "out"
    if old is not None:
        path.write_bytes(old)

    def rows():
        yield from predictions([Row(n, {"text": "a"}) for n in range(10_000)])
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError), PredictionWriter(path, format, ["text"]) as writer:
        writer.write(rows())
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_new_folder_is_made_and_without_path_it_is_standard_output(tmp_path, capfdbinary):
    rows = predictions([Row(1, {"text": "é"})])
    assert write(tmp_path / "new" / "out.tsv", "tsv", None, rows) == "é\tup\t0.125\n".encode()
    with PredictionWriter(None, "tsv", ["text"]) as writer:
        writer.write(rows)
    assert capfdbinary.readouterr().out == "text\tprediction\tconfidence\né\tup\t0.125\n".encode()


def test_a_folder_that_takes_no_file_is_a_sentence():
    with pytest.raises(UserError, match=r"^/proc/out\.tsv: cannot be written \(.*\)\.$"):
        write(Path("/proc/out.tsv"), "tsv", ["text"], predictions([Row(1, {"text": "a"})]))


def test_a_gzipped_source_is_written_plainly_in_its_format(tmp_path):
    file, rows = rows_of(tmp_path, "x.csv.gz", gzip.compress(b"a,b\n"), {"text": 0})
    assert write(tmp_path / "out.csv", file.format, file.header, predictions(rows)) == b"a,b,up,0.125\n"


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
def test_a_full_disc_leaves_the_old_file(tmp_path, format, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"old")
    rows = predictions([Row(n, {"text": random.Random(n).randbytes(9).hex()}) for n in range(20_000)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot be written .File too large"):
            write(path, format, ["text"], rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]
