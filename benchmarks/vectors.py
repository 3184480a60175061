"""Time and memory to read pretrained word vectors: 400,000 words of 100 numbers, 30,000 of them wanted.

    python -m benchmarks.vectors          # about a minute, 350 MB in a temporary folder

first   from the GloVe text        again   from the memory-mapped cache
naive   the usual loop (split each line, keep every vector in a dict), as a measure of the machine

Each is a process of its own; the time that `import` takes is not counted, the memory it takes is taken off.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.processes import Watched, watch

NOTHING = "import sys, time\nimport numpy as np\nfrom pathlib import Path\nfrom text.vectors import load_vectors\n"
TIMED = NOTHING + (
    "path, wanted, cache, count = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])\n"
    "words = [f'w{number}' for number in range(0, count, count // wanted)]\n"
    "start = time.perf_counter()\n"
)
OURS = TIMED + "load_vectors(path, 'glove', False, words, cache)\nprint(time.perf_counter() - start, file=sys.stderr)\n"
NAIVE = TIMED + (
    "vectors = {}\n"
    "for line in path.open(encoding='utf-8'):\n"
    "    word, *numbers = line.rstrip().split(' ')\n"
    "    vectors[word] = np.array(numbers, np.float32)\n"
    "print(time.perf_counter() - start, file=sys.stderr)\n"
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory to read pretrained word vectors.")
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--wanted", type=int, default=30_000)
    return parser.parse_args()


def write_vectors(path: Path, words: int, dim: int) -> None:
    """A GloVe text; a thousand different vectors, again and again."""
    random = np.random.default_rng(1)
    vectors = [" ".join(f"{value:.5f}" for value in random.normal(size=dim)) for _ in range(1000)]
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"w{number} {vectors[number % 1000]}\n" for number in range(words))


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "vectors.txt"
        write_vectors(path, options.words, options.dim)
        told = [str(path), str(options.wanted), str(folder / "cache"), str(options.words)]

        def measured(code: str) -> Watched:
            return watch([sys.executable, "-c", code, *told], folder / "errors")

        empty = measured(NOTHING)
        print("| | s | MiB |\n|---|---|---|")
        for kind, code in (("first", OURS), ("again", OURS), ("naive", NAIVE)):
            took = measured(code)
            memory = (took.peak_anonymous - empty.peak_anonymous) / 2**20
            print(f"| {kind} | {float(took.errors.split()[-1]):.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
