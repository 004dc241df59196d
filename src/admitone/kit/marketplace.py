"""Which marketplace this is: its name lies in every database and on the stream, so that two on the same engines do not mix."""


class ForeignMarketplace(Exception):
    """What was found belongs to another marketplace; the message is the sentence for the person who started this one."""

    def __init__(self, what: str, theirs: str, ours: str) -> None:
        super().__init__(
            f"{what} belongs to the marketplace {theirs!r}, and this one is {ours!r}: give this one engines of its own, "
            f"or set ADMITONE_MARKETPLACE={theirs} if it is the same."
        )
