"""Moments: RFC 3339 text, microseconds since 1970, and ``datetime`` in UTC."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta

from .schema import Micros

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROS_PER_SECOND = 1_000_000
_SECONDS_PER_DAY = 86_400
_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse(text: str) -> Micros:
    """Microseconds of ``2011-08-12T14:50:00.123456+01:00``. Digits beyond microseconds are cut off; a text without an
    offset is refused with ValueError."""
    form = _FORM.fullmatch(text)
    if form is not None:
        year, month, day, hour, minute, second = map(int, form.group(1, 2, 3, 4, 5, 6))
        fraction, sign, *offset = form.group(7, 8, 9, 10)
        hours, minutes = (int(part or 0) for part in offset)
        days = _days(year, month, day)
        # A day that the month does not have comes back as another one. A leap second counts as the next second.
        day_is_there = 1 <= month <= 12 and _date(days) == (year, month, day)
        if day_is_there and hour <= 23 and minute <= 59 and second <= 60 and hours <= 23 and minutes <= 59:
            east = (hours * 60 + minutes) * (-60 if sign == "-" else 60)
            seconds = days * _SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second - east
            return Micros(seconds * _MICROS_PER_SECOND + int((fraction or "")[:6].ljust(6, "0")))
    raise ValueError(f"'{text}' is no RFC 3339 timestamp such as 2011-08-12T13:50:00Z")


def text(micros: int) -> str:
    """RFC 3339 in UTC: ``2011-08-12T13:50:00Z``, with six digits of a second where they are not all zero."""
    seconds, fraction = divmod(micros, _MICROS_PER_SECOND)
    days, of_day = divmod(seconds, _SECONDS_PER_DAY)
    year, month, day = _date(days)
    shown = f"{year:04}-{month:02}-{day:02}T{of_day // 3_600:02}:{of_day // 60 % 60:02}:{of_day % 60:02}"
    return f"{shown}.{fraction:06}Z" if fraction else f"{shown}Z"


@functools.lru_cache(maxsize=1_024)
def to_datetime(micros: int) -> datetime:
    """The moment as ``datetime`` in UTC, exact. Outside the years 1 to 9999 it raises OverflowError."""
    return EPOCH + timedelta(microseconds=micros)


def from_datetime(moment: datetime) -> Micros:
    """Microseconds of a ``datetime`` that knows its offset; of any other it cannot be told, so ValueError."""
    if moment.utcoffset() is None:
        raise ValueError(
            f"{moment!r} has no time zone, so that nobody can tell which moment it is: give tzinfo=timezone.utc"
        )
    return Micros((moment - EPOCH) // _MICROSECOND)


# Both after Howard Hinnant's "chrono-compatible low-level date algorithms": years from March, eras of 400 years.
def _date(days: int) -> tuple[int, int, int]:
    era, of_era = divmod(days + 719_468, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    return year_of_era + era * 400 + (month <= 2), month, day


def _days(year: int, month: int, day: int) -> int:
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + of_year - 719_468
