"""`python -m speechadv`: the command line."""
import os
import sys

# `python -m` puts the working folder first on the path, where a `numpy.py` beside a stranger's clips would be imported instead of the real one.
# Only where this package itself lives in the working folder (a source checkout) it has to stay.
if sys.path and sys.path[0] == os.getcwd() and os.path.dirname(os.path.dirname(os.path.realpath(__file__))) != os.path.realpath(os.getcwd()):
    del sys.path[0]

from .cli import main  # noqa: E402

if __name__ == "__main__":
    main()
