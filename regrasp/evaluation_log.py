"""The append-only `episodes.jsonl` of an evaluation: what a killed evaluation resumes from.

Line 1 is the campaign, every further line one episode. Called by the commands `run`, `eval` and `report`.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import ArtifactError
from regrasp.evaluation import ArmName, Campaign, EpisodeResult

LOG_NAME = "episodes.jsonl"
"""File name inside the output folder."""

T = TypeVar("T")

_CAMPAIGN = TypeAdapter(Campaign)
_RESULT = TypeAdapter(EpisodeResult)


def open_log(path: Path, campaign: Campaign) -> tuple[EpisodeResult, ...]:
    """Starts a log, or returns what the log at `path` already holds so that the rest can be run.

    A torn last line, left by a kill, is cut off. The number of episodes may change between runs, and arms may be added;
    the log's campaign then says so.

    Args:
        path: The log file; its folder is made.
        campaign: What is being evaluated now.

    Raises:
        ArtifactError: The log belongs to another campaign or to arms made otherwise, or is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _cut_torn_line(path)
    if not path.exists() or not path.stat().st_size:
        _append(path, _CAMPAIGN.dump_json(campaign))
        return ()
    logged, results = read_log(path)
    joined = _joined(path, logged, campaign)
    if logged != joined:
        _replace_campaign(path, joined)
    return results


def append_result(path: Path, result: EpisodeResult) -> None:
    """Appends one episode; when this returns it is on disk."""
    _append(path, _RESULT.dump_json(result))


def read_log(path: Path) -> tuple[Campaign, tuple[EpisodeResult, ...]]:
    """Returns the campaign and its episodes so far; a torn last line is left out.

    Raises:
        ArtifactError: No such file, or a line does not validate.
    """
    if not path.is_file():
        raise ArtifactError(f"no evaluation log at {path}; run `regrasp eval --out {path.parent}` first")
    lines = path.read_bytes().split(b"\n")[:-1]
    if not lines:
        raise ArtifactError(f"{path} is empty; run the evaluation again")
    return _parse(path, 1, lines[0], _CAMPAIGN), tuple(
        _parse(path, i, line, _RESULT) for i, line in enumerate(lines[1:], start=2)
    )


def _joined(path: Path, logged: Campaign, campaign: Campaign) -> Campaign:
    """Returns the campaign with the logged arms that are not asked for now."""
    if replace(logged, episodes=campaign.episodes, arms=campaign.arms) != campaign:
        raise ArtifactError(f"{path} holds results of {logged}; this run is {campaign}. Choose another --out folder")
    arms = {plan.name: plan for plan in campaign.arms}
    for old in logged.arms:
        new = arms.setdefault(old.name, old)
        if not (old.not_run or new.not_run) and old.hash != new.hash:
            raise ArtifactError(
                f"{path} holds results of arm {old.name!r} made of {old.hash[:12]}, now it is {new.hash[:12]}: "
                f"its skills or checkpoint changed. Choose another --out folder"
            )
    return replace(campaign, arms=tuple(arms[name] for name in ArmName if name in arms))


def _parse(path: Path, number: int, line: bytes, kind: TypeAdapter[T]) -> T:
    try:
        return kind.validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "line"
        raise ArtifactError(f"{path}:{number}: {where}: {first['msg']}; the log is damaged or foreign") from error


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _replace_campaign(path: Path, campaign: Campaign) -> None:
    rest = path.read_bytes().partition(b"\n")[2]
    fresh = path.with_suffix(".new")
    fresh.write_bytes(_CAMPAIGN.dump_json(campaign) + b"\n" + rest)
    fresh.replace(path)


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        whole = path.read_bytes()
        os.truncate(path, whole.rfind(b"\n") + 1)
