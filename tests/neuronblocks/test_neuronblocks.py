"""Configs in the manner of NeuronBlocks, as they are, through the doors. Together they use all of its format."""

import json
from pathlib import Path

import pytest
from made_data import ROWS, make

CONFIGS = Path(__file__).parent / "configs"
PATHS = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.json"))

BLOCKS = {
    "Embedding": "word char",
    "CNNCharEmbedding": "cols dim embedding_matrix_dim stride padding window_size activation dropout",
    "LSTMCharEmbedding": "cols dim embedding_matrix_dim padding dropout bidirect_flag",
    "Linear": "hidden_dim batch_norm activation last_hidden_activation last_hidden_softmax keep_dim",
    "Dropout": "dropout",
    "BiLSTM": "hidden_dim dropout num_layers",
    "BiLSTMLast": "hidden_dim dropout num_layers",
    "BiLSTMAtt": "hidden_dim dropout num_layers",
    "BiGRU": "hidden_dim dropout num_layers",
    "BiGRULast": "hidden_dim dropout",
    "BiQRNN": "hidden_dim window zoneout dropout num_layers",
    "Conv": "window_size padding padding_type output_channel_num batch_norm activation dropout remind_lengths stride "
    "input_channel_num",
    "ConvPooling": "window_sizes window_size output_channel_num stride padding batch_norm activation pool_type "
    "pool_axis input_channel_num",
    "Conv2D": "window_size stride padding padding_type output_channel_num batch_norm activation",
    "Pooling": "pool_type pool_axis",
    "Pooling1D": "pool_type stride padding window_size",
    "Pooling2D": "pool_type stride padding window_size",
    "HighwayLinear": "num_layers activation",
    "LayerNorm": "",
    "Transformer": "attention attention_conf layernorm_1 layernorm1_conf mlp mlp_conf layernorm_2 layernorm2_conf "
    "n_layer",
    "EncoderDecoder": "encoder encoder_conf decoder decoder_conf",
    "CRF": "START_TAG STOP_TAG",
    "Attention": "",
    "MatchAttention": "activation",
    "BilinearAttention": "",
    "LinearAttention": "keep_dim attention_weight_dim",
    "FullAttention": "hidden_dim activation",
    "Seq2SeqAttention": "attention_dropout",
    "BiAttFlow": "attention_dropout",
    "Interaction": "matching_type dropout",
    "Match": "activation",
    "Expand_plus": "operation",
    "Flatten": "",
    "Combination": "operations",
    "Concat2D": "concat2D_axis",
    "Concat3D": "concat3D_axis",
    "CalculateDistance": "operations",
    "Add2D": "",
    "Add3D": "",
    "Minus2D": "abs_flag",
    "Minus3D": "abs_flag",
    "ElementWisedMultiply2D": "",
    "ElementWisedMultiply3D": "",
    "MatrixMultiply": "operation",
}
"""Every block of NeuronBlocks that a config may name, with its keys and those that its configs write beside them."""

