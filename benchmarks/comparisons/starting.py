"""What a user waits for before anything happens. There is no peer: ours stands beside the aim."""
import subprocess
import sys
import tempfile

from ..timing import Comparison


def _run(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def speechadv_help(quick: bool) -> Comparison:
    """`speechadv --help`, the interpreter's start included."""
    return Comparison("speechadv --help", lambda: _run("-m", "speechadv", "--help"), None, "s", "the aim", 0.15)


def import_speechadv(quick: bool) -> Comparison:
    """`import speechadv`, the interpreter's start included."""
    return Comparison("import speechadv", lambda: _run("-c", "import speechadv"), None, "s", "the aim", 0.1)


def speechadv_demo(quick: bool) -> Comparison:
    """The whole demo."""
    def demo():
        with tempfile.TemporaryDirectory() as folder:
            _run("-m", "speechadv", "demo", "--out", f"{folder}/demo", "--quiet")

    return Comparison("speechadv demo", (lambda: _run("-m", "speechadv", "demo", "--help")) if quick else demo, None, "s", "the aim", 20, warm=False)
