"""`regrasp results`: the page docs/results.md and its plots, from the folders that `regrasp eval` wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import ArtifactError, ContractError
from regrasp.figures import Evaluation
from regrasp.figures_file import EVALUATION_NAME, read_evaluation
from regrasp.results_page import PLOTS, Material, page, plots

ABLATIONS = {
    "full": "as shipped",
    "no-gates": "`--no-gates`: every term counts in every stage",
    "no-shaping": "`--no-shaping`: potentials are paid themselves, not their differences",
    "no-success-buffer": "`--no-success-buffer`: successes are not imitated",
    "no-curriculum": "`--no-curriculum`: hopeless scenes are not eased",
    "no-randomise": "`--no-randomise`: one nominal cell",
    "no-warm-start": "`--no-warm-start`: from scratch",
    "policy-features": "`--inputs policy`: the residual also reads the frozen policy's features",
}
"""Folder of each ablation's evaluation, and what was different in `regrasp train`."""


@dataclass(frozen=True, kw_only=True)
class ResultsConfig:
    """Write docs/results.md with its tables and plots from evaluations; what was not run says so."""

    evals: Path = Path("out/eval")
    """Folder of a `regrasp eval` in the nominal cell, with all arms."""
    gaps: tuple[Path, ...] = (Path("out/eval-lab"), Path("out/eval-harsh"))
    """Folders of evaluations under gap profiles; those that do not exist are left out."""
    ablations: Path = Path("out/ablations")
    """Folder with one evaluation a folder: full, no-gates, no-shaping, and so on, as the page lists them."""
    out: Path = Path("docs")
    """Folder for results.md and results/*.svg."""


def results(config: ResultsConfig) -> int:
    """Writes the page; returns the exit code.

    Raises:
        ArtifactError: There is no evaluation, or one is damaged.
        ContractError: Evaluations that stand in one table are of different policies.
    """
    main = load_evaluations(config.evals)
    if not main:
        raise ArtifactError(f"no {EVALUATION_NAME} below {config.evals}; run `regrasp eval --out {config.evals}` first")
    material = Material(
        main=main,
        gaps={e[0].campaign.gap: e for folder in config.gaps if (e := load_evaluations(folder))},
        ablations={name: load_evaluations(config.ablations / name) for name in ABLATIONS},
        ablation_words=ABLATIONS,
    )
    _check(material)
    (config.out / PLOTS).mkdir(parents=True, exist_ok=True)
    for name, text in plots(material).items():
        (config.out / PLOTS / name).write_text(text, encoding="utf-8")
    path = config.out / "results.md"
    path.write_text(page(material), encoding="utf-8")
    print(f"{path}: {len(main)} tasks, {len(material.gaps)} gap profiles, "
          f"{sum(map(bool, material.ablations.values()))} of {len(ABLATIONS)} ablations")  # fmt: skip
    return 0


def load_evaluations(folder: Path) -> tuple[Evaluation, ...]:
    """Returns every evaluation in a folder's folders, in order of task; none when there is no such folder."""
    return tuple(read_evaluation(path) for path in sorted(folder.glob(f"*/{EVALUATION_NAME}")))


def _check(material: Material) -> None:
    everything: list[Sequence[Evaluation]] = [material.main, *material.gaps.values(), *material.ablations.values()]
    policies = {e.campaign.policy for evaluations in everything for e in evaluations}
    if len(policies) > 1:
        raise ContractError(f"these evaluations are of policies {sorted(policies)}; a table compares one policy's only")
