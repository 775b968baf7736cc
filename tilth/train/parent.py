"""Ends a worker with the process that started it, even when that one is killed and can no longer say so.

Without it a ``kill -9`` of the command would leave processes that hold the cores until someone notices.
"""

import ctypes
import os
import signal
import sys

from tilth.corpus.errors import UserError

PARENT = "TILTH_PARENT"  # environment variable: the process id of the launcher
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; leave at once if the parent is gone already.

    Linux only; elsewhere, and for workers that another launcher started, it does nothing.
    """
    parent = os.environ.get(PARENT)
    if parent is None or sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise UserError(f"worker: prctl refused: {os.strerror(ctypes.get_errno())}; run outside of this sandbox")
    if os.getppid() != int(parent):  # it died between our start and the request
        os._exit(1)
