"""Which weights are trained alike: by the layers they belong to, their depth in an encoder, their shape."""

from collections.abc import Iterable, Sequence
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
    weights = [weight for weight in weights if weight.parameter.requires_grad]
    _refuse_idle(conf.groups, weights, source)
    given = arguments_of(conf)
    groups: dict[str, dict[str, Any]] = {}
    for weight in weights:
        matching = (dict(group.params) for group in conf.groups if _matches(group.match, weight.name))
        own: dict[str, Any] = next(matching, {})
        if conf.layer_decay is not None and weight.depth:
            own["lr"] = own.get("lr", given["lr"]) * conf.layer_decay**weight.depth
        decay = own.get("weight_decay", given.get("weight_decay"))
        if decay and weight.parameter.ndim < 2 and not conf.decay_norms_and_biases:
            own["weight_decay"] = 0.0
        groups.setdefault(repr(own), {**own, "params": []})["params"].append(weight.parameter)
    return list(groups.values())


def _matches(match: Iterable[str], name: str) -> bool:
    return any(name == wanted or name.startswith(f"{wanted}.") or fnmatchcase(name, wanted) for wanted in match)


def _refuse_idle(groups: Sequence[ParameterGroupConf], weights: Sequence[Weight], source: str) -> None:
    layers = dict.fromkeys(weight.name.partition(".")[0] for weight in weights)
    findings, left = [], [weight.name for weight in weights]
    for index, group in enumerate(groups):
        path = f"{PATH}.groups[{index}].match"
        unmet = [wanted for wanted in group.match if not any(_matches([wanted], weight.name) for weight in weights)]
        for wanted in unmet:
            hint = did_you_mean(wanted, layers) or known_names(layers)
            findings.append(Finding(path, f"no trained weight is called {wanted}.{hint}"))
        others = [name for name in left if not _matches(group.match, name)]
        if len(others) == len(left) and not unmet:
            findings.append(Finding(path, "names no weight that is not in an earlier group."))
        left = others
    if findings:
        raise ConfigError(source, findings)
