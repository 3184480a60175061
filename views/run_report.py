"""The report of a run: one page that says what was trained, how it went, and where it errs."""

import json
import math
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.conf import JSON
from core.config import ExperimentConf
from core.errors import UserError
from core.files import written_aside
from core.run_folder import CONFIG, ENVIRONMENT, FINISHED, METRICS, REPORT, SCORES, STAGES, TEACHERS, WEIGHTS, RunFolder
from core.types import SPECIAL_IDS
from engine.data import Data, read_data
from engine.objective import WEIGHT_OF
from engine.predictor import Predictor
from engine.reporter import ALWAYS, score_text
from text.vocabulary import UNK
from views import figures
from views.answers import answer_sections, parts_of
from views.elements import Html, facts, figure, page, paragraph, safe, section, side_by_side, table
from views.measured import SINGLES, Measured, measure, row_lengths

BUCKETS = 30
"""Bars of a histogram at most."""
MOST_ROWS = 0.995
"""The share of rows whose lengths have bars of their own."""


@dataclass(frozen=True)
class Run:
    """What a run folder says of its training.

    lines   the records of the training, as metrics.jsonl has them
    """

    folder: RunFolder
    config: JSON
    scores: Mapping[str, JSON]
    environment: Mapping[str, JSON]
    lines: Sequence[Mapping[str, JSON]]

    @classmethod
    def read(cls, path: Path) -> "Run":
        """UserError where it is no run, or has no model yet."""
        folder = RunFolder.named(path)
        config = folder.read_config()
        folder.refuse_if_untrained()
        known = {name: folder.read_json(name) if (folder / name).exists() else {} for name in (SCORES, ENVIRONMENT)}
        return cls(folder, config, known[SCORES], known[ENVIRONMENT], list(_records(folder / METRICS)))

    @property
    def name(self) -> str:
        """As its folder is called."""
        return self.folder.path.resolve().name

    @property
    def is_finished(self) -> bool:
        """Whether its training came to its end."""
        return FINISHED in self.scores

    def curves(self, kind: str) -> dict[str, list[tuple[float, float]]]:
        """Name of a number -> (step, value), of trainings or of validations."""
        found: dict[str, list[tuple[float, float]]] = {}
        for line in self.lines:
            for name, value in line.items() if line["kind"] == kind else ():
                if name not in ("kind", "step", "epoch") and isinstance(value, int | float):
                    found.setdefault(name, []).append((line["step"], value))
        return found


def _records(path: Path) -> Iterator[Mapping[str, JSON]]:
    """Those of metrics.jsonl. UserError where it is damaged; the last may be cut, of a training that was killed."""
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and {"kind", "step"} <= record.keys():
            yield record
        elif number < len(lines) or not line.startswith("{"):
            raise UserError(f"{path}:{number}: damaged, it is no record of a training.")


def write_report(
    path: Path,
    output: Path | None = None,
    data: Path | None = None,
    seconds: float | None = None,
    plugins: Collection[str] = (),
) -> Path:
    """Write the page of a run; where.

    data     the file whose rows are answered, by default the validation file
    seconds  how long answering may take at most: of a large file some rows are answered only; None = all
    plugins  modules that the run may import, and models whose code it may run
    """
    run = Run.read(path)
    target = output or run.folder / REPORT
    with written_aside(target) as aside:
        aside.write_text(run_page(run, data, seconds, plugins), encoding="utf-8")
    return target


def run_page(run: Run, data: Path | None, seconds: float | None, plugins: Collection[str] = ()) -> str:
    """The page as HTML."""
    predictor = Predictor.load(run.folder.path, plugins=plugins)
    measured, missing = None, ""
    try:
        measured = measure(predictor, data, seconds)
    except UserError as error:
        if data is not None:
            raise
        missing = f"Nothing could be answered: {error}"
    parts = [
        _head(run),
        _settings(run),
        _stages(run),
        _training(run),
        _teachers(run),
        _answers(measured) if measured else section("Answers", paragraph(missing)),
        _speed(run, predictor, measured),
        _data(predictor) if data is None else Html(""),
        _graph(run, plugins),
        _environment(run),
    ]
    return page(f"{run.name}: report", "".join(parts))


