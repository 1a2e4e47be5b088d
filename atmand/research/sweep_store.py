"""What a sweep has found so far, on the disk: a Parquet file for each chunk of sets, joined into one at the end.

A sweep that was stopped, even by a crash, leaves its chunks; it goes on from them if it is asked the same.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from atmand.errors import AtmandError, UsageError
from atmand.research.sweep_runner import result_dtype

__all__ = ["SweepStore", "frame_of"]

_EQUITY = "equity_paise"


class SweepStore:
    """The chunks of one sweep, beside the file that they will become."""

    def __init__(self, out: Path, key: str, sessions: int) -> None:
        self._out, self._key = out, key
        self._folder = out.with_name(f"{out.name}.parts")
        self._dtype = result_dtype(sessions)

    def begin(self, *, resume: bool) -> list[tuple[int, NDArray[Any]]]:
        """Return (first set, results) of the chunks that are there already, or clear them away."""
        named = self._folder / "sweep.json"
        try:
            if not resume:
                shutil.rmtree(self._folder, ignore_errors=True)
            elif named.is_file() and orjson.loads(named.read_bytes())["key"] != self._key:
                remedy = "ask as before, or leave --resume out to begin anew"
                raise AtmandError(str(self._folder), "is of another sweep: other sets, bars or code", remedy)
            self._folder.mkdir(exist_ok=True)
            named.write_bytes(orjson.dumps({"key": self._key}))
        except OSError as error:
            raise self._refused(error) from None
        return [self._read(path) for path in self._paths()]

    def add(self, first: int, frame: pl.DataFrame, results: NDArray[Any]) -> None:
        """Write a chunk, whole or not at all."""
        path = self._folder / f"{first:09}.parquet"
        try:
            temporary = path.with_suffix(".tmp")
            equity = pl.Series(_EQUITY, results["equity"], pl.Array(pl.Int64, results["equity"].shape[1]))
            frame.with_columns(equity).write_parquet(temporary, compression="zstd")
            temporary.replace(path)
        except OSError as error:
            raise self._refused(error) from None

    def join(self, *, done: bool) -> None:
        """Write the one file out of what is there; the chunks go when nothing is left to do."""
        paths = self._paths()
        if not paths:
            return
        try:
            temporary = self._out.with_name(f"{self._out.name}.tmp")
            pl.scan_parquet(paths).drop(_EQUITY).sink_parquet(temporary, compression="zstd")
            temporary.replace(self._out)
            if done:
                shutil.rmtree(self._folder)
        except OSError as error:
            raise self._refused(error) from None

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))

    def _read(self, path: Path) -> tuple[int, NDArray[Any]]:
        frame = pl.read_parquet(path)
        rows = np.zeros(frame.height, self._dtype)
        for name in self._dtype.names or ():
            column = _EQUITY if name == "equity" else name
            rows[name] = frame[column].to_numpy()
        return int(path.stem), rows

    def _refused(self, error: OSError) -> UsageError:
        return UsageError(f"--out {self._out}", error.strerror or str(error), "name a file that can be written")


def frame_of(first: int, names: tuple[str, ...], values: NDArray[np.float64], results: NDArray[Any]) -> pl.DataFrame:
    """Return results as a table: the set's number, its parameters, its totals in paise, its daily Sharpe ratio."""
    columns: dict[str, Any] = {"set": np.arange(first, first + len(values))}
    columns |= {name: values[:, place] for place, name in enumerate(names)}
    taken = set(columns)
    for name in results.dtype.names or ():
        if name != "equity":
            if name in taken:
                raise AtmandError(f"parameter {name}", "has the name of a result's column", "give it another name")
            columns[name] = results[name]
    return pl.DataFrame(columns)
