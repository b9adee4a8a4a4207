"""A run of certificates judged anew: radii from the votes, some of the votes from the network, the curve from the radii."""
import csv
import json
import math
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm
from torch import Tensor

from ...attacks.base import frozen
from ...errors import shown
from ..certificates import POINTS, Line
from ..certification import CERTIFICATES, CURVE, CertificationConfig, Certifier
from ..clips import ClipSet, load_clips
from ..folder import read_config, read_json
from ..run import Bar
from ..smoothing import Smoothed
from ..sounds import waveforms
from ..work import fingerprint
from . import counts
from .begun import check_begun
from .verdict import Verdict, alike

AT_A_TIME = 64  # noisy clips
PASSES = 100_000  # that are made again at most, as many clips as that is
CLOSE_VOTES = 0.001  # of the draws: a draw on the edge between two words may fall to either side with the size of a batch
CLOSE_COUNT = 2
CLOSE_RADIUS = 1e-9  # full scale is 1: a root that was searched for
Numbered = list[tuple[int, Line]]


def check_certificates(run: Path, numbered: Numbered, verdict: Verdict, device: str, trust: bool, bar: Bar) -> None:
    """All of a run: its lines with their numbers, votes and curve. Raises SpeechAdvError: config, clips or model cannot be loaded."""
    config = read_config(run, CertificationConfig)
    worker = Certifier(config, run, device, trust, AT_A_TIME)
    model = worker.model(config.model)
    clips = load_clips(config, model.sample_rate)
    known = {name: place for place, name in enumerate(clips.names)}
    check_begun(run, {"clips": {"source": clips.source, "number": len(clips), "sha256": clips.fingerprint()}, "models": {config.model: fingerprint(model)}}, verdict)
    for number, line in numbered:
        for problem in _problems(line, config, clips, known):
            verdict.differs(f"{CERTIFICATES}:{number}", problem)
    lines = [line for _, line in numbered]
    if len(lines) < len(clips):
        verdict.cannot_judge(f"the run is not finished: {len(lines)} of {len(clips)} certificates are there")
    _vote_again(numbered, model, clips, known, config, verdict, device, bar)
    if lines:
        _check_tables(run, lines, verdict)


def _vote_again(numbered: Numbered, model, clips: ClipSet, known: dict[str, int], config: CertificationConfig, verdict: Verdict, device: str, bar: Bar) -> None:
    """Let the network vote on as many clips as may be heard again. It is the plain one, not the folded copy that certified."""
    some = _some([(number, line) for number, line in numbered if line["clip"] in known], config.n0 + config.n)
    if len(some) < len(numbered):
        verdict.cannot_judge(f"the network heard {len(some)} of {len(numbered)} clips again, spread over the run: the votes of the others stand unjudged")
    heard = waveforms(clips.pcm[[known[line["clip"]] for _, line in some]]).to(device)
    smoothed = Smoothed(model, config.sigma, AT_A_TIME)
    with bar(len(some), f"judging ({config.n0 + config.n:,} draws a clip)") as advance, frozen(model):
        for (number, line), clip in zip(some, heard):
            for problem in _recount(line, smoothed, clip, config):
                verdict.differs(f"{CERTIFICATES}:{number}", problem)
            verdict.scored += 1
            advance(1)


def _problems(line: Line, config: CertificationConfig, clips: ClipSet, known: dict[str, int]) -> list[str]:
    """What a line says that config, clip or its own votes deny."""
    if line["clip"] not in known:
        return [f"the config asks for no clip '{shown(line['clip'])}'"]
    place = known[line["clip"]]
    length = _radius(line["votes"], config)
    energy = float((clips.pcm[place].astype(np.float64) ** 2).sum()) / 2**30
    snr = 10 * math.log10(energy / length**2) if length and energy else None
    wanted = {key: getattr(config, key) for key in ("model", "sigma", "n", "n0", "alpha")} | {
        "label": clips.labels[place], "radius": length, "ceiling": _radius(config.n, config), "snr_db": snr}
    return [f"{key}: expected {shown(value)}, the line says {shown(line[key])}" for key, value in wanted.items()
            if not alike(value, line[key], CLOSE_RADIUS if key in ("radius", "ceiling") else 1e-6 if key == "snr_db" else 0)]


