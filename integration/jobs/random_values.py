"""Random types of Spark's, and values of them as SQL: what the random queries are over."""

from __future__ import annotations

import datetime
import decimal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

#: Types that are no containers, and have no parameter.
SIMPLE = (
    "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string", "binary", "date", "timestamp", "timestamp_ntz",
    "interval day to second", "void",
)  # fmt: skip
#: Types that rudf leaves to Spark.
LEFT = ("interval year to month", "variant")
#: Bits of integers.
BITS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
COLLATIONS = ("UTF8_LCASE", "UNICODE_CI", "UNICODE")
SHORT = ("''", "'a'", "'xyz'", "'ä '")
FIELDS = ("a", "b", "c d", "Ä", "key", "0")


@dataclass(frozen=True)
class Type:
    """A type of Spark's: its text in SQL, and the types inside of it."""

    text: str
    inner: tuple[Type, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """``array``, ``map``, ``struct``, or the text up to its parameters."""
        return self.text.split("<")[0].split("(")[0]

    def any(self, holds: Callable[[Type], bool]) -> bool:
        """Whether something holds for this type or for one inside of it."""
        return holds(self) or any(part.any(holds) for part in self.inner)

    @property
    def is_left(self) -> bool:
        """Whether rudf leaves functions of it to Spark."""
        return self.any(lambda t: t.text in LEFT)

    @property
    def is_orderable(self) -> bool:
        """Whether Spark groups by it and sorts by it."""
        return not self.any(lambda t: t.root in ("map", "variant") or t.text == "struct<>")

    @property
    def in_parquet(self) -> bool:
        """Whether a file of Parquet's holds it."""
        return not self.any(lambda t: t.text in ("void", "struct<>", *LEFT) or t.root == "time" or "collate" in t.text)


def struct_of(names: tuple[str, ...], inner: tuple[Type, ...], needed: str | None = None) -> Type:
    """A struct, of which one field must not be null where it is said so."""
    nulls = [" not null" if name == needed else "" for name in names]
    fields = ", ".join(f"`{name}`: {part.text}{null}" for name, part, null in zip(names, inner, nulls))
    return Type(f"struct<{fields}>", inner, names)


@st.composite
def decimals(draw: st.DrawFn) -> Type:
    """A decimal of any precision and scale."""
    precision = draw(st.sampled_from((1, 5, 9, 10, 18, 19, 38)) | st.integers(1, 38))
    return Type(f"decimal({precision},{draw(st.integers(0, precision))})")


@st.composite
def leaves(draw: st.DrawFn) -> Type:
    """A type without others inside."""
    chosen = draw(st.integers(0, 23))
    if chosen < len(SIMPLE):
        return Type(SIMPLE[chosen])
    if chosen < 18:
        return draw(decimals())
    if chosen < 20:
        return Type(f"time({draw(st.sampled_from((0, 3, 6)))})")
    if chosen == 20:
        return Type(
            draw(st.sampled_from(("char(3)", "varchar(4)", *(f"string collate {name}" for name in COLLATIONS))))
        )
    if chosen == 21 and draw(st.integers(0, 3)) == 0:
        return Type(draw(st.sampled_from(LEFT)))
    if chosen == 21:
        return Type(draw(st.sampled_from(("interval hour", "interval day to minute", "interval minute to second"))))
    return Type(draw(st.sampled_from(("bigint", "string", "double"))))


@st.composite
def types(draw: st.DrawFn, depth: int = 2) -> Type:
    """Any type, with others inside up to a depth."""
    form = draw(st.integers(0, 9)) if depth else 0
    if form < 5:
        return draw(leaves())
    if form < 7:
        part = draw(types(depth - 1))
        return Type(f"array<{part.text}>", (part,))
    if form == 7:
        key = draw(types(depth - 1).filter(lambda t: t.is_orderable and t.text != "void" and not t.any(is_void)))
        value = draw(types(depth - 1))
        return Type(f"map<{key.text},{value.text}>", (key, value))
    names = tuple(draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True)))
    return struct_of(names, tuple(draw(types(depth - 1)) for _ in names))


def is_void(kind: Type) -> bool:
    """Whether it is the type of nulls."""
    return kind.text == "void"


