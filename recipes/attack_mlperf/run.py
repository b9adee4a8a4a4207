"""A deployed file, broken by the verdict of its runtime: see README.md beside this file."""
import csv
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _files import command, inside, judged, overrides, put, started

FOLDER = Path(__file__).resolve().parent
FILE = "mlperf_tiny_kws/kws_ref_model.tflite"  # in the folder that SPEECHADV_MODELS names
RUNS = {"mlperf_int8": "config.toml", "mlperf_int8_black_box": "black_box.toml"}
QUICK = {"mlperf_int8": ("clips=4", "attacks=[{name='pgd', steps=10, loss='margin'}]"),
         "mlperf_int8_black_box": ("clips=3", "attacks=[{name='pgd', steps=10, loss='margin'}, {name='square', queries=60}, {name='hopskipjump', queries=60}]")}


@click.command(epilog="Example: python recipes/attack_mlperf/run.py --out runs/attack_mlperf --quick")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the file and of the two runs; what was stopped goes on.")
@click.option("--file", type=click.Path(path_type=Path), help=f"The .tflite or .onnx file. Default: {FILE} in the folder that SPEECHADV_MODELS names.")
@click.option("--quick", is_flag=True, help="A rehearsal: bundled clips, and our own `resnet`, exported as int8 ONNX, in place of the file.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of torch.")
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of these runs into expected.json.")
def recipe(out, file, quick, threads, check, record):
    """White box and black box against one file; tables, pages and WAV files are in OUT afterwards."""
    from speechadv.errors import InputError

    with inside(out):
        if quick:
            if not Path("resnet.int8.onnx").exists():
                command("export", "resnet", "--int8", "--calibration", 16, "--out", "resnet.int8.onnx", "--quiet")
            word = "onnx:resnet.int8.onnx"
    if not quick:
        file = file or (Path(os.environ["SPEECHADV_MODELS"]) / FILE if "SPEECHADV_MODELS" in os.environ else None)
        if file is None:
            raise InputError("--file: expected a .tflite or .onnx file (or SPEECHADV_MODELS, a folder that holds " + FILE + ")")
        word = put(file, out)
    with inside(out):
        for name, config in RUNS.items():
            changed = [f"models=['{word}']", *(("data=['bundled']", *QUICK[name]) if quick else ())]
            command("evaluate", FOLDER / config, "--out", name, "--threads", threads, *overrides(changed))
    click.echo(summary(out))
    judged(FOLDER, [out / name for name in RUNS], "--file kws_ref_model.tflite", quick, record, check)


def summary(out: Path) -> str:
    """A line an attack: clean accuracy, what it reached, and what it asked."""
    lines = []
    for name in RUNS:
        with open(out / name / "table.csv", newline="", encoding="utf-8") as table:
            lines += [told(cell) for cell in csv.DictReader(table)]
        lines.append(f"sound: {sum(1 for _ in (out / name / 'audio').rglob('*.wav'))} WAV files in {name}/audio; page: {name}/index.html")
    return "\n".join(lines)


def told(cell: dict[str, str]) -> str:
    """One cell in words."""
    reached = (f"{float(cell['targeted_success']):.1%} of {cell['clips_right']} clips heard as the word that was wanted" if cell["targeted_success"]
               else f"{float(cell['robust_accuracy']):.1%} still right")
    asked = f", {float(cell['queries_mean']):.0f} queries a clip" if cell["queries_mean"] else f", {float(cell['passes_mean']):.0f} passes a clip"
    return f"{cell['attack']} ({cell['threat']}): {float(cell['clean_accuracy']):.1%} of {cell['clips']} clips right before; {reached}{asked}"


if __name__ == "__main__":
    started(recipe)
