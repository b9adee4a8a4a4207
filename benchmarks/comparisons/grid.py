"""An evaluation grid on two processes beside one."""
import subprocess
import sys
import tempfile
from pathlib import Path

from ..timing import Comparison

CONFIG = """task = "v2-12"
data = ["bundled"]
models = ["resnet", "resnet-at"]
attacks = ["pgd"]
goal = "untargeted"
budgets = ["linf:0.0005", "linf:0.001", "linf:0.002", "linf:0.005"]
audio = "failures"
"""


def processes(quick: bool) -> Comparison:
    """`speechadv evaluate` with two workers, against one worker; one thread each."""
    def run(workers: int):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.toml"
            config.write_text(CONFIG + ("clips = 8\n" if quick else ""))
            subprocess.run([sys.executable, "-m", "speechadv", "evaluate", str(config), "--out", f"{folder}/run", "--workers", str(workers), "--threads", "1",
                            "--quiet"], check=True, stdout=subprocess.DEVNULL)

    return Comparison("processes", lambda: run(2), lambda: run(1), "s", "one process, one thread as well", 1.8,
                      notes=["bundled clips, 2 networks, 4 budgets, PGD as it is by default; start, tables and page included"], warm=False)
