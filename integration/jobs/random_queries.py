"""Random queries with functions of all kinds: a type of each column, values, a child of some shape, and a function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from hypothesis import assume
from hypothesis import strategies as st
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf, arrow_udtf, pandas_udf, udf, udtf

import random_functions as fn
from differential import rudf_vector
from pickled_differential import UNSTABLE, VALUES
from random_values import Type, struct_of, types, values

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

#: Values that functions give in place of what they have declared. Java tells of some of them where they are; and of an
#: error that holds half a surrogate PySpark's workers tell nothing, ever.
UNUSED = ("class", "object", "Text", "Number", "lambda", "surrogate")
OTHERS = {name: value for name, value in VALUES.items() if name not in UNUSED}
STRING, BIGINT = Type("string"), Type("bigint")

#: What children are made of rows and columns, and how.
SHAPES: dict[str, Callable[[DataFrame], DataFrame]] = {
    "rows": lambda frame: frame,
    "filtered": lambda frame: frame.where("i % 3 != 1"),
    "shuffled": lambda frame: frame.repartition(3, "i"),
    "empty partitions": lambda frame: frame.repartition(9, "i"),
    "one partition": lambda frame: frame.coalesce(1),
    "cached": lambda frame: frame.cache(),
    "parquet": lambda frame: frame,
    "filtered parquet": lambda frame: frame.where("i > 1"),
    "two together": lambda frame: frame.union(frame.selectExpr("*").withColumn("i", F.col("i") + 100)),
    "joined": lambda frame: frame.join(frame.sparkSession.range(12).withColumnRenamed("id", "i"), "i"),
    "limited": lambda frame: frame.orderBy("i").limit(7),
}
#: Those whose batches Spark cuts as its reader did, whatever the confs say.
COLUMNAR = ("cached", "parquet")
#: Those whose rows have no order.
UNORDERED = ("shuffled", "empty partitions", "joined", "parquet", "filtered parquet")

#: Confs that change what functions see and what becomes of their results.
CONFS = {
    "spark.sql.session.timeZone": ("UTC", "America/Los_Angeles", "Asia/Kolkata"),
    "spark.sql.ansi.enabled": ("true", "false"),
    "spark.sql.execution.arrow.maxRecordsPerBatch": ("10000", "1", "2", "3"),
    "spark.sql.adaptive.enabled": ("true", "false"),
    "spark.sql.execution.pandas.convertToArrowArraySafely": ("true", "false"),
    "spark.sql.execution.pyspark.binaryAsBytes": ("true", "false"),
    "spark.sql.execution.pythonUDF.pandas.preferIntExtensionDtype": ("false", "true"),
    "spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled": ("false", "true"),
    "spark.sql.execution.arrow.compression.codec": ("none", "zstd"),
    "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": ("true", "false"),
    "spark.sql.codegen.wholeStage": ("true", "false"),
}


@dataclass
class Query:
    """A query, and what is to be said of it where its two answers differ."""

    kind: str
    text: str
    #: Makes the child; called once, so that what is cached or written is so for both sides.
    source: Callable[[SparkSession, str], DataFrame]
    build: Callable[[DataFrame], DataFrame]
    confs: dict[str, str] = field(default_factory=dict)
    #: Whether rudf leaves it to Spark.
    is_left: bool = False
    is_ordered: bool = True
    #: Whether there are two nodes with functions, of which either may be the first that fails.
    is_stacked: bool = False


@dataclass
class Table:
    """The child of a query."""

    columns: list[Type]
    rows: int
    sql: str
    shape: str

    @property
    def names(self) -> list[str]:
        return [f"c{n}" for n in range(len(self.columns))]

    @property
    def schema(self) -> str:
        """Of all columns, as text."""
        return ", ".join([*(f"{n} {t.text}" for n, t in zip(self.names, self.columns)), "i int"])

    def make(self, spark: SparkSession, scratch: str) -> DataFrame:
        """Make it, in files where its shape says so."""
        frame = spark.sql(self.sql)
        if "parquet" in self.shape:
            path = f"{scratch}/random"
            frame.repartition(2, "i").write.mode("overwrite").parquet(path)
            frame = spark.read.parquet(path)
        return SHAPES[self.shape](frame)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A child of some shape: one to three columns of random types, and the number of the row."""
    columns = draw(st.lists(types(), min_size=1, max_size=3))
    rows = draw(st.sampled_from((0, 1, 2, 3, 5, 8, 11)))
    # All rows of a column are one draw's, so that some have no nulls.
    lines = []
    for i in range(max(rows, 1)):
        cells = [f"cast({draw(values(t))} as {t.text})" for t in columns]
        lines.append(f"({', '.join(cells)}, {i})")
    names = ", ".join(f"c{n}" for n in range(len(columns)))
    sql = f"select * from values {', '.join(lines)} as t({names}, i)" + (" where i < 0" if rows == 0 else "")
    shapes = [s for s in SHAPES if "parquet" not in s or all(t.in_parquet for t in columns)]
    return Table(columns, rows, sql, draw(st.sampled_from(shapes)))


