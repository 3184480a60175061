import codecs
import csv
import gzip
import io
import json
import math
import random
import re

import pyarrow as pa
import pyarrow.parquet
import pytest

from core.errors import UserError
from text.readers import RowFile, bad_rows_error

TWO = {"text": 0, "label": 1}


def put(tmp_path, name, content):
    """A file; gzipped if its name says so."""
    raw = content.encode() if isinstance(content, str) else content
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def parquet(columns):
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def short(value):
    """A name for a parameter."""
    return repr(value)[:24]


def found(path, columns=TWO, **options):
    """(line number, cells, error) of every row."""
    return [(row.number, dict(row.cells), row.error) for row in RowFile(path, columns, **options)]


def errors(path, columns=TWO, **options):
    return {row.number: row.error for row in RowFile(path, columns, **options) if row.error}


ROWS = [("a cat", "1"), ('a "quoted" word', "0"), ("Zürich 東京 👍", "1")]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
@pytest.mark.parametrize("place", ["index", "name"])
def test_every_format_gives_the_same_rows(tmp_path, format, suffix, place):
    header = {"tsv": "sentence\tgold\n", "csv": "sentence,gold\n"}.get(format, "") if place == "name" else ""
    content = {
        "tsv": header + "".join(f"{text}\t{label}\n" for text, label in ROWS),
        "jsonl": "".join(json.dumps({"sentence": text, "gold": label}) + "\n" for text, label in ROWS),
        "parquet": parquet({"sentence": [text for text, _ in ROWS], "gold": [label for _, label in ROWS]}),
    }
    sheet = io.StringIO(header)
    sheet.seek(0, io.SEEK_END)
    csv.writer(sheet).writerows(ROWS)
    content["csv"] = sheet.getvalue()
    columns = {"text": "sentence", "label": "gold"} if place == "name" else TWO
    rows = found(put(tmp_path, f"x.{format}{suffix}", content[format]), columns)
    first = 2 if header else 1
    assert rows == [(first + i, {"text": text, "label": label}, "") for i, (text, label) in enumerate(ROWS)]


@pytest.mark.parametrize("name", ["x.txt", "x.data", "x", "X.TSV"])
def test_a_suffix_that_says_nothing_means_tsv(tmp_path, name):
    assert found(put(tmp_path, name, "a\tb\n")) == [(1, {"text": "a", "label": "b"}, "")]


@pytest.mark.parametrize("index", [10_000, 10**30])
@pytest.mark.parametrize("format", ["tsv", "csv"])
def test_an_index_that_no_line_can_have_is_refused_at_once(tmp_path, index, format):
    path = put(tmp_path, f"x.{format}", "a\nb\n")
    message = f"{path}: 'label' is column {index} (counted from 0), but a line has 10,000 columns at most."
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        RowFile(path, {"text": 0, "label": index})
    assert len(list(RowFile(path, {"text": 0, "label": index}, needed=["text"]))) == 2


def test_a_named_format_beats_the_suffix(tmp_path):
    assert found(put(tmp_path, "x.tsv", "a,b\n"), format="csv") == [(1, {"text": "a", "label": "b"}, "")]


def test_in_tsv_quotes_carriage_returns_and_unicode_line_ends_are_characters(tmp_path):
    cells = ['"', 'a "b', "a\rb", "a\u2028b\x85c\x0bd\x1ce", " a ", ""]
    path = put(tmp_path, "x.tsv", "".join(f"{cell}\tx\n" for cell in cells))
    assert [row.cells["text"] for row in RowFile(path, TWO)] == cells


