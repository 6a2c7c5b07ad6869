"""Finds the plugin that a module is."""

from __future__ import annotations

from types import ModuleType

from .check import check, check_upcaster
from .errors import Refused
from .projector import Projector, descriptor
from .upcaster import Upcaster, upcaster_descriptor


def find_plugin(module: ModuleType) -> type[Projector] | type[Upcaster]:
    """The projector or upcaster that ``plugin.py`` holds: its only one, or the one that it names ``plugin``. LookupError
    where that is unclear."""
    named = getattr(module, "plugin", None)
    if named is not None:
        if _is_plugin(named):
            return named  # type: ignore[no-any-return]
        raise LookupError(f"plugin.py sets plugin = {named!r}, which is no class of Projector or Upcaster")
    found = [value for value in vars(module).values() if _is_plugin(value)]
    own = [kind for kind in dict.fromkeys(found) if kind.__module__ == module.__name__]
    # A class that another one here is made of is its base, and not the plugin.
    own = [kind for kind in own if not any(other is not kind and issubclass(other, kind) for other in own)]
    if len(own) == 1:
        return own[0]  # type: ignore[no-any-return]
    if not own:
        raise LookupError("plugin.py holds no plugin: write a class that is made of Projector or Upcaster")
    names = ", ".join(kind.__name__ for kind in own)
    raise LookupError(
        f"plugin.py holds several plugins ({names}); say which one it is: plugin = {own[0].__name__}"
    )


def check_plugin(plugin: type[Projector] | type[Upcaster]) -> None:
    """Raises :class:`Refused` where the host would refuse what the plugin declares."""
    if issubclass(plugin, Projector):
        errors, what = check(descriptor(plugin)), "projector"
    else:
        errors, what = check_upcaster(upcaster_descriptor(plugin)), "upcaster"
    if errors:
        raise Refused(what, errors)


def _is_plugin(value: object) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, (Projector, Upcaster))
        and value not in (Projector, Upcaster)
    )