def _head(run: Run) -> Html:
    """What it is, and its best scores."""
    said = run.config.get("model_description") or ""
    kept: Mapping[str, float] = run.scores.get("validation", {})
    pairs: list[tuple[str, str]] = [(f"{name}, validation", score_text(value)) for name, value in kept.items()]
    tested = run.scores.get("test", {})
    pairs += [(f"{name}, {Path(tested['file']).name}", score_text(tested[name])) for name in kept if name in tested]
    state = "" if run.is_finished else "Its training has not come to its end."
    if kept:
        count = len(run.curves("validation").get(next(iter(kept)), []))
        where = f"at step {run.scores['step']:,} (epoch {run.scores['epoch']})"
        best = f"The best of {count or '?'} validations by {next(iter(kept))}, {where}."
        state = f"{best} {state}"
    return Html(
        f"<header><h1>{safe(run.name)}</h1><p>{safe(said)}</p>{facts(pairs)}<p class=soft>{safe(state)}</p></header>"
    )


def _settings(run: Run) -> Html:
    """What a reader asks first of a training."""
    params, optimizer = run.config["training_params"], run.config["training_params"]["optimizer"]
    rate = optimizer["params"].get("lr")
    pairs = [
        ("problem", str(run.config["inputs"]["dataset_type"])),
        ("epochs at most", str(params["max_epoch"])),
        ("rows of a batch", str(params["batch_size"])),
        ("optimizer", optimizer["name"] + (f", rate {rate:g}" if rate else "")),
        ("loss", " + ".join(_loss(loss) for loss in run.config["loss"]["losses"])),
    ]
    pairs += [(f"teacher {name}", _teacher(conf)) for name, conf in (run.config.get("teachers") or {}).items()]
    return facts(pairs)


def _loss(loss: Mapping[str, JSON]) -> str:
    """Its name, and its weight, which may change during the training."""
    weight = loss.get("weight", 1)
    times = "" if weight == 1 else f"{weight:g} x " if isinstance(weight, int | float) else "changing x "
    return f"{times}{loss['type']}"


def _teacher(conf: Mapping[str, JSON]) -> str:
    """What it is, and where it lies."""
    return " ".join(filter(None, [str(conf["type"]), str((conf.get("conf") or {}).get("path") or "")]))


def _earlier(run: Run) -> list[Path]:
    """The runs of the stages before this one, as far as they are there."""
    stages = run.environment.get("stages")
    folders = [run.folder / STAGES / str(number) for number in range(1, stages if isinstance(stages, int) else 1)]
    return [folder for folder in folders if RunFolder(folder).holds_a_run()]


def _stages(run: Run) -> Html:
    """The trainings before this one, where its trainer has stages."""
    earlier = _earlier(run)
    if not earlier:
        return Html("")
    lines = []
    for folder in earlier:
        stage = Run.read(folder)
        kept = ", ".join(f"{name} {score_text(value)}" for name, value in stage.scores.get("validation", {}).items())
        paths = stage.config["inputs"]["data_paths"]
        files = filter(None, (paths.get(f"{part}_data_path") for part in ("train", "unlabelled")))
        lines.append([folder.name, ", ".join(Path(file).name for file in files), kept])
    said = f"This page shows the last of {len(earlier) + 1} stages, which began with the weights of those before it. "
    said += f"They have pages of their own: python report.py {earlier[0]}"
    return section("Stages", paragraph(said), table(["stage", "rows", "best validation"], lines))


