"""Numbers as one reads them."""


def many(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """A time: what takes days is no matter of minutes."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    hours = seconds / 3600
    amount, unit = (hours, "h") if hours < 100 else (hours / 24, "days")
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
