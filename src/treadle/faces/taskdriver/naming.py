"""Which task an address means: an id of ours, or the id its client chose, which many projects may have used."""

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from treadle.core.errors import NotFound
from treadle.core.fabric import Fabric
from treadle.faces.taskdriver.spelling import FACE

R = TypeVar("R")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Names:
    """Finds tasks by whatever their clients call them."""

    def __init__(self, fabric: Fabric) -> None:
        self._tasks, self._projects = fabric.tasks, fabric.projects

    async def acting(self, ref: str, near: str | None, act: Callable[[str], Awaitable[R]]) -> R:
        """Do something with the task that `ref` means: an id; else a client's own id in the project `near` (id or
        name); else the newest task of that name. A client may choose a UUID too, so an unknown one is also looked up.
        """
        if _UUID.fullmatch(ref):
            try:
                return await act(ref)
            except NotFound as unknown:
                if unknown.name != ref:
                    raise
        return await act(await self._resolved(ref, near))

    async def _resolved(self, name: str, near: str | None) -> str:
        if near is not None:
            try:
                project = near if _UUID.fullmatch(near) else (await self._projects.get(near)).project.id
                return await self._tasks.resolve(FACE, name, project)
            except NotFound:  # not there, so anywhere
                pass
        return await self._tasks.resolve(FACE, name)
