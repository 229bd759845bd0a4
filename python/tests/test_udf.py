"""A decorated function is a PySpark UDF: without the plugin it gives stock PySpark's answers, and says so once."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
import warnings
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, LongType
from pyspark.sql.udf import UserDefinedFunction
from pyspark.util import PythonEvalType

from rudf import notice, rudf
from rudf.payload import unseal

OFFSET = 7


@rudf
def shift(x: int, by: int = 1) -> int | None:
    """Shift a number.

    Null stays null.
    """
    return None if x is None else x + by + OFFSET


def _command(function: UserDefinedFunction) -> bytes:
    """Return the bytes that Spark ships to its tasks."""
    numbers = function._judf.func().command().mkString(",")
    return bytes(int(number) & 0xFF for number in numbers.split(","))


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> Any:
    """The warning about the missing plugin is a test of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def test_it_keeps_what_the_function_says_of_itself() -> None:
    assert isinstance(shift, UserDefinedFunction)
    assert shift.func(1, by=2) == 10
    assert (shift.__name__, shift.__qualname__, shift.__module__) == ("shift", "shift", __name__)
    assert shift.__doc__.startswith("Shift a number.")
    assert list(inspect.signature(shift).parameters) == ["x", "by"]
    assert repr(shift) == "<rudf function shift(x: 'int', by: 'int' = 1) -> 'int | None'>"
    page = pydoc.plain(pydoc.render_doc(shift))
    assert "shift(x: 'int', by: 'int' = 1)" in page
    assert "Null stays null." in page


@pytest.mark.parametrize(
    "decorate",
    [rudf("double"), rudf(DoubleType()), rudf(returnType="double"), rudf(returnType=DoubleType()), rudf(None, "double"),
     lambda f: rudf(f, "double"), lambda f: rudf(f, returnType=DoubleType(), useArrow=True)],
)  # fmt: skip
def test_it_is_called_as_udf_is(decorate: Any, stock_spark: SparkSession) -> None:
    function = decorate(lambda x: x / 2)
    assert function.returnType == DoubleType()
    assert stock_spark.range(3).select(function("id")).collect() == [(0.0,), (0.5,), (1.0,)]


def test_bare_parentheses_read_the_annotations() -> None:
    @rudf()
    def f(x: int) -> int:
        return x

    assert f.returnType == LongType()


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="@rudf needs a function, and was given 5"):
        rudf(5)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"udf\(useArrow=False\)"):
        rudf("int", useArrow=False)


def test_columns_names_and_keywords_are_taken(stock_spark: SparkSession) -> None:
    frame = stock_spark.range(2)
    rows = frame.select(shift("id"), shift(F.col("id"), by=F.lit(0)), shift(by="id", x="id"), shift(F.lit(None)))
    assert rows.collect() == [(8, 7, 7, None), (9, 8, 9, None)]


@pytest.mark.skipif(not hasattr(PythonEvalType, "SQL_SCALAR_ARROW_UDF"), reason="PySpark 4.1 brought arrow_udf")
def test_kinds_give_the_answers_of_pysparks_own(stock_spark: SparkSession) -> None:
    @rudf("double")
    def arrays(x: pa.Array) -> pa.Array:
        return pc.multiply(x, 0.5)

    @rudf("double")
    def series(x: pd.Series) -> pd.Series:
        return x * 0.5

    stock = [F.arrow_udf(arrays.func, "double"), F.pandas_udf(series.func, "double")]
    rows = stock_spark.range(4).select([function("id") for function in (arrays, series, *stock)]).collect()
    assert rows == [(x / 2,) * 4 for x in range(4)]


@pytest.mark.skipif(hasattr(PythonEvalType, "SQL_SCALAR_ARROW_UDF"), reason="PySpark 4.1 brought arrow_udf")
def test_arrays_are_refused_where_pyspark_has_no_such_functions() -> None:
    def arrays(x: pa.Array) -> pa.Array: ...

    with pytest.raises(TypeError, match=r"`arrays`: functions of pyarrow arrays need PySpark 4\.1"):
        rudf("double")(arrays)


