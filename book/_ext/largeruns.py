"""The runs at full size, each with its command: from the table of experiments and what is stored."""

from __future__ import annotations

from typing import Any

from deepdynamics import experiments, results
from generated import Generated, chapters


def minutes(provenance: dict[str, Any]) -> str:
    """CPU minutes where the run has stored them; else those on the clock since it was last resumed, a lower bound."""
    if "cpu_seconds" in provenance:
        return f"{max(1, round(provenance['cpu_seconds'] / 60))}"
    seconds = provenance.get("seconds_of_the_triplets") or provenance.get("seconds_since_resumed") or 0
    return f"≥ {seconds / 60:.0f}" if seconds >= 60 else "–"


class LargeRuns(Generated):
    """A row for each stored result: the command of its chapter, cells, minutes, data."""

    def markdown(self) -> str:
        written = {row["slug"]: row["docname"] for row in chapters(self.root)}
        lines = ["| command | result | cells | minutes | data |", "|---|---|--:|--:|---|"]
        for slug, keys in experiments.EXPERIMENTS.items():
            command = f"{{ref}}`{slug}`: " if written.get(slug) else ""
            command += f"`make results CHAPTER={slug}`"
            for key in keys:
                experiment = experiments.experiment_of(key)
                took, needs = minutes(results.load(key).attrs), ", ".join(experiment.NEEDS) or "none"
                lines.append(f"| {command} | `{key}` | {len(experiment.grid('paper'))} | {took} | {needs} |")
                command = ""
        return "\n".join(lines)
