"""Every topic of the bus: what is said there. All are hints without payload, kept for nobody who was not listening."""

EVENTS = "events"
"""Some fact was committed."""


def queue(project: str) -> str:
    """Work of this project became claimable."""
    return f"queue.{project}"


def task(id: str) -> str:
    """This task came to its end."""
    return f"task.{id}"
