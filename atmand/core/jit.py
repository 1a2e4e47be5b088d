"""How kernels are compiled: one decorator for each of the two sizes of function, and the views that they open.

Kernels are also plain Python: with NUMBA_DISABLE_JIT=1 the same source runs in the interpreter, so that coverage and
debuggers see it. Never `fastmath`: its results differ between drivers, and the fold must not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import njit
from numba.core import config

__all__ = ["JIT", "entry", "kernel", "noref", "routine", "view"]

JIT: Final = not config.DISABLE_JIT

kernel = njit(cache=True, error_model="numpy", forceinline=True)
"""A small function that belongs into its caller: helpers on records."""

routine = njit(cache=True, error_model="numpy")
"""A function that is compiled once and called: a handler of a record, a pass over a table."""

entry = njit("int64(uint8[::1], int64, uint8[::1], int64, int64, int64)", cache=True, error_model="numpy")
"""The fold of a generated program: compiled when its module is imported, never on the loop."""

if TYPE_CHECKING:

    def noref(array: Any) -> Any: ...

    def view(raw: Any, dtype: Any) -> Any: ...

elif JIT:
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def noref(typing_context, array):
        """Return the same array without its owner, so that the loop holds no reference counts.

        Atomic counting was a quarter of a bar's cost; the caller of the entry point keeps the array alive.
        """

        def generate(context, builder, signature, arguments):
            struct = context.make_array(signature.args[0])(context, builder, arguments[0])
            struct.meminfo = cgutils.get_null_value(struct.meminfo.type)
            struct.parent = cgutils.get_null_value(struct.parent.type)
            return struct._getvalue()

        return array(array), generate

    @kernel
    def view(raw, dtype):
        """Open raw bytes as rows of a dtype."""
        return raw.view(dtype)

else:

    def noref(array):
        return array

    def view(raw, dtype):
        """Open raw bytes as rows whose fields read as attributes, as they do in compiled code."""
        return raw.view(dtype).view(np.recarray)