@st.composite
def confs(draw: st.DrawFn, table: Table) -> dict[str, str]:
    """Some confs, most of them as they are by default."""
    chosen = {}
    for key, texts in CONFS.items():
        if draw(st.integers(0, 5)) == 0 or key.endswith("timeZone"):
            chosen[key] = draw(st.sampled_from(texts))
    if table.shape in COLUMNAR:
        chosen.pop("spark.sql.execution.arrow.maxRecordsPerBatch", None)
    return chosen


@st.composite
def declared(draw: st.DrawFn, own: Type) -> Type:
    """A type of results: mostly the one that is given back, at times another, or one that promises more."""
    if own.root == "struct" and own.inner and draw(st.integers(0, 3)) == 0:
        return struct_of(own.names, own.inner, draw(st.sampled_from(own.names)))
    return own if draw(st.integers(0, 3)) else draw(types(1))


@st.composite
def row_functions(draw: st.DrawFn, own: Type) -> tuple[str, Any, Type]:
    """A function of single values, by name, and the type that it declares."""
    form = draw(st.integers(0, 11))
    if form < 4:
        return "same", fn.same, draw(declared(own))
    if form < 6:
        return "told", fn.told, draw(st.just(STRING) | types(1)) if form == 5 else STRING
    if form == 6:
        return "listed", fn.listed, Type(f"array<{own.text}>", (own,))
    if form == 7:
        return "paired", fn.paired, Type(f"struct<a: {own.text}, b: {own.text}>", (own, own), ("a", "b"))
    if form == 8:
        return "keyed", fn.keyed, Type(f"map<string,{own.text}>", (STRING, own))
    if form == 9:
        return "fails", fn.fails, own
    other = draw(types(2))
    names = [n for n in OTHERS if not (n in UNSTABLE and other.any(lambda t: t.root == "string"))]
    name = draw(st.sampled_from(names))
    return f"constant {name}", fn.Constant(OTHERS[name]), other


@st.composite
def vector_functions(draw: st.DrawFn, own: Type, is_pandas: bool) -> tuple[str, Any, Type]:
    """A function of columns, by name, and the type that it declares."""
    form = draw(st.integers(0, 9))
    if form < 2:
        return ("told", fn.told_of_series if is_pandas else fn.told_of_arrays, STRING)
    if form < 7:
        function = draw(st.sampled_from(fn.SERIES if is_pandas else fn.ARRAYS))
        return function.__name__, function, draw(declared(own))
    name, function, kind = draw(row_functions(own))
    return f"each {name}", (fn.of_series if is_pandas else fn.of_arrays)(function), kind


#: Kinds of scalar functions: how one is made of function and type, and the eval type.
SCALARS: dict[str, Callable[[Any, str], Any]] = {
    "udf": lambda f, t: udf(f, t),
    "@rudf": lambda f, t: rudf_vector(f, t, 101),
    "pickled udf": lambda f, t: udf(f, t, useArrow=False),
    "pandas_udf": lambda f, t: pandas_udf(f, t, functionType=200),
    "arrow_udf": lambda f, t: arrow_udf(f, t, functionType=250),
    "pandas_udf of iterators": lambda f, t: pandas_udf(f, t, functionType=204),
    "arrow_udf of iterators": lambda f, t: arrow_udf(f, t, functionType=251),
}


