"""Which weights are trained alike: by the layers they belong to, their depth in an encoder, their shape."""

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from core.config import OptimizerConf, ParameterGroupConf
from core.errors import ConfigError, Finding, did_you_mean, known_names
from engine.optimizers import PATH, arguments_of
from model_zoo.graph import Weight


def parameter_groups(conf: OptimizerConf, weights: Iterable[Weight], source: str = "") -> list[dict[str, Any]]:
    """The groups for an optimizer of torch: lists of weights with the arguments in which they differ from the others.

    A weight has the arguments of the first of `conf.groups` that matches it. Its learning rate is multiplied by
    layer_decay once for itself and once for each layer above it, in an encoder of several layers (Clark et al. 2020,
    ELECTRA, appendix A); weights of one axis (biases, norms) have no weight decay unless decay_norms_and_biases.
    ConfigError, with the place in `source`, for a group that names no weight, or only those of earlier groups.
    """
    weights = list(weights)
    _refuse_idle(conf.groups, weights, source)
    given = arguments_of(conf)
    groups: dict[str, dict[str, Any]] = {}
    for weight in _trained(weights):
        matching = (dict(group.params) for group in conf.groups if _matches(group.match, weight.name))
        own: dict[str, Any] = next(matching, {})
        if conf.layer_decay is not None and weight.depth:
            own["lr"] = own.get("lr", given["lr"]) * conf.layer_decay**weight.depth
        decay = own.get("weight_decay", given.get("weight_decay"))
        if decay and weight.parameter.ndim < 2 and not conf.decay_norms_and_biases:
            own["weight_decay"] = 0.0
        groups.setdefault(repr(own), {**own, "params": []})["params"].append(weight.parameter)
    return list(groups.values())


def unknown_layers(conf: OptimizerConf, layers: Collection[str]) -> list[Finding]:
    """The groups that name a layer which is none of these; what names weights can be told only once they are there."""
    return [
        Finding(_path(index), f"no layer is called {wanted}.{did_you_mean(wanted, layers) or known_names(layers)}")
        for index, group in enumerate(conf.groups)
        for wanted in group.match
        if wanted not in layers and not set(wanted) & set(".*?[")
    ]


def _path(index: int) -> str:
    return f"{PATH}.groups[{index}].match"


def _trained(weights: Iterable[Weight]) -> list[Weight]:
    return [weight for weight in weights if weight.parameter.requires_grad]


def _matches(match: Iterable[str], name: str) -> bool:
    return any(name == wanted or name.startswith(f"{wanted}.") or fnmatchcase(name, wanted) for wanted in match)


def _refuse_idle(groups: Sequence[ParameterGroupConf], weights: Sequence[Weight], source: str) -> None:
    names = [weight.name for weight in _trained(weights)]
    frozen = [weight.name for weight in weights if not weight.parameter.requires_grad]
    findings, left = [], names
    for index, group in enumerate(groups):
        unmet = [wanted for wanted in group.match if not any(_matches([wanted], name) for name in names)]
        for wanted in unmet:
            is_frozen = any(_matches([wanted], name) for name in frozen)
            hint = " Those of this name are frozen." if is_frozen else _hint(wanted, names)
            findings.append(Finding(_path(index), f"no trained weight is called {wanted}.{hint}"))
        others = [name for name in left if not _matches(group.match, name)]
        if len(others) == len(left) and not unmet:
            findings.append(Finding(_path(index), "names no weight that is not in an earlier group."))
        left = others
    if findings:
        raise ConfigError(source, findings)


def _hint(wanted: str, names: Sequence[str]) -> str:
    """What weights are called: the layers that have some, or those of the layer that is meant."""
    layer, _, inside = wanted.partition(".")
    layers = dict.fromkeys(name.partition(".")[0] for name in names)
    own = [name for name in names if name.startswith(f"{layer}.")] if layer in layers else names
    shown = f" Such are {', '.join(get_close_matches(wanted, own, 3, 0.0))}." if inside else ""
    return shown if layer in layers else (did_you_mean(layer, layers) or known_names(layers)) + shown
