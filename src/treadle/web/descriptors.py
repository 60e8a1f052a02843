"""How many files and connections this process may have open."""

import resource

ENOUGH = 65_536


def raise_open_files(enough: int = ENOUGH) -> int:
    """Raises the soft limit of open files as far as is needed and allowed; what it is then.

    The usual 1,024 would refuse the thousandth device. Programs started from here inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
