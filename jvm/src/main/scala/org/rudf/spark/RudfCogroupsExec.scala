package org.rudf.spark

import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeReference, AttributeSet, PythonUDF, SortOrder}
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

  /** Columns of the left, columns of the right, which side a row is of, and whether it begins a pair of groups. */
  @transient private lazy val laidOut: Seq[Attribute] = leftColumns ++ rightColumns ++
    Seq("side", "begins").map(AttributeReference(_, BooleanType, nullable = false)())

  @transient private lazy val evaluationPlan = EvaluationPlan.ofRows(udf, conf, laidOut,
    StreamSpec.cogroups(leftColumns ++ rightColumns, leftNumbers, rightNumbers, conf))

  private def ordinalsOf(columns: Seq[Attribute], child: Seq[Attribute]): Array[Int] =
    columns.map(column => child.indexWhere(_.exprId == column.exprId)).toArray

  private def stock: SparkPlan =
    if (udf.evalType == EvalType.CogroupedMapPandas) FlatMapCoGroupsInPandasExec(leftGroup, rightGroup, udf, output, left, right)
    else FlatMapCoGroupsInArrowExec(leftGroup, rightGroup, udf, output, left, right)

  override protected def doExecute(): RDD[InternalRow] =
    throw new IllegalStateException("rudf: this operator gives columns")

  override protected def doExecuteColumnar(): RDD[ColumnarBatch] = {
    val forms = laidOut.map(c => ColumnForm.of(c.dataType)).toArray
    val layout = new RowLayout(forms, forms.length, evaluationPlan.maxRows, evaluationPlan.maxBytes)
    val (run, columns) = (TaskRunner(evaluationPlan, metrics, Seq(udf)), new WholeResults(output, Some(0)))
    val sides = CogroupSides(leftGroup, left.output, rightGroup, right.output)
    val ordinals = CogroupOrdinals(ordinalsOf(leftColumns, left.output), ordinalsOf(rightColumns, right.output))
    val both = left.execute().zipPartitions(right.execute())((l, r) => Iterator((l, r)))
    new RudfOrStockRDD[(Iterator[InternalRow], Iterator[InternalRow]), ColumnarBatch](both,
      RowToColumnarExec(stock).executeColumnar(), () => run.openOrTellWhy(), (session, pairs, _) => {
        val (iterator, task) = layout.inTask(session) {
          val (l, r) = pairs().next()
          new LaidOutCogroups(layout.task(), sides.rows(l, r), ordinals)
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

  /** The rows, one pair of groups after another. What is returned is used again. */
  def rows(left: Iterator[InternalRow], right: Iterator[InternalRow]): Iterator[CogroupRow] = {
    val current = new CogroupRow
    new CoGroupedIterator(GroupedIterator(left, leftGroup, leftOutput), GroupedIterator(right, rightGroup, rightOutput), leftGroup)
      .flatMap { case (_, ofLeft, ofRight) =>
        var begins = true
        def marked(row: InternalRow, ofRight: Boolean): CogroupRow = {
          current.row = row
          current.ofRight = ofRight
          current.begins = begins
          begins = false
          current
        }
        ofLeft.map(marked(_, ofRight = false)) ++ ofRight.map(marked(_, ofRight = true))
      }
  }
}

/** A row of one side, and whether it begins a pair of groups. */
private[spark] final class CogroupRow {
  var row: InternalRow = _
  var ofRight: Boolean = _
  var begins: Boolean = _
}

/** Where the columns that are laid out lie in the rows of each side. */
private[spark] final case class CogroupOrdinals(left: Array[Int], right: Array[Int])

/** Lays out the columns of the left, of the right, which side a row is of, and whether it begins a pair of groups. */
private[spark] final class LaidOutCogroups(task: RowLayoutTask, rows: Iterator[CogroupRow], ordinals: CogroupOrdinals)
    extends LaidOut[CogroupRow](task, rows) {
  private val marks = ordinals.left.length + ordinals.right.length

  override protected def put(row: CogroupRow): Unit = {
    if (row.ofRight) {
      putNulls(0, ordinals.left.length)
      putAll(row.row, ordinals.right, ordinals.left.length)
    } else {
      putAll(row.row, ordinals.left, 0)
      putNulls(ordinals.left.length, marks)
    }
    writer.putBoolean(marks, row.ofRight)
    writer.putBoolean(marks + 1, row.begins)
  }

  private def putAll(row: InternalRow, from: Array[Int], first: Int): Unit = {
    var column = 0
    while (column < from.length) {
      writer.put(first + column, row, from(column))
      column += 1
    }
  }

  private def putNulls(first: Int, end: Int): Unit = {
    var column = first
    while (column < end) {
      writer.putNull(column)
      column += 1
    }
  }
}
