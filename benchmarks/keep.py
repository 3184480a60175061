"""Run a single measurement, show what it prints, and keep it for the pages that have a place for it.

python -m benchmarks.keep speed --threads 1 --clock processor
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from core.document import ROOT
from core.files import written_aside
from core.machine import this_machine

FOLDER = ROOT / "benchmarks" / "results"


def kept(folders: Iterable[Path]) -> Mapping[str, str]:
    """What is kept in folders: name -> Markdown."""
    return {path.stem: path.read_text("utf-8") for folder in folders for path in sorted(folder.glob("*.md"))}


def as_markdown(command: str, words: list[str], printed: str) -> str:
    """What a measurement printed, below its command and above its machine; folders without what lies around them."""
    shown = [re.sub(r"(?:^|(?<==))/\S*/", "", word) for word in words]
    machine = this_machine()
    parts = [machine["processor"], f"{machine['cores']} cores", machine["gpu"], f"torch {machine['torch']}"]
    measured = ", ".join(str(part) for part in parts if part)
    called = f"```\npython -m benchmarks.{' '.join([command, *shown])}\n```"
    return f"{called}\n\n{printed.strip()}\n\n- measured on {measured}\n"


def main() -> int:
    """The exit status of the measurement; nothing is kept where it failed."""
    parser = argparse.ArgumentParser(description="Run a single measurement and keep what it prints.")
    parser.add_argument("--name", help="what it is called in pages (default: the measurement)")
    parser.add_argument("measurement", help="a module of benchmarks, such as speed")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="its own arguments")
    options = parser.parse_args()
    command = [sys.executable, "-m", f"benchmarks.{options.measurement}", *options.words]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if not process.returncode:
        with written_aside(FOLDER / f"{options.name or options.measurement}.md") as aside:
            aside.write_text(as_markdown(options.measurement, options.words, "".join(lines)), encoding="utf-8")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
