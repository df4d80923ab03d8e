"""Copying trees of files so that nothing is ever shared with something that may still be written.

Points are immutable, so an unchanged file of a new point is a hard link to the one before; live files and test copies
are always copies of their own. Holes of sparse files stay holes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

_RACY_NS = 100_000_000  # a file written this shortly before it was copied may have been written again in the same tick
_PASSES = 5
_CHUNK = 64 * 1024 * 1024


def snapshot(source: Path, destination: Path, previous: Path | None) -> datetime:
    """Copy *source* into *destination* and return how old its data is, UTC.

    Passes are repeated until one finds nothing changed: then the copy is of one moment, that pass's start. A tree that
    never rests gives a fuzzy copy after five passes; every file in it is at least as new as the returned time.
    """
    for _ in range(_PASSES):
        began = time.time_ns()
        if mirror(source, destination, previous) == 0:
            break
    return datetime.fromtimestamp(began / 1e9, UTC)


def mirror(source: Path, destination: Path, previous: Path | None = None) -> int:
    """Make *destination* equal to *source* and return how many entries had to be changed for it.

    *previous* is an immutable earlier copy whose unchanged files may be linked. Vanishing files are left out.
    """
    changes = 0
    if not destination.is_dir():
        destination.mkdir(parents=True)
        changes += 1
    wanted = set()
    for entry in sorted(os.scandir(source), key=lambda e: e.name):
        with contextlib.suppress(FileNotFoundError):
            wanted.add(entry.name)
            there = destination / entry.name
            before = previous / entry.name if previous is not None else None
            if entry.is_dir(follow_symlinks=False):
                if there.is_symlink() or there.is_file():
                    there.unlink()
                changes += mirror(Path(entry.path), there, before)
            elif entry.is_file(follow_symlinks=False):
                changes += _mirror_file(Path(entry.path), there, before)
    for extra in [e for e in os.scandir(destination) if e.name not in wanted or not (source / e.name).exists()]:
        changes += 1
        remove(Path(extra.path))
    return changes


def remove(path: Path) -> None:
    """Remove a file or tree; absent is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _mirror_file(source: Path, there: Path, before: Path | None) -> int:
    if there.is_dir():
        shutil.rmtree(there)
    if _same(source, there):
        return 0
    there.unlink(missing_ok=True)  # it may be a link into a finished point
    if before is not None and _same(source, before):
        os.link(before, there)
        return 1
    copy_file(source, there)
    return 1


def _same(source: Path, copy: Path) -> bool:
    """Whether *copy* holds what *source* holds now, by size and time, and by content where the time can't tell."""
    try:
        new, old = source.stat(), copy.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(old.st_mode) or (new.st_size, new.st_mtime_ns) != (old.st_size, old.st_mtime_ns):
        return False
    if new.st_mtime_ns < old.st_ctime_ns - _RACY_NS:
        return True
    with source.open("rb") as a, copy.open("rb") as b:
        while block := a.read(1 << 20):
            if block != b.read(1 << 20):
                return False
        return not b.read(1)


def copy_file(source: Path, destination: Path) -> None:
    """Copy data, holes, mode and times of one file."""
    with source.open("rb") as src, destination.open("wb") as dst:
        facts = os.fstat(src.fileno())
        os.ftruncate(dst.fileno(), facts.st_size)
        at = 0
        while at < facts.st_size:
            try:
                at = os.lseek(src.fileno(), at, os.SEEK_DATA)
            except OSError:  # only a hole is left
                break
            end = min(os.lseek(src.fileno(), at, os.SEEK_HOLE), facts.st_size)
            at = _copy_range(src.fileno(), dst.fileno(), at, end)
        os.fchmod(dst.fileno(), stat.S_IMODE(facts.st_mode))
        os.utime(dst.fileno(), ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _copy_range(src: int, dst: int, at: int, end: int) -> int:
    while at < end:
        try:
            done = os.copy_file_range(src, dst, min(end - at, _CHUNK), at, at)  # shares blocks where it can
        except OSError:  # not on this file system
            block = os.pread(src, min(end - at, 1 << 20), at)
            done = os.pwrite(dst, block, at) if block else 0
        if done == 0:  # the file became shorter meanwhile: the next pass sees that
            return end
        at += done
    return at
