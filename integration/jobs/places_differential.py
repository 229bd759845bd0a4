"""Runs functions in all places of queries and in streams on Spark's own path and on rudf's: the two must be equal.

usage: spark-submit places_differential.py RESULTS.json SCRATCH_DIRECTORY [PART ...]
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.compute as pc
from pyspark.errors import StreamingQueryException
from pyspark.sql import Row, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceWriter, SimpleDataSourceStreamReader
from pyspark.sql.functions import arrow_udf, pandas_udf, udf, udtf
from pyspark.sql.streaming.stateful_processor import StatefulProcessor

from differential import OPERATORS, Matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame


@functools.cache
def doubling() -> dict[str, Any]:
    """Return a function of each kind, which doubles a number."""
    return {
        "udf": udf(lambda v: None if v is None else v * 2, "bigint"),
        "pickled": udf(lambda v: None if v is None else v * 2, "bigint", useArrow=False),
        "pandas": pandas_udf(lambda v: v * 2, "bigint", functionType=200),
        "arrow": arrow_udf(lambda v: pc.multiply(v, 2), "bigint", functionType=250),
    }


def places(matrix: Matrix) -> None:
    """Functions in subqueries, joins, filters, sort orders, branches, what is cached, and below everything else."""
    spark = matrix.spark
    data = spark.range(0, 40, 1, 3).selectExpr("id", "id % 4 k", "if(id % 5 = 0, null, id) n", "concat('s', id % 6) s")
    data.createOrReplaceTempView("t")
    spark.range(10, 30, 1, 2).selectExpr("id", "id % 3 k").createOrReplaceTempView("u")
    other = spark.table("u").withColumnRenamed("id", "o").withColumnRenamed("k", "l")
    for kind, twice in doubling().items():
        spark.udf.register("twice", twice)
        in_sql = {
            "a scalar subquery": "select id from t where twice(id) = (select max(twice(k)) from t) order by id",
            "a correlated subquery": "select id, (select max(twice(u.id)) from u where u.k = t.k) m from t order by id",
            "a subquery of its own argument": "select id, twice((select max(id) from u)) m from t order by id",
            "in": "select id from t where id in (select twice(id) from u) order by id",
            "the left side of in": "select id from t where twice(id) in (select id from u) order by id",
            "not in": "select id from t where twice(id) not in (select id from u) order by id",
            "exists": "select id from t where exists (select 1 from u where u.id = t.id and twice(u.k) > 1) order by id",
            "exists over both": "select id from t where exists (select 1 from u where u.id = twice(t.id)) order by id",
            "having": "select k, sum(n) from t group by k having twice(sum(n)) > 300 order by k",
            "over an aggregate": "select k, twice(count(*)), twice(max(id)) + min(twice(id)) from t group by k order by k",
            "in a count of distinct": "select count(distinct twice(k)), sum(distinct twice(k)) from t",
            "in grouping sets": "select twice(k) a, s, count(*) from t group by grouping sets ((twice(k)), (s), ()) order by 1, 2",
            "in a rollup": "select k, sum(twice(id)) from t group by rollup(k) order by 1",
            "in a filter of an aggregate": "select sum(id) filter (where twice(id) > 20) from t",
            "in a common table": "with c as (select twice(id) a, k from t) select x.a, y.a b from c x join c y on x.a = y.a where y.k = 1 order by 1",
            "in a set": "select twice(id) from t except select twice(id) from u order by 1",
            "in a union": "select twice(id) a from t union all select twice(id) from u order by 1",
            "in an explosion": "select id, e from t lateral view explode(array(twice(id), id)) as e order by id, e",
            "in a lambda": "select transform(array(id), x -> twice(x)) from t",
            "in branches": "select id, case when k = 0 then twice(id) when twice(k) > 3 then twice(n) else coalesce(twice(n), -1) end c, if(twice(id) > 9, 1, twice(k)) d from t order by id",
            "in a partition by": "select id, row_number() over (partition by twice(k) order by twice(id) desc) r from t order by id",
            "as a bound of a range": "select id from t where id between twice(3) and twice(k + 9) order by id",
            "of constants": "select twice(4), twice(null), twice(cast(null as bigint))",
            "in values": "select twice(a) from values (1L), (null), (3L) as v(a)",
            "in an order that is not shown": "select id from t order by twice(-id) limit 4",
        }  # fmt: skip
        id_, o = F.col("id"), F.col("o")
        frames: dict[str, Callable[[], DataFrame]] = {
            "an inner join": lambda: data.join(other, twice("id") == o).orderBy("id"), "a left join": lambda: data.join(other, twice("id") == o, "left").orderBy("id", "o"),
            "a full join": lambda: data.join(other, twice("id") == o, "full").orderBy("id", "o"), "a semi join": lambda: data.join(other, twice("id") == o, "semi").orderBy("id"),
            "an anti join": lambda: data.join(other, twice("id") == o, "anti").orderBy("id"), "both sides of a join": lambda: data.join(other, twice("id") == twice("o")).orderBy("id"),
            "a join of both at once": lambda: data.join(other, twice(id_ + o) == 60).orderBy("id", "o"), "a left join of both at once": lambda: data.join(other, twice(id_ + o) == 60, "left"),
            "a cross join": lambda: data.crossJoin(other).where(twice(id_) < twice(o) - 40).orderBy("id", "o"), "a broadcast join": lambda: data.join(F.broadcast(other), twice("id") == o).orderBy("id"),
            "a filter and a filter": lambda: data.where((twice("id") > 9) & (F.col("k") == 1)).where(twice("k") < 5).orderBy("id"), "an or": lambda: data.where((twice("id") > 70) | (F.col("id") < 3)).orderBy("id"),
            "sorted in partitions": lambda: data.sortWithinPartitions(twice(-id_)), "repartitioned": lambda: data.repartition(3, twice("k")).orderBy("id"),
            "repartitioned by range": lambda: data.repartitionByRange(3, twice("id")), "distinct": lambda: data.select(twice("k").alias("a")).distinct().orderBy("a"),
            "without duplicates": lambda: data.withColumn("a", twice("k")).dropDuplicates(["a"]).select("a").orderBy("a"), "pivoted": lambda: data.groupBy(twice("k").alias("a")).pivot("s").agg(F.sum(twice("id"))).orderBy("a"),
            "sampled": lambda: data.select("id", twice("id")).sample(0.5, 7), "offset": lambda: data.orderBy("id").select(twice("id")).offset(5).limit(3),
            "over a window": lambda: data.select("id", twice(F.sum("id").over(Window.partitionBy("k").orderBy("id")))).orderBy("id"), "unpivoted": lambda: data.select("id", twice("k").alias("a"), twice("n").alias("b")).unpivot("id", ["a", "b"], "x", "y").orderBy("id", "x"),
            "not deterministic, twice": lambda: data.select("id", again(kind)("id"), again(kind)("id")).orderBy("id"), "not deterministic, in a filter": lambda: data.withColumn("a", again(kind)("id")).where("a > 20 and k = 1").orderBy("id"),
            "not deterministic, in a join": lambda: data.join(other, again(kind)("id") == o).orderBy("id"), "not deterministic, as a key": lambda: data.groupBy(again(kind)("k")).count(),
            "not deterministic, sorted": lambda: data.orderBy(again(kind)(-id_)), "of a random number": lambda: data.select(twice((F.rand(3) * 100).cast("bigint"))),
            "with metadata": lambda: data.select(twice("id").alias("a", metadata={"of": "a"})), "a field": lambda: data.select(F.struct(twice("id").alias("x"), "k").alias("r")).select("r.x", "r.k").orderBy("x"),
        }  # fmt: skip
        for adaptive in ("true", "false"):
            spark.conf.set("spark.sql.adaptive.enabled", adaptive)
            told = f"{kind}, adaptive {adaptive}"
            queries = {name: functools.partial(spark.sql, query) for name, query in in_sql.items()} | frames
            for name, frame in queries.items():
                # Two of the kinds each way.
                if zlib.crc32(f"{name}{kind}".encode()) % 2 == (adaptive == "true"):
                    matrix.add(f"{name}, {told}", frame)
        spark.conf.unset("spark.sql.adaptive.enabled")
        kept(matrix, kind, data)


def again(kind: str) -> Any:
    """A function that says of itself that it is not deterministic."""
    made = doubling()[kind]
    if kind in ("udf", "pickled"):
        return udf(made.func, "bigint", useArrow=kind == "udf").asNondeterministic()
    return (pandas_udf if kind == "pandas" else arrow_udf)(
        made.func, "bigint", functionType=made.evalType
    ).asNondeterministic()


def kept(matrix: Matrix, kind: str, data: DataFrame) -> None:
    """Results that are cached, written, or shown more than once."""
    spark, twice = matrix.spark, doubling()[kind]

    def cached(storage: Callable[[DataFrame], DataFrame]) -> DataFrame:
        spark.catalog.clearCache()
        frame = storage(data.select("id", twice("id").alias("a")))
        assert frame.count() == 40
        return frame.where(twice("a") > 20).orderBy("id")

    matrix.add(f"cached, {kind}", lambda: cached(lambda frame: frame.cache()))
    matrix.add(f"checkpointed, {kind}", lambda: cached(lambda frame: frame.localCheckpoint()))

    def written(form: str) -> DataFrame:
        path = f"{matrix.scratch}/written"
        data.select("id", twice("id").alias("a"), "k").write.mode("overwrite").partitionBy("k").format(form).save(path)
        return spark.read.format(form).load(path).where(twice("k") > 2).orderBy("id").select("id", twice("a"))

    for form in ("parquet", "orc", "json"):
        matrix.add(f"written as {form}, {kind}", lambda f=form: written(f))
    spark.catalog.clearCache()


class Numbers(DataSource):
    """A data source in Python: reads numbers, and takes any."""

    @classmethod
    def name(cls) -> str:
        return "numbers"

    def schema(self) -> str:
        return "id bigint, s string"

    def reader(self, schema: Any) -> DataSourceReader:
        return NumbersReader()

    def writer(self, schema: Any, overwrite: bool) -> DataSourceWriter:
        return NumbersWriter(self.options["path"])

    def simpleStreamReader(self, schema: Any) -> SimpleDataSourceStreamReader:
        return NumbersStream()


class NumbersReader(DataSourceReader):
    def read(self, partition: Any) -> Iterator[tuple[int, str]]:
        for number in range(9):
            yield number, f"s{number}"


class NumbersWriter(DataSourceWriter):
    def __init__(self, path: str) -> None:
        self.path = path

    def write(self, iterator: Iterator[Row]) -> Any:
        from pyspark.sql.datasource import WriterCommitMessage
        from pyspark.taskcontext import TaskContext

        with open(f"{self.path}-{TaskContext.get().partitionId()}", "w") as file:
            file.writelines(f"{row.id} {row.s}\n" for row in iterator)
        return WriterCommitMessage()


class NumbersStream(SimpleDataSourceStreamReader):
    def initialOffset(self) -> dict[str, int]:
        return {"at": 0}

    def read(self, start: dict[str, int]) -> tuple[Iterator[tuple[int, str]], dict[str, int]]:
        end = min(start["at"] + 3, 6)
        return iter([(n, f"s{n}") for n in range(start["at"], end)]), {"at": end}

    def readBetweenOffsets(self, start: dict[str, int], end: dict[str, int]) -> Iterator[tuple[int, str]]:
        return iter([(n, f"s{n}") for n in range(start["at"], end["at"])])

    def commit(self, end: dict[str, int]) -> None:
        pass


def data_sources(matrix: Matrix) -> None:
    """Data sources in Python are Spark's, functions above them rudf's."""
    spark = matrix.spark
    spark.dataSource.register(Numbers)
    matrix.add("left: a data source in Python", lambda: spark.read.format("numbers").load().orderBy("id"))
    for kind, twice in doubling().items():
        matrix.add(
            f"{kind} over a data source in Python",
            lambda f=twice: spark.read.format("numbers").load().select("s", f("id")).orderBy("s"),
        )

    def stored() -> DataFrame:
        path = f"{matrix.scratch}/sink"
        frame = spark.range(0, 6, 1, 2).select(doubling()["udf"]("id").alias("id"), F.lit("x").alias("s"))
        frame.write.format("numbers").option("path", path).mode("append").save()
        lines = [line for part in range(2) for line in open(f"{path}-{part}")]
        return spark.createDataFrame([(line,) for line in lines], "line string")

    matrix.add("left: a sink in Python", stored)


class Counted(StatefulProcessor):
    """Counts the rows of each key over all batches, of frames and of rows."""

    in_pandas = True

    def init(self, handle: Any) -> None:
        self.count = handle.getValueState("count", "n int")

    def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Any:
        before = self.count.get()[0] if self.count.exists() else 0
        after = before + (sum(len(frame) for frame in rows) if self.in_pandas else sum(1 for _ in rows))
        self.count.update((after,))
        yield pd.DataFrame({"k": [key[0]], "n": [after]}) if self.in_pandas else Row(k=key[0], n=after)

    def close(self) -> None:
        pass


class CountedRows(Counted):
    in_pandas = False


def with_state(key: Any, frames: Iterator[pd.DataFrame], state: Any) -> Iterator[pd.DataFrame]:
    """Count the rows of a key."""
    after = (state.get[0] if state.exists else 0) + sum(len(frame) for frame in frames)
    state.update((after,))
    yield pd.DataFrame({"k": [key[0]], "n": [after]})


class Streams:
    """Runs queries over a stream of three files, a batch for each."""

    numbers = itertools.count()

    def __init__(self, matrix: Matrix) -> None:
        self.matrix, self.spark = matrix, matrix.spark
        self.path = f"{matrix.scratch}/stream"
        for part in range(3):
            rows = self.spark.range(part * 10, part * 10 + 10, 1, 2).selectExpr("id", "id % 3 k", "concat('s', id) s")
            rows.coalesce(1).write.mode("append").parquet(self.path)

    def add(
        self, name: str, build: Callable[[DataFrame], DataFrame], mode: str = "append", in_rudf: bool = True
    ) -> None:
        """Add a query; whether rudf runs its functions is asserted here, since what is compared is a table."""
        self.matrix.add(f"left: stream, {name}", lambda: self._run(build, mode, in_rudf))

    def source(self) -> DataFrame:
        """The stream."""
        return (
            self.spark.readStream.schema("id bigint, k bigint, s string")
            .option("maxFilesPerTrigger", 1)
            .parquet(self.path)
        )

    def _run(self, build: Callable[[DataFrame], DataFrame], mode: str, in_rudf: bool) -> DataFrame:
        name = f"streamed_{next(self.numbers)}"
        writer = build(self.source()).writeStream.format("memory").queryName(name).outputMode(mode)
        try:
            query = writer.trigger(availableNow=True).start()
            query.awaitTermination()
        except StreamingQueryException as error:
            # Without the numbers of query and columns.
            raise ValueError(str(error).split("terminated with exception: ")[-1].splitlines()[0]) from None
        plan = query._jsq.explainInternal(True)
        ran = any(operator in plan for operator in OPERATORS)
        wanted = in_rudf and self.spark.conf.get("spark.rudf.enabled") == "true"
        assert ran == wanted, plan
        table = self.spark.table(name)
        return table.orderBy(*table.columns)


def streams(matrix: Matrix) -> None:
    """Functions in micro-batches, with state below or above them or in them."""
    spark = matrix.spark
    spark.conf.set(
        "spark.sql.streaming.stateStore.providerClass",
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    )
    spark.dataSource.register(Numbers)
    streamed = Streams(matrix)
    static = spark.range(0, 30, 3).withColumnRenamed("id", "o")
    pairs = udtf(type("Pairs", (), {"eval": lambda self, n: [(n,), (n + 1,)]}), returnType="p bigint")
    spark.udtf.register("pairs_of", pairs)
    for kind, twice in doubling().items():
        streamed.add(f"{kind} selected", lambda f, g=twice: f.select("id", g("id").alias("a")).where(g("a") > 20))
    twice = doubling()["udf"]
    iterated = pandas_udf(lambda batches: (v + 1 for v in batches), "bigint", functionType=204)
    streamed.add("an iterator", lambda f: f.select("s", iterated("id").alias("a")))
    streamed.add(
        "mapInPandas", lambda f: f.mapInPandas(lambda frames: (x[x["id"] % 2 == 0] for x in frames), "id bigint")
    )
    streamed.add("mapInArrow", lambda f: f.mapInArrow(lambda batches: batches, "id bigint, k bigint, s string"))
    streamed.add("below an aggregate", lambda f: f.groupBy(twice("k").alias("a")).agg(F.sum(twice("id"))), "complete")
    streamed.add(
        "above an aggregate", lambda f: f.groupBy("k").count().select("k", twice("count").alias("c")), "complete"
    )
    streamed.add("without duplicates", lambda f: f.select(twice("k").alias("a")).dropDuplicates(["a"]))
    streamed.add("joined", lambda f: f.join(static, twice("id") == F.col("o")).select("id", "o"))
    streamed.add(
        "applyInPandas", lambda f: f.groupBy("k").applyInPandas(lambda x: x[["id", "k"]].head(1), "id bigint, k bigint")
    )
    streamed.add("applyInArrow", lambda f: f.groupBy("k").applyInArrow(lambda x: x.select(["id"]), "id bigint"))
    mean = pandas_udf(lambda v: v.mean(), "double", functionType=202)
    streamed.add("an aggregate in pandas", lambda f: f.groupBy("k").agg(mean("id")), "complete")

    def with_table_function(frame: DataFrame) -> DataFrame:
        frame.createOrReplaceTempView("stream_of_numbers")
        return spark.sql("select id, p from stream_of_numbers, lateral pairs_of(id)")

    streamed.add("a table function", with_table_function)
    in_state: dict[str, Callable[[DataFrame], DataFrame]] = {
        "applyInPandasWithState": lambda f: f.groupBy("k").applyInPandasWithState(with_state, "k bigint, n int", "n int", "update", "NoTimeout"),
        "transformWithStateInPandas": lambda f: f.groupBy("k").transformWithStateInPandas(Counted(), "k bigint, n int", "update", "none"),
        "transformWithState": lambda f: f.groupBy("k").transformWithState(CountedRows(), "k bigint, n int", "update", "none"),
    }  # fmt: skip
    for name, build in in_state.items():
        streamed.add(name, build, "update", in_rudf=False)
        above = functools.partial(lambda b, f: b(f.select("id", twice("k").alias("k"), "s")), build)
        streamed.add(f"{name} over a function", above, "update")
        if name != "applyInPandasWithState":
            # Over that Spark's own operator fails.
            between = functools.partial(lambda b, f: b(f).select("k", twice("n")), above)
            streamed.add(f"{name} between functions", between, "update")

    def in_batches() -> DataFrame:
        found: list[Any] = []

        def batch(frame: DataFrame, number: int) -> None:
            query = frame.select("id", twice("id").alias("a"))
            assert plan_is_right(spark, query)
            found.extend(tuple(row) for row in query.collect())

        streamed.source().writeStream.foreachBatch(batch).trigger(availableNow=True).start().awaitTermination()
        return spark.createDataFrame(sorted(found), "id bigint, a bigint")

    matrix.add("left: stream, foreachBatch", in_batches)

    def of_python() -> DataFrame:
        name = f"python_{next(Streams.numbers)}"
        source = spark.readStream.format("numbers").load().select("s", twice("id").alias("a"))
        query = source.writeStream.format("memory").queryName(name).start()
        query.processAllAvailable()
        query.stop()
        return spark.table(name).orderBy("s")

    matrix.add("left: stream, of a data source in Python", of_python)
    spark.conf.unset("spark.sql.streaming.stateStore.providerClass")


def plan_is_right(spark: SparkSession, frame: DataFrame) -> bool:
    """Whether rudf runs a query where it is on, and only there."""
    plan = frame._jdf.queryExecution().executedPlan().toString()
    return any(name in plan for name in OPERATORS) == (spark.conf.get("spark.rudf.enabled") == "true")


def main() -> None:
    """Run the matrix and write it."""
    target, scratch = sys.argv[1:3]
    os.makedirs(scratch, exist_ok=True)
    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    matrix = Matrix(spark, scratch)
    parts = {part.__name__: part for part in (places, data_sources, streams)}
    for name in sys.argv[3:] or parts:
        parts[name](matrix)
    with open(target, "w") as file:
        json.dump(matrix.results, file, indent=1)
    spark.stop()


if __name__ == "__main__":
    main()
