"""Problems by what a config says of them."""

import core.conf
from core.config import InputsConf


def problem_of(kind, *target, **inputs):
    """The problem with these target columns and these other keys of `inputs`."""
    described = {"dataset_type": kind.name, "model_inputs": {"text": ["text"]}, "target": list(target), **inputs}
    return kind(core.conf.read(InputsConf, described))
