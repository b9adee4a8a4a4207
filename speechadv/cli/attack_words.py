"""What `speechadv attack` says of its clips: lines for people, numbers for programs."""
from pathlib import Path
from typing import Any

from ..errors import shown
from .attacking import Clip, Job
from .common import Voice


def document(clip: Clip, row: dict[str, Any], out: Path) -> dict[str, Any]:
    """A clip's entry of the JSON document."""
    from ..evaluation.quality import part_of

    return {"file": str(clip.file), "heard_before": row["clean_prediction"], "heard_after": row["adversarial_prediction"], "target": row["target"],
            "reached": row["reached"], "linf": row["linf"], "snr_db": row["snr_db"], "masking_excess_db": row["masking_excess_db"], **part_of(row),
            "out": str(out / row["adversarial_audio"])}


def describe(clip: Clip, row: dict[str, Any], out: Path, voice: Voice) -> None:
    """A clip's lines for people."""
    from ..evaluation.quality import in_words

    before, after = row["clean_prediction"], row["adversarial_prediction"]
    wanted = "" if row["target"] is None else f", target '{shown(row['target'])}' " + ("reached" if row["reached"] else "not reached")
    voice.say(f"{shown(clip.file)}: heard as '{shown(before)}' before and as '{shown(after)}' after{wanted}")
    voice.say(f"    {loudness(row)}; {row['passes']} passes" + (f", {row['queries']} queries" if row["queries"] else ""))
    for line in in_words(row):
        voice.say(f"    {line}")
    louder = f"; what was added, {row['perturbation_gain_db']} dB louder: {shown(out / row['perturbation_audio'])}" if row["linf"] else ""
    voice.say(f"    {shown(out / row['adversarial_audio'])}{louder}")


def loudness(row: dict[str, Any]) -> str:
    """The levels of a row in words, each with its unit."""
    from ..audio import amplitude_to_dbfs, amplitude_to_lsb

    if not row["linf"]:
        return "unchanged"
    snr = "SNR undefined (the clip is silent)" if row["snr_db"] is None else f"SNR {row['snr_db']:.1f} dB"
    return (f"{snr}, L-infinity {row['linf']:.5f} of full scale ({amplitude_to_lsb(row['linf']):.0f} LSB, {amplitude_to_dbfs(row['linf']):.1f} dBFS), "
            f"{row['masking_excess_db']:+.1f} dB against the masking threshold")


def summarise(rows: list[dict[str, Any]], job: Job, voice: Voice) -> None:
    """The last line: how many of those that could be moved were."""
    moved = [row for row in rows if row["clean_prediction"] != row["target"]]
    wanted = "another word" if job.target is None else f"'{shown(job.target)}'"
    voice.say(f"{sum(row['reached'] for row in moved)} of {len(moved)} heard as {wanted} within {job.budget.name} (attack {job.name})")
