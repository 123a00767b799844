"""The constants of the losses."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options' names and meanings (see config.py)."""

    free_nats: float = 3.0
    kl_scale: float = 1.0
    pcont_scale: float = 10.0
    beta1: float = 0.0
    beta2: float = 0.0
    delta1: float = 0.0
    delta2: float = 0.0
    constraint_degrees: float = 5.0
    embedding_gradient: str = "both"
    sigma_h: float = 0.0
    decoding_target: str = "observation"
    constraint_norm: str = "squared"
    sigma_units: str = "absolute"
    rotation_fill: str = "edge"
    augmentations: int = 0
    sigma1: float = 0.0
    sigma2: float = -1.0
    evaluator_objective: str = "difference"
    overshoot_steps: int = 15
    fakes_from: str = "posterior"
    weighting: str = "probability"
    weight_gradient: bool = False
    horizon: int = 15
    from_start: bool = False
    discount: float = 0.99
    disclam: float = 0.95
