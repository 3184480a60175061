"""Several trainings, each from the weights of the one before."""

from typing import Any

import core.conf
from engine.trainers.base import TRAINERS


@TRAINERS.register
class Staged:
    """Stages that follow each other: each is this config with an overlay, from the weights of the one before.

    Weights are handed over layer by layer, where ids and shapes agree; what does not fit, such as a head for other
    labels, is made anew, and said so. The last stage leaves the run; the others lie in its folder `stages`.

        {"type": "Staged", "conf": {"stages": [{"training_params": {"max_epoch": 3}, "inputs": {...}}, {}]}}

    Reference: Yang et al. 2020, Model Compression with Two-stage Multi-teacher Knowledge Distillation for Web Question
    Answering System (TMKD), section 3.
    """

    class Conf(core.conf.Conf):
        stages: list[dict[str, Any]]
        """What each stage changes in the config: any of its keys, merged as `extends` does; {} = nothing."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.stages:
                raise ValueError("stages names no stage.")
