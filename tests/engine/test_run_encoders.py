"""Encoders that begin with the layers of an encoder that a run has trained."""

import json
import shutil

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file, save_file
from tiny_encoders import write_encoder

from block_zoo import PretrainedEncoder
from core.errors import ConfigError
from engine.experiment import load_experiment
from engine.predictor import Predictor
from engine.training import train

STILL = {"optimizer": {"name": "SGD", "params": {"lr": 0.0}}, "max_epoch": 1}


def encoder_of(task, model, **conf):
    """Let the task have an encoder and an output layer."""
    task.config["architecture"] = [
        {
            "layer_id": "encoder",
            "layer": "PretrainedEncoder",
            "conf": {"pooling": "cls", "model": str(model), **conf},
            "inputs": ["sentence"],
        },
        {**task.config["architecture"][-1], "inputs": ["encoder"]},
    ]


def taught(task, kind="bert", **conf):
    """The run of a teacher, moved aside; the next training learns nothing, so that its first weights can be seen."""
    task.config["training_params"] |= {"precision": "fp32", "max_epoch": 1}
    source = write_encoder(task.folder / kind, kind)
    encoder_of(task, source, **conf)
    train(load_experiment(task.path), lambda _: None)
    shutil.rmtree(source)
    return task.run.rename(task.folder / "teacher")


def begun(task):
    """What the training says of the encoder's weights, and of an earlier run's, and the weights that it has then."""
    said: list[str] = []
    task.config["training_params"] |= STILL
    train(load_experiment(task.path), said.append, force=True)
    own, *more = (line for line in said if line.startswith("weights of"))
    return own, more, load_file(task.run / "weights.safetensors")


def encoder_in(run):
    model = Predictor.load(run).model.eval()
    return next(block.encoder for block in model.blocks.values() if isinstance(block, PretrainedEncoder))


@pytest.mark.parametrize(
    ("has", "layers", "taken"),
    [
        (None, 2, [0, 1]),
        (None, [4, 1, 2, 3], [3, 0, 1, 2]),
        ([1, 3, 4], None, [0, 1, 2]),
        ([1, 3, 4], [1, 3], [0, 2]),
    ],
)
def test_a_student_begins_with_layers_of_its_teacher_and_answers_without_it(task, door, has, layers, taken):
    teacher = taught(task, layers=has)
    its = load_file(teacher / "weights.safetensors")
    encoder_of(task, teacher, layers=layers)
    said, _, weights = begun(task)
    assert said == f"weights of {teacher}: {len(taken)} of {len(has or range(4))} layers"
    expected = {name: weight for name, weight in its.items() if name.startswith("blocks.encoder:.encoder.embeddings")}
    for place, number in enumerate(taken):
        layer = f"blocks.encoder:.encoder.encoder.layer.{number}."
        inner = {name.removeprefix(layer): weight for name, weight in its.items() if name.startswith(layer)}
        expected |= {f"blocks.encoder:.encoder.encoder.layer.{place}.{name}": weight for name, weight in inner.items()}
    own = {name: weight for name, weight in weights.items() if name.startswith("blocks.encoder:.encoder.")}
    assert own.keys() == expected.keys() and all(torch.equal(own[name], expected[name]) for name in own)
    shutil.rmtree(teacher)
    code, _, err = door("test", "--model", task.run)
    assert code == 0, err
    assert door("predict", "--model", task.run, "--output", task.folder / "answers.tsv")[0] == 0


@pytest.mark.parametrize("kind", ["roberta", "modernbert", "distilbert", "albert"])
def test_an_encoder_gives_the_states_that_it_gives_in_the_run(task, kind):
    """ModernBERT's layers are not alike: each keeps the attention that its place in the config has given it."""
    teacher = taught(task, kind, layers=None if kind == "albert" else [1, 2, 4])
    encoder_of(task, teacher)
    begun(task)
    pieces = torch.randint(5, 40, (3, 20), generator=torch.manual_seed(0))
    with torch.no_grad():
        theirs, ours = (encoder_in(run)(pieces).last_hidden_state for run in (teacher, task.run))
    assert torch.equal(theirs, ours)


def test_layers_of_a_run_are_those_of_its_export_to_transformers(task, door):
    teacher = taught(task, pooling="pretrained")
    code, _, err = door("export", "--model", teacher, "--export_transformers", task.folder / "exported")
    assert code == 0, err
    encoder_of(task, task.folder / "exported", layers=[1, 3], pooling="pretrained")
    _, _, by_export = begun(task)
    encoder_of(task, teacher, layers=[1, 3], pooling="pretrained")
    _, _, weights = begun(task)
    assert "blocks.encoder:.encoder.pooler.dense.weight" in weights
    assert weights.keys() == by_export.keys()
    assert all(torch.equal(weights[name], by_export[name]) for name in weights)


