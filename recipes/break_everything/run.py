"""Every attack beside every other, at one budget: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import evaluation_recipe

ATTACKS = ["'fgsm'", "{name='pgd', steps=6}", "{name='apgd', steps=6, loss='margin'}", "{name='ddn', steps=4}", "{name='universal', steps=3, batch=8}",
           "{name='square', queries=8}", "{name='hopskipjump', queries=20}", "'noise'"]
QUICK = ["clips=3", "skip=[]", f"attacks=[{', '.join(ATTACKS)}]"]


def write_strength(out: Path) -> None:
    """strength.md, strength.csv and figures/strength.svg of a finished run; the table is printed too."""
    import strength

    from speechadv.report.style import save, styled

    found = strength.lines(out)
    (out / "strength.csv").write_text(strength.as_csv(found), encoding="utf-8")
    (out / "strength.md").write_text(text := strength.as_markdown(found), encoding="utf-8")
    with styled():
        save(strength.figure(found), out / "figures/strength.svg")
    click.echo(text)


if __name__ == "__main__":
    evaluation_recipe(Path(__file__).resolve().parent, QUICK, write_strength)()