@st.composite
def scalar_functions(draw: st.DrawFn, kind: str, own: Type) -> tuple[str, Any, Type]:
    """A function of a kind, as it is called with columns, with its name and its type."""
    if "pandas" in kind or "arrow" in kind:
        name, function, result = draw(vector_functions(own, "pandas" in kind))
        if "iterators" in kind:
            over = draw(st.sampled_from((fn.iterated, fn.ahead)))
            name, function = f"{over.__name__} {name}", over(function)
    else:
        name, function, result = draw(row_functions(own))
    return name, made_once(lambda: SCALARS[kind](function, result.text)), result


def made_once(make: Callable[[], Any]) -> Callable[..., Column]:
    """A function that is made where it is called first: some types are errors already then."""
    made: list[Any] = []

    def call(*columns: Column) -> Column:
        if not made:
            made.append(make())
        return made[0](*columns)

    return call


def has_keys_of_bytes(kind: Type) -> bool:
    """Whether it is a map by bytes, or by what holds some."""
    return kind.root == "map" and kind.inner[0].any(lambda part: part.text == "binary")


def is_left(kind: str, arguments: list[Type], results: list[Type]) -> bool:
    """Whether rudf leaves a function to Spark for its types."""
    pickles = kind in ("pickled udf", "pickled udtf")
    # Java keeps keys that are bytes in an order of its own, each time another one.
    assume(not (pickles and any(t.any(has_keys_of_bytes) for t in results)))
    hidden = pickles and any(t.inner and t.any(lambda part: part.text == "void") for t in results)
    # Of these Spark takes no result but TIME(6).
    checked = kind in (*SCALARS, "udtf", "arrow_udtf") and not pickles
    short = checked and any(t.any(lambda part: part.root == "time" and part.text != "time(6)") for t in results)
    return hidden or short or any(t.is_left for t in [*arguments, *results])


@st.composite
def scalars(draw: st.DrawFn) -> Query:
    """A scalar function, or two, in some place of a query."""
    table = draw(tables())
    kind = draw(st.sampled_from(list(SCALARS)))
    picked = draw(st.lists(st.integers(0, len(table.columns) - 1), min_size=1, max_size=3))
    own = [table.columns[n] for n in picked]
    name, function, result = draw(scalar_functions(kind, own[0]))
    arguments = [F.col(f"c{n}") for n in picked]
    place = draw(
        st.sampled_from(("beside all", "alone", "twice", "chained", "in a filter", "in a case", "below another kind"))
    )
    left = own_left = is_left(kind, own, [result])
    after: Any = None
    if place == "chained":
        name_after, after, last = draw(scalar_functions(kind, result))
        name, left = f"{name_after}({name})", own_left or is_left(kind, [result], [last])
    elif place == "below another kind":
        other = draw(st.sampled_from(list(SCALARS)))
        name_after, after, last = draw(scalar_functions(other, result))
        # Of two nodes one is left at times.
        name, left = f"{other} {name_after}({name})", own_left and is_left(other, [result], [last])

    def build(frame: DataFrame) -> DataFrame:
        column = function(*arguments)
        if place == "beside all":
            return frame.select("*", column.alias("r"))
        if place == "twice":
            return frame.select(column.alias("r"), "i", function(*arguments[::-1]).alias("s"))
        if place == "in a filter":
            return frame.where(column.isNotNull()).select("i", *frame.columns[:-1])
        if place == "in a case":
            return frame.select("i", F.when(F.col("i") % 2 == 0, column).alias("r"))
        return frame.select("i", (column if after is None else after(column)).alias("r"))

    text = f"{kind} {name} of {[f'c{n}' for n in picked]} -> {result.text}, {place}"
    ordered, stacked = table.shape not in UNORDERED, place == "below another kind"
    return Query(kind, *described(table, text), build, draw(confs(table)), left, ordered, stacked)


def described(table: Table, text: str) -> tuple[str, Callable[[SparkSession, str], DataFrame]]:
    """What to say of a query, and its child."""
    return f"{text}, over {table.shape}: {table.sql}", table.make


