"""The machine: files, devices, threads, progress; errors of its parts as one line each."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .buffers import Buffers, give_back_memory, keep_freed_memory, pinned
    from .compiling import no_extension, why_eager
    from .device import autocast, choose, describe, fast_bf16, to_device
    from .driver import FIRST, MISSING, NO_DEVICE, Load, driver_fault, starts, supported_cuda
    from .faults import NO_MEMORY, device_fault, first_line
    from .files import (
        NAME_MAX,
        REMEDIES,
        EarlyFlush,
        cache_folder,
        commit,
        part_of,
        replacing,
        synced,
        unwritable,
        write_all,
    )
    from .lock import LOCK, locked
    from .pipeline import CORES, Hold, ahead, flat, ordered
    from .progress import SETTLED_SECONDS, bar, rate, say, track
    from .provenance import keep_made, made, made_now, said
    from .stopping import Stop, StoppedError, stoppable
    from .texts import caption, label, printable
    from .torch_defaults import defaults

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
