"""A refusal: a class with a status, whose docstring is the sentence that its reader sees."""

from typing import Any, ClassVar

from admitone.kit.event import words


class Problem(Exception):
    """Something went wrong on our side. It has been noted."""

    status: ClassVar[int] = 500
    headers: ClassVar[dict[str, str]] = {}
    field: ClassVar[str | None] = None
    name: ClassVar[str | None] = None
    """Its title, where that is not made from the name of its class."""
    member_types: ClassVar[dict[str, Any]] = {}
    """What a program wants to know besides: further members of the document, in camelCase."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or " ".join((self.__doc__ or "").split())
        self.members: dict[str, Any] = {}
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        """Its name as people write it."""
        return cls.name or words(cls.__name__).capitalize()

    @classmethod
    def urn(cls) -> str:
        """Its name for programs."""
        return f"urn:admitone:{cls.title().lower().replace(' ', '-')}"

    @property
    def errors(self) -> list[dict[str, str]]:
        """What is wrong, each with the field it is about where there is one."""
        return [{"message": self.detail} | ({"field": self.field} if self.field else {})]

    def document(self) -> dict[str, Any]:
        """The body of the answer, as RFC 9457 has it, plus `errors`."""
        return {
            "type": self.urn(),
            "title": self.title(),
            "status": self.status,
            "detail": self.detail,
            "errors": self.errors,
            **self.members,
        }


class BadInput(Problem):
    """Some of what was sent can't be used."""

    status = 400

    def __init__(self, *wrong: tuple[str | None, str]) -> None:
        """Each wrong thing: the field, or None for the whole, and a sentence that can be read without it."""
        self.wrong = wrong
        super().__init__(" ".join(message for _, message in wrong))

    @property
    def errors(self) -> list[dict[str, str]]:
        return [{"message": message} | ({"field": field} if field else {}) for field, message in self.wrong]


class NotSignedIn(Problem):
    """Please sign in first."""

    status = 401


class NotFound(Problem):
    """There is nothing here."""

    status = 404


class ForeignOrigin(Problem):
    """This request comes from another site. A front end of one's own is named in ADMITONE_ALLOWED_ORIGINS."""

    status = 403


class WrongContentType(Problem):
    """Send the body as application/json."""

    status = 415


class BodyTooLarge(Problem):
    """The body is larger than 64 KB."""

    status = 413


class TryAgain(Problem):
    """A part of the system is not available for the moment. Please look whether it was done, and try again if not."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": "2"}
