"""An entry of a folder: whether it is shown, and as what."""

import os
import stat

from treadle.faces.console import wire


def is_shown(name: str) -> bool:
    """Whether a name can be shown: it is not hidden, and it is text that a client can send back."""
    return not name.startswith(".") and not any("\ud800" <= character <= "\udfff" for character in name)


def item_of(name: str, path: str, facts: os.stat_result) -> wire.Item | None:
    """A file or a folder as clients see it; None for anything else."""
    if stat.S_ISDIR(facts.st_mode):
        return wire.Item(name, path, "folder", children=[])
    if stat.S_ISREG(facts.st_mode):
        return wire.Item(name, path, "file", size=facts.st_size, mtime=int(facts.st_mtime))
    return None