def test_a_resumed_student_ends_as_an_uninterrupted_one(task):
    teacher = taught(task, layers=[1, 3, 4])
    encoder_of(task, teacher, layers=[1, 3])
    for epochs, options in (([2], {}), ([1, 2], {"force": True})):
        for count in epochs:
            task.config["training_params"]["max_epoch"] = count
            train(load_experiment(task.path), lambda _: None, **options)
            options = {"resume": True}
        (task.run / "weights.safetensors").rename(task.folder / f"{len(epochs)}.safetensors")
    once, twice = (load_file(task.folder / f"{count}.safetensors") for count in (1, 2))
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_a_student_of_a_student_and_the_written_config_count_layers_alike(task):
    """The config in a run folder counts layers as its settings of transformers do; trained again it is the same."""
    teacher = taught(task, layers=[1, 3, 4])
    encoder_of(task, teacher, layers=[2, 3])
    _, _, first = begun(task)
    written = json.loads((task.run / "config.json").read_text())
    student = task.run.rename(task.folder / "student")
    own = task.config
    task.config = written
    _, _, again = begun(task)
    assert all(torch.equal(first[name], again[name]) for name in first if name.startswith("blocks.encoder:"))
    task.config = own
    encoder_of(task, student, layers=[2])
    _, _, second = begun(task)
    weight = "blocks.encoder:.encoder.encoder.layer.{}.output.dense.weight"
    assert torch.equal(
        second[weight.format(0)], load_file(teacher / "weights.safetensors")[weight.format(2)]
    ) and torch.equal(second[weight.format(0)], first[weight.format(1)])


def test_of_several_encoders_one_is_named(task):
    sources = [write_encoder(task.folder / name, num_hidden_layers=layers) for name, layers in (("one", 2), ("two", 3))]
    for name in ("train", "valid", "test"):
        lines = (task.folder / f"{name}.tsv").read_text().splitlines()
        (task.folder / f"{name}.tsv").write_text("".join(f"{line.partition(chr(9))[0]}\t{line}\n" for line in lines))
    task.config["inputs"]["file_header"] = {"other": 0, "text": 1, "label": 2}
    task.config["inputs"]["model_inputs"] = {"sentence": ["text"], "again": ["other"]}
    output = task.config["architecture"][-1]
    encoders = [
        {"layer_id": f"by_{source.name}", "layer": "PretrainedEncoder", "inputs": [branch]}
        | {"conf": {"model": str(source), "pooling": "cls"}}
        for source, branch in zip(sources, ("sentence", "again"), strict=True)
    ]
    both = {"layer_id": "both", "layer": "Concat2D", "inputs": ["by_one", "by_two"]}
    task.config["architecture"] = [*encoders, both, {**output, "inputs": ["both"]}]
    task.config["training_params"] |= STILL
    train(load_experiment(task.path), lambda _: None)
    teacher = task.run.rename(task.folder / "teacher")
    encoder_of(task, teacher)
    task.config["inputs"]["model_inputs"].pop("again")
    assert f"this run has several encoders; name one, as {teacher / 'by_one'}." in refused(task)
    encoder_of(task, teacher / "by_too")
    assert "this run has no encoder 'by_too'. Did you mean 'by_two'?" in refused(task)
    encoder_of(task, teacher / "by_two")
    said, _, weights = begun(task)
    assert said == f"weights of {teacher / 'by_two'}: 3 of 3 layers"
    its = load_file(teacher / "weights.safetensors")
    name = "encoder.embeddings.word_embeddings.weight"
    assert torch.equal(weights[f"blocks.encoder:.{name}"], its[f"blocks.by_two:.{name}"])


def refused(task):
    """What a check of the config says."""
    with pytest.raises(ConfigError) as caught:
        load_experiment(task.path)
    (finding,) = caught.value.findings
    assert finding.path == "architecture[0].conf"
    return finding.message


def test_what_does_not_fit_is_found_before_any_row_is_read(task):
    words = task.config["architecture"]
    teacher = taught(task, layers=[1, 3, 4])
    encoder_of(task, teacher, layers=[1, 4])
    assert refused(task) == "keeps layers [1, 4], but the encoder has 1 to 3, each once."
    encoder_of(task, teacher, pooling="pretrained")
    assert refused(task) == f"model {teacher}: this run has learnt without the pooler (pooling pretrained)."
    encoder_of(task, teacher)
    scores = (teacher / "scores.json").read_text()
    (teacher / "scores.json").write_text(scores.replace("finished", "begun"))
    assert refused(task) == f"model {teacher}: is not trained to its end; --resume goes on with it."
    (teacher / "weights.safetensors").unlink()
    assert f"model {teacher}: has no model, weights.safetensors is missing" in refused(task)
    task.config["architecture"] = words
    train(load_experiment(task.path), lambda _: None)
    encoder_of(task, task.run)
    assert refused(task) == f"model {task.run}: this run has no pretrained encoder."