def _training(run: Run) -> Html:
    """Loss, learning rate and scores over the steps."""
    trained, validated = run.curves("train"), run.curves("validation")
    step = run.scores.get("step")
    parts = []
    if loss := trained.get("loss"):
        parts.append(
            figure(
                figures.lines({"loss": loss}, "step", "training loss"), "Mean loss of the steps between two reports."
            )
        )
    if validated:
        best = {name: at for name, points in validated.items() for at in points if at[0] == step}
        drawn = figures.lines(validated, "step", "score", best)
        parts.append(figure(drawn, "Scores on the validation rows; the ring marks the model that was kept."))
    if rate := trained.get("learning_rate"):
        parts.append(figure(figures.lines({"rate": rate}, "step", "learning rate", from_zero=True), "Learning rate."))
    return section("How training went", side_by_side(*parts) if parts else Html(""))


def _teachers(run: Run) -> Html:
    """The weights of teachers over time, and what else a policy reports."""
    trained = run.curves("train")
    named = {name: points for name, points in trained.items() if name not in ALWAYS}
    weights = {name.removeprefix(WEIGHT_OF): points for name, points in named.items() if name.startswith(WEIGHT_OF)}
    over_all = {name: points for name, points in weights.items() if "@" not in name}
    parts = [figure(figures.lines(over_all, "step", "weight"), "How much each teacher counted.")] if weights else []
    groups = list(dict.fromkeys(name.partition("@")[2] for name in weights if "@" in name))
    if groups:
        last = {name: f"{points[-1][1]:.3f}" for name, points in weights.items()}
        lines = [[group, *(last.get(f"{name}@{group}", "–") for name in over_all)] for group in groups]
        said = paragraph("By the label of the row, and by what the teacher says to it, before the last validation:")
        parts.append(Html(f"<div>{said}{table(['rows', *over_all], lines)}</div>"))
    for name, points in named.items():
        if not name.startswith(WEIGHT_OF):
            parts.append(figure(figures.lines({name: points}, "step", name), f"{name[0].upper()}{name[1:]}."))
    return section("Teachers", side_by_side(*parts) if parts else Html(""))


def _answers(measured: Measured) -> Html:
    """What it answers for the rows of a file."""
    of = (
        f"all {measured.rows:,}"
        if measured.answered == measured.rows
        else f"{measured.answered:,} of {measured.rows:,}"
    )
    said = f"{of} rows of {measured.file.name}"
    scores = facts([(name, score_text(value)) for name, value in measured.scores.items()])
    parts = []
    for column, answers in parts_of(measured.answers):
        made = answer_sections(answers)
        parts.append(section(f"Target {column}", made, level=3) if column else made)
    return section("What it answers", paragraph(f"{said[0].upper()}{said[1:]}."), scores, *parts)


def _speed(run: Run, predictor: Predictor, measured: Measured | None) -> Html:
    """Size and speed on this machine."""
    if measured is None:
        return section("Size", facts(costs(run, predictor).items()))
    how = f"rows as they are encoded, {predictor.batch_size} a batch; one row from its text, {SINGLES} times"
    where = paragraph(f"On {predictor.device.type}, as busy as it was: {how}.")
    return section("Size and speed", facts(costs(run, predictor, measured).items()), where)


def costs(run: Run, predictor: Predictor, measured: Measured | None = None) -> dict[str, str]:
    """Size, and speed where it was measured, as they are shown."""
    count = sum(weight.numel() for weight in predictor.model.parameters())
    found = {"parameters": f"{count:,}", "weights, MiB": f"{(run.folder / WEIGHTS).stat().st_size / 2**20:.2f}"}
    if measured is not None:
        names = {"rows/s": "rows/s", "p50": "one row, median, ms", "p95": "one row, 95 %, ms"}
        speeds = {name: measured.speeds[key] for key, name in names.items() if key in measured.speeds}
        found |= {name: f"{speed:,.{0 if name == 'rows/s' else 1}f}" for name, speed in speeds.items()}
    return found


