"""Identifiers of predictions."""

import random
import time


def new_prediction_id() -> str:
    """Return a UUID of version 7: later ones are greater, to the millisecond."""
    chance = random.getrandbits(74)
    milliseconds = time.time_ns() // 1_000_000
    high, low = chance >> 62, chance & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    time_part = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}"
    return f"{time_part}-7{high:03x}-{low >> 48:04x}-{low & 0xFFFF_FFFF_FFFF:012x}"