def test_a_damaged_run_is_one_sentence(task, door):
    teacher = taught(task)
    encoder_of(task, teacher)
    task.config["training_params"] |= STILL
    sound = {name: (teacher / name).read_bytes() for name in ("config.json", "problem.json", "weights.safetensors")}

    def said(name, content):
        (teacher / name).write_bytes(content)
        code, _, err = door("train", "--conf_path", task.path)
        assert code == 2 and "Traceback" not in err
        assert not task.run.exists() or not (task.run / "weights.safetensors").exists()
        (teacher / name).write_bytes(sound[name])
        return err

    assert "config.json: damaged" in said("config.json", b"{")
    broken = json.loads(sound["config.json"])
    broken["architecture"][0]["conf"]["layers"] = {"first": 2}
    assert "settings of layer 'encoder' are damaged (layers: must be" in said(
        "config.json", json.dumps(broken).encode()
    )
    assert "problem.json: damaged, it has no tokenizer of 'encoder'." in said("problem.json", b'{"version": 1}')
    assert "weights.safetensors: damaged" in said("weights.safetensors", sound["weights.safetensors"][:-9])
    weights = load_file(teacher / "weights.safetensors")
    name = "blocks.encoder:.encoder.embeddings.position_embeddings.weight"
    save_file({key: weight for key, weight in weights.items() if key != name}, task.folder / "some")
    assert "the weights lack encoder.encoder.embeddings.position_embeddings.weight." in said(
        "weights.safetensors", (task.folder / "some").read_bytes()
    )
    save_file(weights | {name: weights[name][1:].clone()}, task.folder / "some")
    assert "the weights do not fit the config (" in said("weights.safetensors", (task.folder / "some").read_bytes())


def test_code_that_a_run_names_never_runs(task, monkeypatch):
    teacher = taught(task)
    config = json.loads((teacher / "config.json").read_text())
    conf = config["architecture"][0]["conf"]
    conf["config"]["auto_map"] = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    conf |= {"trust_remote_code": True, "model": str(teacher)}
    (teacher / "config.json").write_text(json.dumps(config))
    (teacher / "code.py").write_text("raise SystemExit\n")
    monkeypatch.setattr("block_zoo.pretrained_encoder._register_code", lambda *_: pytest.fail("ran the code"))
    for trusted in (False, True):
        encoder_of(task, teacher, trust_remote_code=trusted)
        assert "code of a model's own is not taken from a run. Name the model itself." in refused(task)


def test_a_warm_start_takes_no_layer_for_another(task):
    """Shapes agree, numbers do not; the output layer is taken over all the same, beside layers of the run."""
    teacher = taught(task)
    task.config["inputs"]["data_paths"]["pretrained_model_path"] = str(teacher)
    its, query = (
        load_file(teacher / "weights.safetensors"),
        "blocks.encoder:.encoder.encoder.layer.{}.output.dense.weight",
    )
    for layers, said, number in (
        (2, [f"weights of {teacher} taken over: encoder, output"], 1),
        (
            [2, 4],
            [
                f"weights of {teacher} {what}"
                for what in ("taken over: output", "not taken over: encoder (other layers)")
            ],
            3,
        ),
    ):
        encoder_of(task, teacher, layers=layers)
        _, found, weights = begun(task)
        assert found == said
        assert torch.equal(weights[query.format(1)], its[query.format(number)])


def test_the_student_of_the_guide_learns_from_the_run_that_it_begins_with(task):
    source = write_encoder(task.folder / "bert", num_hidden_layers=6)
    encoder_of(task, source)
    task.config["training_params"] |= STILL
    train(load_experiment(task.path), lambda _: None)
    teacher = task.run.rename(task.folder / "teacher")
    guide = (ROOT / "docs" / "distillation.md").read_text("utf-8")
    section = guide.partition("## An encoder from a few layers of its teacher")[2]
    config = section.partition("```json\n")[2].partition("```")[0].replace("runs/teacher", str(teacher))
    task.config |= json.loads(f"{{{config}}}")
    del task.config["training_params"]["tokenizer"]  # the encoder has its own
    assert load_experiment(task.path).notices == []
    own, _, _ = begun(task)
    assert own == f"weights of {teacher}: 3 of 6 layers"
