"""A ticket-resale marketplace that never sells the same ticket twice."""

__version__ = "0.2.0"
