"""Which weights are trained alike: by the layers they belong to, their depth in an encoder, their shape."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from core.config import OptimizerConf, ParameterGroupConf
from core.errors import ConfigError, Finding, did_you_mean, known_names
from model_zoo.graph import Weight

PATH = "training_params.optimizer"


def parameter_groups(conf: OptimizerConf, weights: Iterable[Weight], source: str = "") -> list[dict[str, Any]]:
    """The groups for an optimizer of torch: lists of weights with the arguments in which they differ from the others.

    A weight has the arguments of the first of `conf.groups` that matches it. Its learning rate is multiplied by
    layer_decay once for itself and once for each layer above it, in an encoder of several layers (Clark et al. 2020,
    ELECTRA, appendix A); weights of one axis (biases, norms) have no weight decay unless decay_norms_and_biases.
    ConfigError, with the place in `source`, for a group that matches no weight.
    """
    weights = [weight for weight in weights if weight.parameter.requires_grad]
    _refuse_idle(conf.groups, weights, source)
    groups: dict[str, dict[str, Any]] = {}
    for weight in weights:
        own: dict[str, Any] = next((dict(group.params) for group in conf.groups if _matches(group, weight.name)), {})
        if conf.layer_decay is not None and weight.depth:
            own["lr"] = own.get("lr", conf.params.get("lr", 0.001)) * conf.layer_decay**weight.depth
        decay = own.get("weight_decay", conf.params.get("weight_decay"))
        if decay is not None and weight.parameter.ndim < 2 and not conf.decay_norms_and_biases:
            own["weight_decay"] = 0.0
        groups.setdefault(repr(own), {**own, "params": []})["params"].append(weight.parameter)
    return list(groups.values())


def _matches(group: ParameterGroupConf, name: str) -> bool:
    return any(name == wanted or name.startswith(f"{wanted}.") or fnmatchcase(name, wanted) for wanted in group.match)


def _refuse_idle(groups: Sequence[ParameterGroupConf], weights: Sequence[Weight], source: str) -> None:
    layers = dict.fromkeys(weight.name.partition(".")[0] for weight in weights)
    for index, group in enumerate(groups):
        if not any(_matches(group, weight.name) for weight in weights):
            named = ", ".join(group.match)
            hint = did_you_mean(named, layers) or known_names(layers)
            sentence = f"no trained weight is called {named}.{hint}"
            raise ConfigError(source, [Finding(f"{PATH}.groups[{index}].match", sentence)])
