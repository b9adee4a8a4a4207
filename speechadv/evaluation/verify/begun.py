"""Whether what a run is judged with is what it was begun with, for runs that do not hold their clean clips."""
from pathlib import Path
from typing import Any

from ...errors import InputError, shown
from ..folder import ENVIRONMENT, read_environment
from .verdict import Verdict


def check_begun(run: Path, now: dict[str, Any], verdict: Verdict) -> None:
    """Clips and weights of environment.json beside those of `now`, which has the same keys. Raises InputError: without its own clips nothing of a run can be judged."""
    said = read_environment(run)
    if "clips" in said and said["clips"] != now["clips"]:
        raise InputError(f"'{shown(run / ENVIRONMENT)}': expected the {said['clips'].get('number')} clips that the run was begun with, found {now['clips']['number']} others or with "
                         "other labels; name their data by SPEECHADV_DATA")
    if "models" in said and said["models"] != now["models"]:
        verdict.differs(ENVIRONMENT, "a model has other weights now than when the run was made")