def hexadecimal(value: bytes, kind: str) -> str:
    """Bytes, in SQL."""
    return f"cast(X'{value.hex()}' as {kind})"


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Text of all planes, one that is no UTF-8 at times, and long ones."""
    form = draw(st.integers(0, 30))
    if form == 0:
        return hexadecimal(
            draw(st.sampled_from((b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf0\x9f", b"x\x80y"))), "string"
        )
    if form == 1:
        return f"repeat('{draw(st.sampled_from('xäÄ'))}', {draw(st.integers(100, 3000))})"
    if form < 6:
        return draw(
            st.sampled_from(("''", "'a'", "'1'", "'1.5'", "'true'", "'NaN'", "'2020-01-01'", "'null'", "'\\0'", "' '"))
        )
    return hexadecimal(draw(st.text(st.characters(codec="utf-8"), max_size=8)).encode(), "string")


@st.composite
def moments(draw: st.DrawFn) -> datetime.datetime:
    """Moments of all years, most of them of years that all time zones and nanoseconds have."""
    form = draw(st.integers(0, 9))
    if form == 0:
        return draw(st.datetimes())
    if form < 4:
        return draw(
            st.sampled_from((
                datetime.datetime(1970, 1, 1), datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), datetime.datetime(2024, 3, 10, 10, 30), datetime.datetime(2024, 11, 3, 8, 30),
                datetime.datetime(2024, 11, 3, 9, 30, 0, 1), datetime.datetime(1883, 11, 18, 20), datetime.datetime(1900, 1, 1), datetime.datetime(2, 1, 1), datetime.datetime(9999, 12, 30),
            ))
        )  # fmt: skip
    return draw(st.datetimes(datetime.datetime(1680, 1, 1), datetime.datetime(2260, 1, 1)))


@st.composite
def singles(draw: st.DrawFn, kind: Type) -> str:
    """A value of a type without others inside, as SQL. None of them is null."""
    text = kind.text
    if text == "void":
        return "null"
    if text == "boolean":
        return draw(st.sampled_from(("true", "false")))
    if text in BITS:
        most = 1 << (BITS[text] - 1)
        edge = st.sampled_from((-most, most - 1, 0, 1, -1))
        return f"cast('{draw(edge | st.integers(-most, most - 1) | st.integers(-100, 100))}' as {text})"
    if text in ("float", "double"):
        odd = st.sampled_from(("NaN", "Infinity", "-Infinity", "-0.0", "0.0", "1.0", "0.1", "1.4E-45", "3.4028235E38"))
        number = st.floats(width=32 if text == "float" else 64, allow_nan=False, allow_infinity=False)
        return f"cast('{draw(odd | number.map(repr) | st.integers(-9, 9).map(str))}' as {text})"
    if text.startswith("decimal"):
        precision, scale = (int(number) for number in text[8:-1].split(","))
        most = 10**precision - 1
        unscaled = draw(
            st.integers(-most, most)
            | st.sampled_from((most, -most, 0, 1, -1))
            | st.integers(-min(most, 999), min(most, 999))
        )
        number = decimal.Decimal((unscaled < 0, tuple(map(int, str(abs(unscaled)))), -scale))
        return f"cast('{number:f}' as {text})"
    if "char" in text:
        return f"cast({draw(st.sampled_from(SHORT))} as {text})"
    if text in ("interval hour", "interval day to minute", "interval minute to second"):
        return f"cast(interval '{draw(st.integers(0, 99))} {draw(st.integers(0, 23))}:00:00' day to second as {text})"
    if text.startswith("string"):
        return f"cast({draw(texts())} as {text})"
    if text == "binary":
        return hexadecimal(draw(st.binary(max_size=6)), "binary")
    if text == "date":
        extreme = st.sampled_from(
            (
                datetime.date(1, 1, 1),
                datetime.date(9999, 12, 31),
                datetime.date(1582, 10, 14),
                datetime.date(1970, 1, 1),
            )
        )
        return f"date'{draw(extreme | st.dates() | st.dates(datetime.date(1690, 1, 1), datetime.date(2250, 1, 1))).isoformat()}'"
    if text == "timestamp":
        return f"timestamp'{draw(moments()).isoformat(' ')} UTC'"
    if text == "timestamp_ntz":
        return f"timestamp_ntz'{draw(moments()).isoformat(' ')}'"
    if text.startswith("time("):
        digits = int(text[5:-1])
        moment = draw(st.times() | st.sampled_from((datetime.time(0), datetime.time(23, 59, 59, 999999))))
        return f"cast(time'{moment.replace(microsecond=moment.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits)).isoformat()}' as {text})"
    if text == "interval day to second":
        days, rest = draw(st.integers(-99999, 99999) | st.integers(-1, 1)), draw(st.times())
        sign = "-" if days < 0 else ""
        return f"interval '{sign}{abs(days)} {rest.isoformat()}' day to second"
    if text == "interval year to month":
        return f"interval '{draw(st.integers(0, 99))}-{draw(st.integers(0, 11))}' year to month"
    assert text == "variant", text
    return f"""parse_json('{draw(st.sampled_from(("1", '"x"', "[1, null]", '{"a": 1.5}')))}')"""


@st.composite
def values(draw: st.DrawFn, kind: Type) -> str:
    """A value of any type, as SQL; at times null."""
    if draw(st.integers(0, 7)) == 0:
        return "null"
    if not kind.inner:
        return draw(singles(kind))
    if kind.root == "array":
        inside = ", ".join(draw(st.lists(values(kind.inner[0]), max_size=3)))
        return f"cast(array({inside}) as {kind.text})"
    if kind.root == "map":
        key, value = kind.inner
        length = draw(st.integers(0, 3))
        keys = ", ".join(draw(whole(key)) for _ in range(length))
        held = ", ".join(draw(values(value)) for _ in range(length))
        return f"map_from_arrays(cast(array({keys}) as array<{key.text}>), cast(array({held}) as array<{value.text}>))"
    fields = ", ".join(f"'{name}', {draw(values(part))}" for name, part in zip(kind.names, kind.inner))
    return f"cast(named_struct({fields}) as {kind.text})"


@st.composite
def whole(draw: st.DrawFn, kind: Type) -> str:
    """A value that is not null itself, as keys of maps must not be."""
    return draw(values(kind).filter(lambda value: value != "null"))
