"""Upper limits, so that nothing of the bench hangs: a process that has one is ended when its time is up, and anyone who
reads from it finds the end of its output instead of waiting for ever.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limit(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """While inside, `process` has this long; then it is killed."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
