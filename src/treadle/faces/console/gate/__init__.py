"""Who gets into the Console, and how they manage their accounts: users, tokens, sessions, second factor, addresses."""

from treadle.faces.console.gate.control import AccessLog
from treadle.faces.console.gate.door import ANONYMOUS
from treadle.faces.console.gate.gate import Gate
from treadle.faces.console.gate.options import CannotAdmit, GateOptions, check
from treadle.faces.console.gate.sessions import ADMIN, FACE, USE

__all__ = ["ADMIN", "ANONYMOUS", "FACE", "USE", "AccessLog", "CannotAdmit", "Gate", "GateOptions", "check"]
