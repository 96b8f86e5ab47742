"""Which sampler and schedule does an infotext mean, whose names may be older than schedule types? Knows controls as names only."""

from __future__ import annotations

from collections.abc import Mapping

from modules.domain.catalog import AUTOMATIC, Catalog
from modules.domain.errors import InvalidRequest
from modules.gradio_ui.form import SAME_SAMPLER, SAME_SCHEDULE
from modules.imaging.infotext_versions import had_no_schedule


def second_pass_names(found: Mapping[str, str], written: Mapping[str, str], catalog: Catalog) -> dict[str, str]:
    """The second pass' "Hires sampler" and "Hires schedule type" where the text gives a sampler of its own and no schedule, else nothing.

    `written` is what the text itself says, without what its absent fields mean.
    """
    name = found.get("Hires sampler", SAME_SAMPLER)
    if name == SAME_SAMPLER or found.get("Hires schedule type", SAME_SCHEDULE) != SAME_SCHEDULE:
        return {}
    try:
        sampler, ending = catalog.split_sampler(name)
        # the first pass' schedule, and not what "Automatic" makes of it; old names without one meant the sampler's own
        schedule = ending or catalog.schedule(written.get("Schedule type") or AUTOMATIC)
    except InvalidRequest:
        return {}
    return {"Hires sampler": sampler.label, "Hires schedule type": schedule.label}


def schedule_doubt(written: Mapping[str, str]) -> str | None:
    """Why the schedule of a text may be another than it seems; None where there is no doubt."""
    if "Version" in written or not had_no_schedule(written):
        return None
    return (
        f"the text names neither a version nor a schedule type: A1111 before 1.9 drew {written['Sampler']} with Uniform, "
        "later versions with the sampler's own"
    )