IDLE = {
    "": ["license", "tool_version"],
    "outputs": ["model_name", "train_log_name", "test_log_name", "predict_log_name", "cache_dir"],
    "training_params": ["chunk_size", "use_gpu", "cpu_num_workers"],
    "training_params.vocabulary": ["max_building_lines"],
}
"""Keys without effect in any config."""
NOTICES = {
    "classification/bigru_attention_glove.json": {
        "architecture[0].weight_on_gpu": "has no effect. It is chosen automatically.",
        "loss.losses[0].conf.weight": "goes by how often labels occur in train",
        "loss.losses[1].conf.alpha": "goes by how often labels occur in train",
        "training_params.max_lengths.nobody": "has no effect. No branch or column is called so.",
        "training_params.max_lengths.target": "has no effect.",
        "training_params.tokenizer": "has no effect. Words that have features or tags are split at spaces.",
    },
    "classification/chinese_text_cnn.json": {
        "architecture[1].conf.input_channel_num": "has no effect.",
        "architecture[1].conf.pool_axis": "has no effect. Pooling is over the tokens of the text.",
        "training_params.max_epoch": "is missing: training ends after 10 validations without a better score.",
    },
    "classification/transformer_word2vec.json": {
        "architecture[0].conf.char.padding": "has no effect.",
        **{
            f"architecture[1].conf.{key}": "has no effect."
            for key in ("attention", "mlp", "layernorm_1", "layernorm1_conf", "layernorm_2", "layernorm2_conf")
        },
        "architecture[5].conf.input_channel_num": "has no effect.",
        "architecture[5].conf.padding": "has no effect. padding_type SAME pads by itself.",
        "architecture[5].conf.remind_lengths": "has no effect. Lengths always travel with the states.",
        "architecture[14].conf.last_hidden_activation": "puts PReLU on the answer of the model",
        "inputs.data_paths.valid_data_path": "is missing: the best model is chosen on the test rows",
        "training_params.max_lengths": "has no effect. fixed_lengths cut the texts.",
    },
    "matching/arc_ii.json": {
        "architecture[1].conf.input_channel_num": "has no effect.",
        "architecture[2].conf.input_channel_num": "has no effect.",
        "architecture[5].conf.operation": "has no effect. The texts are always added.",
        "architecture[7].conf.padding": "has no effect. padding_type SAME pads by itself.",
        "architecture[8].conf.stride": "has no effect. Without window_size the whole grid is pooled.",
        "loss.losses[0].inputs[0]": "'output' gives probabilities; CrossEntropyLoss takes the scores before them.",
    },
    "matching/attentions.json": {
        "architecture[25]": "has no effect. Nothing that gives an answer reads 'unread', so it is left out.",
    },
    "matching/match_pyramid.json": {
        "loss.losses[0].conf.weight": "goes by how often labels occur in train",
    },
    "matching/siamese_bilstm.json": {
        "architecture[0].conf.word.fix_weight": "fixes random vectors: inputs.data_paths.pre_trained_emb names none.",
        "loss.losses[0].conf.weight": "goes by how often labels occur in train",
    },
    "mrc/bidaf.json": {
        "inputs.add_start_end_for_seq": "has no effect. mrc answers about the words as they stand in the file.",
    },
    "regression/match_distillation.json": {
        "architecture[0].conf.char.cols": "has no effect. No branch reads 'query_char'.",
        "inputs.involve_all_words_in_pretrained_emb": "has no effect. inputs.data_paths.pre_trained_emb names no vec",
    },
    "regression/query_distillation.json": {
        "architecture[0].weight_on_gpu": "has no effect.",
        "architecture[2].conf.input_channel_num": "has no effect.",
        "inputs.positive_label": "has no effect. auc counts 1 against 0.",
        "loss.losses[3].inputs[0]": "'output' gives probabilities; BCELoss takes the scores before them.",
    },
    "tagging/bilstm_softmax.json": {
        "inputs.add_start_end_for_seq": "has no effect. sequence_tagging answers about the words as they stand in the file.",
        "loss.losses[0].conf.ignore_index": "has no effect. Padding has no label here, and never counts.",
        "training_params.max_lengths": "has no effect. sequence_tagging answers about the words as they stand in the file.",
        "training_params.tokenizer": "has no effect. Words that have features or tags are split at spaces.",
    },
    "tagging/char_lstm_bilstm_crf.json": {
        "architecture[0].conf.char.padding": "has no effect. A word is read without padding.",
        "architecture[0].weight_on_gpu": "has no effect.",
        "architecture[4].conf.START_TAG": "has no effect. The start has scores of its own.",
        "architecture[4].conf.STOP_TAG": "has no effect.",
        "training_params.max_lengths": "has no effect. sequence_tagging answers about the words as they stand in the file.",
    },
    "tagging/encoder_decoder.json": {
        "architecture[1].conf.decoder": "has no effect.",
        "architecture[1].conf.encoder": "has no effect. The encoder is always a bidirectional LSTM (SLUEncoder).",
        "inputs.positive_label": "has no effect. Spans are scored by their type, as in f1@PER.",
        "loss.losses[0].conf.ignore_index": "has no effect.",
        "training_params.fixed_lengths": "has no effect. sequence_tagging answers about the words as they stand in the file.",
    },
}
"""Config -> the path of each notice beside those on IDLE keys, and how its sentence begins."""


