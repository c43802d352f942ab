"""How a program that used the SDK ends.

The SDK's transport (pyqwest) runs threads of its own. One that wants the interpreter while that is being torn down aborts
the process, after all work was done: about two exits in sixty with what `soak.py` does, whatever answered. What a program
found is its verdict, so it leaves before the teardown.
"""

import os
import sys


def leave(status):
    """Ends the process with this status, and everything written is out."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
