"""The journal's settings; `atmand.settings` composes them under `journal`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["JournalSettings"]

# Half of the least memory must hold the largest frame that a feed may bring (4 MiB), with room for what follows it.
MIB = 1 << 20
GIB = 1 << 30


class JournalSettings(BaseModel):
    """When the journal writes, how it is cut into files, and how much of the past it keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flush_ms: int = Field(default=50, ge=1, le=1_000)
    """What was appended reaches the operating system after at most so long."""
    flush_bytes: int = Field(default=64 * 1024, ge=1)
    """... or as soon as so many bytes wait."""
    sync_ms: int = Field(default=1_000, ge=1, le=60_000)
    """What was written is made durable after at most so long, even if nobody waits; also the pause of a retry."""
    segment_bytes: int = Field(default=64 * MIB, ge=4_096, le=GIB)
    """A segment is closed at the first record that takes it past this size."""
    memory_bytes: int = Field(default=64 * MIB, ge=16 * MIB)
    """Most bytes kept in memory while the disk refuses; market frames are refused from half of it."""
    keep_sessions: int = Field(default=10, ge=1)
    """Sessions whose market frames are kept; everything else is kept for longer than that."""
    keep_bytes: int = Field(default=20 * GIB, ge=0)
    """Size of all segments on disk past which frames of the oldest sessions go even before their time."""
    keep_snapshots: int = Field(default=24, ge=1)
    """Snapshots of the books that are kept."""
    min_free_bytes: int = Field(default=GIB, ge=0)
    """Free disk space below which no new position is opened."""
