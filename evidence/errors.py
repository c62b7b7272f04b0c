"""The base of all errors of `evidence`, and the shape that every error of the house has."""

__all__ = ["EvidenceError", "ExplainedError"]


class ExplainedError(Exception):
    """An error that says what was expected, what came, and what to do.

    The facts are attributes, so that a program need not read the sentence. None of them may ever hold a secret
    or media: what is found is described (`"31 bytes"`), not quoted, where it could be either.
    """

    def __init__(self, what: str, *, expected: str = "", found: str = "", remedy: str = "") -> None:
        self.what = what
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        parts = [self.what]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.found:
            parts.append(f"found {self.found}")
        line = ", ".join(parts)
        return f"{line}; {self.remedy}" if self.remedy else line


class EvidenceError(ExplainedError):
    """Something about a clip, a key, a certificate or a signed document is not as it must be."""
