"""Every way in which PySpark sends Python code to its workers, pickled by rudf, on workers that have no rudf.

Each check is a function here in ``__main__``; what it returns is compared with what plain Python gives.

usage: spark-submit pickled_by_rudf.py RESULTS.json
"""

import functools
import json
import os
import pickle
import sys
import tempfile
import threading
import traceback
from collections import namedtuple
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import InheritableThread, cloudpickle
from pyspark.serializers import CloudPickleSerializer
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import IntegerType, StructField, StructType

import rudf
from rudf import pickle as rudf_pickle

OFFSET = 7
Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 2

    def total(self):
        return self.x + self.y + OFFSET


class Counter:
    __slots__ = ("__start", "step")

    def __init__(self, start, step):
        self.__start, self.step = start, step

    def __call__(self, x):
        return self.__start + self.step * x


@functools.lru_cache(maxsize=16)
def cached(x):
    return x * OFFSET


def plus(x):
    return x + OFFSET


CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


spark = rudf.configure(SparkSession.builder).config("spark.rudf.pickle.install", "true").getOrCreate()
sc = spark.sparkContext
sc.setLogLevel("ERROR")
TEN = list(range(10))
frame = spark.range(0, 10, 1, 2)


def values(column):
    return sorted(row[0] for row in frame.select(column).collect())


@check
def install_is_a_conf():
    return rudf_pickle.is_installed(), True


@check
def workers_have_no_rudf():
    def find(_):
        import importlib.util

        return [importlib.util.find_spec("rudf") is not None]

    return sc.parallelize([0, 1], 2).mapPartitions(find).collect(), [False, False]


@check
def commands_are_rudfs():
    used = []
    dumps = rudf_pickle._pickle_dumps
    rudf_pickle._pickle_dumps = lambda *arguments: used.append(arguments[0]) or dumps(*arguments)
    try:
        values(F.udf(plus, "long", useArrow=False)("id"))
        sc.parallelize(TEN, 2).map(plus).collect()
    finally:
        rudf_pickle._pickle_dumps = dumps
    commands = [one for one in used if isinstance(one, tuple)]
    return [any(getattr(part, "__name__", "") == "plus" for part in commands[0])], [True]


@check
def udf_of_pickled_rows():
    return values(F.udf(plus, "long", useArrow=False)("id")), [x + OFFSET for x in TEN]


@check
def udf_of_arrow_rows():
    return values(F.udf(lambda x: cached(x) + 1, "long", useArrow=True)("id")), [x * OFFSET + 1 for x in TEN]


@check
def udf_with_accumulator_and_broadcast():
    seen, table = sc.accumulator(0), sc.broadcast({x: Point(x) for x in TEN})

    def look_up(x):
        seen.add(1)
        return table.value[x].total()

    result = values(F.udf(look_up, "long", useArrow=False)("id"))
    return (result, seen.value), ([Point(x).total() for x in TEN], 10)


@check
def pandas_udf():
    @F.pandas_udf("long")
    def add(series: pd.Series) -> pd.Series:
        return series + OFFSET

    return values(add("id")), [x + OFFSET for x in TEN]


@check
def arrow_udf():
    if not hasattr(F, "arrow_udf"):
        return 0, 0

    @F.arrow_udf("long")
    def add(array: pa.Array) -> pa.Array:
        return pc.add(array, OFFSET)

    return values(add("id")), [x + OFFSET for x in TEN]


@check
def apply_in_pandas():
    def first(group):
        return pd.DataFrame({"n": [len(group) + OFFSET]})

    rows = frame.groupBy((F.col("id") % 2).alias("k")).applyInPandas(first, "n long").collect()
    return [row.n for row in rows], [5 + OFFSET] * 2


@check
def map_in_pandas():
    def double(batches):
        for batch in batches:
            yield batch * 2

    return sorted(row.id for row in frame.mapInPandas(double, "id long").collect()), [x * 2 for x in TEN]


