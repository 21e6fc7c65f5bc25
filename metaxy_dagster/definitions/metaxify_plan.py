"""The plan that users hold: it prints, and what prints is what executes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from metaxy_dagster.definitions.apply.definitions import apply_plan
from metaxy_dagster.definitions.apply.rewrite import Rewriter
from metaxy_dagster.definitions.plan.plans import RepositoryPlan
from metaxy_dagster.definitions.report import render, summary

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["MetaxifyPlan"]


@dataclass(frozen=True, eq=False, repr=False)
class MetaxifyPlan(RepositoryPlan):
    """Everything that :func:`metaxify_definitions` is going to do to a repository.

    Args:
        rewriter: makes the new asset objects, each once.

    Example:
        >>> import dagster as dg
        >>> from metaxy_dagster.definitions.transform import plan_definitions
        >>> plan = plan_definitions(dg.Definitions(assets=[dg.AssetSpec("plain")]))
        >>> plan.changes_anything, plan.errors
        (False, ())
    """

    rewriter: Rewriter = field(default_factory=Rewriter)

    def __str__(self) -> str:
        """The plan as text, so that ``print(plan)`` shows it."""
        return self.render()

    def __repr__(self) -> str:
        """One line: the parts hold whole repositories."""
        return f"<{type(self).__name__}: {summary(self)}>"

    def apply(self) -> dg.Definitions:
        """Execute the plan.

        Returns:
            New Definitions; the same object when nothing changes.

        Raises:
            MetaxyErrorGroup: the plan holds faults.
        """
        return apply_plan(self, self.rewriter)

    def render(
        self, form: Literal["text", "markdown", "json"] = "text", *, full: bool = False
    ) -> str:
        """The plan for people (text, Markdown) or programs (JSON).

        Args:
            form: which of the three.
            full: whether people are told asset by asset what many have in common, as programs are;
                by default it is said once.

        Raises:
            DefinitionsError: another form was asked for.
        """
        return render(self, form, full=full)
