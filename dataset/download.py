"""Fetches published data sets to where the configs look for them: `python dataset/download.py glue wikiqa glove.6B`.

Every file is checked against the checksum of its publisher's original, goes on where an interrupted download stopped,
and is there whole or not at all; given again, the command compares what lies there with what it unpacked.
`--source DIR` takes the same files from a folder instead of the network. What the licences of the data allow is for
you to read: WikiQA, MRPC and QQP are for research.
"""

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from core.command_line import run_door
from core.errors import UserError, did_you_mean, known_names
from core.files import written_aside

GLUE = "https://dl.fbaipublicfiles.com/glue/data"
MRPC = "https://dl.fbaipublicfiles.com/senteval/senteval_data"
WIKIQA = "https://download.microsoft.com/download/E/5/F/E5FCFCEE-7005-4814-853D-DAA7C66507E0/WikiQACorpus.zip"
PARTS = ("train.tsv", "dev.tsv", "test.tsv")
CHUNK = 1 << 20
SUMS = "SHA256SUMS"
"""The checksums of what was unpacked, beside it, as `sha256sum --check` reads them."""
Unpack = Callable[[Sequence[Path]], Iterator[tuple[str, Iterator[bytes]]]]
"""From the originals on disc to the files to write: name and content."""


@dataclass(frozen=True)
class Original:
    """A file as it is published."""

    url: str
    sha256: str | None
    """None where only what lies inside is known."""

    @property
    def name(self) -> str:
        """What it is called on disc."""
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[1]


@dataclass(frozen=True)
class DataSet:
    """A folder of data, and how it comes of the originals."""

    folder: str
    originals: Sequence[Original]
    unpack: Unpack
    files: Sequence[str]
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Of files whose original has no known checksum."""


def members(*names: str) -> Unpack:
    """Files of an archive by their names, wherever in it they lie."""

    def unpack(paths: Sequence[Path]) -> Iterator[tuple[str, Iterator[bytes]]]:
        with zipfile.ZipFile(paths[0]) as archive:
            inside = {Path(name).name: name for name in archive.namelist() if "__MACOSX" not in name}
            for name in names:
                if name not in inside:
                    raise UserError(f"{paths[0]}: has no {name}. It has: {', '.join(sorted(inside))}.")
                with archive.open(inside[name]) as file:
                    yield name, iter(lambda file=file: file.read(CHUNK), b"")  # type: ignore[misc]

    return unpack


def with_plain_lines(unpack: Unpack) -> Unpack:
    """The same files, with line ends of one character."""
    return lambda paths: ((name, iter([b"".join(chunks).replace(b"\r\n", b"\n")])) for name, chunks in unpack(paths))


def mrpc(paths: Sequence[Path]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """GLUE's dev set is a part of the training file of MSR, by the ids of its rows."""
    train, test, ids = ([line for line in path.read_text("utf-8-sig").split("\n") if line] for path in paths)
    chosen = {tuple(line.split()) for line in ids}
    header, *rows = train
    is_dev = [tuple(row.split("\t")[1:3]) in chosen for row in rows]
    if sum(is_dev) != len(chosen):
        raise UserError(f"{paths[0]}: has {sum(is_dev)} of the {len(chosen)} rows of the dev set.")
    dev = [row for row, said in zip(rows, is_dev, strict=True) if said]
    rest = [row for row, said in zip(rows, is_dev, strict=True) if not said]
    for name, lines in (("train.tsv", rest), ("dev.tsv", dev), ("test.tsv", test[1:])):
        yield name, iter([("\n".join([header, *lines]) + "\n").encode()])


def plain(name: str) -> Unpack:
    """The original as it is."""
    return lambda paths: iter([(name, iter([paths[0].read_bytes()]))])


def _glue(folder: str, archive: str, sha256: str, *names: str) -> DataSet:
    return DataSet(folder, [Original(f"{GLUE}/{archive}", sha256)], members(*(names or PARTS)), names or PARTS)


SETS: Mapping[str, Sequence[DataSet]] = {
    "glue": [
        _glue("CoLA", "CoLA.zip", "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"),
        _glue("SST-2", "SST-2.zip", "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"),
        DataSet(
            "MRPC",
            [
                Original(
                    f"{MRPC}/msr_paraphrase_train.txt",
                    "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
                ),
                Original(
                    f"{MRPC}/msr_paraphrase_test.txt",
                    "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784",
                ),
                Original(
                    f"{GLUE}/mrpc_dev_ids.tsv",
                    "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
                ),
            ],
            mrpc,
            PARTS,
        ),
        _glue("STS-B", "STS-B.zip", "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85"),
        _glue("QQP", "QQP-clean.zip", "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0"),
        _glue(
            "MNLI",
            "MNLI.zip",
            "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
            *("train.tsv", "dev_matched.tsv", "dev_mismatched.tsv", "test_matched.tsv", "test_mismatched.tsv"),
        ),
        _glue("QNLI", "QNLIv2.zip", "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5"),
        _glue("RTE", "RTE.zip", "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee"),
        _glue("WNLI", "WNLI.zip", "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46"),
        DataSet(
            "diagnostic",
            [Original(f"{GLUE}/AX.tsv", "0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd")],
            plain("diagnostic.tsv"),
            ["diagnostic.tsv"],
        ),
    ],
    "wikiqa": [
        DataSet(
            "WikiQA",
            [Original(WIKIQA, None)],
            with_plain_lines(members("WikiQA-train.tsv", "WikiQA-dev.tsv", "WikiQA-test.tsv")),
            ["WikiQA-train.tsv", "WikiQA-dev.tsv", "WikiQA-test.tsv"],
            {
                "WikiQA-train.tsv": "baf373f4c1003e3d383e1217a3fa76ee248e1f0a1b70e23359e619b9b1389999",
                "WikiQA-dev.tsv": "c44fb3a52182b95f0c48e49ae1f63b6159047cb5812e514d19ae6f069d09297a",
                "WikiQA-test.tsv": "c035f0db5685dcfe1b2f256ff204528752a1e06f6d1bcae9a1aefac05079b24c",
            },
        )
    ],
    "glove.6B": [
        DataSet(
            "GloVe",
            [
                Original(
                    "https://nlp.stanford.edu/data/glove.6B.zip",
                    "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
                )
            ],
            members("glove.6B.100d.txt", "glove.6B.300d.txt"),
            ["glove.6B.100d.txt", "glove.6B.300d.txt"],
        )
    ],
}
"""What can be asked for. The checksums of GLUE are those of TensorFlow Datasets (QQP-clean, GloVe: of other public
projects that pin them); those of WikiQA are of its files with plain line ends."""


