"""Several runs side by side: their scores, their curves on one axis, score against latency."""

from collections.abc import Collection, Sequence
from pathlib import Path

from core.errors import UserError
from core.files import written_aside
from engine.predictor import Predictor
from engine.reporter import score_text
from views import figures
from views.elements import Html, figure, page, paragraph, section, side_by_side, table
from views.measured import Measured, measure
from views.run_report import Run, costs


def write_comparison(
    paths: Sequence[Path], output: Path, data: Path | None = None, plugins: Collection[str] = ()
) -> Path:
    """Write the page; where.

    data     the rows that all of them answer, by default the validation rows of each
    plugins  modules that the runs may import, and models whose code they may run
    """
    runs = [Run.read(path) for path in paths]
    names = [run.name for run in runs]
    if len({*names}) < len(names):
        names = [str(path) for path in paths]
    if len({*names}) < len(names):
        raise UserError(f"{next(name for name in names if names.count(name) > 1)}: is named twice.")
    named = dict(zip(names, runs, strict=True))
    measured: dict[str, Measured] = {}
    used, missing = {}, []
    for name, run in named.items():
        predictor = Predictor.load(run.folder.path, plugins=plugins)
        try:
            measured[name] = measure(predictor, data, None)
        except UserError as error:
            if data is not None:
                raise
            missing.append(f"{name} could not answer: {error}")
        used[name] = costs(run, predictor, measured.get(name))
    parts = [
        _table(named, used, measured, missing),
        _curves(named),
        _against_latency(measured) if measured else Html(""),
    ]
    body = "".join([f"<header><h1>{len(runs)} runs side by side</h1></header>", *parts])
    with written_aside(output) as aside:
        aside.write_text(page("Runs side by side", body), encoding="utf-8")
    return output


def _table(
    runs: dict[str, Run], used: dict[str, dict[str, str]], measured: dict[str, Measured], missing: Sequence[str]
) -> Html:
    """Runs by their scores and costs, what they answered, and why some did not."""
    metrics = list(dict.fromkeys(metric for one in measured.values() for metric in one.scores))
    kinds = list(dict.fromkeys(kind for own in used.values() for kind in own))
    head = ["run", *metrics, *kinds, "best step"]
    lines = []
    for name, run in runs.items():
        found = measured[name].scores if name in measured else {}
        scores = [score_text(found[metric]) if metric in found else "" for metric in metrics]
        step = f"{run.scores.get('step', 0):,}" + ("" if run.is_finished else ", training not finished")
        lines.append([name, *scores, *(used[name].get(kind, "") for kind in kinds), step])
    files = list(dict.fromkeys(f"{one.file} ({one.rows:,} rows)" for one in measured.values()))
    same = "All answer" if len(files) == 1 else "Careful: they answer different rows, those of"
    about = [paragraph(f"{name}: {run.config.get('model_description') or '–'}") for name, run in runs.items()]
    said = [paragraph(f"{same} {', '.join(files)}.")] if files else []
    return section("Scores, size and speed", *said, *map(paragraph, missing), table(head, lines), *about)


def _curves(runs: dict[str, Run]) -> Html:
    """The scores of all of them, metric by metric."""
    curves = {name: run.curves("validation") for name, run in runs.items()}
    metrics = list(dict.fromkeys(metric for own in curves.values() for metric in own))
    drawn = []
    for metric in metrics:
        series = {name: own[metric] for name, own in curves.items() if metric in own}
        drawn.append(figure(figures.lines(series, "step", metric, names=[*runs]), f"{metric} on the validation rows."))
    losses = {name: found["loss"] for name, run in runs.items() if "loss" in (found := run.curves("train"))}
    if losses:
        drawn.append(figure(figures.lines(losses, "step", "training loss", names=[*runs]), "Training loss."))
    return section("How training went", side_by_side(*drawn)) if drawn else Html("")


def _against_latency(measured: dict[str, Measured]) -> Html:
    first = next(iter(next(iter(measured.values())).scores))
    points = {
        name: (one.speeds["p50"], one.scores[first])
        for name, one in measured.items()
        if first in one.scores and "p50" in one.speeds
    }
    drawn = figures.labelled_points(points, "median latency of one row, ms", first, [*measured])
    said = "Left is faster. The machine was as busy as it was: small differences say nothing."
    if without := [name for name in measured if name not in points]:
        said += f" Without {', '.join(without)}: no {first}."
    return section("Score against latency", figure(drawn, said))
