"""The decorator: makes a Spark UDF of a Python function."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast, overload

import pyspark
from pyspark.sql.types import DataType
from pyspark.sql.udf import UserDefinedFunction
from pyspark.sql.utils import is_remote
from pyspark.util import PythonEvalType

from rudf import arrays, registration
from rudf.annotations import PLAIN, AnnotationError, FunctionKind, Signature, name_of, parameters, read_annotations
from rudf.notice import warn_without_plugin
from rudf.payload import seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from pyspark.sql import Column

    ColumnOrName: TypeAlias = "Column | str"
    DataTypeOrString: TypeAlias = "DataType | str"

__all__ = ["RudfFunction", "rudf"]


class RudfFunction(UserDefinedFunction):
    """A UDF that rudf runs where it can, and stock PySpark elsewhere.

    It is used like any UDF of PySpark's: called with columns or their names, registered with ``spark.udf.register``.

    Attributes
    ----------
    func : callable
        The decorated function, unchanged.
    timeout : float or None
        Longest time for one batch, in seconds.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        return_type: DataTypeOrString,
        kind: int,
        name: str | None = None,
        deterministic: bool = True,
        timeout: float | None = None,
        signature: Signature | None = None,
    ) -> None:
        super().__init__(func, returnType=return_type, name=name, evalType=kind, deterministic=deterministic)
        self.__name__ = self._name
        self.__qualname__ = name or getattr(func, "__qualname__", self._name)
        self.__module__ = getattr(func, "__module__", type(func).__module__)
        self.__doc__ = func.__doc__
        self.__wrapped__ = func
        self.timeout = timeout
        self._signature = signature

    def __call__(self, *args: ColumnOrName, **kwargs: ColumnOrName) -> Column:
        """Apply the function to columns, given as columns or by name."""
        if is_remote():
            from rudf import remote

            return cast("Column", remote.column(self, *args, **kwargs))
        warn_without_plugin()
        return super().__call__(*args, **kwargs)

    def __repr__(self) -> str:
        try:
            signature = str(inspect.signature(self.func))
        except (TypeError, ValueError):
            signature = "(...)"
        return f"<rudf function {self.__name__}{signature}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the plain function: what another function calls in a worker, where there are no columns."""
        return functools.partial, (self.func,)

    def _renamed(self, name: str) -> RudfFunction:
        """Return the same function under the name that SQL knows it by."""
        return type(self)(
            self.func, self.returnType, self.evalType, name, self.deterministic, self.timeout, self._signature
        )

    def _wrapped(self) -> RudfFunction:  # type: ignore[override]
        """Return itself: PySpark's own wrapper function would hide what this object is."""
        return self

    def _create_judf(self, func: Callable[..., Any], *_args: Any, **_kwargs: Any) -> Any:
        """Make the JVM's side of the UDF, with a command that rudf pickled and sealed."""
        from pyspark.sql import SparkSession

        warn_without_plugin()
        session = SparkSession._getActiveSessionOrCreate()
        context = session.sparkContext
        command = _python_function(context, self._pickled(func), self._name, self.timeout)
        return_type = session._jsparkSession.parseDataType(self.returnType.json())
        create = getattr(context._jvm, "org.apache.spark.sql.execution.python.UserDefinedPythonFunction")
        arguments = [self._name, command, return_type, self.evalType, self.deterministic]
        # Spark 4.3 has two more, for functions that it rewrites as expressions: none of rudf's are.
        if hasattr(self, "transpiled"):
            arguments += [[], []]
        return create(*arguments)

    def command(self) -> bytes:
        """Return what a plan holds of the function: its pickle, with rudf's seal behind it."""
        return seal(self._pickled(self.func), self._name, self.timeout)

    def _pickled(self, func: Callable[..., Any]) -> bytes:
        """Pickle the function with its return type."""
        from rudf import pickle, sizes

        shipped = self._shipped(func)
        by_value = arrays.BY_VALUE if isinstance(shipped, arrays.ArrayFunction) else ()
        pickled = pickle.dumps((shipped, self.returnType), by_value=by_value)
        sizes.check(shipped, pickled)
        return pickled

    def _shipped(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return what runs on workers: where the function takes columns of another package, what gives it those."""
        signature = self._signature
        if signature is None or signature.arrays is None:
            return func
        return arrays.ArrayFunction(
            func,
            signature.arrays,
            self._name,
            parameters(func),
            self.returnType,
            signature.iterates,
            signature.gives_value,
        )


registration.install(RudfFunction)


def _python_function(context: Any, command: bytes, name: str, timeout: float | None = None) -> Any:
    """Make of a pickled function what the JVM ships to its tasks.

    A command over Spark's threshold travels as a broadcast variable; PySpark notes the broadcast variables that a
    function refers to while they are pickled.
    """
    from rudf import pickle

    if len(command) > context._jvm.PythonUtils.getBroadcastThreshold(context._jsc):
        command = pickle.dumps(context.broadcast(command))
    broadcasts = [broadcast._jbroadcast for broadcast in context._pickled_broadcast_vars]
    context._pickled_broadcast_vars.clear()
    return context._jvm.SimplePythonFunction(
        bytearray(seal(command, name, timeout)),
        context.environment,
        context._python_includes,
        context.pythonExec,
        context.pythonVer,
        broadcasts,
        context._javaAccumulator,
    )


@overload
def rudf(
    f: Callable[..., Any],
    returnType: DataTypeOrString | None = ...,
    *,
    useArrow: bool | None = ...,
    timeout: float | None = ...,
) -> RudfFunction: ...


@overload
def rudf(
    f: DataTypeOrString | None = ...,
    returnType: DataTypeOrString | None = ...,
    *,
    useArrow: bool | None = ...,
    timeout: float | None = ...,
) -> Callable[[Callable[..., Any]], RudfFunction]: ...


def rudf(
    f: Callable[..., Any] | DataTypeOrString | None = None,
    returnType: DataTypeOrString | None = None,
    *,
    useArrow: bool | None = None,
    timeout: float | None = None,
) -> RudfFunction | Callable[[Callable[..., Any]], RudfFunction]:
    """Make a Spark UDF of a Python function.

    Parameters
    ----------
    f : callable, or the return type
        The function; where the decorator is used with arguments, the return type may stand here.
    returnType : pyspark.sql.types.DataType or str, optional
        A Spark type or a DDL string. Without it the return annotation tells the type: ``bool``, ``int`` (bigint),
        ``float`` (double), ``str``, ``bytes`` (binary), ``datetime.date`` and ``datetime.datetime`` (timestamp).
    useArrow : bool, optional
        Accepted for the sake of ``pyspark.sql.functions.udf``, whose Arrow semantics are the only ones here.
    timeout : float, optional
        The longest time, in seconds, that the function may take for one batch of rows. When it is over, the task
        fails with the function's name, the batch, the row and Python's stack. Without it the conf
        ``spark.rudf.timeout`` counts. A function with a timeout always runs in a worker process; on Spark's own path
        nothing ends it.

    Returns
    -------
    RudfFunction
        Parameters annotated ``pa.Array`` make it a function of pyarrow arrays, ``pd.Series`` (``pd.DataFrame`` for
        structs) one of pandas objects, ``np.ndarray`` or ``np.ma.MaskedArray`` one of NumPy arrays, ``pl.Series`` one
        of polars Series, and ``Iterator[...]`` of these, or of a tuple of them, one that takes batches one after
        another. Where it returns the same, it needs a return type; where it returns a plain value, it is an
        aggregate of a group or a window. Otherwise it is called with the plain values of each row, ``None`` for null.
        Of a class with ``eval`` a table function is made, as ``pyspark.sql.functions.udtf`` does.

    Examples
    --------
    >>> @rudf
    ... def distance(lat1: float, lat2: float) -> float:
    ...     return abs(lat1 - lat2)
    >>> @rudf("string")
    ... def label(name, number):
    ...     return f"{name}-{number}"
    """
    if useArrow is False:
        raise ValueError(
            "functions of @rudf follow the rules of Arrow-optimized UDFs; for those of pickled ones use "
            "pyspark.sql.functions.udf(useArrow=False)"
        )
    if timeout is not None and not (isinstance(timeout, (int, float)) and 0 < timeout < float("inf")):
        raise ValueError(f"timeout has to be a number of seconds greater than 0, and is {timeout!r}")
    if f is None or isinstance(f, (str, DataType)):
        declared = f if returnType is None else returnType
        return functools.partial(_make, return_type=declared, timeout=timeout)
    return _make(f, return_type=returnType, timeout=timeout)


def _make(func: Callable[..., Any], return_type: DataTypeOrString | None, timeout: float | None = None) -> RudfFunction:
    if inspect.isclass(func) and hasattr(func, "eval"):
        return cast("RudfFunction", _table_function(func, return_type, timeout))
    if not callable(func):
        raise TypeError(f"@rudf needs a function, and was given {func!r}")
    signature = read_annotations(func, return_type is not None)
    if signature.kind not in vars(PythonEvalType).values():
        raise AnnotationError(
            f"`{name_of(func)}`: functions of this kind (eval type {signature.kind}) need a newer PySpark than "
            f"{pyspark.__version__}: those of pyarrow arrays 4.1, aggregates over iterators 4.2"
        )
    if return_type is None:
        return_type = signature.return_type
    if return_type is None:
        raise AnnotationError(_no_return_type(name_of(func), signature.kind))
    return RudfFunction(func, return_type, signature.kind, timeout=timeout, signature=signature)


def _table_function(handler: type, return_type: DataTypeOrString | None, timeout: float | None) -> Any:
    """Make a table function of a class with ``eval``: PySpark's own, which rudf runs like those of ``udtf``."""
    from pyspark.sql.functions import udtf

    if timeout is not None:
        raise AnnotationError(f"`{name_of(handler)}` is a table function, and these have no timeout of their own")
    return udtf(handler, returnType=cast("Any", return_type))


#: Kinds whose functions return columns.
_OF_COLUMNS = {FunctionKind.PANDAS, FunctionKind.ARROW, FunctionKind.PANDAS_ITERATOR, FunctionKind.ARROW_ITERATOR}


def _no_return_type(name: str, kind: int) -> str:
    if kind not in _OF_COLUMNS:
        return (
            f"`{name}` has no return type: annotate the return value with {PLAIN} (as in `-> float`), "
            'or give the type to the decorator, as in @rudf("double")'
        )
    return (
        f"`{name}` has no return type: that of a function of whole columns cannot be told from its annotations; "
        'give it to the decorator, as in @rudf("double")'
    )
