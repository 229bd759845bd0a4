"""Dates and times as PySpark's Arrow path gives them to a ``udf`` and takes them back."""

from __future__ import annotations

import datetime

__all__ = ["date_of_days", "days_of_date", "local_of_micros", "micros_of_datetime", "utc_of_micros"]

_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def date_of_days(days: int) -> datetime.date:
    """Days since 1970-01-01 as a date."""
    return datetime.date.fromordinal(days + _EPOCH_ORDINAL)


def days_of_date(date: datetime.date) -> int:
    """Return a date's days since 1970-01-01."""
    return date.toordinal() - _EPOCH_ORDINAL


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
    distance = value.astimezone(datetime.timezone.utc) - _EPOCH
    return (distance.days * 86_400 + distance.seconds) * 1_000_000 + distance.microseconds
