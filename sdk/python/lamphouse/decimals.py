"""Exact decimals: ``decimal.Decimal`` of 38 digits in all, at their column's scale, never rounded."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import (
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
    localcontext,
)

DIGITS_MAX = 38
# A plugin's own arithmetic: so many digits that products of columns are exact; what does not end (1/3) cannot be put
# into a column, unless the plugin rounds it itself (Decimal.quantize).
_AUTHOR = Context(prec=200, traps=[InvalidOperation, DivisionByZero, Overflow])
# Nothing that does not fit 38 digits, and nothing that would have to be rounded; zeros at the end may go.
_RESCALING = Context(prec=DIGITS_MAX, traps=[InvalidOperation, Inexact])
# The same, but for zeros: a sum keeps its scale.
_ADDING = Context(prec=DIGITS_MAX, traps=[InvalidOperation, Rounded])
_FORM = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)


class DecimalError(ValueError):
    """Why a text or a sum is no decimal."""


def arithmetic() -> AbstractContextManager[Context]:
    """The decimal context in which plugins run."""
    return localcontext(_AUTHOR)


def parse(text: str) -> Decimal:
    """Reads ``[-]digits[.digits]``: no exponent, at least one digit on each side of a point; ``-0`` is ``0``."""
    if _FORM.fullmatch(text) is None:
        raise DecimalError(f"'{shown(text)}' is not a decimal of the form [-]digits[.digits]")
    number = Decimal(text)
    if len(text) > DIGITS_MAX:
        # Zeros before the first digit do not count.
        digits = number.as_tuple()
        if len(digits.digits) > DIGITS_MAX or int(digits.exponent) < -DIGITS_MAX:
            raise DecimalError(f"more than {DIGITS_MAX} digits")
    return number if number else number.copy_abs()


def canonical(number: Decimal) -> str:
    """``[-]digits[.digits]``, without an exponent."""
    return format(number, "f")


def rescaler(scale: int) -> Callable[[Decimal], Decimal]:
    """What brings a number to a scale, or raises DecimalError."""
    unit = Decimal((0, (1,), -scale))

    def rescale(number: Decimal) -> Decimal:
        try:
            at_scale = number.quantize(unit, None, _RESCALING)
        except (Inexact, InvalidOperation):
            raise _why(number, scale) from None
        if at_scale:
            if at_scale.is_finite():
                return at_scale
            raise _why(number, scale)
        return at_scale.copy_abs()

    return rescale


def add(one: Decimal, other: Decimal) -> Decimal:
    """The sum of two numbers of one scale; DecimalError where it has more than 38 digits."""
    try:
        total = _ADDING.add(one, other)
    except Rounded:
        raise DecimalError(f"more than {DIGITS_MAX} digits") from None
    return total if total else total.copy_abs()


def quick_adder(scale: int) -> Callable[[Decimal, Decimal], Decimal | None]:
    """What adds a number to one at a scale; None where that takes a closer look."""
    unit = Decimal((0, (1,), -scale))
    quantize, plus = Decimal.quantize, _ADDING.add

    def add_quickly(one: Decimal, other: Decimal) -> Decimal | None:
        try:
            total = plus(one, quantize(other, unit, None, _RESCALING))
        except (Inexact, InvalidOperation, Rounded):
            return None
        return total if total and total.is_finite() else None

    return add_quickly


def _why(number: Decimal, scale: int) -> DecimalError:
    if not number.is_finite():
        return DecimalError("not a finite number")
    form = number.as_tuple()
    digits, exponent = list(form.digits), int(form.exponent)
    while digits and digits[-1] == 0:
        digits.pop()
        exponent += 1
    if -exponent > scale:
        return DecimalError(f"{-exponent} digits after the point where {scale} are kept (nothing is rounded)")
    return DecimalError(f"more than {DIGITS_MAX} digits")


def shown(text: str, chars_max: int = 40) -> str:
    """A text cut and without control characters, fit for a message."""
    cut = "".join("\ufffd" if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in text[:chars_max])
    return cut + "…" if len(text) > chars_max else cut
