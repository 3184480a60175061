"""Microseconds per token, forward and backward, of every block on its own.

    python -m benchmarks.blocks                              # under a minute
    python -m benchmarks.blocks --only BiLSTM BiQRNN --tokens 256

A batch of texts that have half of the tokens of the longest or more, in training, on one thread of the CPU. A step is a
forward pass and a backward pass down to the inputs. The steps of all blocks take turns, and a block has its median, in
time that the process computed; the dearest stands first.
A row counts as one token where there is no text, and so does every pair of tokens in a matrix.
"""

import argparse
import time
from statistics import median
from typing import Any

import torch

import core.conf
from block_zoo import BLOCKS, CHAR_EMBEDDINGS, Block
from block_zoo.masking import length_mask, zero_padding
from core.types import Features, Frames, Spec

CONFS: dict[str, dict[str, Any]] = {
    "CNNCharEmbedding": {"dim": 128},
    "Conv": {"output_channel_num": 128},
    "ConvPooling": {"output_channel_num": 128},
    "DepthwiseConv": {"output_channel_num": 128},
    "Embedding": {"word": {"cols": ["words"], "dim": 128}, "ngram": {"cols": ["words"], "dim": 128, "buckets": 10000}},
    "EncoderDecoder": {"decoder_conf": {"decoder_vocab_size": 20}},
    "LSTMCharEmbedding": {"dim": 128},
    "MultiHeadAttention": {"num_heads": 4},
    "MultiHeadOutput": {"heads": ["labels", "teacher"], "hidden_dim": 20},
    "PretrainedEncoder": {
        "config": {
            "model_type": "bert",
            "hidden_size": 128,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "vocab_size": 10000,
        },
        "tokenizer": "any",
    },
    "Transformer": {"num_layers": 1, "attention_conf": {"num_heads": 4}},
}
"""Block -> its Conf, where the defaults do not do."""
VOCABULARY, LETTERS = 10000, 8
"""Words, and characters of a word."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Microseconds per token, forward and backward, of every block.")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32, help="tokens of the longest text")
    parser.add_argument("--dim", type=int, default=128, help="features of a token (an eighth of a pair of tokens)")
    parser.add_argument("--times", type=int, default=9, help="steps of each block that are measured, after a first one")
    parser.add_argument("--only", nargs="*", default=[], metavar="BLOCK")
    return parser.parse_args()


def kinds(rows: int, tokens: int, dim: int) -> list[list[tuple[Spec, Features]]]:
    """The inputs that blocks may take; the first that fit count, several before one."""
    lengths = torch.randint((tokens + 1) // 2, tokens + 1, (rows,)).index_fill(0, torch.tensor(0), tokens)
    mask_BT = length_mask(lengths, tokens)
    ids_BT = zero_padding(torch.randint(1, VOCABULARY, (rows, tokens)), mask_BT)
    letters_BTK = zero_padding(torch.randint(1, 100, (rows, tokens, LETTERS)), mask_BT)

    def states(axes: str, mask: torch.Tensor | None, **sizes: int) -> tuple[Spec, Features]:
        values = torch.randn(rows, *(sizes[axis] for axis in axes[1:])) / 4  # more would saturate dot-product attention
        return Spec(axes, sizes), Features(zero_padding(values, mask).requires_grad_(), mask, lengths)

    vector = states("BD", None, D=dim)
    text = states("BTD", mask_BT, T=tokens, D=dim)
    mask_BTS = mask_BT[:, :, None] & mask_BT[:, None]
    matrix = states("BTSD", mask_BTS, T=tokens, S=tokens, D=dim // 8)
    similarities = states("BTS", mask_BTS, T=tokens, S=tokens)
    words = Spec("BT", {"V": VOCABULARY}, ids=True)
    branch = Spec("BT", {}, {"words": words}, ids=True), Features(ids_BT, mask_BT, lengths, {"words": ids_BT})
    letters = Spec("BTK", {"V": 100}, ids=True), Features(letters_BTK, mask_BT, lengths)
    pieces = Spec("BT", {"V": VOCABULARY}, ids=True, frames=Frames(((1,), (2,)))), Features(ids_BT, mask_BT, lengths)
    several = [[text] * 2, [text, vector], [vector] * 2]
    column = words, Features(ids_BT, mask_BT, lengths)
    one = [text, vector, matrix, similarities, branch, letters, pieces]
    return [*several, *([input] for input in one), [text] * 4, [column] * 2]


class Trial:
    """A block, inputs that fit it, and how long its steps took."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        cls: Any = BLOCKS[name] if name in BLOCKS else CHAR_EMBEDDINGS[name]
        conf: Block.Conf = core.conf.read(cls.Conf, CONFS.get(name, {}))
        known = kinds(options.rows, options.tokens, options.dim)
        pairs = next((pairs for pairs in known if fits(conf, pairs)), None)
        assert pairs is not None, f"{name} takes no inputs that are known here: add them to kinds"
        self.name, self.inputs = name, [features for _, features in pairs]
        self.block = conf.build(*[spec for spec, _ in pairs]).train()
        self.shapes = " and ".join(str(spec) for spec, _ in pairs)
        mask = self.inputs[0].mask
        self.tokens = options.rows if mask is None else int(mask.sum())
        self.seconds: list[float] = []

    def step(self) -> None:
        """Forward and backward, once."""
        self.block.zero_grad()
        for features in self.inputs:
            features.values.grad = None
        begun = time.process_time()
        values = self.block(*self.inputs).values
        if values.requires_grad:
            values.sum().backward()
        self.seconds.append(time.process_time() - begun)

    @property
    def microseconds(self) -> float:
        """For each token; the median of the steps after the first one."""
        return 1e6 * median(self.seconds[1:]) / self.tokens


def fits(conf: Block.Conf, pairs: list[tuple[Spec, Features]]) -> bool:
    """Whether the block takes inputs with these specs."""
    try:
        conf.output_spec(*[spec for spec, _ in pairs])
    except (TypeError, ValueError):
        return False
    return True


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    trials = [Trial(name, options) for name in options.only or [*BLOCKS, *CHAR_EMBEDDINGS]]
    for _ in range(options.times + 1):
        for trial in trials:
            trial.step()
    print("| Block | Inputs | Parameters | us per token |")
    print("|---|---|---|---|")
    for trial in sorted(trials, key=lambda trial: -trial.microseconds):
        parameters = sum(parameter.numel() for parameter in trial.block.parameters())
        print(f"| {trial.name} | {trial.shapes} | {parameters:,} | {trial.microseconds:.2f} |")


if __name__ == "__main__":
    main()
