"""Dates and times as PySpark's Arrow path gives them to a ``udf`` and takes them back."""

from __future__ import annotations

import datetime
import os
import time

__all__ = [
    "date_of_days",
    "local_of_micros",
    "micros_of_datetime",
    "naive_of_micros",
    "offset_from_utc",
    "offset_to_utc",
    "utc_of_micros",
    "zone",
]

_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_NAIVE_EPOCH = datetime.datetime(1970, 1, 1)


def date_of_days(days: int) -> datetime.date:
    """Days since 1970-01-01 as a date."""
    return datetime.date.fromordinal(days + _EPOCH_ORDINAL)


def utc_of_micros(micros: int) -> datetime.datetime:
    """Microseconds since 1970-01-01 UTC as a datetime in UTC."""
    return _EPOCH + datetime.timedelta(microseconds=micros)


def local_of_micros(micros: int) -> datetime.datetime:
    """Microseconds since 1970-01-01 UTC as a naive datetime in the worker's own time zone.

    This is what PySpark hands to a row function, whatever the session's time zone is.
    """
    return utc_of_micros(micros).astimezone().replace(tzinfo=None)


def micros_of_datetime(value: datetime.datetime) -> int:
    """Return microseconds since 1970-01-01 UTC; a naive datetime is in the worker's own time zone."""
    return _micros(value.astimezone(datetime.timezone.utc) - _EPOCH)


def naive_of_micros(micros: int) -> datetime.datetime:
    """Microseconds since 1970-01-01 as a naive datetime."""
    return _NAIVE_EPOCH + datetime.timedelta(microseconds=micros)


def zone() -> tuple[object, ...]:
    """Return what tells one time zone of this process from another."""
    return (os.environ.get("TZ"), time.tzname, time.timezone, time.altzone)


def offset_from_utc(first: int, last: int) -> tuple[int, int] | None:
    """Return what to add to get local time, and its ``fold``, if both are the same for two instants."""
    answers = set()
    for micros in (first, last):
        try:
            local = local_of_micros(micros)
        except (OverflowError, ValueError, OSError):
            return None
        answers.add((_micros(local - _NAIVE_EPOCH) - micros, local.fold))
    return answers.pop() if len(answers) == 1 else None


def offset_to_utc(first: int, last: int) -> tuple[int, int] | None:
    """Return what to add to two local times to get UTC, if it is the same whatever their ``fold`` is; and 0."""
    answers = set()
    for micros in (first, last):
        for fold in (0, 1):
            try:
                answers.add(micros_of_datetime(naive_of_micros(micros).replace(fold=fold)) - micros)
            except (OverflowError, ValueError, OSError):
                return None
    return (answers.pop(), 0) if len(answers) == 1 else None


def _micros(distance: datetime.timedelta) -> int:
    return (distance.days * 86_400 + distance.seconds) * 1_000_000 + distance.microseconds
