"""The record says how a run ended: the file `ending` in its folder, there as a whole or not at all, to stay."""

import os

from .fields import Fields, encode

NAME, DRAFT = "ending", "ending.draft"
ROOM = 4096
"""Bytes kept ready from the start, so that an ending can be told on a disk that is full by then."""


def reserve(folder: str = ".") -> None:
    """Make room for the record to come."""
    file = os.open(f"{folder}/{DRAFT}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, bytes(ROOM))
    finally:
        os.close(file)


def write(fields: Fields, folder: str = ".") -> None:
    """Record the ending; on disk when this returns."""
    record = encode(fields)
    file = os.open(f"{folder}/{DRAFT}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(file, record + bytes(max(ROOM - len(record), 0)), 0)
        os.fsync(file)
    finally:
        os.close(file)
    os.rename(f"{folder}/{DRAFT}", f"{folder}/{NAME}")
    where = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(where)
    finally:
        os.close(where)