def _some(numbered: Numbered, draws: int) -> Numbered:
    """As many clips as may be heard again, evenly spread; one at the least."""
    most = max(1, PASSES // draws)
    return numbered[:: -(-len(numbered) // most)] if numbered else []


def _recount(line: Line, smoothed: Smoothed, clip: Tensor, config: CertificationConfig) -> Iterator[str]:
    """What the line says of the vote, against the vote itself; `clip` (time,)."""
    (found,) = smoothed.certify(clip[None], n0=config.n0, n=config.n, alpha=config.alpha, seed=config.seed)
    if abs(found.votes - line["votes"]) > max(CLOSE_COUNT, CLOSE_VOTES * config.n):
        yield f"votes: the network gives {found.votes}, the line {line['votes']}"
    word = None if found.predicted is None else smoothed.model.labels[found.predicted]
    if None not in (word, line["predicted"]) and word != line["predicted"]:
        yield f"predicted: the vote is for '{shown(word)}', the line says '{shown(line['predicted'])}'"


def _radius(votes: int, config: CertificationConfig) -> float | None:
    """sigma times the normal quantile of the rate under which so many votes or more have the chance alpha (Clopper & Pearson 1934), searched for; None where that is no majority."""
    tail = lambda rate: float(binom.sf(votes - 1, config.n, rate)) - config.alpha
    if tail(0.5) >= 0:
        return None
    return config.sigma * float(norm.ppf(brentq(tail, 0.5, 1.0, xtol=1e-15, rtol=1e-14)))


def _check_tables(run: Path, lines: Sequence[Line], verdict: Verdict) -> None:
    """result.json and certified.csv against the lines."""
    right = [line for line in lines if line["predicted"] == line["label"]]
    curve = [_point(right, len(lines), lines[0]["ceiling"] * step / (POINTS - 1)) for step in range(POINTS)]
    expected = {key: lines[0][key] for key in ("model", "sigma", "n", "n0", "alpha", "ceiling")} | counts.share("accuracy", len(right), len(lines)) | {
        "clips": len(lines), "right": len(right), "abstained": sum(line["predicted"] is None for line in lines), "at_ceiling": sum(line["votes"] == line["n"] for line in right),
        **{f"{key}_median": counts.median([line[key] for line in right if line[key] is not None]) for key in ("radius", "snr_db")}}
    for name in ("result.json", CURVE):
        if not (run / name).is_file():
            verdict.differs(name, "is not there; the same `speechadv certify` makes it again")
    if (run / "result.json").is_file():
        said = read_json(run / "result.json")
        for key, value in expected.items():
            if not isinstance(said, dict) or not alike(value, said.get(key)):
                verdict.differs("result.json", f"{key}: the lines give {value}, the file says {shown(said.get(key) if isinstance(said, dict) else said)}")
        _compare_curve("result.json", curve, said.get("curve") if isinstance(said, dict) else None, verdict)
    if (run / CURVE).is_file():
        try:
            with open(run / CURVE, newline="", encoding="ascii") as file:
                points = [{key: json.loads(value) for key, value in line.items()} for line in csv.DictReader(file)]
        except (ValueError, TypeError, csv.Error):
            points = None
        _compare_curve(CURVE, curve, points, verdict)


def _point(right: Sequence[Line], total: int, length: float) -> dict[str, Any]:
    """Certified accuracy at one radius."""
    return {"radius": length, **counts.share("certified", sum(line["radius"] >= length - CLOSE_RADIUS for line in right), total), "clips": total}


def _compare_curve(name: str, expected: list[dict[str, Any]], said: Any, verdict: Verdict) -> None:
    if not isinstance(said, list) or len(said) != len(expected) or not all(isinstance(point, dict) for point in said):
        verdict.differs(name, f"expected a curve of {len(expected)} points")
        return
    for wanted, point in zip(expected, said):
        if wrong := next((key for key, value in wanted.items() if not alike(value, point.get(key))), None):
            verdict.differs(name, f"radius {wanted['radius']:.6g}: {wrong}: the lines give {wanted[wrong]}, the file says {shown(point.get(wrong))}")
