"""How hard a chosen password is to guess."""

import itertools
import math

LEAST_BITS = 48
_KINDS = ((str.islower, 26), (str.isupper, 26), (str.isdigit, 10))
_OTHERS = 33


def bits(password: str) -> float:
    """A rough estimate of how hard a password is to guess: characters that do not merely repeat or continue the one
    before, times the bits of the kinds of characters in it."""
    pool = sum(size for kind, size in _KINDS if any(map(kind, password)))
    if any(not character.isalnum() for character in password):
        pool += _OTHERS
    if any(ord(character) > 127 for character in password):
        pool += 100
    codes = [ord(character) for character in password]
    steps = [abs(after - before) for before, after in itertools.pairwise(codes)]
    telling = len(set(password)) / max(1, len(password))
    count = (1 + sum(step > 1 for step in steps)) if codes else 0
    return count * min(1.0, telling * 1.5) * math.log2(max(2, pool))
