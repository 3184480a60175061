"""Compare models on GLUE and WikiQA, and ways to distil.

python benchmark.py glue --models bilstm_attention minilm --seeds 3
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suites import COMMANDS
from core.command_line import positive_int, run_door
from core.errors import UserError

if TYPE_CHECKING:
    from benchmarks.records import Record
    from benchmarks.tasks import Job, Places

DATA = Path(os.environ.get("BLOCKSMITH_DATA", "dataset"))
RUNS = Path("runs/benchmark")
RESULTS = "results.jsonl"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train models on published tasks, keep and show what comes out.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, of in COMMANDS.items():
        suite = commands.add_parser(name, help=of.about)
        suite.add_argument("--tasks", nargs="+", default=[], metavar="TASK", help="some of them (default: all)")
        named = (
            "what the task's configs are called, such as bilstm minilm student, or all; or a baseline: majority chance "
        )
        named += f"bag_of_words word_overlap word_tag, or the trainer of transformers (default: {of.usual})"
        suite.add_argument("--models", nargs="+", default=[of.usual], metavar="MODEL", help=named)
        suite.add_argument(
            "--seeds", type=positive_int, default=3, metavar="N", help="trainings of each model (default: 3)"
        )
        suite.add_argument(
            "--first_seed", type=positive_int, default=1, metavar="N", help="the first of their seeds (default: 1)"
        )
        suite.add_argument(
            "--at_once", type=positive_int, metavar="N", help="trainings at once; if not said, one a GPU"
        )
        suite.add_argument("--here", action="store_true", help="train in this process, what has a result too")
        suite.add_argument("--parent", type=int, help=argparse.SUPPRESS)  # the process to end with
        again = "train nothing: size and speed of what is trained anew, on a machine that is idle now"
        suite.add_argument("--measure", action="store_true", help=again)
        _which(suite)
    submit = commands.add_parser("submit", help="write the files that gluebenchmark.com scores")
    submit.add_argument("--model", required=True, help="as in --models of glue; its best seed on dev answers")
    submit.add_argument("--output", type=Path, default=RUNS / "submission", help="folder to write")
    _which(submit)
    report = commands.add_parser("report", help="tables and plots of all results")
    report.add_argument("--runs", type=Path, default=RUNS, help="folder of the run folders")
    report.add_argument("--results", type=Path, nargs="+", help=f"files of results (default: {RESULTS} among the runs)")
    report.add_argument("--output", type=Path, help="folder to write (default: report among the runs)")
    page = "a text in Markdown, such as docs/results.md, whose marked tables are made anew"
    report.add_argument("--page", type=Path, help=page)
    options = parser.parse_args()
    is_report = options.command == "report"
    options.results = options.results or ([options.runs / RESULTS] if is_report else options.runs / RESULTS)
    return options


def _which(parser: argparse.ArgumentParser) -> None:
    """What is trained, and where it lies."""
    parser.add_argument(
        "--vectors", choices=["glove", "encoder", "random"], default="glove", help="of words (default: glove)"
    )
    change = "change a value of the configs; it is named with the results"
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="changes", help=change)
    parser.add_argument(
        "--data", type=Path, default=DATA, help=f"folder of the data sets ($BLOCKSMITH_DATA, here {DATA})"
    )
    parser.add_argument("--encoder", help="a folder with an encoder, in the place of the one that configs name")
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"folder of the run folders (default: {RUNS})")
    parser.add_argument(
        "--results", type=Path, help=f"file that results are added to (default: {RESULTS} among the runs)"
    )


def main() -> None:
    """Train what is left to do and show the tables, or show or submit what there is."""
    options = arguments()
    from benchmarks import records  # late: --help must not wait for torch

    files = options.results if options.command == "report" else [options.results]
    for path in files:
        if path.is_dir() or (options.command == "report" and not path.exists()):
            raise UserError(f"--results {path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}.")
    found, complaints = records.read(files)
    if not getattr(options, "here", False):
        for complaint in complaints:
            print(complaint, file=sys.stderr)
    if options.command == "report":
        from benchmarks import report
        from benchmarks.keep import kept

        if not found:
            raise UserError(f"{', '.join(map(str, files))}: no results.")
        found, older = records.of_one_version(found)
        for complaint in older:
            print(complaint, file=sys.stderr)
        if options.page:
            report.fill(options.page, found, kept({path.parent for path in files}))
        print(report.write(found, options.output or options.runs / "report"))
        return
    from benchmarks.tasks import PEERS, SUITES, Job, Places, chosen_models

    places = Places(options.data, options.runs)
    if options.command == "submit":
        from benchmarks.submission import submit

        if options.model in ("all", *PEERS):
            raise UserError("--model: a submission is of one model that has a config.")
        (model,) = chosen_models(SUITES["glue"], [options.model])
        wanted = Job(SUITES["glue"][0], model, 1, options.vectors, tuple(options.changes), options.encoder)
        for line in submit(found, wanted, places, options.output):
            print(line, flush=True)
        return
    _train(options, places, found)


def _train(options: argparse.Namespace, places: "Places", known: "list[Record]") -> None:
    from benchmarks import jobs, records, report, runner
    from benchmarks.tasks import Job, chosen_models, chosen_tasks

    tasks = chosen_tasks(options.command, options.tasks)
    models = chosen_models(tasks, options.models)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    changes = tuple(options.changes)
    of_all = [(task, model, seed) for task in tasks for model in dict.fromkeys(models) for seed in seeds]
    wanted = [Job(*of_one, options.vectors, changes, options.encoder) for of_one in of_all]
    if options.measure:
        _measure(wanted, places, known, options.results)
        return
    todo = runner.left_to_do(wanted, [] if options.here else known, places)
    but_for_seeds = {(job.task, job.model, job.changes): job for job in todo}  # which change nothing that can be wrong
    for job in but_for_seeds.values():
        job.check(places)
    records.refuse_if_closed(options.results)
    if options.encoder and not any(job.uses_encoder for job in wanted):
        print(f"note: --encoder {options.encoder}: no model of these reads it.", file=sys.stderr)
    if options.vectors != "glove" and not any(job.reads_words for job in wanted):
        print(f"note: --vectors {options.vectors}: no model of these reads a file of vectors.", file=sys.stderr)
    if options.here:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started all in the background
        if options.parent:
            runner.end_with(options.parent)
        for job in todo:
            records.append(options.results, jobs.record_of(job, places, print))
        return
    for ends in (signal.SIGTERM, signal.SIGHUP):  # they end the trainings, too
        if signal.getsignal(ends) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(ends, signal.default_int_handler)
    more = len(set(todo) - set(wanted))
    done = f"{len(wanted)} trainings, {len(wanted) - (len(todo) - more)} of them done before"
    print(done + (f"; {more} more that they need, by their own configs" if more else ""), flush=True)
    try:
        failed = runner.run_all(
            todo,
            command=lambda job: runner.command_of(job, places, options.results),
            places=places,
            records=lambda: records.read([options.results])[0],
            devices=runner.gpus(),
            at_once=options.at_once or max(1, len(runner.gpus())),
            say=lambda text: print(text, flush=True),
        )
    except KeyboardInterrupt:
        print("stopped, nothing is lost: the same command goes on", file=sys.stderr)
        raise
    found, _ = records.of_one_version(records.read([options.results])[0])
    print(f"\n{report.markdown([record for record in found if record.suite == options.command])}")
    if failed:
        raise UserError(f"{len(failed)} of {len(todo)} trainings failed: {', '.join(map(str, failed))}.")


def _measure(wanted: "list[Job]", places: "Places", known: "list[Record]", results: Path) -> None:
    """Add a newer record of each of these that is trained."""
    from benchmarks import jobs, records

    count = 0
    for job in wanted:
        of_it = (job.training, (job.digest(), job.data(places)), job.teachers(places))
        record = next((one for one in known if (one.training, one.version, one.teachers) == of_it), None)
        if record is not None and job.is_finished(places):
            records.append(results, jobs.measured_again(job, record, places))
            count += 1
            print(f"{job}: measured", flush=True)
    if not count:
        raise UserError(f"--measure: {places.runs} has none of these trainings, finished and with a result.")


if __name__ == "__main__":
    sys.exit(run_door(main))
