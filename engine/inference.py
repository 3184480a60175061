"""What test.py and predict.py do with a trained model: score a file, answer for a file."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from core.conf import JSON
from core.document import read_document
from core.errors import UserError
from core.files import written_aside
from core.run_folder import SCORES, RunFolder, json_text, refuse_output
from core.types import Prediction, Scores
from engine.data import checked_scores, cut_texts, row_file
from engine.experiment import cache_folder, checked, models_with_code
from engine.predictor import Predictor
from text.encoded import EncodedRows, encode_file
from text.readers import SHOWN_BAD_ROWS, RowFile, format_named
from text.writers import PredictionWriter


def load_run(options: Namespace) -> tuple[RunFolder, Predictor]:
    """The run that the arguments of a door name.

    Of a config of the user's own, what it says now of files to read, metrics and predictions counts, and the plugins
    and models whose code it runs are trusted.
    """
    folder, plugins, overrides = options.model, list(options.plugins), options.overrides
    if folder is None:
        document = read_document(options.conf_path, options.overrides)
        experiment = checked(document, str(options.conf_path), files=False)
        folder = experiment.conf.outputs.save_base_dir
        plugins += [*experiment.conf.plugins, *(model for _, model in models_with_code(experiment.document()))]
        overrides = [*_asked_now(document), *overrides]
    predictor = Predictor.load(folder, options.device, options.batch_size, overrides, plugins)
    return RunFolder(Path(folder)), predictor


def _asked_now(document: JSON) -> Iterator[str]:
    """What a config says of testing and predicting, as overrides of the config that a run keeps."""
    sections = {"inputs": ("data_paths", "predict_file_header"), "outputs": ("predict_fields", "predict_output_name")}
    for section, keys in sections.items():
        said = document[section]
        yield from (f"{section}.{key}={json.dumps(said[key])}" for key in keys if key in said)
    if "metrics" in document:
        yield f"metrics={json.dumps(document['metrics'])}"


def test(predictor: Predictor, path: Path | None) -> tuple[Scores, EncodedRows, Path]:
    """The scores of a file with right answers (by default the config's test file), its rows and its name.

    Where the config names no test file it is the validation file, with a notice.
    """
    rows, file = rows_to_score(predictor, path)
    predictor.notices += [f"{file}: {line}" for line in cut_texts(predictor.model.steps, rows)]
    return predictor.score(rows, checked_scores(predictor.conf, predictor.problem, "--set")), rows, file


def rows_to_score(predictor: Predictor, path: Path | None) -> tuple[EncodedRows, Path]:
    """The rows that `test` scores, and the name of their file."""
    conf = predictor.conf
    paths = conf.inputs.data_paths
    named = path or paths.test_data_path or paths.valid_data_path
    if named is None:
        raise UserError("inputs.data_paths: names no test file. Use --input.")
    if path is None and paths.test_data_path is None:
        sentence = "names no test file, so the validation rows are scored, which chose the model. Use --input."
        predictor.notices.append(f"inputs.data_paths: {sentence}")
    file = row_file(conf, named)
    rows = encode_file(file, predictor.encoder, predictor.problem, cache_folder(conf), conf.inputs.on_bad_row)
    return rows, Path(named)


def keep_scores(run: RunFolder, scores: Scores, file: Path, rows: int, output: Path | None) -> Path:
    """Write the test scores: into scores.json of the run beside the validation scores, or to a file of their own."""
    tested: JSON = {"file": str(file), "rows": rows, **scores}
    if output is None:
        before = run.read_json(SCORES) if (run / SCORES).exists() else {}
        run.write_json(SCORES, {**before, "test": tested})
        return run / SCORES
    refuse_output(output, file)
    with written_aside(output) as aside:
        aside.write_text(json_text(tested), encoding="utf-8")
    return output


@dataclass
class Answered:
    """What became of a file to predict."""

    output: str
    rows: int = 0
    bad: int = 0
    bad_rows: list[str] = field(default_factory=list)
    """The first ten bad rows, each with its place and reason."""

    def counted(self, predictions: Iterable[Prediction], source: str) -> Iterator[Prediction]:
        """The same predictions, counted as they pass."""
        for prediction in predictions:
            self.rows += 1
            if prediction.row.error:
                self.bad += 1
                if self.bad <= SHOWN_BAD_ROWS:
                    self.bad_rows.append(f"{source}:{prediction.row.number}: {prediction.row.error}")
            yield prediction


def predict_file(
    predictor: Predictor,
    run: Path,
    source: str | None = None,
    output: str | None = None,
    file_format: str | None = None,
    fields: Sequence[str] | None = None,
) -> Answered:
    """One output row for each input row, in order, in constant memory; `-` stands for standard input and output.

    The output has the format that its suffix says, else that of the input.
    """
    conf = predictor.conf
    paths = conf.inputs.data_paths
    source = source or paths.predict_data_path or paths.test_data_path
    if source is None:
        raise UserError("inputs.data_paths: names no file to predict. Use --input.")
    if output is None:
        output = "-" if source == "-" else str(run / conf.outputs.predict_output_name)
    if output != "-":
        refuse_output(Path(output), Path(source))
    file = _input_file(predictor, source, file_format)
    done = Answered("standard output" if output == "-" else output)
    output_format = format_named(Path(output)) or file.format
    with PredictionWriter(None if output == "-" else Path(output), output_format, file.header, file.kinds) as writer:
        writer.write(done.counted(predictor.predict(file, fields), str(file.path)))
    return done


def _input_file(predictor: Predictor, source: str, file_format: str | None) -> RowFile:
    """The file to predict: it needs the text columns only."""
    inputs, path = predictor.conf.inputs, Path(source)
    stream: BinaryIO | None = None
    known: str | None = file_format or inputs.data_format
    if source == "-" or path.is_fifo():  # can be read only once, and has no suffix
        stream = sys.stdin.buffer if source == "-" else path.open("rb")
        known = known or format_named(Path(inputs.data_paths.train_data_path or ""))
    return RowFile(
        Path("standard input") if source == "-" else path,
        inputs.predict_file_header or inputs.file_header or {},
        inputs.file_with_col_header,
        known,
        predictor.encoder.text_columns,
        stream,
    )
