"""Who runs the Python functions of a query, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["PythonNode", "explain", "python_nodes"]

#: What stands before a node's name: the tree, the number of its generated code, and a mark of Spark's for some.
_TREE = re.compile(r"^[\s:+|-]*(?:\*\(\d+\) )?!?")
_OURS = re.compile(r"Rudf(?:Eval|Map|Groups|Cogroups|Aggregate|Window|Table)\b")
_THEIRS = re.compile(
    r"(?:(?:Arrow|Batch)EvalPython(?:UDTF)?|(?:Python)?MapIn(?:Pandas|Arrow)|FlatMap(?:Co)?GroupsIn(?:Pandas|Arrow)"
    r"(?:WithState)?|(?:ArrowAggregate|ArrowWindow)Python|(?:Aggregate|Window|Table)InPandas|TransformWithStateInPySpark)\b"
)
_LEFT = re.compile(r"rudf: left to Spark because (.*)")
_WORKER = re.compile(r" worker=(\w+)(?: \((.*)\))?$")
_HOSTS = {"process": "in a worker process", "embedded": "embedded in the executor"}


class PythonNode(NamedTuple):
    """A node of a physical plan that runs Python functions."""

    #: As ``DataFrame.explain`` shows it.
    node: str
    #: Whether it is rudf's.
    is_rudf: bool
    #: Where rudf runs it, or why it is left to Spark.
    reason: str


def python_nodes(frame: DataFrame) -> list[PythonNode]:
    """Return the nodes of a query that run Python functions, from the last to the first.

    A query that has run shows the plan that ran. What rudf knows only on an executor (that it has no usable Python, for
    example) is not in a plan: the log and the metric "partitions left to Spark" tell it.
    """
    found = []
    reason = ""
    for line in str(frame._jdf.queryExecution().executedPlan().toString()).splitlines():
        if "== Initial Plan ==" in line:
            break
        node = _TREE.sub("", line)
        left = _LEFT.match(node)
        if left:
            reason = left[1]
            continue
        if _OURS.match(node):
            worker = _WORKER.search(node)
            host, why = (worker[1], worker[2]) if worker else ("process", None)
            where = _HOSTS.get(host, host) + (f", because {why}" if why else "")
            found.append(PythonNode(_WORKER.sub("", node), True, where))
        elif _THEIRS.match(node):
            found.append(
                PythonNode(node, False, reason or "rudf does not run functions of this kind, or is not in use")
            )
        reason = ""
    return found


def explain(frame: DataFrame) -> None:
    """Print who runs the Python functions of a query: a line for each node of the plan that has some.

    Examples
    --------
    >>> rudf.explain(df.select(double("price")))  # doctest: +SKIP
    rudf   in a worker process: RudfEval [double(price#0)#4], [pythonUDF0#6], 101
    """
    nodes = python_nodes(frame)
    if not nodes:
        print("the query has no Python functions")
    for node in nodes:
        print(f"{'rudf ' if node.is_rudf else 'Spark'}  {node.reason}: {node.node}")