def _data(predictor: Predictor) -> Html:
    """What it was trained on: rows, labels, lengths, unknown words; or why that cannot be said."""
    if not predictor.conf.inputs.use_cache:
        return section("Data", paragraph("Not shown: nothing of it is kept (inputs.use_cache)."))
    try:
        data = read_data(_labelled(predictor.conf), lambda _: None)
    except UserError as error:
        return section("Data", paragraph(f"Not shown: {error}"))
    parts = {"training": data.train, "validation": data.valid}
    pairs = [(f"{name} rows", f"{len(rows):,}") for name, rows in parts.items()]
    words = [column for column, kind in data.encoder.plan.kinds.items() if kind == "word"]
    for name, rows in parts.items() if words else ():
        ids = np.concatenate([rows.columns[column].values for column in words if column in rows.columns])
        pairs.append((f"unknown words, {name}", f"{np.mean(ids == UNK):.1%}" if len(ids) else "–"))
    for name, known in data.encoder.vocabularies.items():
        pairs.append((f"{name}: vocabulary", f"{len(known) - SPECIAL_IDS:,}"))
    return section("Data", facts(pairs), side_by_side(_balance(data), _lengths(data)))


def _labelled(conf: ExperimentConf) -> ExperimentConf:
    """The config without rows that are made of others."""
    return replace(conf, inputs=replace(conf.inputs, augmentation=None))


def _balance(data: Data) -> Html:
    """How often each label occurs."""
    tables = []
    for column, spec in data.problem.target_specs().items():
        if spec.labels is None or spec.places:
            continue
        found = {}
        for name, rows in (("training", data.train), ("validation", data.valid)):
            target = rows.targets[column]
            values = np.asarray(getattr(target, "values", target))
            found[name] = np.bincount(values[values >= 0].astype(int), minlength=len(spec.labels))
        order = np.argsort(-found["training"], kind="stable")[:BUCKETS].tolist()
        lines = [[spec.labels[at], *(_share(counts, at) for counts in found.values())] for at in order]
        tables.append(table([column, *found], lines))
    return Html("".join(tables))


def _share(counts: np.ndarray, at: int) -> str:
    return f"{counts[at]:,} ({counts[at] / max(counts.sum(), 1):.1%})"


def _lengths(data: Data) -> Html:
    """How long the texts of the training rows are."""
    lengths = row_lengths(data.train)
    if not len(lengths):
        return Html("")
    width = math.ceil((np.quantile(lengths, MOST_ROWS) + 1) / BUCKETS)
    edges = np.arange(0, BUCKETS * width + 1, width)
    heights, _ = np.histogram(np.minimum(lengths, edges[-1] - 1), edges)
    used = int(np.flatnonzero(heights)[-1]) + 1
    caption = f"Tokens of the longest text of a row: median {np.median(lengths):.0f}, longest {lengths.max():,}."
    caption += " The last bar holds all that are longer." if lengths.max() >= edges[used] else ""
    drawn = figures.bars(heights[:used].tolist(), edges[: used + 1].tolist(), "tokens", "training rows")
    return figure(drawn, caption)


def _graph(run: Run, plugins: Collection[str]) -> Html:
    """The model as a drawing."""
    from views.drawing import svg
    from views.graph import run_drawings

    drawn = run_drawings(run.folder, plugins)
    pictures = (Html(f"<div class='wide drawing'>{svg(one)}</div>") for one in drawn)
    return section("The model", *pictures, paragraph(f"Shapes: {drawn[0].legend}."))


def _environment(run: Run) -> Html:
    """Where it was trained, how to do so again, and the whole config."""
    known = facts(
        [(name, value) for name, value in run.environment.items() if name not in ("command", TEACHERS) and value]
    )
    again = [
        "python",
        "train.py",
        "--conf_path",
        str(run.folder.path / CONFIG),
        "--set",
        "outputs.save_base_dir=runs/again",
    ]
    is_staged = "stages" in run.environment  # its config is that of the last stage
    commands = "\n".join(filter(None, [run.environment.get("command", ""), "" if is_staged else shlex.join(again)]))
    config = f"<pre>{safe(json.dumps(run.config, indent=2, ensure_ascii=False))}</pre>"
    whole = Html(f"<details><summary>The whole config, every default written out</summary>{config}</details>")
    return section("How to repeat it", known, Html(f"<pre>{safe(commands)}</pre>"), whole)