@st.composite
def maps(draw: st.DrawFn) -> Query:
    """``mapInPandas`` and ``mapInArrow``."""
    table = draw(tables())
    kind = draw(st.sampled_from(("mapInPandas", "mapInArrow")))
    tell = draw(st.integers(0, 2)) == 0
    function: Any = draw(st.sampled_from(fn.FRAMES))
    if tell:
        function = fn.told_of_frame if kind == "mapInPandas" else fn.told_of_table
    schema, results = draw(schemas(table)) if not tell else ("told string", [])
    over = draw(st.sampled_from((fn.iterated, fn.ahead)))
    whole = over(function)
    text = f"{kind} {over.__name__} {function.__name__} -> {schema}"

    def build(frame: DataFrame) -> DataFrame:
        return getattr(frame, kind)(whole, schema)

    left = is_left(kind, table.columns, results)
    return Query(kind, *described(table, text), build, draw(confs(table)), left, table.shape not in UNORDERED)


@st.composite
def schemas(draw: st.DrawFn, table: Table) -> tuple[str, list[Type]]:
    """A schema of results: the table's, or at times one with another type in it."""
    if draw(st.integers(0, 3)):
        return table.schema, table.columns
    others = [*table.columns[:-1], draw(types(1))]
    return ", ".join([*(f"{n} {t.text}" for n, t in zip(table.names, others)), "i int"]), others


@st.composite
def keys(draw: st.DrawFn, table: Table) -> list[Any]:
    """Keys of groups: columns that can be, expressions, or none."""
    orderable = [n for n, t in zip(table.names, table.columns) if t.is_orderable]
    some = draw(st.lists(st.sampled_from([*orderable, "i"]), max_size=2, unique=True))
    return [(F.col("i") % 3).alias("k") if name == "i" else F.col(name) for name in some]


@st.composite
def groups(draw: st.DrawFn) -> Query:
    """``applyInPandas`` and ``applyInArrow``, with and without key, over groups and over their batches."""
    table = draw(tables())
    kind = draw(st.sampled_from(("applyInPandas", "applyInArrow")))
    by = draw(keys(table))
    form = draw(st.integers(0, 3))
    function: Any = draw(st.sampled_from(fn.FRAMES))
    schema, results = draw(schemas(table))
    name = function.__name__
    if form == 0:
        name, function, schema, results = "told", fn.told_with_key, "told string", []
    elif form == 1:
        name, function = f"{name} with key", fn.with_key(function)
    elif form == 2:
        over = draw(st.sampled_from((fn.iterated, fn.ahead)))
        name, function = f"{over.__name__} {name}", annotated(over(function), kind)
    text = f"{kind} {name} by {[str(k) for k in by]} -> {schema}"

    def build(frame: DataFrame) -> DataFrame:
        return getattr(frame.groupBy(*by), kind)(function, schema)

    return Query(kind, *described(table, text), build, draw(confs(table)), is_left(kind, table.columns, results), False)


def annotated(function: Any, kind: str) -> Any:
    """Annotate a function of iterators, as PySpark wants to see it."""
    import collections.abc

    import pandas as pd

    batch = pd.DataFrame if kind == "applyInPandas" else pa.RecordBatch
    iterator = collections.abc.Iterator[batch]  # type: ignore[valid-type]
    function.__annotations__ = {"taken": iterator, "return": iterator}
    return function


@st.composite
def cogroups(draw: st.DrawFn) -> Query:
    """Maps over pairs of groups of one table."""
    table = draw(tables())
    kind = draw(st.sampled_from(("applyInPandas", "applyInArrow")))
    by = draw(keys(table))
    function = draw(st.sampled_from((fn.same, fn.second, fn.told_of_both)))
    schema, results = ("told string", []) if function is fn.told_of_both else draw(schemas(table))
    halves = draw(st.sampled_from(("i < 4", "i >= 0", "i % 2 = 0", "i < 0")))
    # Functions of a pair are told by how many parameters they have.
    pair = (lambda one, other: fn.same(one, other)) if function is fn.same else function

    def build(frame: DataFrame) -> DataFrame:
        # Spark takes columns of two frames that have the same for ambiguous.
        one, other = frame.where(halves).groupBy(*by), frame.toDF(*frame.columns).where("i > 2").groupBy(*by)
        return getattr(one.cogroup(other), kind)(pair, schema)

    text = f"cogroup {kind} {function.__name__} by {[str(k) for k in by]} -> {schema}, {halves}"
    left = is_left(kind, table.columns, results)
    return Query(f"cogroup {kind}", *described(table, text), build, draw(confs(table)), left, False)