def config_of(name):
    return json.loads((CONFIGS / name).read_text("utf-8"))


def test_the_configs_use_every_block_with_every_key():
    used: dict[str, set[str]] = {block: set() for block in BLOCKS}
    for layer in (layer for name in PATHS for layer in config_of(name)["architecture"]):
        conf = layer.get("conf") or {}
        if layer["layer"] in used:
            used[layer["layer"]] |= set(conf)
        if "char" in conf:
            used[conf["char"]["type"]] |= set(conf["char"])
    assert [(block, key) for block, keys in BLOCKS.items() for key in keys.split() if key not in used[block]] == []
    assert {layer["layer"] for name in PATHS for layer in config_of(name)["architecture"]} >= {
        block for block in BLOCKS if not block.endswith("CharEmbedding")
    }


def notices(err: str) -> dict[str, str]:
    """Path -> sentence."""
    lines = [line.removeprefix("note: ") for line in err.splitlines() if line.startswith("note: ")]
    found = dict(line.split(": ", 1) for line in lines)
    assert len(found) == len(lines), "a place is noticed twice"
    return found


@pytest.mark.parametrize("name", PATHS)
def test_a_config_of_neuronblocks_checks_trains_tests_and_predicts_as_it_is(door, tmp_path, monkeypatch, name):
    config, path = config_of(name), CONFIGS / name
    monkeypatch.chdir(tmp_path)
    make(config, tmp_path)

    code, out, err = door("train", "--conf_path", path, "--check")
    assert code == 0 and out.endswith("no problems\n"), err
    expected = dict(NOTICES[name])
    for section, keys in IDLE.items():
        place = config
        for step in filter(None, section.split(".")):
            place = place[step]
        expected |= {f"{section}.{key}".removeprefix("."): "has no effect. " for key in keys if key in place}
    given = notices(err)
    assert given.keys() == expected.keys()
    assert [place for place in given if not given[place].startswith(expected[place])] == []

    code, out, err = door("train", "--conf_path", path)
    assert code == 0 and f"training rows: {ROWS['train']}" in out, err
    assert notices(err) == given
    run = Path(config["outputs"]["save_base_dir"])
    assert (run / "weights.safetensors").exists()

    code, out, err = door("test", "--conf_path", path)
    assert code == 0 and f"{ROWS['test']} rows" in out, err
    scores = json.loads((run / "scores.json").read_text())
    assert set(config["metrics"]) <= scores["validation"].keys() & scores["test"].keys()

    code, out, err = door("predict", "--conf_path", path)
    assert code == 0 and " 0 bad;" in err, err
    outputs, inputs = config["outputs"], config["inputs"]
    source = inputs["data_paths"].get("predict_data_path") or inputs["data_paths"]["test_data_path"]
    before = Path(source).read_text("utf-8").splitlines()
    after = (run / outputs.get("predict_output_name", "predict.tsv")).read_text("utf-8").splitlines()
    default = ["prediction", "confidence"] if inputs["dataset_type"] == "classification" else ["prediction"]
    fields = outputs.get("predict_fields", default)
    assert [line.split("\t")[: -len(fields)] for line in after] == [line.split("\t") for line in before]
    if inputs.get("file_with_col_header"):
        assert after[0].split("\t")[-len(fields) :] == fields


def test_a_student_of_scores_is_tested_against_labels(door, tmp_path, monkeypatch):
    name = "regression/query_distillation.json"
    monkeypatch.chdir(tmp_path)
    make(config_of(name), tmp_path)
    assert door("train", "--conf_path", CONFIGS / name)[0] == 0
    assert door("test", "--conf_path", CONFIGS / name)[0] == 0
    scores = json.loads(Path("models/distilled/scores.json").read_text())
    assert scores["validation"]["auc"] is None and 0 <= scores["test"]["auc"] <= 1
    assert door("predict", "--conf_path", CONFIGS / name)[0] == 0
    answers = [float(line.split("\t")[2]) for line in Path("models/distilled/predict.tsv").read_text().splitlines()]
    assert all(0 < answer < 1 for answer in answers)
