"""Seconds from the start of `python train.py` to the first training step on SST-2, and what they go to.

    python -m benchmarks.startup            # about two minutes
    python -m benchmarks.startup --imports  # also the packages that cost most

first    nothing encoded yet (an empty cache): reads and encodes 68,000 rows
cached   the second training of the same data
imports  of the cached one: the sum over all modules that it imports up to the first step (python -X importtime)

train.py runs as it is; the end of the first step is seen from outside, in the records of the run. Medians.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

from benchmarks.data import add_arguments, data_overrides
from benchmarks.processes import Watched, first_step_done, watch

CONFIG = Path("configs/glue/sst2_bilstm.json")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds from the start of python to the first training step.")
    add_arguments(parser)
    parser.add_argument("--conf_path", type=Path, default=CONFIG)
    parser.add_argument("--times", type=int, default=3, help="measurements of each kind")
    parser.add_argument("--imports", action="store_true", help="list the packages that cost most to import")
    return parser.parse_args()


def start(options: argparse.Namespace, folder: Path, cache: Path, *python: str) -> Watched:
    """Train until the first step is done."""
    run = Path(tempfile.mkdtemp(dir=folder))
    wanted = [
        *data_overrides(options.conf_path, options.data), *options.overrides, f"outputs.save_base_dir={run}",
        "training_params.batch_num_to_show_results=1",
    ]  # fmt: skip
    sets = [part for override in wanted for part in ("--set", override)]
    command = [sys.executable, *python, "train.py", "--conf_path", str(options.conf_path), *sets]
    return watch(command, folder / "errors", first_step_done(run), {"BLOCKSMITH_CACHE": str(cache)})


def import_times(log: str) -> Counter[str]:
    """Package -> seconds that its own modules took, from what -X importtime writes."""
    taken: Counter[str] = Counter()
    for line in log.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(parts) == 3 and parts[0].strip().isdigit():
            taken[parts[2].strip().partition(".")[0]] += int(parts[0]) / 1e6  # type: ignore[assignment]
    return taken


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = [start(options, folder, Path(tempfile.mkdtemp(dir=folder))) for _ in range(options.times)]
        kept = folder / "cache"
        start(options, folder, kept)
        cached = [start(options, folder, kept) for _ in range(options.times)]
        imported = [import_times(start(options, folder, kept, "-X", "importtime").errors) for _ in range(options.times)]
    print("| first, s | cached, s | imports of these, s |")
    print("|---|---|---|")
    shown = [[watched.seconds for watched in first], [watched.seconds for watched in cached]]
    shown.append([sum(taken.values()) for taken in imported])
    print(f"| {' | '.join(f'{median(v):.1f} ({min(v):.1f} to {max(v):.1f})' for v in shown)} |")
    if options.imports:
        print("\n| package | s |\n|---|---|")
        for package, took in sorted(imported, key=lambda t: sum(t.values()))[len(imported) // 2].most_common(20):
            print(f"| {package} | {took:.2f} |")


if __name__ == "__main__":
    main()
