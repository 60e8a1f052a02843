"""Every topic and subject of the bus: what is said there.

Topics carry hints without payload, kept for nobody who was not listening. Subjects carry requests, each answered or
refused.
"""

EVENTS = "events"
"""Some fact was committed."""


def queue(project: str) -> str:
    """Work of this project became claimable."""
    return f"queue.{project}"


def task(id: str) -> str:
    """This task came to its end, or its lease did."""
    return f"task.{id}"


def output(task: str) -> str:
    """This task printed something."""
    return f"output.{task}"


def desk(node: str) -> str:
    """The subject on which a server answers this node; a node may speak on no other."""
    return f"desk.{node}"


DESKS = desk(">")
"""What a server serves."""


def node(id: str) -> str:
    """The subject on which this node takes orders for what it runs."""
    return f"node.{id}"