@check
def map_in_arrow():
    def keep(batches):
        for batch in batches:
            yield batch.filter(pc.greater(batch["id"], OFFSET))

    return sorted(row.id for row in frame.mapInArrow(keep, "id long").collect()), [8, 9]


@check
def table_functions():
    results = []
    for use_arrow in (False, True):

        class Squares:
            def eval(self, n: int):
                for x in range(n):
                    yield x, cached(x)

        squares = F.udtf(Squares, returnType="x int, y int", useArrow=use_arrow)
        results.append([tuple(row) for row in squares(F.lit(3)).collect()])
    return results, [[(x, x * OFFSET) for x in range(3)]] * 2


@check
def table_function_with_analysis():
    from pyspark.sql.udtf import AnalyzeArgument, AnalyzeResult

    class Repeat:
        def __init__(self, result=None):
            self.result = result

        @staticmethod
        def analyze(n: AnalyzeArgument) -> AnalyzeResult:
            return AnalyzeResult(StructType([StructField("x", IntegerType())]))

        def eval(self, n):
            for x in range(n):
                yield (x + OFFSET,)

    return [row.x for row in F.udtf(Repeat)(F.lit(2)).collect()], [OFFSET, OFFSET + 1]


class Numbers(DataSource):
    @classmethod
    def name(cls):
        return "numbers"

    def schema(self):
        return "n int"

    def reader(self, schema):
        return NumbersReader(int(self.options.get("count", 4)))


class Slice(InputPartition):
    def __init__(self, start):
        self.start = start


class NumbersReader(DataSourceReader):
    def __init__(self, count):
        self.count = count

    def partitions(self):
        return [Slice(start) for start in range(0, self.count, 2)]

    def read(self, partition):
        for number in (partition.start, partition.start + 1):
            yield (plus(number),)


@check
def data_source():
    spark.dataSource.register(Numbers)
    rows = spark.read.format("numbers").option("count", 6).load().collect()
    return sorted(row.n for row in rows), [plus(x) for x in range(6)]


@check
def streams():
    seen, written = [], sc.accumulator(0)
    with tempfile.TemporaryDirectory() as folder:
        spark.range(5).write.parquet(os.path.join(folder, "in"))
        stream = spark.readStream.schema("id long").parquet(os.path.join(folder, "in"))

        def batch(data, number):
            seen.extend(row[0] for row in data.select(F.udf(plus, "long")("id")).collect())

        def row(one):
            written.add(plus(one.id))

        for query in (stream.writeStream.foreachBatch(batch), stream.writeStream.foreach(row)):
            query.trigger(availableNow=True).start().awaitTermination()
    return (sorted(seen), written.value), ([x + OFFSET for x in range(5)], sum(x + OFFSET for x in range(5)))


@check
def rdd_closures():
    factor = 3
    result = sc.parallelize(TEN, 2).map(lambda x: (x % 3, x * factor)).reduceByKey(lambda x, y: x + y).collectAsMap()
    expected = {}
    for x in TEN:
        expected[x % 3] = expected.get(x % 3, 0) + x * factor
    return result, expected


@check
def rdd_of_cached_functions_and_callables():
    numbers = sc.parallelize(TEN, 2)
    steps = [cached, Counter(5, 2), functools.partial(max, 4), Point(1).__eq__]
    return [numbers.map(step).collect() for step in steps], [[step(x) for x in TEN] for step in steps]


@check
def rdd_rows_of_classes_of_main():
    rows = [Point(1), Point(2, 3), Pair(1, Point(4)), Row(a=1), {"f": plus}, None]
    echoed = sc.parallelize(rows, 3).map(lambda row: row).collect()
    kinds = [type(row) is type(other) for row, other in zip(rows, echoed)]
    return (echoed[:4], kinds, echoed[4]["f"](1)), (rows[:4], [True] * 6, plus(1))


