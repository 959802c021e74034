"""The page of an assessment: one HTML file without a script or a reference to anything outside it. Text out."""

from __future__ import annotations

from poolward import assessment_tables, templates
from poolward.assessment import Assessment


def html(found: Assessment, inventory: str, when: str) -> str:
    """The whole page; `when` the hosts were looked at, as it is to be read."""
    return templates.page(
        "assessment.html.j2",
        found=found,
        sheets=assessment_tables.sheets(found),
        inventory=inventory,
        when=when,
    )
