"""A figure that has a limit, as a line of the table that `make figures` prints."""


def head(what: str) -> None:
    print(f"\n{what:<66}{'measured':>12}{'limit':>12}")


def line(what: str, measured: float, limit: float | None = None, unit: str = "", digits: int = 0) -> None:
    """Says `TOO MUCH` where it is more than the limit. One that has none is printed for comparison."""
    shown, most = f"{measured:,.{digits}f} {unit}".rstrip(), "" if limit is None else f"{limit:,.0f} {unit}".rstrip()
    print(f"{what:<66}{shown:>12}{most:>12}   {'' if limit is None else 'ok' if measured <= limit else 'TOO MUCH'}".rstrip())
