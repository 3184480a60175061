"""What is wrong with the inputs of a config, and what in them and in the settings of training has no effect."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import core.conf
from core.config import DataPathsConf, InputsConf
from core.errors import Finding, did_you_mean, known_names
from core.files import similar_file
from core.run_folder import RunFolder
from engine.draft import Draft, asked_by_problem, make_plan
from problems import PROBLEMS
from problems.base import Problem


def check_inputs(draft: Draft, problems: list[Finding], notices: list[Finding], files: bool) -> None:
    """Columns, targets and files that inputs name."""
    conf = draft.inputs
    if conf is None:
        return

    def refuse(path: str, message: str) -> None:
        problems.append(Finding(f"inputs.{path}", message))

    if not conf.model_inputs:
        refuse("model_inputs", "names no branch.")
    if not conf.target and not any(problem.path.startswith("inputs.target") for problem in problems):
        refuse("target", "names no column.")
    if conf.file_header is not None:
        virtual = set(make_plan(draft).sources) if draft.is_read else set()
        wanted = [("target", column) for column in conf.target]
        if draft.is_read:  # which says what columns of characters there are: the file has none
            wanted += [(f"model_inputs.{branch}", c) for branch, columns in conf.model_inputs.items() for c in columns]
        wanted += [("group_by", conf.group_by)] if conf.group_by else []
        for path, column in wanted:
            if column not in conf.file_header and column not in virtual:
                known = [*conf.file_header, *virtual]
                hint = did_you_mean(column, known) or known_names(known)
                refuse(path, f"file_header has no column '{column}'.{hint}")
    word = draft.embedding.word if draft.embedding else None  # type: ignore[attr-defined]
    if word is not None and word.init is not None and conf.data_paths.pre_trained_emb is not None:
        refuse("data_paths.pre_trained_emb", "the Embedding takes its vectors from an encoder (init); leave one out.")
    if draft.is_read:
        for path, complaint in _encoder_problems(conf, draft):
            problems.append(Finding(path, complaint))
        for branch, complaint in make_plan(draft).complaints().items():
            refuse(f"model_inputs.{branch}", complaint)
    if conf.augmentation is not None and draft.is_read:
        plan = make_plan(draft)
        if plan.aligned or plan.placed:
            refuse("augmentation", "makes other texts, but tags, answers or features belong to the words of these.")
        elif draft.language.lower() == "chinese" and conf.augmentation.replace:
            refuse("augmentation.replace", "knows the parts of speech of English words only. Set it to 0.")
    if not problems:
        notices += _input_notices(conf, draft)
    if files:
        _check_files(conf.data_paths, problems, notices)


def _input_notices(conf: InputsConf, draft: Draft) -> Iterator[Finding]:
    """What a user should know about sound inputs."""
    for branch, columns in conf.model_inputs.items():
        for column in columns:
            if column in conf.target:
                notice = f"'{column}' is a target, too: the model reads what it should answer."
                yield Finding(f"inputs.model_inputs.{branch}", notice)
    idle = [*_idle_inputs(conf, draft), *((f"training_params.{key}", why) for key, why in _idle_settings(draft))]
    yield from (Finding(path, f"has no effect. {why}") for path, why in idle)
    for name, cluster in (draft.embedding.clusters if draft.embedding else {}).items():  # type: ignore[attr-defined]
        if name == "word" and cluster.fix_weight and cluster.init is None and conf.data_paths.pre_trained_emb is None:
            notice = "fixes random vectors: inputs.data_paths.pre_trained_emb names none."
            yield Finding("architecture[0].conf.word.fix_weight", notice)


def _idle_inputs(conf: InputsConf, draft: Draft) -> Iterator[tuple[str, str]]:
    """(path, reason) of what changes nothing in inputs, or for the problem, and of columns that nobody reads."""
    settled = asked_by_problem(conf)
    asked = {"inputs.add_start_end_for_seq": ("add_start_end", conf.add_start_end_for_seq)}
    for key in ("max_lengths", "fixed_lengths"):
        asked[f"training_params.{key}"] = (key, bool(getattr(draft.training, key, None)))
    why = f"{conf.dataset_type} answers about the words as they stand in the file."
    yield from ((path, why) for path, (key, is_on) in asked.items() if is_on and key in settled)
    problem: type[Problem] = PROBLEMS[conf.dataset_type]
    yield from ((f"inputs.{key}", why) for key, why in problem.idle(conf).items())
    recombines = conf.augmentation is not None and conf.augmentation.recombine and draft.is_read
    if recombines and len(make_plan(draft).text_columns) == 1:
        yield "inputs.augmentation.recombine", "Rows have one text."
    if conf.add_start_end_for_seq and "add_start_end" not in settled and draft.is_read:
        plan = make_plan(draft)
        if all(plan.kinds[column] == "piece" for column in plan.words_of):
            yield "inputs.add_start_end_for_seq", "An encoder's tokenizer puts its own signs around texts."
    clusters = draft.clusters
    if conf.data_paths.pre_trained_emb is None:
        if conf.involve_all_words_in_pretrained_emb:
            yield "inputs.involve_all_words_in_pretrained_emb", "inputs.data_paths.pre_trained_emb names no vectors."
    elif draft.is_read and "word" not in clusters:
        yield "inputs.data_paths.pre_trained_emb", "No Embedding has a cluster word."
    read = {column for columns in conf.model_inputs.values() for column in columns}
    for name, columns in clusters.items():
        for column in set(columns) - read:
            yield f"architecture[0].conf.{name}.cols", f"No branch reads '{column}'."


def _idle_settings(draft: Draft) -> Iterator[tuple[str, str]]:
    """(path in training_params, reason) of what changes nothing for these inputs."""
    inputs, training = draft.inputs, draft.training
    if inputs is None or training is None:
        return
    columns = {column for columns in inputs.model_inputs.values() for column in columns}
    known = {*inputs.model_inputs, *columns}
    plan = make_plan(draft) if draft.is_read else None
    kinds = set(plan.kinds.values()) if plan else {"char"}
    settled = asked_by_problem(inputs)
    lengths = {"max_lengths": training.max_lengths or {}, "fixed_lengths": training.fixed_lengths or {}}
    lengths = {key: names for key, names in lengths.items() if key not in settled}
    if all(lengths.values()) and len(lengths) == 2:
        yield "max_lengths", "fixed_lengths cut the texts."
    for key, names in lengths.items():
        for name in names:
            if name == "word" and key == "fixed_lengths" and name not in known:
                if "char" not in kinds:
                    yield f"{key}.{name}", "No column of characters is read."
            elif name not in known:
                yield f"{key}.{name}", f"No branch or column is called so.{did_you_mean(name, known)}"
    if plan and training.optimizer.layer_decay is not None and "piece" not in kinds:
        yield "optimizer.layer_decay", "No layer is a pretrained encoder."
    if plan and kinds == {"piece"} and not plan.aligned:
        for key in ("tokenizer", "text_preprocessing"):
            if getattr(training, key) and not (key == "tokenizer" and inputs.augmentation):
                yield key, "The encoder's own tokenizer prepares and splits the texts."
    if plan and plan.aligned >= set(plan.words_of.values()):
        if training.tokenizer not in (None, "whitespace"):
            yield "tokenizer", "Words that have features or tags are split at spaces."
        if "remove_stopwords" in training.text_preprocessing:
            yield "text_preprocessing", "Words that have features or tags all stay."
    elif settled.get("placed") and "remove_stopwords" in training.text_preprocessing:
        yield "text_preprocessing", "remove_stopwords leaves the text alone that holds the answers."


def _check_files(paths: DataPathsConf, problems: list[Finding], notices: list[Finding]) -> None:
    if paths.train_data_path is None:
        problems.append(Finding("inputs.data_paths", "'train_data_path' is missing."))
    if paths.valid_data_path is None:
        if paths.test_data_path is None:
            problems.append(Finding("inputs.data_paths", "'valid_data_path' is missing (and 'test_data_path' too)."))
        else:
            notice = "is missing: the best model is chosen on the test rows, so their scores are too good."
            notices.append(Finding("inputs.data_paths.valid_data_path", notice))
    if (run := paths.pretrained_model_path) is not None and not RunFolder.named(Path(run)).holds_a_run():
        sentence = f"no such run folder: {run}."
        if Path(run).is_file():
            sentence = f"is a file, not a run folder: {run}. A pickled model may hold any code, so none is read."
        problems.append(Finding("inputs.data_paths.pretrained_model_path", sentence))
    for name, path in core.conf.to_json(replace(paths, pretrained_model_path=None)).items():
        if path is not None and not Path(path).is_file():
            what = "is a folder, not a file" if Path(path).is_dir() else "no such file"
            problems.append(Finding(f"inputs.data_paths.{name}", f"{what}: {path}.{similar_file(Path(path))}"))


def _encoder_problems(conf: InputsConf, draft: Draft) -> Iterator[tuple[str, str]]:
    """(path, sentence) of branches that an encoder cannot read beside the other layers."""
    first: dict[str, str] = {}
    of_words = {column: cluster for cluster, columns in draft.clusters.items() for column in columns}
    for branches, tokenizer, path in draft.encoders:
        for branch in branches:
            for column in conf.model_inputs.get(branch, ()):
                way = "Give the encoder a branch with a column of its own, such as a copy in the file."
                if column in of_words:
                    sentence = (
                        f"'{branch}' has column '{column}', which cluster {of_words[column]} of the Embedding has."
                    )
                    yield path, f"{sentence} {way}"
                elif first.setdefault(column, tokenizer) != tokenizer:
                    yield path, f"'{branch}' has column '{column}', which another tokenizer splits. {way}"