#: Kinds of aggregates.
AGGREGATES: dict[str, Callable[[Any, str], Any]] = {
    "pandas aggregate": lambda f, t: pandas_udf(f, t, functionType=202),
    "arrow aggregate": lambda f, t: arrow_udf(f, t, functionType=252),
    "pandas aggregate of batches": lambda f, t: pandas_udf(fn.of_batches(f), t, functionType=217),
    "arrow aggregate of batches": lambda f, t: arrow_udf(fn.of_batches(f), t, functionType=254),
}


@st.composite
def aggregate_functions(draw: st.DrawFn, kind: str, own: Type) -> tuple[str, Any, Type]:
    """An aggregate of a kind, with its name and its type."""
    form = draw(st.integers(0, 7))
    function, result = [
        (fn.first_value, own), (fn.first_value, draw(declared(own))), (fn.told_of_group, STRING), (fn.told_of_group, STRING), (fn.length, BIGINT),
        (fn.mixed, draw(st.sampled_from((BIGINT, Type("double"), STRING, Type("decimal(5,1)"))))), (fn.listed_group, Type(f"array<{own.text}>", (own,))), (fn.fails_for_group, BIGINT),
    ][form]  # fmt: skip
    return function.__name__, made_once(lambda: AGGREGATES[kind](function, result.text)), result


@st.composite
def some_aggregates(draw: st.DrawFn, kind: str, table: Table) -> tuple[str, list[Any], bool]:
    """One or two calls of aggregates of a kind, what they are, and whether rudf leaves them to Spark."""
    calls, told, left = [], [], False
    # PySpark runs one over batches at a time.
    for _ in range(1 if "of batches" in kind else draw(st.sampled_from((1, 1, 2)))):
        picked = draw(st.lists(st.integers(0, len(table.columns) - 1), min_size=1, max_size=2))
        own = [table.columns[n] for n in picked]
        name, function, result = draw(aggregate_functions(kind, own[0]))
        calls.append(functools.partial(called, function, [f"c{n}" for n in picked]))
        told.append(f"{name} of {[f'c{n}' for n in picked]} -> {result.text}")
        left = left or is_left(kind, own, [result])
    return " and ".join(told), calls, left


def called(function: Callable[..., Column], names: list[str]) -> Column:
    """Call a function with columns."""
    return function(*[F.col(name) for name in names])


@st.composite
def aggregates(draw: st.DrawFn) -> Query:
    """One or two aggregates of groups."""
    table = draw(tables())
    kind = draw(st.sampled_from(list(AGGREGATES)))
    by = draw(keys(table))
    told, calls, left = draw(some_aggregates(kind, table))

    def build(frame: DataFrame) -> DataFrame:
        return frame.groupBy(*by).agg(*[call().alias(f"r{n}") for n, call in enumerate(calls)])

    grouped = [t for n, t in zip(table.names, table.columns) if any(str(F.col(n)) == str(k) for k in by)]
    text = f"{kind} {told} by {[str(k) for k in by]}"
    return Query(kind, *described(table, text), build, draw(confs(table)), left or is_left(kind, grouped, []), False)


@st.composite
def frames(draw: st.DrawFn, by: list[Any]) -> tuple[str, Any]:
    """A window over groups, most of them bounded."""
    over = Window.partitionBy(*by)
    form = draw(st.integers(0, 5))
    if form == 0:
        return "everything", over
    low, high = sorted((draw(st.integers(-3, 3)), draw(st.integers(-3, 3))))
    is_down = draw(st.booleans())
    over = over.orderBy(F.desc("i") if is_down else F.col("i"))
    order = "down" if is_down else "up"
    if form == 1:
        return f"{order} to the row", over
    if form > 3:
        return f"{order}, values {low} to {high}", over.rangeBetween(low, high)
    return f"{order}, rows {low} to {high}", over.rowsBetween(low, high)


