"""How kernels are compiled: one decorator for each of the two sizes of function, and the views that they open.

Kernels are also plain Python: with NUMBA_DISABLE_JIT=1 the same source runs in the interpreter, so that coverage and
debuggers see it. Never `fastmath`: its results differ between drivers, and the fold must not.
"""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import njit
from numba.core import config

__all__ = [
    "JIT", "address_of", "big_endian", "entry", "kernel", "kernel_rows", "local_kernel", "local_routine", "noref",
    "record_at", "routine", "rows_at",
]  # fmt: skip

JIT: Final = not config.DISABLE_JIT

kernel = njit(cache=True, error_model="numpy", forceinline=True)
"""A small function that belongs into its caller: helpers on records."""

routine = njit(cache=True, error_model="numpy")
"""A function that is compiled once and called: a handler of a record, a pass over a table."""

local_kernel = njit(error_model="numpy", forceinline=True)
local_routine = njit(error_model="numpy")
"""The same inside a generated module, whose entry points alone are kept on disk: what they call is compiled into them,
and a cache of its own for each step of each strategy made loading a program twice as long."""

entry = njit("int64(uint8[::1], int64, uint8[::1], int64, int64, int64)", cache=True, error_model="numpy")
"""The fold of a generated program: compiled when its module is imported, never on the loop."""


def kernel_rows(rows: Any) -> Any:
    """Return rows of Python's in the form that a kernel takes: interpreted, their fields must read as attributes."""
    return rows if JIT else _readable(rows)


def _readable(rows: Any) -> Any:
    return rows.view(_readable_dtype(rows.dtype))


@functools.cache
def _readable_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a dtype whose rows, in the interpreter, have their fields as attributes.

    A class for each dtype: its properties stand before numpy's own attributes of the same name, such as `flags`, and
    are several times quicker than a look-up by name in one class for all of them.
    """
    if dtype.subdtype is not None:
        return np.dtype((_readable_dtype(dtype.subdtype[0]), dtype.shape))
    if dtype.fields is None:
        return dtype
    names = dtype.names or ()
    formats = [_readable_dtype(dtype.fields[name][0]) for name in names]
    offsets = [dtype.fields[name][1] for name in names]
    fields = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize})
    row = type("Row", (np.void,), {"__slots__": (), **{name: _attribute(name) for name in names}})
    return np.dtype((row, fields))


def _attribute(name: str) -> property:
    def write(row: Any, value: Any) -> None:
        row[name] = value

    return property(operator.itemgetter(name), write)


if TYPE_CHECKING:

    def noref(array: Any) -> Any: ...

    def address_of(arena: Any) -> Any: ...

    def record_at(address: Any, offset: int, dtype: Any) -> Any: ...

    def rows_at(raw: Any, at: int, n: int, dtype: Any) -> Any: ...

    def big_endian(raw: Any, at: int, size: int) -> Any: ...

elif JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic
    from numba.np import arrayobj

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

    @intrinsic
    def address_of(typing_context, arena):
        """Return an arena's address. Kernels pass it on as one number: no array, no owner, no reference counts."""

        def generate(context, builder, signature, arguments):
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            return builder.ptrtoint(array.data, context.get_value_type(types.intp))

        return types.intp(arena), generate

    @intrinsic
    def record_at(typing_context, address, offset, dtype):
        """Open the record of a dtype that lies `offset` bytes behind an address."""
        record = dtype.dtype

        def generate(context, builder, signature, arguments):
            return builder.inttoptr(builder.add(arguments[0], arguments[1]), context.get_value_type(record))

        return record(types.intp, types.intp, dtype), generate

    @intrinsic
    def rows_at(typing_context, raw, at, n, dtype):
        """Open `n` rows of a dtype at byte `at` of raw bytes, without an owner and without a bounds check.

        An intrinsic, because slicing and viewing in compiled code costs a compilation for every dtype.
        """
        rows = types.Array(dtype.dtype, 1, "C", aligned=False)

        def generate(context, builder, signature, arguments):
            source = context.make_array(signature.args[0])(context, builder, arguments[0])
            row_type = context.get_data_type(rows.dtype)
            itemsize = context.get_constant(types.intp, context.get_abi_sizeof(row_type))
            if isinstance(rows.dtype, types.Record):
                itemsize = context.get_constant(types.intp, rows.dtype.size)
            data = builder.bitcast(builder.gep(source.data, [arguments[1]]), row_type.as_pointer())
            array = context.make_array(rows)(context, builder)
            arrayobj.populate_array(
                array, data=data, shape=[arguments[2]], strides=[itemsize], itemsize=itemsize, meminfo=None
            )
            return array._getvalue()

        return rows(raw, types.intp, types.intp, dtype), generate

    @intrinsic(prefer_literal=True)
    def big_endian(typing_context, raw, at, size):
        """Read an unsigned integer of 2 or 4 bytes in network order at byte `at`, without a bounds check.

        One load and a swap; put together byte by byte in compiled code it is several times that.
        """
        bits = 8 * size.literal_value

        def generate(context, builder, signature, arguments):
            source = context.make_array(signature.args[0])(context, builder, arguments[0])
            whole = ir.IntType(bits)
            place = builder.bitcast(builder.gep(source.data, [arguments[1]]), whole.as_pointer())
            swapped = builder.bswap(builder.load(place, align=1))
            return builder.zext(swapped, context.get_value_type(types.int64))

        return types.int64(raw, types.intp, size), generate

else:
    np.seterr(over="ignore")  # hashes wrap, as they do in compiled code

    def noref(array):
        return array

    def address_of(arena):
        return arena

    def record_at(arena, offset, dtype):
        """Open a record whose fields read as attributes, as they do in compiled code."""
        return np.ndarray(1, _readable_dtype(dtype), arena, offset)[0]

    def rows_at(raw, at, n, dtype):
        """Open rows whose fields read as attributes, as they do in compiled code."""
        return np.ndarray(n, _readable_dtype(np.dtype(dtype)), raw, at)

    def big_endian(raw, at, size):
        """Read an unsigned integer in network order."""
        return np.int64(int.from_bytes(bytes(raw[at : at + size]), "big"))