def test_the_command_is_sealed_under_the_functions_name(stock_spark: SparkSession) -> None:
    payload = unseal(_command(shift))
    assert payload is not None
    assert payload.name == "shift"
    code = (
        "import sys, pickle\nf, t = pickle.load(sys.stdin.buffer)\n"
        "print(f(1), t, any(name.startswith(('rudf', 'cloudpickle')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=_command(shift), capture_output=True, check=True, cwd="/")
    assert done.stdout == b"9 LongType() False\n"


def test_sql_calls_the_registered_function_sealed(stock_spark: SparkSession) -> None:
    registered = stock_spark.udf.register("shift_in_sql", shift)
    assert registered.__name__ == "shift_in_sql"
    payload = unseal(_command(registered))
    assert payload is not None
    assert payload.name == "shift_in_sql"
    assert stock_spark.sql("select shift_in_sql(id), shift_in_sql(by => id, x => 1) from range(2)").collect() == [
        (8, 8),
        (9, 9),
    ]
    assert shift.__name__ == "shift"


def test_register_stays_as_it_was_for_others(stock_spark: SparkSession) -> None:
    stock_spark.udf.register("plain_length", lambda s: len(s), "int")
    stock_spark.udf.register("stock_length", F.udf(lambda s: len(s), "int"))
    assert stock_spark.sql("select plain_length('abc'), stock_length('ab')").collect() == [(3, 2)]
    with pytest.raises(Exception, match="CANNOT_SPECIFY_RETURN_TYPE_FOR_UDF"):
        stock_spark.udf.register("shift", shift, "int")


def test_nondeterministic_functions_stay_so(stock_spark: SparkSession) -> None:
    @rudf
    def chance(x: int) -> int:
        return x

    assert chance.asNondeterministic() is chance
    assert not chance.deterministic
    assert not stock_spark.udf.register("chance", chance).deterministic
    assert stock_spark.range(2).select(chance("id")).collect() == [(0,), (1,)]


def test_broadcasts_and_accumulators_work(stock_spark: SparkSession) -> None:
    names = stock_spark.sparkContext.broadcast({0: "zero", 1: "one"})
    seen = stock_spark.sparkContext.accumulator(0)

    @rudf
    def name(x: int) -> str | None:
        seen.add(1)
        return names.value.get(x)

    assert stock_spark.range(3).select(name("id")).collect() == [("zero",), ("one",), (None,)]
    assert seen.value == 3
    assert not list(stock_spark.sparkContext._pickled_broadcast_vars)


def test_a_large_command_travels_as_a_sealed_broadcast(stock_spark: SparkSession) -> None:
    table = list(range(100_000))

    @rudf
    def lookup(x: int) -> int:
        return table[-1 - x]

    assert len(_command(lookup)) < 2000
    assert unseal(_command(lookup)) is not None
    assert lookup._judf.func().broadcastVars().size() == 1
    assert stock_spark.range(2).select(lookup("id")).collect() == [(99_999,), (99_998,)]


def test_a_function_calls_another_and_itself(stock_spark: SparkSession) -> None:
    @rudf
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial.func(n - 1)

    @rudf
    def both(n: int) -> int:
        return factorial(n) + shift.func(n)

    stock_spark.range(1).select(factorial("id")).collect()
    assert stock_spark.range(5).select(both("id")).collect()[4] == (24 + 12,)


def test_what_cannot_be_pickled_is_named(stock_spark: SparkSession) -> None:
    import threading

    lock = threading.Lock()

    @rudf
    def guarded(x: int) -> int:
        with lock:
            return x

    with pytest.raises(Exception, match=r"_thread\.lock"):
        stock_spark.range(1).select(guarded("id"))


def test_one_warning_says_what_is_missing(stock_spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    notice._checked.clear()
    monkeypatch.setattr(notice, "jar_path", lambda: "/opt/rudf.jar")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = stock_spark.range(2)
        assert frame.select(shift("id"), shift("id")).count() == 2
        stock_spark.udf.register("again", shift)
    ours = [entry for entry in caught if "@rudf" in str(entry.message)]
    assert len(ours) == 1
    assert ours[0].filename == __file__
    assert "--jars /opt/rudf.jar --conf spark.plugins=org.rudf.spark.RudfPlugin" in str(ours[0].message)


def test_the_warning_names_a_missing_jar(stock_spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise FileNotFoundError("this installation of rudf has no jar")

    notice._checked.clear()
    monkeypatch.setattr(notice, "jar_path", missing)
    with pytest.warns(
        RuntimeWarning, match="run on stock PySpark, which is slower: this installation of rudf has no jar"
    ):
        shift("id")
