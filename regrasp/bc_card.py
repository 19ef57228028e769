"""The README.md of a checkpoint of pi0-nano. Called by `regrasp.learn_bc` whenever it saves."""

from collections.abc import Mapping

from bridge.pi0.checkpoint import Manifest


def card(
    manifest: Manifest,
    training: Mapping[str, float | int | str],
    losses: Mapping[str, float],
    first: Mapping[str, float],
) -> str:
    """Returns the README.md of a checkpoint.

    Args:
        manifest: Of the checkpoint.
        training: Seeds, counts, steps.
        losses: On unseen episodes.
        first: Share of first chunks that head for the object told, by task and kind of instruction.
    """
    spec = manifest.processing
    asked = "\n".join(f"| first chunk heads for the object told, {k} | {v:.3f} |" for k, v in first.items())
    return f"""# {manifest.name}

A frozen base policy for {", ".join(f"`{t}`" for t in manifest.task.split())}: transformers'
`PI0ForConditionalGeneration` with a small configuration (keypoint vision tower, word tokenizer), trained from scratch
on scripted demonstrations in simulation.

- in: cameras {", ".join(spec.cameras)} at {spec.image_px} px (whole multiples are averaged down), 8 numbers of
  proprioception, an instruction of known words
- out: chunks of {", ".join(manifest.action_names)} every {manifest.dt_s * 1e3:.0f} ms
- sampling: {manifest.noise} noise, {manifest.steps} steps
- trained on {training["episodes"]} demonstrations of each task (data seed {training["data_seed"]}) and
  {training["corrected_rows"]} corrections of its own way, {training["steps"]} steps, seed {training["seed"]}
- simulation only; never shown to a real robot

| on {training["unseen_episodes"]} unseen demonstrations of each task | |
|---|---|
| flow-matching loss | {losses["flow"]:.4f} |
| object positions, mean error per coordinate [cm] | {losses["objects_cm"]:.2f} |
| present target and goal, from the words' states [cm] | {losses["named_cm"]:.2f} |
{asked}

"taught" are the task's training instructions, "held_out" templates and names that training never used.
"""
