"""The figures of an evaluation as the file `eval.json`: written by `run` and `eval`, read by `results`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import ArtifactError, ContractError
from core.failures import FailureMode
from core.flow import Phase
from core.recovery import Rate, RecoveryStage
from regrasp.evaluation import ArmName, ArmPlan, Campaign
from regrasp.figures import ArmFigures, Evaluation, Failing, MonitorFigures, Why

EVALUATION_NAME = "eval.json"
"""File name inside the output folder."""


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Writes `eval.json`; what is not known is null, never NaN. Its folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_as_json(evaluation), indent=2, allow_nan=False) + "\n")


def read_evaluation(path: Path) -> Evaluation:
    """Returns what `write_evaluation` wrote.

    Raises:
        ArtifactError: No such file, or it is damaged or foreign.
    """
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error}; run `regrasp eval` first") from error
    except (ContractError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is damaged or foreign ({error!r}); write it again with `regrasp report --out {path.parent}`"
        ) from error


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    c, m = evaluation.campaign, evaluation.monitor
    return {
        "task": c.task, "policy": c.policy, "tracker": c.tracker, "gap": c.gap, "episodes": c.episodes, "seed": c.seed,
        "config_hash": c.config_hash,
        "arms": [
            _arm_as_json(arm, plan.hash) for arm, plan in zip(evaluation.arms, c.arms, strict=True)
        ],
        "monitor": {
            "labels": list(m.labels), "confusion": [list(row) for row in m.confusion],
            "accuracy": m.modes.rate if m.modes.n else None, "modes": _rate_as_json(m.modes),
            "stages": _rate_as_json(m.stages), "acting": _rate_as_json(m.acting),
            "false_alarms": _rate_as_json(m.false_alarms), "false_alarms_per_success": m.false_alarms_per_success,
            "lead_time_s": m.lead_time_s,
        },
        "failing": [
            {"mode": f.mode, "phase": f.phase, "stage": f.stage, "why": f.why, "seeds": list(f.seeds)}
            for f in evaluation.failing
        ],
    }  # fmt: skip


def _arm_as_json(arm: ArmFigures, made_of: str) -> dict[str, Any]:
    return {
        "name": arm.name,
        "hash": made_of,
        "not_run": arm.not_run,
        "nominal": _rate_as_json(arm.nominal),
        "injected": {**_rate_as_json(arm.injected), "q": arm.q},
        "by_mode": {mode: _rate_as_json(rate) for mode, rate in arm.by_mode},
        "mending_s": arm.mending_s,
        "attempts": arm.attempts,
        "interventions": _rate_as_json(arm.interventions),
    }


def _rate_as_json(rate: Rate) -> dict[str, Any]:
    return {"k": rate.k, "n": rate.n, "rate": rate.rate if rate.n else None, "ci95": list(rate.ci95)}


def _from_json(data: Mapping[str, Any]) -> Evaluation:
    arms, m = tuple(_arm(arm) for arm in data["arms"]), data["monitor"]
    return Evaluation(
        campaign=Campaign(
            task=data["task"], policy=data["policy"], tracker=data["tracker"], gap=data["gap"],
            episodes=data["episodes"], seed=data["seed"], config_hash=data["config_hash"],
            modes=tuple(FailureMode(label) for label in m["labels"][:-1]),
            arms=tuple(
                ArmPlan(name=ArmName(a["name"]), hash=a["hash"], not_run=a["not_run"]) for a in data["arms"]
            ),
        ),
        arms=arms,
        monitor=MonitorFigures(
            labels=tuple(m["labels"]), confusion=tuple(tuple(row) for row in m["confusion"]), modes=_rate(m["modes"]),
            stages=_rate(m["stages"]), acting=_rate(m["acting"]), false_alarms=_rate(m["false_alarms"]),
            false_alarms_per_success=m["false_alarms_per_success"], lead_time_s=m["lead_time_s"],
        ),
        failing=tuple(_failing(f) for f in data["failing"]),
    )  # fmt: skip


def _arm(data: Mapping[str, Any]) -> ArmFigures:
    return ArmFigures(
        name=ArmName(data["name"]),
        nominal=_rate(data["nominal"]),
        injected=_rate(data["injected"]),
        q=data["injected"]["q"],
        by_mode=tuple((FailureMode(mode), _rate(rate)) for mode, rate in data["by_mode"].items()),
        mending_s=data["mending_s"],
        attempts=data["attempts"],
        interventions=_rate(data["interventions"]),
        not_run=data["not_run"],
    )


def _failing(data: Mapping[str, Any]) -> Failing:
    return Failing(
        mode=None if data["mode"] is None else FailureMode(data["mode"]),
        phase=Phase(data["phase"]),
        stage=None if data["stage"] is None else RecoveryStage(data["stage"]),
        why=Why(data["why"]),
        seeds=tuple(data["seeds"]),
    )


def _rate(data: Mapping[str, Any]) -> Rate:
    return Rate(k=data["k"], n=data["n"])
