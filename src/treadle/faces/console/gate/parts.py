"""What the gate is made of, handed to the door and to the routes as one."""

from typing import NamedTuple

from treadle.core.clock import Clock
from treadle.core.fabric import Fabric
from treadle.faces.console.gate.addresses import Addresses, Porch
from treadle.faces.console.gate.csrf import Csrf
from treadle.faces.console.gate.options import GateOptions
from treadle.faces.console.gate.sessions import Sessions
from treadle.faces.console.gate.strikes import Strikes
from treadle.faces.console.gate.tokens import Tokens
from treadle.faces.console.gate.totp import SecondFactor
from treadle.faces.console.gate.users import Users
from treadle.web.log import Log


class Parts(NamedTuple):
    """Each part knows one thing; none keeps a call."""

    options: GateOptions
    clock: Clock
    log: Log
    porch: Porch
    addresses: Addresses
    strikes: Strikes
    users: Users
    tokens: Tokens
    sessions: Sessions
    csrf: Csrf
    factor: SecondFactor


def parts(fabric: Fabric, options: GateOptions, log: Log) -> Parts:
    """All of them, on one fabric."""
    store, clock = fabric.store, fabric.clock
    users, csrf = Users(store, clock, options), Csrf(store, options.session_secret)
    return Parts(
        options=options,
        clock=clock,
        log=log,
        porch=Porch(hosts=options.hosts, origins=options.cors_origins, proxies=options.proxies),
        addresses=Addresses(store, clock),
        strikes=Strikes(clock),
        users=users,
        tokens=Tokens(fabric, users, options),
        sessions=Sessions(fabric.grants, users, csrf),
        csrf=csrf,
        factor=SecondFactor(store, clock),
    )
