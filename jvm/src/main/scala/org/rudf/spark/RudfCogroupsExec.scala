package org.rudf.spark

import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeSet, BoundReference, Expression, GenericInternalRow, JoinedRow, PythonUDF, SortOrder, UnsafeProjection}
import org.apache.spark.sql.catalyst.plans.physical.{Distribution, Partitioning}
import org.apache.spark.sql.execution.{BinaryExecNode, CoGroupedIterator, GroupedIterator, RowToColumnarExec, SparkPlan}
import org.apache.spark.sql.execution.metric.SQLMetric
import org.apache.spark.sql.execution.python.{FlatMapCoGroupsInArrowExec, FlatMapCoGroupsInPandasExec}
import org.apache.spark.sql.types.BooleanType
import org.apache.spark.sql.vectorized.ColumnarBatch

/**
 * Runs the function of `applyInPandas` or `applyInArrow` over each pair of groups with the same keys, in place of Spark's
 * `FlatMapCoGroupsInPandasExec` and `FlatMapCoGroupsInArrowExec`.
 *
 * Rows of both children go into the same batches, one pair of groups after another, those of the left first; in the columns of
 * the other side they are null. Two more columns tell the side of a row, and whether it begins a pair of groups.
 */
case class RudfCogroupsExec(leftGroup: Seq[Attribute], rightGroup: Seq[Attribute], udf: PythonUDF,
    override val output: Seq[Attribute], left: SparkPlan, right: SparkPlan) extends BinaryExecNode {

  override def producedAttributes: AttributeSet = AttributeSet(output)
  override def outputPartitioning: Partitioning = left.outputPartitioning
  override def supportsColumnar: Boolean = true
  override lazy val metrics: Map[String, SQLMetric] = EvaluationMetrics.create(sparkContext)
  override def simpleString(maxFields: Int): String = s"${super.simpleString(maxFields)} worker=process"

  override def requiredChildDistribution: Seq[Distribution] = stock.requiredChildDistribution
  override def requiredChildOrdering: Seq[Seq[SortOrder]] = stock.requiredChildOrdering

  @transient private lazy val (leftColumns, leftNumbers) = Groups.columns(leftGroup, left.output)
  @transient private lazy val (rightColumns, rightNumbers) = Groups.columns(rightGroup, right.output)

  /** Of a row: the left row, the right row, its side, and whether it begins a pair of groups. */
  @transient private lazy val laidOut: Seq[Expression] = {
    def bound(columns: Seq[Attribute], child: Seq[Attribute], first: Int): Seq[Expression] = columns.map(column =>
      BoundReference(first + child.indexWhere(_.exprId == column.exprId), column.dataType, nullable = true))
    val marks = left.output.length + right.output.length
    bound(leftColumns, left.output, 0) ++ bound(rightColumns, right.output, left.output.length) ++
      Seq(BoundReference(marks, BooleanType, nullable = false), BoundReference(marks + 1, BooleanType, nullable = false))
  }

  @transient private lazy val evaluationPlan = EvaluationPlan.ofRows(udf, conf, laidOut,
    StreamSpec.cogroups(leftColumns ++ rightColumns, leftNumbers, rightNumbers, conf))

  private def stock: SparkPlan =
    if (udf.evalType == EvalType.CogroupedMapPandas) FlatMapCoGroupsInPandasExec(leftGroup, rightGroup, udf, output, left, right)
    else FlatMapCoGroupsInArrowExec(leftGroup, rightGroup, udf, output, left, right)

  override protected def doExecute(): RDD[InternalRow] =
    throw new IllegalStateException("rudf: this operator gives columns")

  override protected def doExecuteColumnar(): RDD[ColumnarBatch] = {
    val layout = new RowLayout(laidOut.map(c => ColumnForm.of(c.dataType)).toArray, laidOut.length, evaluationPlan.maxRows, evaluationPlan.maxBytes)
    val (run, columns) = (TaskRunner(evaluationPlan, metrics, Seq(udf)), new WholeResults(output, Some(0)))
    val (expressions, sides) = (laidOut, CogroupSides(leftGroup, left.output, rightGroup, right.output))
    val both = left.execute().zipPartitions(right.execute())((l, r) => Iterator((l, r)))
    new RudfOrStockRDD[(Iterator[InternalRow], Iterator[InternalRow]), ColumnarBatch](both,
      RowToColumnarExec(stock).executeColumnar(), () => run.openOrTellWhy(), (session, pairs, _) => {
        val (iterator, task) = layout.inTask(session) {
          val (l, r) = pairs().next()
          val projection = UnsafeProjection.create(expressions)
          new LaidOutRows(layout.task(), sides.rows(l, r).map(projection(_)), layout.forms)
        }
        columns.of(run.pipeline(session, new LaidOutSource(task, iterator), pairs = false))
      })
  }

  override protected def withNewChildrenInternal(newLeft: SparkPlan, newRight: SparkPlan): RudfCogroupsExec =
    copy(left = newLeft, right = newRight)
}

/** The rows of two children that are sorted by their keys, one pair of groups after another. */
private[spark] final case class CogroupSides(
    leftGroup: Seq[Attribute], leftOutput: Seq[Attribute], rightGroup: Seq[Attribute], rightOutput: Seq[Attribute]) {

  /** Each row is the left row, the right row, whether it is of the right, and whether it begins a pair. It is used again. */
  def rows(left: Iterator[InternalRow], right: Iterator[InternalRow]): Iterator[InternalRow] = {
    val (noLeft, noRight) = (new GenericInternalRow(leftOutput.length), new GenericInternalRow(rightOutput.length))
    val marks = new GenericInternalRow(2)
    val (values, row) = (new JoinedRow(), new JoinedRow())
    new CoGroupedIterator(GroupedIterator(left, leftGroup, leftOutput), GroupedIterator(right, rightGroup, rightOutput), leftGroup)
      .flatMap { case (_, ofLeft, ofRight) =>
        var begins = true
        def marked(side: Boolean): InternalRow = {
          marks.setBoolean(0, side)
          marks.setBoolean(1, begins)
          begins = false
          row(values, marks)
        }
        ofLeft.map { l => values(l, noRight); marked(side = false) } ++ ofRight.map { r => values(noLeft, r); marked(side = true) }
      }
  }
}
