package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.{Attribute, Expression}
import org.apache.spark.sql.vectorized.{ColumnVector, ColumnarBatch}

/**
 * What a batch of an operator holds: the functions' inputs, which Python reads there, and behind them the child's other
 * columns, which only pass by. Spark's readers use their vectors again for the next batch, and rows go away at once, so
 * every column is copied; in exchange several batches can be under way.
 */
private[spark] final class SegmentColumns(
    @transient inputs: Seq[Expression], childOutput: Seq[Attribute], results: ScalarResults) extends StreamResults {

  /** How many columns, from the first, are for Python. */
  val visible: Int = inputs.length

  /** The values of each column, over the child's output. */
  @transient val expressions: Seq[Expression] = inputs ++ childOutput.filterNot(a => inputs.exists(isColumn(_, a)))

  val forms: Array[ColumnForm] = expressions.map(e => ColumnForm.of(e.dataType)).toArray

  /** For each column of the child the column of the batch that holds it. */
  private val columnOf: Array[Int] = childOutput.map(a => expressions.indexWhere(isColumn(_, a))).toArray

  private def isColumn(expression: Expression, attribute: Attribute): Boolean = expression match {
    case column: Attribute => column.exprId == attribute.exprId
    case _ => false
  }

  /** The child's columns, read where they were laid out, followed by the results. */
  def output(batch: LaidOutBatch, evaluated: EvaluatedBatch): ColumnarBatch = {
    val passing = columnOf.indices.map[ColumnVector](i => RudfVectors.column(batch, columnOf(i), childOutput(i)))
    new ColumnarBatch((passing ++ results.vectors(evaluated)).toArray, batch.rows)
  }

  override def pairs: Boolean = true

  override def of(pipeline: ResultPipeline): Iterator[ColumnarBatch] =
    Iterator.continually(pipeline.next()).takeWhile(_.isDefined).map(_.get).map { case (batch, evaluated) => output(batch, evaluated) }
}
