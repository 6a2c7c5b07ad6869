"""What can go wrong, by whose fault."""

from __future__ import annotations


class Fault(Exception):
    """Why a plugin cannot take an event: ``raise Fault("a line came before its order")``.

    Any other exception does the same; of this one the host shows the text alone. None of the call's changes stay.
    """


class Violation(Fault):
    """A value or a change that the table's declaration does not allow; the text names table and column."""


class PackedError(Exception):
    """Bytes that are not what PACKED.md says."""


class Refused(Exception):
    """What a plugin declares, and the host would refuse; a line for each thing that is wrong."""

    def __init__(self, what: str, errors: list[str]) -> None:
        super().__init__(f"the host would refuse this {what}:\n- " + "\n- ".join(errors))
        self.errors = errors