@check
def rdd_rows_made_on_workers():
    made = sc.parallelize(TEN, 2).map(lambda x: Point(x, cached(x))).sortBy(lambda point: -point.x).collect()
    return (made, made[0].total()), ([Point(x, x * OFFSET) for x in reversed(TEN)], Point(9, 63).total())


@check
def rdd_shuffles_of_classes_of_main():
    pairs = sc.parallelize([(Point(x % 2), Pair(x, x)) for x in TEN], 3)
    grouped = pairs.groupByKey(2).mapValues(lambda items: sum(item.left for item in items)).collect()
    return sorted((key.x, value) for key, value in grouped), [(0, 20), (1, 25)]


@check
def rdd_aggregation_and_persistence():
    numbers = sc.parallelize(TEN, 3).map(Point).persist()
    total = numbers.aggregate(0, lambda sum_, point: sum_ + point.total(), lambda left, right: left + right)
    return (total, numbers.count()), (sum(Point(x).total() for x in TEN), 10)


@check
def function_over_a_megabyte():
    noise = os.urandom(3 << 20)
    result = values(F.udf(lambda x: len(noise) + x, "long", useArrow=False)("id"))
    return (result, sc.parallelize([1], 1).map(lambda x: noise[x]).first()), ([len(noise) + x for x in TEN], noise[1])


@check
def broadcast_of_functions():
    holder = sc.broadcast({"plus": plus, "counter": Counter(1, 2)})
    return sc.parallelize(TEN, 2).map(lambda x: holder.value["plus"](holder.value["counter"](x))).collect(), [
        plus(1 + 2 * x) for x in TEN
    ]


@check
def udf_in_sql():
    spark.udf.register("plus_in_sql", plus, "long")
    return sorted(row[0] for row in spark.sql("select plus_in_sql(id) from range(3)").collect()), [7, 8, 9]


@check
def both_picklers_in_one_job():
    numbers = sc.parallelize(TEN, 2).map(lambda x: Point(x))
    rudf_pickle.uninstall()
    try:
        result = numbers.map(lambda point: point.total()).collect()
    finally:
        rudf_pickle.install()
    return result, [Point(x).total() for x in TEN]


@check
def threads_at_once():
    results = {}

    def work(number):
        results[number] = sc.parallelize(TEN, 2).map(lambda x: x + number).collect()

    threads = [InheritableThread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, {number: [x + number for x in TEN] for number in range(4)}


def refusal(action):
    try:
        action()
    except pickle.PicklingError as error:
        return str(error)
    raise AssertionError("nothing was refused")


@check
def captured_session_is_refused_with_its_path():
    text = refusal(lambda: sc.parallelize([1]).map(lambda x: spark.range(x)).collect())
    return ["CONTEXT_ONLY_VALID_ON_DRIVER" in text, "global 'spark'" in text, "Hint: a Spark session" in text], [
        True
    ] * 3


@check
def captured_lock_is_refused_with_its_path():
    config = {"pool": [threading.Lock()]}

    def score(x):
        return config

    texts = [
        refusal(lambda: frame.select(F.udf(score, "string")("id"))),
        refusal(lambda: sc.parallelize([1]).map(score).collect()),
        refusal(lambda: CloudPickleSerializer().dumps(score)),
    ]
    path = "closure 'config' → ['pool'] → [0]; defined in pickled_by_rudf.py, line "
    return ["cannot pickle '_thread.lock' object: at " in text and path in text for text in texts], [True] * 3


results = {}
for function in CHECKS:
    try:
        found, expected = function()
        results[function.__name__] = True if found == expected else f"{found!r} instead of {expected!r}"
    except BaseException:
        results[function.__name__] = traceback.format_exc()
rudf_pickle.uninstall()
results["uninstalled"] = cloudpickle.dumps.__module__ == "pyspark.cloudpickle.cloudpickle"
with open(sys.argv[1], "w") as file:
    json.dump(results, file, indent=1)
spark.stop()
