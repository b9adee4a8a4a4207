"""`speechadv defend`: files in, the same files as they sound behind a defense out."""
from pathlib import Path

import click

from ..errors import shown
from .attacking import check_folder
from .common import Voice, json_option, out_option, quiet_option, unique_stems

SAMPLE_RATE = 16000
CLEAN = "clean"  # the folder of the clips before the defense


@click.command("defend", epilog="Example: speechadv defend yes.wav no.wav --defense bandpass:100-4000+mp3:32 --out defended")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--defense", required=True, metavar="SPEC",
              help="mp3:KBPS (8 to 160), bandpass:LO-HI in Hz or another of speechadv.list_defenses(), several joined by + in order, or none.")
@out_option
@json_option
@quiet_option
def command(files: tuple[Path, ...], defense: str, out: Path, as_json: bool, quiet: bool) -> None:
    """Send sound files through a defense and save what a network behind it would hear.

    Each FILE becomes OUT/STEM.wav: mono, 16 kHz, 16 bit, as long as the file and not delayed against it. Further files of the same stem
    become STEM-2.wav and so on. Nothing is written unless every file can be read. OUT/clean/STEM.wav is the file before the defense, and
    OUT/defended.jsonl names both: `speechadv report OUT` makes a page to compare them by ear.
    """
    from .. import audio
    from ..defenses import defense_name, parse_defense

    voice = Voice(as_json, quiet)
    chain = parse_defense(defense, SAMPLE_RATE)
    identity = {"defense": defense_name(chain), "files": [shown(file) for file in files]}
    check_folder(out, identity)
    for file in files:
        audio.read(file, SAMPLE_RATE, notice=voice.notice)
    results = _made(files, out, chain, identity, voice)
    for result in results:
        level = "unchanged" if result["snr_db"] is None else f"signal {result['snr_db']:.1f} dB over the change"
        voice.say(f"{shown(result['file'])} -> {shown(result['out'])}  {result['defense']}, {result['seconds']:.2f} s, {level}")
    voice.advise(("a page to compare by ear", ("report", out)), ("what is heard there", ("classify", results[0]["out"])))
    voice.document(results)


def _made(files, out: Path, chain, identity: dict, voice: Voice) -> list[dict]:
    """The folder, held for this process alone: environment.json first, by which the same command knows its own folder again, and defended.jsonl last."""
    import json

    from ..audio import write_bytes
    from ..evaluation.environment import environment
    from ..evaluation.folder import ENVIRONMENT, write_json
    from ..locks import locked
    from ..report.saved import DEFENDED

    about = environment("cpu", []) | {"command": identity}
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        check_folder(out, identity)  # it may have been another command's in between
        write_json(out / ENVIRONMENT, about)
        (out / CLEAN).mkdir(exist_ok=True)
        results = _defend_all(files, [out / f"{stem}.wav" for stem in unique_stems(files)], chain, voice)
        rows = [{"file": result["file"], "defense": result["defense"], "clean_audio": f"{CLEAN}/{Path(result['out']).name}", "defended_audio": Path(result["out"]).name,
                 "seconds": result["seconds"], "snr_db": result["snr_db"]} for result in results]
        write_bytes(out / DEFENDED, "".join(json.dumps(row) + "\n" for row in rows).encode("ascii"))
    return results


def _defend_all(files, targets, chain, voice: Voice) -> list[dict]:
    """Side by side on all processors; each file is read again, so that memory holds only those at work."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, voice.bar(len(files), "defending") as advance:
        for result in pool.map(lambda pair: _defend(*pair, chain), zip(files, targets)):
            results.append(result)
            advance()
    return results


def _defend(file: Path, target: Path, chain) -> dict:
    import torch

    from .. import audio
    from ..defenses import defense_name

    clean = torch.from_numpy(audio.read(file, SAMPLE_RATE))[None]
    heard = clean
    with torch.no_grad():
        for defense in chain:
            heard = defense.eval()(heard)
    audio.write_pcm16(target.parent / CLEAN / target.name, clean[0], SAMPLE_RATE)
    audio.write_pcm16(target, heard[0], SAMPLE_RATE)
    snr_db = float(audio.snr_db(clean, heard - clean))
    return {
        "file": str(file),
        "defense": defense_name(chain),
        "out": str(target),
        "seconds": clean.shape[1] / SAMPLE_RATE,
        "snr_db": snr_db if abs(snr_db) < float("inf") else None,  # of the input over what the defense changed; null where either is zero
    }
