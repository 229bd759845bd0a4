package org.rudf.spark

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, GenericInternalRow}
import org.apache.spark.sql.execution.vectorized.{OnHeapColumnVector, WritableColumnVector}
import org.apache.spark.sql.types.{BinaryType, StructField, StructType}
import org.apache.spark.sql.vectorized.{ColumnVector, ColumnarBatch}

/**
 * Results that are rows which Spark makes of what Python pickled, beside columns that come as they are. Each pickle holds
 * a list, of the results of its row of the batch and of those after it.
 *
 * @param plain how many of the output's columns come as they are
 */
private[spark] final class PickledRows(output: Seq[Attribute], plain: Int) extends StreamResults {
  private val (columns, fields) = output.splitAt(plain)
  private val rowType = StructType(fields.map(a => StructField(a.name, a.dataType, a.nullable)))
  private val storedType = StructType(
    rowType.map(f => f.copy(dataType = SparkAccess.storedType(f.dataType))))

  override def pairs: Boolean = false

  @transient private lazy val values = new PickledValues(Seq(rowType))

  /** What stands for a result that is None. */
  @transient private lazy val nulls = new GenericInternalRow(fields.length)

  override def of(pipeline: ResultPipeline): Iterator[ColumnarBatch] =
    Iterator.continually(pipeline.next()).takeWhile(_.isDefined).map { found =>
      val results = found.get._2
      new ColumnarBatch((RudfVectors.results(results, columns) ++ rows(results)).toArray[ColumnVector], results.rows.toInt)
    }

  private def rows(results: EvaluatedBatch): Seq[ColumnVector] = {
    val pickles = RudfVectors.result(results, plain, BinaryType)
    val vectors = storedType.map(f => new OnHeapColumnVector(results.rows.toInt, f.dataType)).toArray[WritableColumnVector]
    val append = SparkAccess.rowAppender(storedType, vectors)
    var unpickled: java.util.Iterator[_] = java.util.Collections.emptyIterator()
    for (row <- 0 until results.rows.toInt) {
      if (!pickles.isNullAt(row)) unpickled = values.unpickle(pickles.getBinary(row))
      val found = values.conversions(0)(unpickled.next()).asInstanceOf[InternalRow]
      append.accept(if (found == null) nulls else found)
    }
    vectors.toSeq
  }
}
