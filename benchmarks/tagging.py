"""Speed of the CRF and of the characters of words, beside the loops that they are often written as.

    python -m benchmarks.tagging     # about a minute

CRF               block CRF and CRFLoss: a training step, forward and backward
  text by text    the recursion of log-sum-exps over the tokens of each text
  all texts       kinder: the same over the tokens of all texts at once, as NeuronBlocks does (which decodes as well)
CNNCharEmbedding  forward and backward
  word by word    a convolution for each word

The loops are plain PyTorch with autograd, in float32, and share the parameters of the blocks; before they are measured,
values and gradients are compared. Texts have half of the tokens of the longest or more, and only real tokens count. All
run in every round, ours several times. The table has the median over the rounds of tokens/s, and of the ratios within a
round with the lowest and the highest.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.rounds import add_round_arguments, ratios, rounds, spread
from block_zoo.cnn_char_embedding import CNNCharEmbedding
from block_zoo.crf import CRF
from block_zoo.masking import length_mask, zero_padding
from core.types import Features, Spec
from losses.crf import CRFLoss

OFTEN = 10
"""Steps of ours in a round."""
CHARACTERS = 100
Kinds = Mapping[str, Callable[[], Tensor]]
"""Ours and the loops: forward."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of the CRF and of the characters of words, beside loops.")
    add_round_arguments(parser, clock="processor")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32, help="tokens of the longest text")
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--letters", type=int, default=12, help="characters of the longest word")
    return parser.parse_args()


def log_z_text_by_text(crf: CRF, emissions_BTC: Tensor, lengths: list[int]) -> Tensor:
    """log Z, summed over the texts."""
    transitions_CC, start_C, end_C = (crf.potentials[name] for name in ("transitions", "start", "end"))
    total = emissions_BTC.new_zeros(())
    for row, length in enumerate(lengths):
        scores_C = start_C + emissions_BTC[row, 0]
        for at in range(1, length):
            scores_C = (scores_C.unsqueeze(1) + transitions_CC).logsumexp(0) + emissions_BTC[row, at]
        total = total + (scores_C + end_C).logsumexp(0)
    return total


def log_z_of_all_texts(crf: CRF, emissions_BTC: Tensor, lengths: list[int]) -> Tensor:
    """log Z, summed over the texts."""
    transitions_CC, start_C, end_C = (crf.potentials[name] for name in ("transitions", "start", "end"))
    mask_BT = length_mask(torch.tensor(lengths), emissions_BTC.shape[1])
    scores_BC = start_C + emissions_BTC[:, 0]
    for at in range(1, emissions_BTC.shape[1]):
        next_BC = (scores_BC.unsqueeze(2) + transitions_CC).logsumexp(1) + emissions_BTC[:, at]
        scores_BC = torch.where(mask_BT[:, at, None], next_BC, scores_BC)
    return (scores_BC + end_C).logsumexp(1).sum()


def right_score(crf: CRF, emissions_BTC: Tensor, lengths: list[int], tags_BT: Tensor) -> Tensor:
    """The score of the right path, summed over the texts."""
    transitions_CC, start_C, end_C = (crf.potentials[name] for name in ("transitions", "start", "end"))
    mask_BT = length_mask(torch.tensor(lengths), emissions_BTC.shape[1])
    emitted = emissions_BTC.gather(2, tags_BT.unsqueeze(2)).squeeze(2)[mask_BT].sum()
    moved = transitions_CC[tags_BT[:, :-1], tags_BT[:, 1:]][mask_BT[:, 1:]].sum()
    last_B = tags_BT[torch.arange(len(lengths)), torch.tensor(lengths) - 1]
    return emitted + moved + start_C[tags_BT[:, 0]].sum() + end_C[last_B].sum()


