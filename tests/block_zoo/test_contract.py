import json
import re
from typing import Any

import pytest
import torch

import core.conf
from block_zoo import BLOCKS, CHAR_EMBEDDINGS, Block
from block_zoo.contract import check_contract, sample_inputs
from block_zoo.masking import zero_padding
from core.types import Features, Frames, Spec

SEQUENCE = Spec("BTD", {"D": 6})
FIXED = Spec("BTD", {"T": 8, "D": 6})
VECTOR = Spec("BD", {"D": 6})
HISTORY = Spec("BTD", {"D": 5})
MATRIX = Spec("BTSD", {"D": 3})
FIXED_MATRIX = Spec("BTSD", {"T": 8, "S": 7, "D": 3})
SCORES = Spec("BTS")
WORDS = Spec("BT", {"V": 12}, ids=True)
CHARS = Spec("BTK", {"V": 9}, ids=True)
QUESTION = Spec("BT", parts={"q": WORDS, "q_char": CHARS, "q_pos": Spec("BT", {"V": 5}, ids=True)}, ids=True)
ANSWER = Spec("BT", parts={"a": WORDS}, ids=True)
CLUSTERS = {
    "word": {"cols": ["q", "a"], "dim": 4},
    "char": {"cols": ["q_char"], "type": "LSTMCharEmbedding", "dim": 4},
    "pos": {"cols": ["q_pos"], "dim": 3},
}
PIECES = Spec("BT", {"V": 12}, ids=True, frames=Frames(((2,), (3,)), ((2,), (3, 3), (3,))))
ENCODER = {
    "config": {
        "model_type": "bert", "vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 8, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    },
    "tokenizer": "none",
}  # fmt: skip
HEADS = {"attention_conf": {"n_head": 3}}
SAME = {"same_tokens": True}

CASES = [
    ("Embedding", CLUSTERS, [QUESTION], {}),
    *(
        ("PretrainedEncoder", ENCODER | conf, inputs, {})
        for conf in ({}, {"pooling": "mean"}, {"pooling": "attentive"}, {"pooling": "pretrained"}, {"layer_mix": True})
        for inputs in ([PIECES], [PIECES, PIECES])
    ),
    ("Embedding", {"word": {"cols": ["a"], "dim": 4, "fix_weight": True}}, [ANSWER], {}),
    ("Embedding", CLUSTERS | {"char": {"cols": ["q_char"], "type": "CNNCharEmbedding", "dim": [3, 2]}}, [QUESTION], {}),
    ("Embedding", CLUSTERS | {"ngram": {"cols": ["q"], "dim": 3, "buckets": 20}}, [QUESTION], {}),
    ("ExactMatch", {}, [WORDS, WORDS], {}),
    ("CNNCharEmbedding", {"dim": [4, 3], "window_size": [2, 6], "stride": 2, "padding": 1}, [CHARS], {}),
    ("CNNCharEmbedding", {"dim": 4, "window_size": 3, "activation": None}, [CHARS], {}),
    ("LSTMCharEmbedding", {"dim": 4}, [CHARS], {}),
    ("LSTMCharEmbedding", {"dim": 5, "bidirect_flag": False}, [CHARS], {}),
    *(
        (name, conf, [spec], {})
        for name in ("BiLSTM", "BiLSTMLast", "BiLSTMAtt", "BiGRU", "BiGRULast")
        for conf in ({"hidden_dim": 4, "dropout": 0.3}, {"hidden_dim": 3, "num_layers": 2, "dropout": 0.3})
        for spec in (SEQUENCE, FIXED)
    ),
    *(
        ("BiQRNN", conf, [spec], {})
        for conf in (
            {"hidden_dim": 4, "dropout": 0.3},
            {"hidden_dim": 3, "window": 2, "zoneout": 0.2},
            {"hidden_dim": 3, "window": 2, "num_layers": 2, "dropout": 0.3},
        )
        for spec in (SEQUENCE, FIXED)
    ),
    ("EncoderDecoder", {"decoder_conf": {"hidden_dim": 4, "decoder_vocab_size": 3}}, [SEQUENCE], {}),
    (
        "EncoderDecoder",
        {
            "encoder_conf": {"hidden_dim": 3, "num_layers": 2, "dropout": 0.2},
            "decoder_conf": {"hidden_dim": 5, "num_layers": 2, "dropout": 0.2, "decoder_vocab_size": 4},
        },
        [FIXED],
        {},
    ),
    ("DepthwiseConv", {}, [SEQUENCE], {}),
    ("DepthwiseConv", {"window_size": 4, "batch_norm": False, "activation": None, "dropout": 0.1}, [FIXED], {}),
    ("DepthwiseConv", {"window_size": 1, "output_channel_num": 3, "activation": "PReLU"}, [SEQUENCE], {}),
    ("Conv", {}, [SEQUENCE], {}),
    ("Conv", {"window_size": 4, "padding_type": "SAME", "dropout": 0.1}, [SEQUENCE], {}),
    ("Conv", {"window_size": 2, "padding_type": "SAME", "stride": 2, "batch_norm": False}, [FIXED], {}),
    ("Conv", {"window_size": 4, "padding": 1, "stride": 2, "activation": "PReLU"}, [FIXED], {}),
    ("Conv", {"window_size": 9}, [FIXED], {}),
    ("ConvPooling", {}, [SEQUENCE], {}),
    ("ConvPooling", {"window_sizes": 5, "padding": 1, "batch_norm": False, "pool_type": "mean"}, [FIXED], {}),
    ("ConvPooling", {"window_sizes": [2, 9], "stride": 2, "activation": "PReLU"}, [SEQUENCE], {}),
    *(
        ("Pooling", {"pool_type": pool, "pool_axis": axis}, [SEQUENCE], {})
        for pool in ("max", "mean", "sum")
        for axis in (1, 2)
    ),
    *(
        ("Pooling", {"pool_type": pool, "pool_axis": axis}, [MATRIX], {})
        for pool in ("max", "mean")
        for axis in (1, 2, 3)
    ),
    ("Pooling", {}, [Spec("BTS", {"S": 7})], {}),
    *(
        ("Interaction", {"matching_type": kind, "dropout": 0.1}, [x, y], {})
        for kind in ("general", "dot", "cos", "mul", "plus", "minus", "concat")
        for x, y in ((SEQUENCE, SEQUENCE), (FIXED, Spec("BTD", {"T": 9, "D": 6})))
    ),
    *(
        ("Interaction", {"matching_type": kind}, [SEQUENCE, Spec("BTD", {"D": 4})], {})
        for kind in ("general", "concat")
    ),
    ("Match", {}, [SEQUENCE, SEQUENCE], {}),
    ("Match", {"activation": None}, [FIXED, SEQUENCE], {}),
    ("Expand_plus", {"operation": "plus"}, [SEQUENCE, FIXED], {}),
    *(
        ("Conv2D", conf, [grid], {})
        for conf in (
            {},
            {"window_size": [2, 4], "padding_type": "SAME", "activation": "Softplus"},
            {"window_size": [1, 4], "padding_type": "SAME", "stride": [1, 2], "batch_norm": False},
            {"window_size": [3, 9], "padding": [1, 0], "stride": 2, "activation": None},
        )
        for grid in (MATRIX, FIXED_MATRIX, SCORES)
    ),
    *(
        ("Pooling2D", {"pool_type": pool, **conf}, [grid], {})
        for pool in ("max", "mean")
        for conf in (
            {},
            {"window_size": 2, "stride": 2},
            {"window_size": [9, 3], "padding": [2, 1], "stride": [1, 2]},
            {"output_size": [3, 2]},
        )
        for grid in (MATRIX, FIXED_MATRIX, SCORES)
    ),
    *(
        ("Pooling1D", {"pool_type": pool, **conf}, [text], {})
        for pool in ("max", "mean")
        for conf in ({}, {"window_size": 2, "stride": 3, "padding": 1}, {"window_size": 9})
        for text in (SEQUENCE, FIXED)
    ),
    ("Linear", {"hidden_dim": 4}, [VECTOR], {}),
    ("Linear", {"hidden_dim": [5, 4], "activation": "Tanh"}, [SEQUENCE], {}),
    ("Linear", {"hidden_dim": [5, 3], "last_hidden_softmax": True, "last_hidden_activation": False}, [VECTOR], {}),
    ("Linear", {"hidden_dim": 1, "keep_dim": False}, [VECTOR], {}),
    ("Linear", {"hidden_dim": 3, "last_hidden_softmax": True}, [FIXED], {}),
    ("Linear", {"hidden_dim": 1, "keep_dim": False}, [SEQUENCE], {}),
    ("Linear", {"hidden_dim": 4}, [MATRIX], {}),
    *(
        (name, {}, [spec], {})
        for name in ("HighwayLinear", "Dropout", "LayerNorm", "Activation")
        for spec in (VECTOR, SEQUENCE, MATRIX)
    ),
    ("Activation", {"activation": "Softplus"}, [SCORES], {}),
    ("HighwayLinear", {"num_layers": 2, "activation": None}, [VECTOR], {}),
    *(
        ("MultiHeadAttention", conf, [spec], {})
        for conf in (
            {"n_head": 2},
            {"num_heads": 1, "causal": True, "scale": False},
            {"num_heads": 3, "rotary": True, "attn_dropout": 0.0, "resid_dropout": 0.0},
            {"num_heads": 3, "rotary": True, "causal": True},
        )
        for spec in (SEQUENCE, FIXED)
    ),
    ("MultiHeadAttention", {"num_heads": 2}, [SEQUENCE, Spec("BTD", {"D": 5})], {}),
    ("MultiHeadAttention", {"num_heads": 6}, [FIXED, FIXED], {}),
    ("FeedForward", {}, [VECTOR], {}),
    ("FeedForward", {"hidden_factor": 1, "activation": "SiLU", "dropout": 0.0}, [SEQUENCE], {}),
    ("FeedForward", {"activation": None}, [MATRIX], {}),
    *(
        (
            "Transformer",
            HEADS | {"n_layer": 2, "positions": positions, "norm_first": first, "causal": causal},
            [spec],
            {},
        )
        for positions in ("none", "sinusoidal", "learned", "rotary")
        for first, causal, spec in ((False, False, SEQUENCE), (True, False, FIXED), (True, True, SEQUENCE))
    ),
    ("Transformer", HEADS | {"n_layer": 1, "mlp_conf": {"hidden_factor": 2, "dropout": 0.0}}, [SEQUENCE], {}),
    ("PositionEmbedding", {}, [SEQUENCE], {}),
    ("PositionEmbedding", {"positions": "learned", "max_positions": 7}, [SEQUENCE], {}),
    ("PositionEmbedding", {"positions": "sinusoidal"}, [FIXED], {}),
    ("PositionEmbedding", {"positions": "sinusoidal"}, [Spec("BTD", {"D": 5})], {}),
    ("Attention", {}, [SEQUENCE, SEQUENCE], {}),
    ("Attention", {}, [FIXED, SEQUENCE], {}),
    ("Attention", {}, [SEQUENCE, SEQUENCE, HISTORY], {"same_tokens": [0, 1, 1]}),
    ("MatchAttention", {}, [SEQUENCE, SEQUENCE], {}),
    ("MatchAttention", {"activation": None}, [SEQUENCE, FIXED], {}),
    ("LinearAttention", {}, [SEQUENCE], {}),
    ("LinearAttention", {"keep_dim": True, "attention_weight_dim": 5}, [FIXED], {}),
    ("BilinearAttention", {}, [SEQUENCE, Spec("BD", {"D": 4})], {}),
    ("BilinearAttention", {}, [FIXED, VECTOR], {}),
    *(
        (name, conf, texts, {})
        for name in ("BiAttFlow", "Seq2SeqAttention")
        for conf in ({}, {"attention_dropout": 0.2})
        for texts in ([SEQUENCE, SEQUENCE], [FIXED, SEQUENCE])
    ),
    *(
        ("FullAttention", conf, [text, Spec("BTD", {"D": 4}), HISTORY, HISTORY], {"same_tokens": [0, 1, 0, 1]})
        for conf in ({"hidden_dim": 5}, {"hidden_dim": 3, "activation": None})
        for text in (SEQUENCE, Spec("BTD", {"D": 2}))
    ),
    ("MatrixMultiply", {}, [SEQUENCE, SEQUENCE], {}),
    ("MatrixMultiply", {"operation": "seq_based"}, [SEQUENCE, Spec("BTD", {"D": 2})], SAME),
    ("MatrixMultiply", {"operation": "seq_based"}, [FIXED, FIXED], {}),
    ("MatrixMultiply", {"operation": "common"}, [Spec("BTS", {"S": 8}), FIXED], {}),
    ("MatrixMultiply", {"operation": "common"}, [SEQUENCE, Spec("BTD", {"T": 6, "D": 2})], {}),
    ("CalculateDistance", {}, [VECTOR, VECTOR], {}),
    ("CalculateDistance", {"operations": ["chebyshev", "cos"]}, [VECTOR, VECTOR], {}),
    ("KernelPooling", {}, [SCORES], {}),
    ("KernelPooling", {"num_kernels": 1, "exact_sigma": 0.5, "scale": 1}, [Spec("BTSD", {"T": 8, "D": 1})], {}),
    *(("AttentivePooling", {"num_heads": heads}, [text], {}) for heads in (1, 3) for text in (SEQUENCE, FIXED)),
    *(
        ("AttentivePooling", {"num_heads": 3, "pool_axis": axis}, [grid], {})
        for axis in (1, 2)
        for grid in (MATRIX, FIXED_MATRIX)
    ),
    *(
        ("Residual", {"projection": projection, "layer_norm": norm}, [states, states], SAME)
        for projection in (False, True)
        for norm in (None, "pre", "post")
        for states in (VECTOR, SEQUENCE)
    ),
    ("Residual", {"projection": True}, [FIXED, Spec("BTD", {"D": 2, "T": 8})], {}),
    ("Gate", {}, [VECTOR, VECTOR], {}),
    ("Gate", {}, [SEQUENCE, SEQUENCE], SAME),
    ("Gate", {}, [FIXED, FIXED], {}),
    ("Fusion", {"hidden_dim": 4}, [SEQUENCE, SEQUENCE], SAME),
    ("Fusion", {"hidden_dim": 5, "activation": None}, [VECTOR, VECTOR], {}),
    ("MultiHeadOutput", {"heads": ["gold", "bert", "xlnet"], "hidden_dim": 4}, [VECTOR], {}),
    ("Combination", {}, [VECTOR, VECTOR], {}),
    ("Combination", {}, [SEQUENCE, SEQUENCE], SAME),
    ("Combination", {"operations": ["dot_multiply", "origin"]}, [FIXED, FIXED, FIXED], {}),
    ("Combination", {"operations": ["origin"]}, [VECTOR, Spec("BD", {"D": 2})], {}),
    ("Concat2D", {}, [VECTOR, Spec("BD", {"D": 2}), VECTOR], {}),
    ("Concat3D", {}, [SEQUENCE, Spec("BTD", {"D": 2})], SAME),
    ("Concat3D", {"concat3D_axis": 1}, [SEQUENCE, SEQUENCE], {}),
    ("Concat3D", {"concat3D_axis": 1}, [FIXED, FIXED, FIXED], {}),
    ("CRF", {}, [SEQUENCE], {}),
    ("CRF", {}, [FIXED], {}),
    ("Flatten", {}, [FIXED], {}),
    ("Flatten", {}, [FIXED_MATRIX], {}),
    *((name, {}, [VECTOR, VECTOR], {}) for name in ("Add2D", "Minus2D", "ElementWisedMultiply2D")),
    *((name, {}, [SEQUENCE, SEQUENCE], SAME) for name in ("Add3D", "Minus3D", "ElementWisedMultiply3D")),
    *((name, {"abs_flag": True}, [spec, spec], SAME) for name, spec in (("Minus2D", VECTOR), ("Minus3D", FIXED))),
]


def registered(name: str) -> Any:
    return BLOCKS[name] if name in BLOCKS else CHAR_EMBEDDINGS[name]


@pytest.mark.parametrize(("name", "conf", "specs", "options"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_block_keeps_the_contract(name, conf, specs, options):
    check_contract(core.conf.read(registered(name).Conf, conf), specs, **options)


def test_every_registered_block_has_a_case():
    ours = {
        name
        for registry in (BLOCKS, CHAR_EMBEDDINGS)
        for name in registry
        if registry[name].__module__.startswith("block_zoo.")
    }
    assert ours == {case[0] for case in CASES}


@pytest.mark.parametrize("name", sorted({case[0] for case in CASES}))
def test_docstring_has_the_five_parts_and_its_json_line_is_a_valid_layer(name):
    text = registered(name).__doc__
    for part in ("Shape:", "Masking:", "Reference:"):
        assert part in text
    (line,) = re.findall(r"`(\{.*\})`", text)
    layer = json.loads(line)
    conf = core.conf.read(registered(layer["layer"]).Conf, layer.get("conf", {}))
    assert type(conf).owner is BLOCKS[layer["layer"]]
    assert name in json.dumps(layer)


@pytest.mark.parametrize("name", sorted({case[0] for case in CASES}))
def test_every_field_of_a_conf_is_described(name):
    cls = registered(name).Conf
    assert set(core.conf.annotations(cls)) <= set(core.conf.field_docs(cls))


class Broken(Block):
    """A block whose faults are chosen by its Conf."""

    class Conf(Block.Conf):
        fault: str

        def output_spec(self, states):
            return states.resized(D=7) if self.fault == "spec" else states.resized()

        def build(self, *inputs):
            return Broken(self, *inputs)

    def __init__(self, conf, states):
        super().__init__()
        self.fault = conf.fault
        self.scale = torch.nn.Parameter(torch.ones(states.size("D")))
        self.unused = torch.nn.Parameter(torch.ones(1)) if conf.fault == "gradient" else None

    def forward(self, states):
        values = zero_padding(states.values, states.mask) * self.scale
        match self.fault:
            case "padding":
                values = states.values * self.scale
            case "neighbours":
                values = zero_padding(values - values.mean(0), states.mask)
            case "eval":
                values = zero_padding(values + torch.rand(()), states.mask)
            case "lengths":
                return Features(values, states.mask, states.lengths + 1)
            case "mask":
                return Features(values)
            case "order":
                values = zero_padding(values * torch.arange(1, len(values) + 1)[:, None, None], states.mask)
            case "in place":
                states.values.mul_(2)
            case "nan":
                values = values / 0
        return states.with_values(values)


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("spec", "output_spec promises B x T x 7"),
        ("padding", "not zero at padding"),
        ("neighbours", "alone"),
        ("order", "alone|order"),
        ("eval", "not deterministic"),
        ("lengths", "lengths are"),
        ("mask", "has no mask"),
        ("gradient", "'unused' gets no gradient"),
        ("in place", "in place"),
        ("nan", "not finite"),
    ],
)
def test_contract_names_what_is_broken(fault, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_contract(Broken.Conf(fault=fault), [SEQUENCE])


def test_contract_accepts_a_sound_block():
    check_contract(Broken.Conf(fault=""), [SEQUENCE])


def test_sampled_inputs_are_right_padded_and_have_an_empty_text():
    (features,) = sample_inputs([SEQUENCE])
    assert features.lengths is not None and features.mask is not None
    assert features.lengths.tolist() == features.mask.sum(1).tolist()
    assert features.lengths.min() == 0
    assert features.mask.shape == features.values.shape[:2]
