"""PretrainedEncoder against the transformers library, which tokenises, pairs and cuts on its own."""

import numpy as np
import pytest
import torch
from tiny_encoders import KINDS, write_encoder
from transformers import AutoModel, AutoTokenizer

from block_zoo import PretrainedEncoder
from core.errors import UserError
from core.pretrained import POSITIONS_BEHIND_PADDING
from core.types import Row
from text.encoder import InputEncoder
from text.input_plan import InputPlan

FIRST = ["red cat", "the small dog sleeps in a large tree by the river", "bird", "blue blue blue"]
SECOND = ["it eats green birds near the house", "runs", "a tree and a house and a river and a tree and a house", "cat"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Model type -> the folder of a tiny encoder."""
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = str(write_encoder(tmp_path_factory.mktemp(kind), kind))
        return made[kind]

    return folder


def read(model, tagged=(), **columns):
    """Branch -> Features of one batch, and branch -> Spec, for texts by column."""
    plan = InputPlan(
        branches={name: [name] for name in columns},
        kinds=dict.fromkeys(columns, "piece"),
        clusters=dict.fromkeys(columns, model),
        tagged=tagged,
    )
    encoder = InputEncoder(plan)
    rows = [
        Row(at + 1, dict(zip(columns, texts, strict=True)))
        for at, texts in enumerate(zip(*columns.values(), strict=True))
    ]
    encoded, errors = encoder.encode_rows(rows)
    assert not any(errors)
    return encoded.batch(np.arange(len(rows))).inputs, encoder.specs()


def built(model, specs, **conf):
    block = PretrainedEncoder.Conf(model=model, **conf).build(*specs.values())
    block.load_pretrained()
    return block.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [{"first": FIRST}, {"first": FIRST, "second": SECOND}], ids=["one", "pair"])
def test_states_are_those_of_transformers_on_texts_that_it_tokenised_itself(folders, kind, texts):
    model = folders(kind)
    inputs, specs = read(model, **texts)
    with torch.no_grad():
        ours = built(model, specs)(*inputs.values())
        tokenizer, theirs = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
        batch = tokenizer(*texts.values(), padding=True, truncation=True, max_length=40, return_tensors="pt")
        if kind in ("roberta", "distilbert", "deberta-v2", "modernbert"):
            batch.pop("token_type_ids", None)
        expected = theirs(**batch, output_hidden_states=True)
    mask = batch["attention_mask"].bool()
    tokens = ours.inner["tokens"]
    assert torch.equal(tokens.real_mask(), mask)
    torch.testing.assert_close(tokens.values, expected.last_hidden_state * mask.unsqueeze(2))
    for number in range(5):
        torch.testing.assert_close(
            ours.inner[f"hidden.{number}"].values, expected.hidden_states[number] * mask.unsqueeze(2)
        )
    for row, name in enumerate(texts):
        for at in range(len(FIRST)):
            wanted = [place for place, text in enumerate(batch.sequence_ids(at)) if text == row]
            states = ours.inner[name].values[at][: len(wanted)]
            torch.testing.assert_close(states, expected.last_hidden_state[at, wanted])


@pytest.mark.parametrize("room", [9, 12, 15, 30])
def test_pairs_that_are_too_long_are_cut_as_transformers_cuts_them(folders, room):
    model, pairs = folders("bert"), [*zip(FIRST, SECOND, strict=True), (FIRST[1], SECOND[2])]
    inputs, specs = read(model, first=[first for first, _ in pairs], second=[second for _, second in pairs])
    framed, _ = built(model, specs, max_length=room).framed([*inputs.values()])
    tokenizer = AutoTokenizer.from_pretrained(model)
    for row, pair in enumerate(pairs):
        expected = tokenizer(*pair, truncation="longest_first", max_length=room)
        real = int(framed.lengths[row])
        assert real == len(expected["input_ids"])
        # Which of two texts of equal rights keeps the odd piece is nobody's business.
        assert abs(sum(expected["token_type_ids"]) - int(framed.parts["segments"][row, :real].sum())) <= 1
    for cut, kept in (("first", 1), ("second", 0)):
        framed, _ = built(model, specs, max_length=room, cut=cut).framed([*inputs.values()])
        for row, pair in enumerate(pairs):
            if len(tokenizer(pair[kept])["input_ids"]) + 1 < room:
                expected = tokenizer(*pair, truncation=f"only_{cut}", max_length=room)
                assert framed.values[row, : int(framed.lengths[row])].tolist() == expected["input_ids"]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("words", ["first", "mean"])
def test_words_have_the_state_of_their_first_piece_or_the_mean_of_all(folders, kind, words):
    model = folders(kind)
    inputs, specs = read(model, tagged=["first"], first=FIRST)
    with torch.no_grad():
        ours = built(model, specs, words=words)(*inputs.values())
        tokenizer = AutoTokenizer.from_pretrained(model)
        theirs = AutoModel.from_pretrained(model).eval()
        assert [text.count(" ") + 1 for text in FIRST] == ours.mask.sum(1).tolist()
        for row, text in enumerate(FIRST):
            batch = tokenizer([f" {text}"], return_tensors="pt")  # without signs, its words are those between spaces
            states = theirs(batch["input_ids"]).last_hidden_state[0]
            for word in range(text.count(" ") + 1):
                pieces = states[[at for at, owner in enumerate(batch.word_ids()) if owner == word]]
                expected = pieces[0] if words == "first" else pieces.mean(0)
                torch.testing.assert_close(ours.values[row, word], expected)


@pytest.mark.parametrize(
    ("layers", "kept"), [(2, [1, 2]), ([1, 4], [1, 4]), ("every_other", [2, 4])], ids=["first", "list", "every other"]
)
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_layers_that_are_kept_are_computed_and_no_others(folders, kind, layers, kept):
    model = folders(kind)
    inputs, specs = read(model, first=FIRST)
    whole = AutoModel.from_pretrained(model).eval()
    block = built(model, specs, layers=layers)
    assert sum(p.numel() for p in block.encoder.parameters()) < sum(p.numel() for p in whole.parameters())
    stack = whole.encoder.layer if kind == "bert" else whole.layers
    chosen = [stack[number - 1] for number in kept]
    del stack[:]
    stack.extend(chosen)
    with torch.no_grad():
        framed, _ = block.framed([*inputs.values()])
        expected = whole(framed.values, attention_mask=framed.real_mask()).last_hidden_state
        states = block(*inputs.values()).inner["tokens"]
    torch.testing.assert_close(states.values, expected * states.real_mask().unsqueeze(2))


def test_what_is_frozen_gets_no_gradient(folders):
    _, specs = read(folders("bert"), first=FIRST)
    for freeze, trained in ((0, 4), (3, 1), ("all", 0), (None, 4)):
        block = built(folders("bert"), specs, freeze=freeze)
        names = {name for name, weight in block.named_parameters() if weight.requires_grad}
        assert len({name.split(".")[3] for name in names if ".layer." in name}) == trained
        assert any("embeddings" in name for name in names) == (freeze is None)


def test_a_norm_behind_the_last_layer_is_no_deeper_than_it_and_stays_trained(folders):
    _, specs = read(folders("modernbert"), first=FIRST)
    block = built(folders("modernbert"), specs, freeze=3)
    depths = {name: block.depth(name) for name, _ in block.named_parameters()}
    assert depths["encoder.final_norm.weight"] == 0 and depths["encoder.embeddings.norm.weight"] == 5
    assert block.encoder.final_norm.weight.requires_grad


@pytest.mark.parametrize("kind", POSITIONS_BEHIND_PADDING)
def test_encoders_that_number_positions_from_behind_padding_read_as_many_pieces_as_they_have(folders, kind):
    sizes = KINDS["bert"] | {"max_position_embeddings": 14, "vocab_size": 330, "pad_token_id": 1}
    own: dict[str, dict[str, object]] = {
        "longformer": {"attention_window": 4},
        "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    }
    segments = {} if kind == "mpnet" else {"type_vocab_size": 1}
    config = {"model_type": kind, **segments, **sizes, **own.get(kind, {})}
    inputs, specs = read(folders("roberta"), first=FIRST)
    block = PretrainedEncoder.Conf(config=config, tokenizer=folders("roberta")).build(*specs.values()).eval()
    with torch.no_grad():
        tokens = block(*inputs.values()).inner["tokens"]
    assert tokens.real_mask().sum(1).max() == 12


def test_a_config_cannot_name_code_that_computes_attention(folders):
    config = {"model_type": "bert", **KINDS["bert"], "attn_implementation": "somebody/attention"}
    _, specs = read(folders("bert"), first=FIRST)
    block = built(None, specs, config=config, tokenizer=folders("bert"))
    assert block.encoder.config._attn_implementation == "sdpa"


def test_a_config_that_transformers_cannot_build_is_refused_in_one_sentence(folders):
    config = {"model_type": "bert", **KINDS["bert"], "hidden_act": "gelo"}
    _, specs = read(folders("bert"), first=FIRST)
    with pytest.raises(UserError, match="cannot make a bert of these settings"):
        PretrainedEncoder.Conf(config=config, tokenizer=folders("bert")).build(*specs.values())


def test_a_checkpoint_that_does_not_fit_is_refused_with_what_is_wrong(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_encoder(tmp_path / "broken")
    _, specs = read(str(folder), first=FIRST)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    for broken, said in (
        ({key: value for key, value in weights.items() if key != name}, "lacks encoder.layer.1.output.dense.weight"),
        (weights | {name: torch.zeros(3, 3)}, "other shapes: encoder.layer.1.output.dense.weight ([3, 3] there"),
    ):
        save_file(broken, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError) as caught:
            built(str(folder), specs)
        assert said in str(caught.value)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read"):
        built(str(folder), specs)
    save_file(weights | {name: weights[name] * torch.nan}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"layer.1.output.dense.weight of the checkpoint has values that are no finite"):
        built(str(folder), specs)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"the folder has no \*.safetensors. Its .bin is a pickle.*save_pretrained"):
        PretrainedEncoder.Conf(model=str(folder))


@pytest.mark.parametrize(("more", "is_told"), [(0, False), (100, False), (200, True)])
def test_a_tokenizer_with_far_fewer_pieces_than_the_weights_know_is_told(folders, tmp_path, more, is_told):
    _, specs = read(folders("bert"), first=FIRST)
    size = specs["first"].size("V") + more
    block = PretrainedEncoder.Conf(model=str(write_encoder(tmp_path / "other", vocab_size=size))).build(*specs.values())
    assert (f"they know {size} pieces, the tokenizer {size - more}" in str(block.load_pretrained())) == is_told


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({}, "names no encoder"),
        ({"config": {"model_type": "bert"}}, "names no tokenizer"),
        ({"config": {"model_type": "birt"}, "tokenizer": "x"}, "refused by transformers"),
        ({"config": {"num_hidden_layers": 9}, "tokenizer": "x"}, "config names no model_type"),
        ({"model": "./nowhere", "config": {"num_hidden_layers": 9}}, "config names no model_type"),
        (
            {"config": {"model_type": "bert", "hiden_size": 30, "layer_norm_eps": 0.1}, "tokenizer": "x"},
            "config: 'hiden_size' is unknown to a bert. Did you mean 'hidden_size'?",
        ),
        ({"config": {"model_type": "t5"}, "tokenizer": "x"}, "no encoder of texts"),
        ({"config": {"model_type": "vit"}, "tokenizer": "x"}, "no encoder of texts"),
        ({"config": {"model_type": "clip"}, "tokenizer": "x"}, "no encoder of texts"),
        (
            {"config": {"model_type": "bert"}, "tokenizer": "x", "pooling": "pretrained", "layer_mix": True},
            "reads the last layer alone",
        ),
        ({"model": "./nowhere"}, "./nowhere: no such folder"),
    ],
)
def test_a_conf_that_names_no_encoder_is_refused(conf, said):
    with pytest.raises(ValueError) as caught:
        PretrainedEncoder.Conf(**conf)
    assert said in str(caught.value)


def test_a_config_that_an_earlier_transformers_wrote_may_say_what_this_one_does_not_know():
    config = {"model_type": "distilbert", "hidden_size": 32, "tie_weights_": True, "transformers_version": "4.8.2"}
    assert PretrainedEncoder.Conf(config=config, tokenizer="x").settings.dim == 32


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"layers": 5}, "has 1 to 4"),
        ({"layers": [2, 9]}, "has 1 to 4"),
        ({"freeze": 3, "layers": 2}, "freezes 3 layers, but 2 are kept"),
        ({"max_length": 2}, "leaves no room"),
    ],
)
def test_settings_that_do_not_suit_the_encoder_are_refused(folders, conf, said):
    _, specs = read(folders("bert"), first=FIRST)
    with pytest.raises(ValueError) as caught:
        PretrainedEncoder.Conf(model=folders("bert"), **conf).output_spec(*specs.values())
    assert said in str(caught.value)


def test_settings_that_change_nothing_for_these_inputs_are_told(folders):
    model = folders("roberta")
    conf = PretrainedEncoder.Conf(model=model, cut="first", words="mean", max_length=41)
    _, alone = read(model, first=FIRST)
    assert list(conf.notices(False, *alone.values())) == ["cut", "words", "max_length"]
    assert "takes 40 pieces" in conf.notices(False, *alone.values())["max_length"]
    _, tagged = read(model, tagged=["first"], first=FIRST, second=SECOND)
    conf = PretrainedEncoder.Conf(model=model, cut="first", words="mean", max_length=40)
    assert conf.notices(False, *tagged.values()) == {}


def test_a_pooler_that_the_encoder_does_not_have_is_refused(folders):
    _, specs = read(folders("electra"), first=FIRST)
    with pytest.raises(ValueError, match="has no pooler of its own"):
        PretrainedEncoder.Conf(model=folders("electra"), pooling="pretrained").output_spec(*specs.values())


def test_a_tokenizer_of_another_encoder_is_refused(folders):
    _, specs = read(folders("roberta"), first=FIRST)
    conf = PretrainedEncoder.Conf(model=folders("bert"), tokenizer=folders("roberta"))
    with pytest.raises(ValueError, match="one does not belong to the other"):
        conf.output_spec(*specs.values())


def test_a_hub_name_without_network_gets_three_ways_out(monkeypatch, tmp_path):
    import core.pretrained

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    core.pretrained.encoder_config.cache_clear()
    with pytest.raises(ValueError, match="nobody/nothing.*Three ways out"):
        PretrainedEncoder.Conf(model="nobody/nothing")


def test_layers_that_share_their_weights_have_no_depth_and_cannot_be_dropped(folders):
    _, specs = read(folders("albert"), first=FIRST)
    block = built(folders("albert"), specs)
    assert {block.depth(name) for name, _ in block.named_parameters()} == {0}
    for conf in ({"layers": 2}, {"freeze": 1}):
        with pytest.raises(UserError, match="has no layers of its own"):
            built(folders("albert"), specs, **conf)


def test_what_is_cut_of_a_text_is_not_there_for_others(folders):
    """The first of two texts in a graph: its mask ends where it is cut, as if the rest had never been there."""
    model = folders("bert")
    inputs, specs = read(model, first=FIRST)
    room = 2 + int(next(iter(inputs.values())).host_lengths().min())
    with torch.no_grad():
        cut = built(model, specs, pooling=None, max_length=room)(*inputs.values())
    assert cut.mask is not None
    assert torch.equal(cut.mask.sum(1), torch.full((len(FIRST),), room - 2))
    assert torch.equal(cut.host_lengths(), cut.mask.sum(1))