def fetch(original: Original, folder: Path, source: Path | None) -> Path:
    """The original on disc: as it lies in `source`, or downloaded. UserError where it cannot be had or is another."""
    if source is not None:
        found = sorted(source.rglob(original.name))
        if not found:
            raise UserError(
                f"{source}: has no {original.name}. (Unpacked sets are read where they lie: benchmark.py --data)"
            )
        if len(found) > 1:
            raise UserError(f"{source}: has {len(found)} files called {original.name}: {', '.join(map(str, found))}.")
        _check(found[0], original, remove=False)
        return found[0]
    path = folder / original.name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        try:
            _download(original.url, part)
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if not any(folder.iterdir()):
                folder.rmdir()
            raise UserError(
                f"{original.url}: cannot be fetched ({reason}). The same command goes on where it stopped; "
                "or bring the file and name its folder in --source."
            ) from error
        _check(part, original, remove=True)
        part.replace(path)
    return path


def _download(url: str, part: Path) -> None:
    """Append to what is there already what is missing of it."""
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(request, timeout=60)
    except URLError as error:
        if have and getattr(error, "code", None) == 416:  # nothing is missing
            return
        raise
    with answer:
        goes_on = answer.status == 206
        have = have if goes_on else 0
        total = have + int(answer.headers.get("Content-Length") or 0)
        with (
            part.open("ab" if goes_on else "wb") as file,
            tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
        ):
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total and part.stat().st_size < total:
        raise OSError(f"the connection ended after {part.stat().st_size:,} of {total:,} bytes")


def _check(path: Path, original: Original, remove: bool) -> None:
    if original.sha256 is None:
        return
    found = _sha256(path)
    if found != original.sha256:
        if remove:
            path.unlink()
        raise UserError(
            f"{original.name}: is not the published file: its SHA-256 is {found}, but {original.sha256} was expected."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(data_set: DataSet, target: Path, source: Path | None) -> str:
    """Write the files of a set that are missing; what was done, in one line. UserError for a file that was changed."""
    folder = target / data_set.folder
    sums = _unpacked(folder / SUMS)
    present = [name for name in data_set.files if (folder / name).is_file()]
    known = {**sums, **data_set.sha256}
    for name in present:
        if name in known and _sha256(folder / name) != known[name]:
            raise UserError(f"{folder / name}: is not the file that is published. Remove it, and try again.")
    if len(present) == len(data_set.files):
        if unchecked := [name for name in present if name not in known]:
            return f"{folder}: is there, but nothing says what this should be: {', '.join(unchecked)}"
        return f"{folder}: is there, as published"
    originals = [fetch(original, target / ".originals", source) for original in data_set.originals]
    try:
        for name, content in data_set.unpack(originals):
            if name in present:
                continue
            with written_aside(folder / name) as aside, aside.open("wb") as file:
                digest = hashlib.sha256()
                for chunk in content:
                    digest.update(chunk)
                    file.write(chunk)
                sums[name] = digest.hexdigest()
                if data_set.sha256.get(name, sums[name]) != sums[name]:
                    for path in originals if source is None else ():
                        path.unlink()
                    raise UserError(f"{folder / name}: is not the published file: its SHA-256 is {sums[name]}.")
            with written_aside(folder / SUMS) as aside:
                aside.write_text("".join(f"{found}  {of}\n" for of, found in sums.items()))
    except zipfile.BadZipFile as error:
        raise UserError(f"{originals[0]}: is damaged ({error}). Remove it, and try again.") from error
    if source is None:
        for path in originals:
            path.unlink()
    return f"{folder}: {', '.join(data_set.files)}"


def _unpacked(path: Path) -> dict[str, str]:
    """File -> checksum."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {name: found for line in lines for found, _, name in [line.partition("  ")] if name}


def main() -> None:
    """Make the sets that are asked for, one after the other; what fails does not keep the others from it."""
    parser = argparse.ArgumentParser(description="Fetch published data sets to where configs look for them.")
    parser.add_argument("sets", nargs="+", metavar="SET", help=f"{', '.join(SETS)}")
    parser.add_argument("--to", type=Path, default=Path("dataset"), help="folder to write")
    parser.add_argument("--source", type=Path, help="a folder with the published files, in the place of the network")
    options = parser.parse_args()
    for name in options.sets:
        if name not in SETS:
            raise UserError(f"'{name}': no such set.{did_you_mean(name, SETS) or known_names(SETS)}")
    if options.source is not None and not options.source.is_dir():
        raise UserError(f"--source {options.source}: no such folder.")
    failed = []
    for data_set in [data_set for name in options.sets for data_set in SETS[name]]:
        try:
            print(make(data_set, options.to, options.source), flush=True)
        except UserError as error:
            failed.append(f"{data_set.folder}: {error}")
    if failed:
        raise UserError("\n".join(failed))


if __name__ == "__main__":
    sys.exit(run_door(main))