@st.composite
def windows(draw: st.DrawFn) -> Query:
    """Aggregates over windows, which may differ."""
    table = draw(tables())
    kind = draw(st.sampled_from(("pandas aggregate", "arrow aggregate")))
    by = draw(keys(table))
    told, calls, left = draw(some_aggregates(kind, table))
    over = [draw(frames(by)) for _ in calls]

    def build(frame: DataFrame) -> DataFrame:
        results = [call().over(window).alias(f"r{n}") for n, (call, (_, window)) in enumerate(zip(calls, over))]
        return frame.select("*", *results)

    text = f"{kind} {told} over {' and '.join(name for name, _ in over)} by {[str(k) for k in by]}"
    return Query(f"windowed {kind}", *described(table, text), build, draw(confs(table)), left, False)


class Rows:
    """A table function that gives what a function of single values makes of its arguments."""

    function: Any = None
    times = 1

    def eval(self, *arguments: Any) -> Any:
        for _ in range(self.times):
            yield (type(self).function(*arguments),)


class RowsOfTable(Rows):
    """The same of the rows of a table."""

    names: tuple[str, ...] = ()

    def eval(self, row: Any) -> Any:
        yield from super().eval(*[row[name] for name in self.names])


class Arrays(RowsOfTable):
    """The same of a table's record batches."""

    def eval(self, batch: pa.RecordBatch) -> Any:
        for _ in range(self.times):
            yield pa.table({"r": type(self).function(*[batch.column(name) for name in self.names])})


@st.composite
def table_functions(draw: st.DrawFn) -> Query:
    """Table functions, called for each row, or with a table."""
    table = draw(tables())
    kind = draw(st.sampled_from(("udtf", "pickled udtf", "arrow_udtf")))
    names = [f"c{n}" for n in draw(st.lists(st.integers(0, len(table.columns) - 1), min_size=1, max_size=2))]
    own = [table.columns[int(name[1:])] for name in names]
    name, function, result = draw(vector_functions(own[0], False) if kind == "arrow_udtf" else row_functions(own[0]))
    # To those of arrays PySpark gives rows of no lateral join.
    of_table = kind == "arrow_udtf" or draw(st.booleans())
    columns = draw(st.sampled_from(("*", "r", "i, r", "r, c0")))
    if of_table:
        orderable = [n for n, t in zip(table.names, table.columns) if t.is_orderable]
        by = draw(st.sampled_from(("", *(f" partition by {n} order by i" for n in ["i % 3", *orderable]))))
        query = f"select * from random_function(table(random_child){by.replace('i % 3', '(i % 3)')})"
        beside = table.columns
    else:
        query = f"select {columns} from random_child, lateral random_function({', '.join(names)})"
        beside = {"*": table.columns, "r, c0": table.columns[:1]}.get(columns, [])
    times = draw(st.integers(0, 2))
    base = Arrays if kind == "arrow_udtf" else RowsOfTable if of_table else Rows
    handler = type("Handler", (base,), {"function": staticmethod(function), "times": times, "names": tuple(names)})
    schema = f"r {result.text}"

    def build(frame: DataFrame) -> DataFrame:
        spark = frame.sparkSession
        if kind == "arrow_udtf":
            spark.udtf.register("random_function", arrow_udtf(handler, returnType=schema))
        else:
            spark.udtf.register("random_function", udtf(handler, returnType=schema, useArrow=kind == "udtf"))
        frame.createOrReplaceTempView("random_child")
        return spark.sql(query)

    text = f"{kind} {name} of {names} {times} times -> {schema}, {query}"
    left = is_left(kind, [*own, *beside], [result])
    return Query(
        kind, *described(table, text), build, draw(confs(table)), left, not of_table and table.shape not in UNORDERED
    )


#: A query of any kind; scalar functions have the most.
QUERIES = st.one_of(
    scalars(), scalars(), scalars(), maps(), groups(), cogroups(), aggregates(), windows(), table_functions()
)
