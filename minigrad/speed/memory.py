"""Keeps freed memory for the next step, where the C library allows it: a training step asks for the same arrays again.

By default glibc hands each large array back to the system when it is freed, and fetches it again page by page, which
costs a good part of a small model's step. Setting the environment variable MINIGRAD_MALLOC=0 leaves things as they are.
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
LARGEST = 1 << 30  # bytes; larger arrays still come from the system one by one
NEVER = -1  # trim: what a large model frees at the end of a step is what it needs in the next


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed; True where it was done (Linux with glibc, and not switched off)."""
    if os.environ.get("MINIGRAD_MALLOC") == "0" or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
    except (AttributeError, OSError):  # musl, say
        return False
