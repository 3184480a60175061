"""The files that gluebenchmark.com scores: a model's answers for the test sets, whose labels are not published."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from benchmarks.data import AbsentFilesError, look_for
from benchmarks.records import Record
from benchmarks.runner import left_to_do
from benchmarks.tasks import SUITES, Job, Places
from core.errors import UserError
from core.files import written_aside
from engine.predictor import Predictor
from text.readers import RowFile


@dataclass(frozen=True)
class TestSet:
    """A file without labels, its columns, and what its answers are called."""

    task: str
    file: str
    columns: Sequence[tuple[str, str]]
    answers: str


def _pair(task: str, file: str, answers: str, first: str = "sentence1", second: str = "sentence2") -> TestSet:
    return TestSet(task, file, (("first", first), ("second", second)), answers)


TEST_SETS = (
    TestSet("cola", "dataset/CoLA/test.tsv", (("text", "sentence"),), "CoLA.tsv"),
    TestSet("sst2", "dataset/SST-2/test.tsv", (("text", "sentence"),), "SST-2.tsv"),
    _pair("mrpc", "dataset/MRPC/test.tsv", "MRPC.tsv", "#1 String", "#2 String"),
    _pair("stsb", "dataset/STS-B/test.tsv", "STS-B.tsv"),
    _pair("qqp", "dataset/QQP/test.tsv", "QQP.tsv", "question1", "question2"),
    _pair("mnli", "dataset/MNLI/test_matched.tsv", "MNLI-m.tsv"),
    _pair("mnli", "dataset/MNLI/test_mismatched.tsv", "MNLI-mm.tsv"),
    _pair("qnli", "dataset/QNLI/test.tsv", "QNLI.tsv", "question", "sentence"),
    _pair("rte", "dataset/RTE/test.tsv", "RTE.tsv"),
    _pair("wnli", "dataset/WNLI/test.tsv", "WNLI.tsv"),
    _pair("mnli", "dataset/diagnostic/diagnostic.tsv", "AX.tsv"),
)
"""What a submission is made of; the diagnostic set is answered by the model for MNLI."""
STSB_RANGE = (0.0, 5.0)
UPLOAD = "submission.zip"


def submit(records: Sequence[Record], wanted: Job, places: Places, folder: Path) -> Iterator[str]:
    """Write the answers of the seed of each task that is best on dev, and a zip of them; a line for each file.

    Every row has an answer, as the site wants it: one that cannot be read has the first label, or 0.

    wanted  a training of the model; its task and seed say nothing
    UserError where a task has no finished run of this model, or a test file is not there.
    """
    jobs = [replace(wanted, task=task) for task in SUITES["glue"]]
    left_to_do(jobs, records, places)  # names all files that are missing
    tests = {test: look_for(places.data, Path(test.file)) for test in TEST_SETS}
    if absent := [Path(test.file) for test, path in tests.items() if path is None]:
        raise AbsentFilesError(places.data, absent)
    runs = {job.task.name: _best(job, records, places) for job in jobs}
    for test, path in tests.items():
        assert path is not None
        job = runs[test.task]
        rows, predictor = RowFile(path, dict(test.columns), has_header=True), Predictor.load(job.folder(places))
        usual = (predictor.problem.labels or ["0.000"])[0]
        count = unread = 0
        with written_aside(folder / test.answers) as aside, aside.open("w", encoding="utf-8") as file:
            file.write("index\tprediction\n")
            for count, answer in enumerate(predictor.predict(rows, ["prediction"]), start=1):
                unread += bool(answer.row.error)
                shown = usual if answer.row.error else _shown(answer.cells["prediction"])
                file.write(f"{count - 1}\t{shown}\n")
        noted = f", {unread:,} of them not readable and given {usual}" if unread else ""
        yield f"{folder / test.answers}: {count:,} rows by {job}{noted}"
    with written_aside(folder / UPLOAD) as aside, ZipFile(aside, "w", ZIP_DEFLATED) as upload:
        for test in TEST_SETS:
            upload.write(folder / test.answers, test.answers)
    yield f"{folder / UPLOAD}: what the site takes"


def _best(wanted: Job, records: Sequence[Record], places: Places) -> Job:
    """The training of a task that is best on dev, of those whose run is there. UserError where there is none."""
    version = wanted.digest(), wanted.data(places)
    scores = {}
    for record in records:
        job = replace(wanted, seed=record.seed)
        is_own = (record.training, record.version) == (job.training, version)
        if is_own and job.is_finished(places) and record.teachers == job.teachers(places):
            scores[job] = record.dev_score
    if not scores:
        sentence = "A submission needs all nine tasks: `benchmark.py glue` with this model trains what is missing."
        raise UserError(f"{places.runs}: has no finished run of {wanted.variant} for {wanted.task.title}. {sentence}")
    return max(scores, key=lambda job: scores[job])


def _shown(answer: str | float) -> str:
    """As the site wants it: STS-B takes scores within its range only."""
    return f"{min(max(answer, STSB_RANGE[0]), STSB_RANGE[1]):.3f}" if isinstance(answer, float) else str(answer)
