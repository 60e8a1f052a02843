"""The Console's gate in one piece: what the face's application needs to know who comes in, and the routes for it."""

from treadle.core.access import Principal
from treadle.core.fabric import Fabric
from treadle.faces.console.errors import LOGIN
from treadle.faces.console.gate.accounts import Accounts
from treadle.faces.console.gate.control import AccessLog, Control
from treadle.faces.console.gate.door import Door
from treadle.faces.console.gate.login import Login
from treadle.faces.console.gate.options import GateOptions, check
from treadle.faces.console.gate.parts import parts
from treadle.web.call import Call
from treadle.web.log import Log
from treadle.web.routes import Route


class Gate:
    """Made once for an application: `App(admission=gate.admission, authenticate=gate.authenticate, …)`.

    Raises CannotAdmit for options that contradict each other.
    """

    def __init__(self, fabric: Fabric, options: GateOptions, log: Log, access_log: AccessLog | None = None) -> None:
        check(options)
        made = parts(fabric, options, log)
        self.admission = made.porch
        self._door = Door(made)
        self._rooms = (Login(made, self._door), Accounts(made, self._door), Control(made, access_log))

    def routes(self) -> list[Route]:
        """`/api/csrf_token`, `/login`, `/logout`, `/api/tokens`, `/api/2fa`, `/api/ip_control`, `/api/access_log`."""
        return [route for room in self._rooms for route in room.routes()]

    async def authenticate(self, call: Call) -> Principal:
        """Who calls; also checks CSRF, so a handler of a route that is not public has nothing more to ask."""
        return await self._door.authenticate(call)

    async def admit(self, call: Call) -> None:
        """For public routes besides health: raises where the caller's address is kept out."""
        await self._door.admit(call)

    async def closed(self) -> bool:
        """Whether this server asks for a credential."""
        return await self._door.closed()

    @staticmethod
    def turned_away(call: Call, status: int) -> bool | None:
        """For the access log: a form that did not log in has status 200 all the same. None: the status says it."""
        if call.method != "POST" or call.route is None or not call.route.path.startswith(LOGIN):
            return None
        return not call.principal.name if status == 200 else None
