"""The entry module of an upcaster's component: world packed-upcaster-plugin."""

from __future__ import annotations

from typing import Any

import plugin
from wit_world.imports import upcaster_types as wit

from . import guest
from .entry import find_plugin
from .traces import Failure
from .upcaster import PreparedUpcaster, Upcaster, upcaster_descriptor

_upcaster: Any = find_plugin(plugin)
assert issubclass(_upcaster, Upcaster)
_prepared = PreparedUpcaster(_upcaster)
_declared = upcaster_descriptor(_upcaster)
_descriptor = wit.UpcasterDescriptor(
    _declared.name,
    _declared.version,
    [
        wit.Rule(wit.Schema(*rule.takes), [wit.Schema(*schema) for schema in rule.gives])
        for rule in _declared.rules
    ],
    list(_declared.options),
)


class PackedUpcaster:
    """The exports."""

    def describe(self) -> Any:
        """What the upcaster says of itself."""
        return _descriptor

    def upcast(self, events: bytes) -> bytes:
        """One call."""
        try:
            return _prepared.run(events)
        except Failure as failure:
            raise guest.failed(failure) from None


guest.prepare()
