"""`regrasp replay`: runs recorded episodes again and compares every decision bit for bit."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from core.errors import ConfigError
from runtime.record.reader import read_episode
from runtime.record.replay import replay


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Compute recorded episodes again from what their ports answered; phases and commands must be equal to the bit."""

    episodes: tyro.conf.Positional[tuple[Path, ...]]
    """Episode files (.mcap), or folders of them."""


def replay_episodes(config: ReplayConfig) -> int:
    """Replays every file; returns 0 when all are equal, 1 when one differs."""
    differing = 0
    for path in _files(config.episodes):
        episode = read_episode(path)
        found = replay(episode)
        equal = found.mismatch is None and found.steps > 0
        differing += not equal
        words = f"{found.steps} steps equal" if equal else f"DIFFERS: {found.mismatch or 'no steps'}"
        print(f"{path}: {words}, outcome {episode.outcome}{'; ' + found.fault if found.fault else ''}")
    return 1 if differing else 0


def _files(given: tuple[Path, ...]) -> list[Path]:
    files = [f for path in given for f in (sorted(path.rglob("*.mcap")) if path.is_dir() else [path])]
    if not files:
        raise ConfigError(
            f"no episode files in {', '.join(map(str, given)) or 'nothing'}; name .mcap files or a folder"
        )
    return files