def crf_kinds(options: argparse.Namespace, lengths_B: Tensor) -> tuple[Kinds, Sequence[Tensor]]:
    """The loss of each kind, and what gets gradients."""
    mask_BT, size = length_mask(lengths_B, options.tokens), options.labels
    tags_BT, lengths = torch.randint(size, mask_BT.shape), lengths_B.tolist()
    emissions_BTC = torch.randn(*mask_BT.shape, size, requires_grad=True)
    spec = Spec("BTD", {"D": size})
    crf = CRF(CRF.Conf(), spec)
    loss = CRFLoss(CRFLoss.Conf(), CRF.Conf().output_spec(spec), Spec("BT", ids=True))

    def ours() -> Tensor:
        return loss(crf(Features(emissions_BTC, mask_BT, lengths_B)), tags_BT)

    def loop(log_z: Callable[[CRF, Tensor, list[int]], Tensor]) -> Tensor:
        return log_z(crf, emissions_BTC, lengths) - right_score(crf, emissions_BTC, lengths, tags_BT)

    loops = {"text by text": partial(loop, log_z_text_by_text), "all texts": partial(loop, log_z_of_all_texts)}
    return {"ours": ours, **loops}, [emissions_BTC, *crf.parameters()]


def character_kinds(options: argparse.Namespace, lengths_B: Tensor) -> tuple[Kinds, Sequence[Tensor]]:
    """The vectors of the words, of each kind, and what gets gradients."""
    mask_BT, letters = length_mask(lengths_B, options.tokens), options.letters
    sizes_BT = torch.randint(1, letters + 1, mask_BT.shape)
    ids_BTK = torch.randint(1, CHARACTERS, (*mask_BT.shape, letters))
    ids_BTK = zero_padding(zero_padding(ids_BTK, length_mask(sizes_BT, letters)), mask_BT)
    block = CNNCharEmbedding(CNNCharEmbedding.Conf(), Spec("BTK", {"V": CHARACTERS}, ids=True))
    (conv,), window = block.convs, block.conf.branches[0][1]
    words = [ids_K[ids_K != 0] for ids_K in ids_BTK[mask_BT]]

    def ours() -> Tensor:
        return block(Features(ids_BTK, mask_BT, lengths_B)).values[mask_BT]

    def loop() -> Tensor:
        vectors = []
        for ids_K in words:
            chars_EK = F.pad(block.table(ids_K).t(), (0, max(0, window - len(ids_K))))
            vectors.append(conv(chars_EK).relu().amax(1))
        return torch.stack(vectors)

    return {"ours": ours, "word by word": loop}, list(block.parameters())


def step(forward: Callable[[], Tensor], variables: Sequence[Tensor], times: int = 1) -> Sequence[Tensor]:
    """Forward and backward: the values, and the gradients of their sum."""
    for _ in range(times):
        values = forward()
        gradients = torch.autograd.grad(values.sum(), variables)
    return [values, *gradients]


def measure(options: argparse.Namespace, kinds: Kinds, variables: Sequence[Tensor], tokens: int) -> Iterator[str]:
    """The rows of the table: each loop beside ours."""
    expected = step(kinds["ours"], variables)
    for forward in kinds.values():
        torch.testing.assert_close(step(forward, variables), expected, rtol=1e-4, atol=1e-4)
    often = {name: OFTEN if name == "ours" else 1 for name in kinds}
    times = rounds(options, {name: partial(step, kinds[name], variables, often[name]) for name in kinds})
    seconds = {name: [taken / often[name] for taken in times[name]] for name in kinds}
    for name in kinds:
        if name != "ours":
            speeds = [f"{tokens / median(seconds[kind]):,.0f}" for kind in ("ours", name)]
            yield f"{name} | {' | '.join(speeds)} | {spread(ratios(seconds, 'ours', name), '.1f')}"


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lengths_B = torch.randint((options.tokens + 1) // 2, options.tokens + 1, (options.rows,))
    lengths_B[0] = options.tokens
    tokens = int(lengths_B.sum())
    print("| | Loop | Ours, tokens/s | Loop, tokens/s | Ours / loop |\n|---|---|---|---|---|")
    for block, prepared in (("CRF", crf_kinds), ("CNNCharEmbedding", character_kinds)):
        for row in measure(options, *prepared(options, lengths_B), tokens):
            print(f"| {block} | {row} |", flush=True)
    print(f"\n{options.rounds} rounds of {tokens:,} tokens, {options.clock} time, 1 thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
