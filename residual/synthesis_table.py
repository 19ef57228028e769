"""The embedded synthesis: the diagnosis table fills the same structures that a model fills, with no model.

Terms are the mode's and manner's, trees the template's, numbers those that fit the task's things. Called by whoever has
no model, and in a model's place when it is silent or says nothing that validates.
"""

from dataclasses import replace

from core.failures import FailureMode
from core.rewards import RewardNode
from residual.masks import MASKS
from residual.stages import leaves
from residual.synthesis import (
    CausalAnalysis,
    Instantiation,
    Numbers,
    Relations,
    Selection,
    Synthesis,
    bare,
    parts_of,
)
from residual.synthesis_case import Case

_CAUSES = {
    FailureMode.MISSED_GRASP: "the fingers closed beside {target}",
    FailureMode.SLIP: "{target} slides out of the closed fingers",
    FailureMode.DROP: "{target} fell out of the hand",
    FailureMode.TARGET_MOVED: "{target} is not where the policy believes it to be",
    FailureMode.WRONG_OBJECT: "the hand has {distractor} in place of {target}",
    FailureMode.COLLISION: "the arm pushes against {obstacle}",
    FailureMode.JAM: "{target} is stuck on its way into {goal}",
    FailureMode.MISALIGNED: "{target} and {goal} are not in line",
    FailureMode.TOPPLED: "{target} has fallen over",
}


class TableSynthesiser:
    """Fills the four parts from tables; the same case always gives the same synthesis."""

    def synthesise(self, case: Case, *, why: str = "") -> Synthesis:
        """Returns what the compiler would make of the mode's default mask, part by part.

        Args:
            case: What failed.
            why: Why no model answered, "" when none was asked.

        Raises:
            ConfigError: No recovery is known for that mode.
        """
        stages, costs = case.stages(), case.template().costs
        active = MASKS[case.manner][case.mode]
        drives = {n.term: name for name, s in reversed(stages.items()) for n in leaves(s.value)}
        reasons = {t: f"drives {drives[t]}" if t in drives else f"of {case.mode}" for t in sorted(active)}
        parts = {
            name: _numbers(node)
            for stage, s in stages.items()
            for name, node in parts_of(stage, replace(s.value, weight=1.0))
        }
        charged = {c.term: _numbers(c) for c in costs}
        return Synthesis(
            analysis=_analysis(case),
            selection=Selection(reasons=reasons),
            relations=Relations(trees={name: bare(s.value) for name, s in stages.items()}),
            instantiation=Instantiation(parts=parts, costs=charged),
            fallback=why,
        )


def _analysis(case: Case) -> CausalAnalysis:
    roles = {r: case.roles.of(r) or "something" for r in ("target", "distractor", "goal", "obstacle")}
    stages = ", ".join(case.stages())
    return CausalAnalysis(cause=_CAUSES[case.mode].format(**roles), plan=f"do in order: {stages}")


def _numbers(node: RewardNode) -> Numbers:
    numbers = {k: v for k, v in node.params.items() if not isinstance(v, str)}
    return Numbers(weight=node.weight, parameters=numbers)
