"""Does robustness survive quantisation? See README.md beside this file."""
import csv
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _files import command, inside, judged, overrides, put, started

FOLDER = Path(__file__).resolve().parent
OURS = ("resnet", "resnet-at")
QUICK = ("data=['bundled']", "clips=4", "budgets=['linf:0.001']", "attacks=[{name='ensemble', steps=4, targets=1, queries=10}]")
TIMED = 50  # clips, one at a time


@click.command(epilog="Example: python recipes/ship_it/run.py --out runs/ship_it --quick")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the files and of the run; what was stopped goes on.")
@click.option("--also", type=click.Path(path_type=Path), multiple=True, help="Another .tflite or .onnx file, its card beside it; several times.")
@click.option("--quick", is_flag=True, help="A rehearsal on bundled clips.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key of config.toml.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of torch.")
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of this run into expected.json.")
def recipe(out, also, quick, changes, threads, check, record):
    """Export our networks, float and int8, attack each file, and put size and time beside the accuracies."""
    words = [word for name in OURS for word in exported(name, out, quick)] + [put(file, out) for file in also]
    with inside(out):
        changed = overrides([f"models={words}", *(QUICK if quick else ()), *changes])
        command("evaluate", FOLDER / "config.toml", "--out", "ship_it", "--threads", threads, *changed)
        lines = [line(word, Path("ship_it")) for word in words]
        write(lines, Path("ship_it"))
    judged(FOLDER, [out / "ship_it"], "--also kws_ref_model_float32.tflite --also kws_ref_model.tflite", quick, record, check)


def exported(name: str, out: Path, quick: bool) -> list[str]:
    """Words of one of our networks as two files, float and int8, made unless they are there."""
    files = {f"{name}.onnx": [], f"{name}.int8.onnx": ["--int8", *(["--calibration", 16] if quick else [])]}
    with inside(out):
        for file, options in files.items():
            if not Path(file).exists():
                command("export", name, "--out", file, "--quiet", *options)
    return [f"onnx:{file}" for file in files]


def line(word: str, run: Path) -> dict[str, object]:
    """What a file costs and what it withstands."""
    with open(run / "table.csv", newline="", encoding="utf-8") as table:
        cells = [cell for cell in csv.DictReader(table) if cell["model"] == word and cell["attack"] != "worst-of"]
    file = Path(word.partition(":")[2])
    return {"file": file.name, "bytes": file.stat().st_size, "ms_a_clip": milliseconds(word), "clips": int(cells[0]["clips"]),
            "clean_accuracy": float(cells[0]["clean_accuracy"])} | {cell["budget"]: float(cell["robust_accuracy"]) for cell in cells}


def milliseconds(word: str) -> float:
    """Processor time of one clip, front end included: the median of clips heard alone, on one thread."""
    import torch

    from speechadv import load_model
    from speechadv.data.samples import load_bundled

    model, spent = load_model(word), []
    clips = torch.from_numpy(load_bundled()[0])
    with torch.no_grad():
        for clip in clips[:TIMED]:
            before = time.process_time()
            model(clip[None])
            spent.append(time.process_time() - before)
    return round(1000 * sorted(spent)[len(spent) // 2], 2)


def write(lines: list[dict[str, object]], run: Path) -> None:
    """sizes.csv and sizes.md in the run; the table is printed too."""
    head = list(lines[0])
    with open(run / "sizes.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, head)
        table.writeheader()
        table.writerows(lines)
    rows = [[f"{value:.1%}" if isinstance(value, float) and key != "ms_a_clip" else f"{value:,}" if isinstance(value, int) else str(value)
             for key, value in each.items()] for each in lines]
    text = "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"
    (run / "sizes.md").write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    started(recipe)
