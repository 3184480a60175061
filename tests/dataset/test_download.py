"""The download of published data: whole, checked, resumed; from a server of this process, not the network."""

import hashlib
import importlib.util
import io
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import ROOT

from core.errors import UserError

spec = importlib.util.spec_from_file_location("download", ROOT / "dataset" / "download.py")
assert spec is not None and spec.loader is not None
download = importlib.util.module_from_spec(spec)
spec.loader.exec_module(download)


def archive(**files):
    """A zip with files in a folder."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as made:
        for name, text in files.items():
            made.writestr(f"Some/{name.replace('_', '.')}", text)
    return raw.getvalue()


class Server(HTTPServer):
    """Serves its files, of each request only the first bytes, and notes where the requests start."""

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.files: dict[str, bytes] = {}
        self.starts: list[int] = []
        self.most = 1 << 30


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        server: Server

        def do_GET(self):
            content = self.server.files.get(self.path.strip("/"))
            if content is None:
                return self.send_error(404)
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.server.starts.append(start)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + self.server.most])
            return None

        def log_message(self, *_):
            pass

    serving = Server(Handler)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def published(server, content, sha256=None, **settings):
    """A set of one archive on the server."""
    server.files["some.zip"] = content
    url = f"http://127.0.0.1:{server.server_port}/some.zip"
    found = sha256 or hashlib.sha256(content).hexdigest()
    names = ("train.tsv", "dev.tsv")
    return download.DataSet("Some", [download.Original(url, found)], download.members(*names), names, **settings)


def test_an_archive_becomes_the_files_that_configs_name_and_is_asked_for_once(server, tmp_path):
    some = published(server, archive(train_tsv="a\n", dev_tsv="b\n", other_txt="c"))
    assert "train.tsv, dev.tsv" in download.make(some, tmp_path, None)
    assert (tmp_path / "Some" / "train.tsv").read_text() == "a\n"
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["SHA256SUMS", "dev.tsv", "train.tsv"]
    assert "is there, as published" in download.make(some, tmp_path, None)
    assert server.starts == [0]


def test_what_was_changed_since_is_noticed_and_made_anew_once_it_is_gone(server, tmp_path):
    some = published(server, archive(train_tsv="a\n", dev_tsv="b\n"))
    download.make(some, tmp_path, None)
    (tmp_path / "Some" / "dev.tsv").write_text("b")
    with pytest.raises(UserError, match="dev.tsv: is not the file that is published. Remove it, and try again."):
        download.make(some, tmp_path, None)
    (tmp_path / "Some" / "dev.tsv").unlink()
    download.make(some, tmp_path, None)
    assert (tmp_path / "Some" / "dev.tsv").read_text() == "b\n"
    (tmp_path / "Some" / "SHA256SUMS").unlink()  # as where the files came in another way
    assert "nothing says what this should be: train.tsv, dev.tsv" in download.make(some, tmp_path, None)


def test_what_was_cut_off_goes_on_where_it_stopped(server, tmp_path):
    content = archive(train_tsv="a" * 5000, dev_tsv="b")
    some = published(server, content)
    server.most = 100
    with pytest.raises(UserError, match="The same command goes on where it stopped"):
        download.make(some, tmp_path, None)
    assert not (tmp_path / "Some").exists()
    server.most = 1 << 30
    download.make(some, tmp_path, None)
    assert server.starts == [0, 100]
    assert (tmp_path / "Some" / "train.tsv").read_text() == "a" * 5000


def test_another_file_than_the_published_one_is_refused_and_not_kept(server, tmp_path):
    some = published(server, archive(train_tsv="a", dev_tsv="b"), sha256="0" * 64)
    with pytest.raises(UserError, match=r"some.zip: is not the published file: its SHA-256 is [0-9a-f]{64}, but 0{64}"):
        download.make(some, tmp_path, None)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_inside_may_have_the_checksum_instead_and_gets_plain_line_ends(server, tmp_path):
    some = published(server, archive(train_tsv="a\r\n", dev_tsv="b\n"))
    known = {"train.tsv": hashlib.sha256(b"a\n").hexdigest()}
    some = replace(some, unpack=download.with_plain_lines(some.unpack), sha256=known)
    download.make(some, tmp_path, None)
    assert (tmp_path / "Some" / "train.tsv").read_bytes() == b"a\n"
    with pytest.raises(UserError, match="train.tsv: is not the published file"):
        download.make(replace(some, folder="Other", sha256={"train.tsv": "0" * 64}), tmp_path, None)
    assert not (tmp_path / "Other" / "train.tsv").exists()


def test_a_folder_serves_in_the_place_of_the_network(server, tmp_path):
    some = published(server, content := archive(train_tsv="a", dev_tsv="b"))
    (tmp_path / "stick" / "deep").mkdir(parents=True)
    with pytest.raises(UserError, match="stick: has no some.zip"):
        download.make(some, tmp_path, tmp_path / "stick")
    (tmp_path / "stick" / "deep" / "some.zip").write_bytes(content)
    download.make(some, tmp_path, tmp_path / "stick")
    assert server.starts == [] and (tmp_path / "stick" / "deep" / "some.zip").exists()


def test_an_archive_without_the_file_says_what_it_has(server, tmp_path):
    some = published(server, archive(train_tsv="a", dev_txt="b"))
    with pytest.raises(UserError, match=r"has no dev.tsv. It has: dev.txt, train.tsv."):
        download.make(some, tmp_path, None)


def test_the_dev_set_of_mrpc_is_made_of_its_ids(tmp_path):
    rows = [f"{at % 2}\t10{at}\t20{at}\tfirst {at}\tsecond {at}" for at in range(4)]
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    paths = [tmp_path / name for name in ("train", "test", "ids")]
    paths[0].write_bytes("\r\n".join(["﻿" + header, *rows, ""]).encode())
    paths[1].write_text("\n".join([header, "1\t7\t8\tx\ty", ""]))
    paths[2].write_text("101\t201\n103\t203\n")
    made = {name: b"".join(content).decode().splitlines() for name, content in download.mrpc(paths)}
    assert made["dev.tsv"] == [header, rows[1], rows[3]]
    assert made["train.tsv"] == [header, rows[0], rows[2]]
    assert made["test.tsv"] == [header, "1\t7\t8\tx\ty"]
    paths[2].write_text("999\t201\n")
    with pytest.raises(UserError, match="has 0 of the 1 rows of the dev set"):
        dict(download.mrpc(paths))


def test_an_unknown_set_is_refused_with_a_guess(monkeypatch):
    monkeypatch.setattr("sys.argv", ["download.py", "gleu"])
    with pytest.raises(UserError, match="'gleu': no such set. Did you mean 'glue'?"):
        download.main()


def test_every_file_that_a_config_of_glue_reads_is_one_that_is_downloaded():
    from benchmarks.tasks import SUITES
    from core.document import composed

    made = {f"dataset/{some.folder}/{name}" for sets in download.SETS.values() for some in sets for name in some.files}
    for task in [*SUITES["glue"], *SUITES["wikiqa"]]:
        for model in ("bilstm", "minilm"):
            assert {path for path in composed(task.config(model))["inputs"]["data_paths"].values() if path} <= made