@pytest.mark.parametrize("name", ["x.tsv", "x.csv", "x.jsonl"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_line_ends_and_a_byte_order_mark_are_no_part_of_cells(tmp_path, name, end, last, mark):
    lines = {
        "tsv": ["a\tb", "c\td"],
        "csv": ["a,b", "c,d"],
        "jsonl": ['{"text":"a","label":"b"}', '{"text":"c","label":"d"}'],
    }
    text = end.join(lines[name[2:]]) + end * last
    assert found(put(tmp_path, name, mark + text.encode())) == [
        (1, {"text": "a", "label": "b"}, ""),
        (2, {"text": "c", "label": "d"}, ""),
    ]


def test_a_csv_record_over_several_lines_has_the_number_of_its_first(tmp_path):
    rng = random.Random(5)
    rows = [["".join(rng.choices('ab,"\n \t', k=rng.randint(1, 9))), str(i)] for i in range(200)]
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    starts = []
    for row in rows:
        starts.append(sheet.getvalue().count("\n") + 1)
        writer.writerow(row)
    got = found(put(tmp_path, "x.csv", sheet.getvalue()))
    assert [(number, list(cells.values())) for number, cells, _ in got] == list(zip(starts, rows, strict=True))


def test_json_values_that_are_no_text_come_as_json_and_null_as_empty(tmp_path):
    values = ["plain", 3, 2.5, True, None, ["é", 1], {"k": "v"}, math.inf, 10**30]
    path = put(tmp_path, "x.jsonl", "".join(json.dumps({"text": value, "label": 1}) + "\n" for value in values))
    texts = [row.cells["text"] for row in RowFile(path, {})]
    assert texts == ["plain", "3", "2.5", "true", "", '["é", 1]', '{"k": "v"}', "Infinity", str(10**30)]


def test_a_jsonl_row_without_a_needed_key_is_bad_and_other_keys_are_kept(tmp_path):
    path = put(tmp_path, "x.jsonl", '{"a": "1", "b": "2"}\n{"b": "3"}\n{"b": "5", "a": "4", "c": "6"}\n{"a": "7"}\n')
    assert found(path, {"text": "a"}) == [
        (1, {"text": "1", "b": "2"}, ""),
        (2, {"text": "", "b": "3"}, "key 'a' is missing."),
        (3, {"text": "4", "b": "5", "c": "6"}, ""),
        (4, {"text": "7", "b": ""}, ""),
    ]
    file = RowFile(path, {})
    file.require(["b"])
    assert [row.error for row in file] == ["", "", "", "key 'b' is missing."]


def test_a_key_of_jsonl_that_is_called_as_a_column_is_this_column_wherever_it_stands(tmp_path):
    path = put(tmp_path, "x.jsonl", '{"id": "7", "label": "1", "text": "a"}\n{"text": "b", "label": "0", "id": "8"}\n')
    wanted = [(1, {"id": "7", "label": "1", "text": "a"}, ""), (2, {"id": "8", "label": "0", "text": "b"}, "")]
    assert found(path, {"text": 0, "label": 1}) == wanted


def test_parquet_values_come_as_text(tmp_path):
    columns = {
        "text": pa.array(["a", None]), "n": pa.array([1, None], pa.int16()), "x": pa.array([0.5, -2.0], pa.float32()),
        "list": pa.array([[1, 2], None]), "flag": pa.array([True, False]), "raw": pa.array(["é".encode(), b""]),
        "words": pa.array(["b", "b"]).dictionary_encode(),
    }  # fmt: skip
    assert found(put(tmp_path, "x.parquet", parquet(columns)), {}) == [
        (1, {"text": "a", "n": "1", "x": "0.5", "list": "[1, 2]", "flag": "true", "raw": "é", "words": "b"}, ""),
        (2, {"text": "", "n": "", "x": "-2.0", "list": "", "flag": "false", "raw": "", "words": "b"}, ""),
    ]


def test_parquet_keeps_order_over_many_blocks(tmp_path):
    path = put(tmp_path, "x.parquet", parquet({"text": [str(i) for i in range(20_000)]}))
    assert [(row.number, row.cells["text"]) for row in RowFile(path, {})] == [(i + 1, str(i)) for i in range(20_000)]


def test_columns_that_are_not_configured_keep_their_place(tmp_path):
    headerless = put(tmp_path, "x.tsv", "a\tb\tc\n")
    assert found(headerless, {"text": 1}) == [(1, {"column 1": "a", "text": "b", "column 3": "c"}, "")]
    headed = put(tmp_path, "y.tsv", "p\tq\tr\na\tb\tc\n")
    assert found(headed, {"text": "q"}) == [(2, {"p": "a", "text": "b", "r": "c"}, "")]
    assert found(headed, {"text": 1}, has_header=True) == [(2, {"p": "a", "text": "b", "r": "c"}, "")]
    assert found(headed, {}) == [(2, {"p": "a", "q": "b", "r": "c"}, "")]
    assert RowFile(headed, {}).header == ["p", "q", "r"]
    assert RowFile(headerless, {"text": 1}).header is None


def test_a_column_that_is_not_needed_may_be_absent(tmp_path):
    path = put(tmp_path, "x.tsv", "id\ttext\n1\ta\n")
    assert found(path, {"text": "text", "label": "gold"}, needed=["text"]) == [(2, {"id": "1", "text": "a"}, "")]
    assert found(put(tmp_path, "y.tsv", "a\n"), TWO, needed=["text"]) == [(1, {"text": "a"}, "")]


def test_two_readings_give_the_same_rows(tmp_path):
    file = RowFile(put(tmp_path, "x.tsv", "\na\tb\nc\n\td\n"), TWO)
    assert list(file) == list(file)


@pytest.mark.parametrize(
    ("name", "raw", "columns", "wanted"),
    [
        ("x.tsv", "a\tb\nc\n", TWO, {2: "1 column, but the config names 2 (text, label)."}),
        ("x.tsv", "a\nc\td\n", {"text": 0, "label": 3},
         {1: "1 column, but the config asks for column 3 counted from 0 (text, label).",
          2: "2 columns, but the config asks for column 3 counted from 0 (text, label)."}),
        ("x.tsv", "a\tb\nc\td\te\n", TWO, {2: "3 columns, but line 1 has 2."}),
        ("x.csv", "p,q\na,b\nc,d,e\n", {"text": "p"}, {3: "3 columns, but line 1 has 2."}),
        ("x.csv", "p,q\na\n", {"text": "p", "label": "q"}, {2: "1 column, but the config names 2 (text, label)."}),
        ("x.tsv", "a\tb\n\nc\td\n", TWO, {2: "blank line."}),
        ("x.csv", "a,b\n\nc,d\n", TWO, {2: "blank line."}),
        ("x.jsonl", '{"text": "a", "label": 1}\n \n', TWO, {2: "blank line."}),
        ("x.tsv", b"a\tb\nab\xff\tb\n", TWO, {2: "not valid UTF-8 (byte 0xff at position 3)."}),
        ("x.csv", b'a,b\n"x\ny\xff",b\nc,d\n', TWO, {2: "not valid UTF-8 (byte 0xff at position 2)."}),
        ("x.jsonl", b'{"text": "a", "label": 1}\n{"text": "\xe9", "label": 1}\n', TWO,
         {2: "not valid UTF-8 (byte 0xe9 at position 11)."}),
        ("x.csv", "a,b\nc\rx,d\ne,f\n", TWO, {2: "not valid CSV: new-line character seen in unquoted field"}),
        ("x.csv", 'a,b\n"' + "long " * 30_000 + "\ne,f\n", TWO, {2: "not valid CSV: field larger than field limit (131072). Is a quote not closed?"}),
        ("x.jsonl", '{"text": "a", "label": 1}\n{"text": }\n', TWO, {2: "not valid JSON: Expecting value at character 10."}),
        ("x.jsonl", '{"text": "a", "label": 1}\n["a", 1]\n', TWO, {2: "not a JSON object; JSONL has one object per line."}),
        ("x.jsonl", '{"text": "a", "label": 1}\n{"text": "\\uD83d", "label": 1}\n{"text": "\\ud83d\\udc4d", "label": 1}\n', TWO,
         {2: "not valid Unicode (half of a surrogate pair)."}),
    ],
    ids=short,
)  # fmt: skip
def test_a_bad_line_is_named_and_keeps_its_place(tmp_path, name, raw, columns, wanted):
    path = put(tmp_path, name, raw)
    got = errors(path, columns)
    assert got.keys() == wanted.keys()
    for number, error in wanted.items():
        assert got[number].startswith(error)
    numbers = [row.number for row in RowFile(path, columns)]
    assert numbers == sorted(set(numbers))


def test_a_bad_line_keeps_its_cells_in_their_columns(tmp_path):
    path = put(tmp_path, "x.tsv", "a\tb\nc\nd\te\tf\n")
    assert [cells for _, cells, _ in found(path)] == [
        {"text": "a", "label": "b"},
        {"text": "c", "label": ""},
        {"text": "d", "label": "e", "column 3": "f"},
    ]


GOOD = "text\tlabel\na\tb\n"
HEADED = {"text": "text", "label": "label"}


@pytest.mark.parametrize(
    ("name", "raw", "columns", "message"),
    [
        ("x.tsv", "", TWO, "is empty."),
        ("x.tsv.gz", "", TWO, "is empty."),
        ("x.jsonl", codecs.BOM_UTF8, TWO, "is empty."),
        ("x.tsv", "text\tlabel\n", HEADED, "has a header, but no rows."),
        ("x.tsv", "\na\tb\n", HEADED, "1: blank line."),
        ("x.jsonl", "{\n", TWO, "1: not valid JSON: Expecting property name"),
        ("x.tsv", GOOD.encode("utf-16"), TWO, "is binary (or UTF-16), but tsv in UTF-8 is expected."),
        ("x.csv", b"PK\3\4\0\0", TWO, "is binary (or UTF-16), but csv in UTF-8 is expected."),
        ("x.tsv", gzip.compress(GOOD.encode(), mtime=0), TWO, "looks gzipped, but its name does not end in .gz."),
        ("x.tsv", GOOD, {"text": "texts"}, "the header has no column 'texts'. Did you mean 'text'?"),
        ("x.tsv", GOOD, {"text": "zzz"}, "the header has no column 'zzz'. It has: text, label."),
        ("x.jsonl", '{"a": 1}\n', {"text": "text"}, "the header has no column 'text'. It has: a."),
        ("x.csv", "a,b,a\n1,2,3\n", {"text": "a"}, "the header has 'a' more than once. Give its index from 0."),
        ("x.csv", "a,b\n1,2\n", {"text": "a", "label": 0}, "'text' and 'label' are the same column (0, from 0)."),
        ("x.jsonl", '{"a": 1, "b": 2}\n', {"text": 2}, "has 2 columns (a, b), but 'text' is column 2 (counted from 0)."),
        ("x.parquet", b"PAR1 is not enough", TWO, "damaged, or no Parquet file ("),
        ("x.parquet.gz", b"PAR1 is not enough", TWO, "damaged, or no Parquet file ("),
        ("x.parquet", parquet({"text": ["a" * 99] * 999})[:-40], {"text": "text"}, "damaged, or no Parquet file ("),
        ("x.parquet", parquet({"text": pa.array([], pa.string())}), {"text": "text"}, "has no rows."),
    ],
    ids=short,
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, name, raw, columns, message):
    path = put(tmp_path, name, raw)
    with pytest.raises(UserError) as raised:
        list(RowFile(path, columns))
    assert str(raised.value).startswith(f"{path}:{'' if message[0].isdigit() else ' '}{message}")
    assert "\n" not in str(raised.value)


def test_a_damaged_block_of_parquet_is_found_while_reading(tmp_path):
    raw = bytearray(parquet({"text": [f"text {i} " * 9 for i in range(5000)]}))
    raw[1000:3000] = bytes(2000)
    with pytest.raises(UserError, match=r"x\.parquet: damaged, or no Parquet file \("):
        list(RowFile(put(tmp_path, "x.parquet", bytes(raw)), {"text": 0}))


@pytest.mark.parametrize("name", ["x.tsv.gz", "x.csv.gz", "x.jsonl.gz", "x.parquet.gz"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "none"])
def test_broken_gzip_is_a_sentence(tmp_path, name, damage):
    content = "".join(f'{{"text": "{i}", "label": 1}}\n' for i in range(50_000)).encode()
    raw = bytearray(gzip.compress(parquet({"text": ["a"], "label": [1]}) if "parquet" in name else content))
    if damage == "cut":
        del raw[-9:]
    elif damage == "flipped":
        raw[len(raw) // 2] ^= 0xFF
    else:
        raw = bytearray(content)
    (tmp_path / name).write_bytes(raw)
    columns = TWO if "jsonl" in name or "parquet" in name else {"text": 0}
    with pytest.raises(UserError, match=f"{name}: (broken gzip|damaged, or no Parquet file) \\("):
        list(RowFile(tmp_path / name, columns))


def test_a_missing_file_names_a_close_one_and_a_folder_is_no_file(tmp_path):
    put(tmp_path, "train.tsv", GOOD)
    with pytest.raises(UserError, match=r"trian\.tsv: no such file\. Did you mean 'train\.tsv'\?$"):
        RowFile(tmp_path / "trian.tsv", TWO)
    with pytest.raises(UserError, match=r"nowhere/x\.tsv: no such file\.$"):
        RowFile(tmp_path / "nowhere" / "x.tsv", TWO)
    with pytest.raises(UserError, match=r": is a folder, not a file\.$"):
        RowFile(tmp_path, TWO)
    with pytest.raises(UserError, match=r"x\.tsv: cannot be read \(Not a directory\)\.$"):
        RowFile(tmp_path / "train.tsv" / "x.tsv", TWO)


@pytest.mark.parametrize("columns", [{"text": 0, "clean": 1}, {"clean": 1, "text": 0}])
def test_a_renamed_column_takes_the_place_of_one_that_had_its_name(tmp_path, columns):
    file = RowFile(put(tmp_path, "rows.tsv", "junk\tgood\n"), columns).renamed({"clean": "text"})
    assert [row.cells["text"] for row in file] == ["good"]
    swapped = RowFile(tmp_path / "rows.tsv", columns).renamed({"clean": "text", "text": "clean"})
    assert [(row.cells["text"], row.cells["clean"]) for row in swapped] == [("good", "junk")]


def test_require_names_what_is_missing(tmp_path):
    file = RowFile(put(tmp_path, "x.tsv", GOOD), {})
    file.require(["text", "label"])
    with pytest.raises(UserError, match=r"has no column 'txt'\. Did you mean 'text'\? It has: text, label\.$"):
        file.require(["txt"])
    with pytest.raises(UserError, match=r"has no column 'zzz'\. It has: text, label\.$"):
        RowFile(put(tmp_path, "y.tsv", "a\tb\n"), TWO).require(["zzz"])


@pytest.mark.parametrize(
    ("format", "raw", "columns"),
    [
        ("tsv", b"text\tlabel\na\tb\n", {}),
        ("csv", b"a,b\n", TWO),
        ("jsonl", b'{"text": "a", "label": "b"}\n', TWO),
        ("parquet", parquet({"text": ["a"], "label": ["b"]}), TWO),
    ],
)
def test_a_stream_gives_the_rows_of_a_file(tmp_path, format, raw, columns):
    file = RowFile(tmp_path / "standard input", columns, format=format, stream=io.BytesIO(raw))
    assert [row.cells for row in file] == [{"text": "a", "label": "b"}]


def test_a_stream_is_read_row_by_row(tmp_path):
    taken = []

    class Slow(io.BytesIO):
        def __next__(self):
            taken.append(line := super().__next__())
            return line

    rows = iter(RowFile(tmp_path / "-", TWO, stream=Slow(b"a\tb\n" * 100)))
    next(rows)
    assert len(taken) <= 2


def test_many_bad_rows_show_ten_and_count_the_rest(tmp_path):
    path = tmp_path / "x.tsv"
    text = str(bad_rows_error(path, [(i, f"reason {i}") for i in range(1, 31)], 1234))
    lines = text.split("\n")
    assert lines[0] == f"{path}: 1,234 rows cannot be used"
    assert lines[1:11] == [f"  {path}:{i}: reason {i}" for i in range(1, 11)]
    assert lines[11:] == ["  ... and 1,224 more"]
    assert (
        str(bad_rows_error(path, [(3, "blank line.")], 1)) == f"{path}: 1 row cannot be used\n  {path}:3: blank line."
    )
