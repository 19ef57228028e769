"""How a recovery skill is trained: rates, sizes, rhythms. Read by `ppo`, `coach` and `train`. Source: our own runs."""

from dataclasses import dataclass, field

from residual.imitation import ImitationConfig
from residual.success_buffer import SuccessConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoConfig:
    """How a skill is trained."""

    total_steps: int = 750_000
    """Environment steps after which training ends in any case."""
    n_steps: int = 64
    """Control steps per world between updates."""
    batch: int = 1024
    """Rows a gradient step."""
    epochs: int = 5
    """Passes over a rollout."""
    learning_rate: float = 5e-4
    """Of Adam."""
    gamma: float = 0.97
    """Discount a control step."""
    log_std: float = -0.7
    """Exploration from scratch, natural logarithm of the standard deviation."""
    warm_log_std: float = -1.0
    """Exploration after imitation; with -1.6 the actor stays where imitation got stuck."""
    warm_target_kl: float = 0.1
    """An update after imitation stops at this divergence [nat]."""
    critic_first: int = 6
    """Updates after imitation in which only the critic learns."""
    fade: float = 0.85
    """Factor a rollout by which the imitation steps become fewer; slower fading keeps what was imitated wrongly."""
    imitation_steps: int = 20
    """Imitation steps before the first rollout."""
    eval_every: int = 65_536
    """Environment steps between evaluations."""
    eval_from: float = 0.6
    """Success rate of the training episodes below which evaluations are skipped."""
    judge_last: bool = True
    """Whether the last actor is evaluated too."""
    stop_rate: float = 0.97
    """Training ends when this was reached `stop_times` times in a row."""
    stop_times: int = 2
    most_s: float = 3600.0
    """Training ends after so long in any case, by the wall clock [s]."""
    reflect_every: int = 5
    """Rounds between reflections on what still fails."""
    ease_after: int = 10
    """Rounds with hardly any success before scenes are eased; 0 never eases."""
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    """The warm start."""
    success: SuccessConfig = field(default_factory=SuccessConfig)
    """The success buffer."""
    seed: int = 0
