"""Compare models on GLUE and WikiQA: `python benchmark.py glue --models bilstm_attention minilm --seeds 3`."""

import argparse
import os
import sys
from pathlib import Path

from core.command_line import positive_int, run_door
from core.errors import UserError

DATA = Path(os.environ.get("BLOCKSMITH_DATA", "dataset"))
RESULTS = Path("runs/benchmark/results.jsonl")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train models on published tasks, keep and show what comes out.")
    commands = parser.add_subparsers(dest="command", required=True)
    for suite in ("glue", "wikiqa"):
        suited = commands.add_parser(suite, help=f"train on {'the tasks of GLUE' if suite == 'glue' else 'WikiQA'}")
        if suite == "glue":
            suited.add_argument("--tasks", nargs="+", default=[], metavar="TASK", help="some of them, such as rte mrpc")
        suited.add_argument(
            "--models", nargs="+", default=["bilstm_attention"], metavar="MODEL",
            help="what stands behind the task in the names of configs, such as bilstm minilm student; or all",
        )  # fmt: skip
        suited.add_argument("--seeds", type=positive_int, default=3, metavar="N", help="trainings of each model")
        suited.add_argument("--first_seed", type=positive_int, default=1, metavar="N")
        suited.add_argument("--vectors", choices=["glove", "encoder", "random"], default="glove", help="of words")
        suited.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="changes",
                            help="change a value of the configs; it is named with the results")  # fmt: skip
        suited.add_argument("--data", type=Path, default=DATA, help="folder of the data sets ($BLOCKSMITH_DATA)")
        suited.add_argument("--encoder", help="a folder with an encoder, in the place of the one that configs name")
        suited.add_argument("--runs", type=Path, default=Path("runs/benchmark"), help="folder of the run folders")
        suited.add_argument("--results", type=Path, default=RESULTS, help="file of the results; they are added to it")
        suited.add_argument(
            "--at_once", type=positive_int, metavar="N", help="trainings at once; if not said, one a GPU"
        )
        suited.add_argument("--here", action="store_true", help="train in this process, and show what trainings say")
    report = commands.add_parser("report", help="tables of all results")
    report.add_argument("--results", type=Path, nargs="+", default=[RESULTS], help="files of results")
    report.add_argument("--output", type=Path, default=Path("runs/benchmark/report"), help="folder to write")
    return parser.parse_args()


def main() -> None:
    """Train what is left to do, then show the tables."""
    options = arguments()
    from benchmarks import records, report  # late: --help must not wait for torch

    if options.command == "report":
        found, complaints = records.read(options.results)
        for complaint in complaints:
            print(complaint, file=sys.stderr)
        if not found:
            raise UserError(f"{', '.join(map(str, options.results))}: no results. `benchmark.py glue` makes some.")
        print(report.write(found, options.output))
        return
    from benchmarks import jobs, runner
    from benchmarks.tasks import Job, Places, chosen_models, chosen_tasks

    places = Places(options.data, options.runs, options.encoder)
    tasks = chosen_tasks(options.command, getattr(options, "tasks", []))
    models = chosen_models(tasks, options.models)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    wanted = [
        Job(task, model, seed, options.vectors, tuple(options.changes))
        for task in tasks
        for model in models
        for seed in seeds
    ]
    before, complaints = records.read([options.results])
    for complaint in () if options.here else complaints:
        print(complaint, file=sys.stderr)
    todo = runner.left_to_do(wanted, before, places)
    for job in todo:
        job.check(places)
    if options.here:
        for job in todo:
            records.append(options.results, jobs.record_of(job, places, print))
        return
    print(f"{len(wanted)} trainings, {len(wanted) - len(set(wanted) & set(todo))} of them done before", flush=True)
    failed = runner.run_all(
        todo,
        command=lambda job: runner.command_of(job, places, options.results),
        places=places,
        records=lambda: records.read([options.results])[0],
        devices=runner.gpus(),
        at_once=options.at_once or max(1, len(runner.gpus())),
        say=lambda text: print(text, flush=True),
    )
    found, _ = records.read([options.results])
    print(f"\n{report.markdown([record for record in found if record.suite == options.command])}")
    if failed:
        raise UserError(f"{len(failed)} of {len(todo)} trainings failed: {', '.join(map(str, failed))}.")


if __name__ == "__main__":
    sys.exit(run_door(main))
