"""Peak memory of fine-tuning an encoder with random weights, with and without gradient checkpointing.

    python -m benchmarks.encoder_memory            # MiniLM-L6 and BERT-base, batches of 32 x 128 pieces
    python -m benchmarks.encoder_memory --rows 8

Each is a process of its own that makes three steps of AdamW; `step` is the seconds of the last one.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import watch

SIZES = {
    "MiniLM-L6": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "BERT-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
STEPS = """
import json, sys, time, torch
from block_zoo import PretrainedEncoder
from core.types import Features, Frames, Spec
conf, rows, pieces = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spec = Spec("BT", {"V": 30522}, ids=True, frames=Frames(((101,), (102,))))
block = PretrainedEncoder.Conf(tokenizer="any", pooling="cls", **conf).build(spec).train()
block.wanted = frozenset()
optimizer = torch.optim.AdamW(block.parameters(), lr=1e-5, fused=True)
for _ in range(3):
    start = time.perf_counter()
    ids = torch.randint(1000, 30000, (rows, pieces - 2))
    loss = block(Features(ids, None, torch.full((rows,), pieces - 2))).values.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(time.perf_counter() - start, file=sys.stderr)
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Peak memory of fine-tuning an encoder.")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--pieces", type=int, default=128)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    print("| encoder | checkpointing | peak, GiB | step, s |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            for checkpointing in (False, True):
                config = {"model_type": "bert", "vocab_size": 30522, **size}
                conf = json.dumps({"config": config, "gradient_checkpointing": checkpointing})
                command = [sys.executable, "-c", STEPS, conf, str(options.rows), str(options.pieces)]
                watched = watch(command, Path(folder) / "log")
                shown = "with" if checkpointing else "without"
                seconds = float(watched.errors.splitlines()[-1])
                print(f"| {name} | {shown} | {watched.peak_anonymous / 2**30:.2f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
