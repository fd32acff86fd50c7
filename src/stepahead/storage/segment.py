r"""A segment: one file of the journal, a run of frames, each a record with its checksums.

```
offset  0  magic     4 bytes  "saJ\x01"
        4  version   uint16   1
        6  flags     uint16   0
        8  position  uint64   number of the record, counted over the whole journal
       16  durable   uint64   every record before this one was on the disk when this frame was written
       24  length    uint32   bytes of the body that follows
       28  crc       uint32   CRC-32 of the body
       32  crc       uint32   CRC-32 of the 32 bytes before
       36  body
```

The header has a checksum of its own, so a flipped length is never believed. `durable` tells a torn tail from
damage: a bad frame at position p was still being written when the power failed unless some later frame says
durable > p. zlib's CRC-32 runs at 1 GB/s or more here (tests/bench/journal.py prints it), ten times what the
journal has to take.
"""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import Bytes, Filesystem, WritableFile
from stepahead.storage.record import MAX_BODY_BYTES

__all__ = [
    "HEADER_BYTES",
    "VERSION",
    "Frame",
    "SegmentWriter",
    "frames",
    "pack_header",
    "segment_name",
    "segment_number",
]

MAGIC = b"saJ\x01"
VERSION = 1
_FIELDS = struct.Struct("<4sHHQQII")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size


def segment_name(sequence: int) -> str:
    """File name of the segment with this number.

    Example:
        >>> segment_name(12)
        'journal-00000012.log'
    """
    return f"journal-{sequence:08d}.log"


def segment_number(path: Path) -> int:
    """Number of the segment with this name, counted from 1; 0 for any other file.

    Example:
        >>> segment_number(Path("journal-00000012.log")), segment_number(Path("lock"))
        (12, 0)
    """
    prefix, _, digits = path.stem.partition("-")
    return int(digits) if prefix == "journal" and path.suffix == ".log" and digits.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole, good frame: record number, what was durable before it, and the offsets of its bytes in the segment."""

    position: int
    durable: int
    start: int
    end: int

    @property
    def body(self) -> slice:
        """Where the record lies."""
        return slice(self.start + HEADER_BYTES, self.end)


def pack_header(position: int, durable: int, length: int, crc: int) -> bytes:
    """The header of a frame."""
    fields = _FIELDS.pack(MAGIC, VERSION, 0, position, durable, length, crc)
    return fields + _CRC.pack(zlib.crc32(fields))


def frames(data: Bytes, where: str) -> Iterator[Frame]:
    """All good frames of a segment in order of offset; whatever lies between them is damaged or was never finished.

    Raises:
        StateError: a good header carries a version that this code does not know.
    """
    view, haystack = memoryview(data), bytes(data)
    offset = 0
    while (offset := haystack.find(MAGIC, offset)) >= 0:
        frame = _frame_at(view, offset, where)
        if frame is None:
            offset += 1
        else:
            yield frame
            offset = frame.end


def _frame_at(view: memoryview, offset: int, where: str) -> Frame | None:
    if offset + HEADER_BYTES > len(view):
        return None
    header = view[offset : offset + HEADER_BYTES]
    if zlib.crc32(header[: _FIELDS.size]) != _CRC.unpack_from(header, _FIELDS.size)[0]:
        return None
    _, version, flags, position, durable, length, crc = _FIELDS.unpack_from(header)
    if version != VERSION or flags:
        raise StateError(
            f"{where}, offset {offset}: frame version {version}, flags {flags}; this release reads version {VERSION} "
            "only: start the release that wrote it, or move the state directory away to begin anew"
        )
    end = offset + HEADER_BYTES + length
    if length > MAX_BODY_BYTES or end > len(view) or zlib.crc32(view[offset + HEADER_BYTES : end]) != crc:
        return None
    return Frame(position, durable, offset, end)


class SegmentWriter:
    """The end of the newest segment: groups of frames go in, each whole and on the disk, or not at all.

    Args:
        path: the file; must not be there yet.
        filesystem: where it is made.

    Attributes:
        size: bytes that are on the disk for sure.
        usable: False after an error that leaves unsure what the disk holds; the next group then needs a new segment.
    """

    def __init__(self, path: Path, filesystem: Filesystem) -> None:
        self.path = path
        self.size = 0
        self.usable = True
        self._filesystem = filesystem
        self._named = False
        self._file: WritableFile = filesystem.create(path)

    def write(self, group: Bytes) -> None:
        """Append and sync; on return the group is on the disk.

        Raises:
            OSError: it is not. A failed write is cut off again and may be tried again here. After a failed fsync
                the kernel may call pages clean that never reached the disk, so the segment is given up.
        """
        try:
            self._file.write(group)
        except BaseException:  # an interrupt, too, may leave half a group behind
            self._cut()
            raise
        try:
            self._file.sync()
            if not self._named:
                self._filesystem.sync_directory(self.path.parent)
                self._named = True
            self.size += len(group)
        except BaseException:
            self._cut()
            self.usable = False
            raise

    def _cut(self) -> None:
        try:
            self._file.truncate(self.size)
        except OSError:
            self.usable = False

    def close(self) -> None:
        """Give the file back; one that holds nothing is removed if that can be done."""
        self._file.close()
        if not self.size:
            with contextlib.suppress(OSError):
                self._filesystem.remove(self.path)
