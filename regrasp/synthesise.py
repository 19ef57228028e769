"""`regrasp synthesise`: a reward for one failure, by dialogue with a model or from the diagnosis table.

Everything that was asked and answered lies in the output folder; the same command given again with the same folder asks
nobody and makes the same reward.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bridge.chat import ChatConfig, OpenAiChat
from core.clock import MonotonicClock
from core.errors import ConfigError
from core.rewards import RewardSpec
from core.subtasks import Manner
from core.worlds import FailureState
from regrasp.synthesis_cases import case_of_bank, case_of_episode, failures_of, known_mode
from regrasp.task_registry import TaskEntry, find_task
from residual.bank import load_bank
from residual.lint import lint_reward, linted
from residual.outline import tell_spec
from residual.probes import Probing
from residual.spec_io import spec_to_json
from residual.synthesis import Synthesis, reward_of
from residual.synthesis_case import Case
from residual.synthesis_dialogue import Notebook, replayed, synthesise
from residual.synthesis_io import synthesis_to_json
from residual.synthesis_reflect import RewardJudge
from residual.synthesis_table import TableSynthesiser
from sim.world import BatchWorld

LINT_WORLDS = 16
"""Failure states that a reward is linted from, at most."""
LINT_STEPS = 160
"""Control steps of a recovery in the lint."""
DONE, LINT_FAILED = 0, 1


@dataclass(frozen=True, kw_only=True)
class SynthesiseConfig:
    """Synthesise the reward of one failure from an episode or a bank: four questions to a model, or the table alone."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    episode: Path | None = None
    """Recorded episode (MCAP) whose first failure is shown; a bank's failure when not given."""
    bank: Path | None = None
    """Folder with a bank of failure states, see `train`; the reward is linted from it."""
    mode: str = ""
    """Failure mode; what the episode says, or the bank's first, when not given."""
    manner: Manner | None = None
    """How the failed sub-task is done, where a bank holds several; the first when not given."""
    vlm: str = ""
    """Name of the model to ask; the diagnosis table answers without one."""
    vlm_url: str = "http://127.0.0.1:8000/v1"
    """Root of its OpenAI-compatible endpoint; the key is read from OPENAI_API_KEY."""
    vlm_deadline_s: float = 60.0
    """How long one answer may take [s]; a dialogue may take five times that before the table answers instead."""
    vlm_tokens: int = 4000
    """Longest answer [tokens]."""
    replay: bool = False
    """Read the dialogue that is recorded in the output folder; nobody is asked."""
    out: Path = Path("out/synthesis")
    """Folder for synthesis.json, reward.json, exchanges and pictures."""


def make_reward(config: SynthesiseConfig) -> int:
    """Synthesises; returns the exit code: 1 when the lint of the reward fails."""
    task = find_task(config.task)
    states = load_bank(config.bank) if config.bank is not None else ()
    case = _case(config, task, states)
    probing = _probing(task, states, case) if states else None
    made = _made(config, case, probing)
    spec = reward_of(case, made)
    if probing is not None:
        spec = linted(spec, lint_reward(spec, probing))
    _write(config.out, made, spec)
    _tell(config.out, made, spec)
    return DONE if spec.lint is None or spec.lint.ok else LINT_FAILED


def probing_of(task: TaskEntry, states: tuple[FailureState, ...], steps: int = LINT_STEPS) -> Probing:
    """Returns where rewards are linted: worlds of their own, so that a training's are left alone.

    Args:
        task: Of the failures.
        states: Failures of one mode and manner.
        steps: Control steps of a recovery.
    """
    subtasks = max(len(task.info.course(s.snapshot.instruction).subtasks) for s in states)
    world = BatchWorld(task.make(), min(LINT_WORLDS, len(states)))
    return Probing(world=world, expert=task.expert(), states=states, steps=steps, subtasks=subtasks)


def _case(config: SynthesiseConfig, task: TaskEntry, states: tuple[FailureState, ...]) -> Case:
    mode = known_mode(config.mode) if config.mode else None
    if config.episode is not None:
        return case_of_episode(task, config.episode, mode)
    if not states:
        raise ConfigError("nothing to synthesise from; give --episode FILE.mcap or --bank DIR")
    first = next((s for s in states if mode is None or s.mode is mode), states[0])
    manner = task.info.course(first.snapshot.instruction).at(first.subtask).manner
    return case_of_bank(task, states, mode or first.mode, config.manner or manner)


def _probing(task: TaskEntry, states: tuple[FailureState, ...], case: Case) -> Probing:
    return probing_of(task, failures_of(task, states, case.mode, case.manner))


def _made(config: SynthesiseConfig, case: Case, probing: Probing | None) -> Synthesis:
    if config.replay:
        return replayed(case, config.out)
    if not config.vlm:
        return TableSynthesiser().synthesise(case)
    chat = ChatConfig(
        model=config.vlm, base_url=config.vlm_url, deadline_s=config.vlm_deadline_s, max_answer_tokens=config.vlm_tokens
    )
    with ExitStack() as stack:
        notebook = Notebook(stack.enter_context(OpenAiChat(chat)), config.out)
        check = None if probing is None else RewardJudge(lambda: probing)
        made = synthesise(case, notebook, clock=MonotonicClock(), deadline_s=5.0 * config.vlm_deadline_s, check=check)
        answers = [e.answer for e in notebook.exchanges]
    print(
        f"asked {config.vlm} {len(answers)} times ({notebook.on_record} on record): "
        f"{sum(a.prompt_tokens for a in answers)} + {sum(a.completion_tokens for a in answers)} tokens, "
        f"{sum(a.seconds for a in answers):.1f} s"
    )
    return made


def _write(out: Path, made: Synthesis, spec: RewardSpec) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "synthesis.json").write_text(synthesis_to_json(made) + "\n")
    (out / "reward.json").write_text(spec_to_json(spec) + "\n")


def _tell(out: Path, made: Synthesis, spec: RewardSpec) -> None:
    print(f"by {made.model_id}" + (f", in the model's place: {made.fallback}" if made.fallback else ""))
    print(f"cause: {made.analysis.cause}\nplan: {made.analysis.plan}")
    for request in made.selection.requests:
        print(f"requested term, for a person to consider: {request.name}: {request.description}")
    print(f"\n{tell_spec(spec)}\n\n{out / 'reward.json'}: hash {spec.hash}")
