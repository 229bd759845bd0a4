package org.rudf.spark

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.Attribute
import org.apache.spark.sql.execution.vectorized.{OnHeapColumnVector, WritableColumnVector}
import org.apache.spark.sql.types.{BinaryType, NullType, StructField, StructType}
import org.apache.spark.sql.vectorized.{ColumnVector, ColumnarBatch}

/**
 * The results of scalar functions, a vector each.
 *
 * Of pickled functions (eval type 100) each result is two columns: values of the very type, and the pickles of those that
 * are not. Spark's own conversion makes values of these, as it does of all results in PySpark.
 */
private[spark] final class ScalarResults(attributes: Seq[Attribute], evalType: Int) extends Serializable {

  /** Vectors over a batch of results, or with values copied from it. */
  def vectors(results: EvaluatedBatch): Seq[ColumnVector] =
    if (evalType != EvalType.Batched) RudfVectors.results(results, attributes)
    else attributes.indices.map { i =>
      val values = RudfVectors.result(results, 2 * i, attributes(i).dataType)
      val pickles = RudfVectors.result(results, 2 * i + 1, BinaryType)
      val rows = results.rows.toInt
      if (pickles.numNulls == rows) values
      else if (attributes(i).dataType == NullType) refused(rows, values, pickles)
      else merged(i, rows, values, pickles)
    }

  /** Of the type that has no values: there is nothing to convert, but Spark may refuse what was pickled. */
  private def refused(rows: Int, values: ColumnVector, pickles: ColumnVector): ColumnVector = {
    (0 until rows).filterNot(pickles.isNullAt).foreach(row => conversion.unpickle(pickles.getBinary(row)))
    values
  }

  private def merged(function: Int, rows: Int, values: ColumnVector, pickles: ColumnVector): ColumnVector = {
    val dataType = SparkAccess.storedType(attributes(function).dataType)
    val merged = new OnHeapColumnVector(rows, dataType)
    val append = SparkAccess.rowAppender(StructType(Seq(StructField("", dataType))), Array[WritableColumnVector](merged))
    val taken = new ColumnarBatch(Array(values), rows)
    var unpickled: java.util.Iterator[_] = java.util.Collections.emptyIterator()
    for (row <- 0 until rows) {
      if (!pickles.isNullAt(row)) unpickled = conversion.unpickle(pickles.getBinary(row))
      append.accept(if (unpickled.hasNext) converted(function, unpickled.next()) else taken.getRow(row))
    }
    merged
  }

  private def converted(function: Int, value: Any): InternalRow = InternalRow(conversion.conversions(function)(value))

  @transient private lazy val conversion = new PickledValues(attributes.map(_.dataType))
}
