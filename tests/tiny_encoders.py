"""Tiny pretrained encoders with random weights, written as transformers writes them."""

from pathlib import Path
from typing import Any

import torch
from conftest import WORDS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
KINDS: dict[str, dict[str, Any]] = {
    "bert": SMALL,
    "roberta": SMALL | {"max_position_embeddings": 42, "type_vocab_size": 1},
    "ernie": SMALL | {"type_vocab_size": 4},
    "electra": SMALL | {"embedding_size": 8},
    "deberta-v2": SMALL | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
    "modernbert": SMALL | {"local_attention": 6, "global_attn_every_n_layers": 2},
    "albert": SMALL | {"embedding_size": 8},
    "distilbert": {"dim": 16, "n_layers": 4, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40},
}
"""Model type -> its settings."""


def write_encoder(folder: Path, kind: str = "bert", **settings) -> Path:
    """Config, tokenizer and weights of an encoder of this type, in a folder."""
    tokenizer = _byte_pairs() if kind == "roberta" else _word_pieces()
    tokenizer.save_pretrained(folder)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    config = AutoConfig.for_model(kind, **{"vocab_size": len(tokenizer), **KINDS[kind], **special, **settings})
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def _word_pieces() -> PreTrainedTokenizerFast:
    """As BERT: [CLS] a [SEP] b [SEP]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(WORDS, trainers.WordPieceTrainer(vocab_size=60, special_tokens=names))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return _fast(tokenizer, names, model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def _byte_pairs() -> PreTrainedTokenizerFast:
    """As RoBERTa: <s> a </s></s> b </s>, where a space belongs to the word behind it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        [" ".join(WORDS)],
        trainers.BpeTrainer(vocab_size=320, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return _fast(tokenizer, [names[1], names[3], names[0], names[2], names[4]])


def _fast(tokenizer: Tokenizer, names: list[str], **settings: Any) -> PreTrainedTokenizerFast:
    """`names` are those of padding, of what is unknown, of the first and the last piece, and of masked pieces."""
    pad, unknown, first, last, mask = names
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=first,
        sep_token=last,
        mask_token=mask,
        **settings,
    )
