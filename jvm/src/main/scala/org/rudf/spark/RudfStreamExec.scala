package org.rudf.spark

import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, Expression, PythonUDF, SortOrder}
import org.apache.spark.sql.catalyst.plans.physical.{Distribution, Partitioning}
import org.apache.spark.sql.execution.{ColumnarToRowExec, RowToColumnarExec, SparkPlan, UnaryExecNode}
import org.apache.spark.sql.execution.metric.SQLMetric
import org.apache.spark.sql.types.{StructField, StructType}
import org.apache.spark.sql.vectorized.{ColumnVector, ColumnarBatch}

/**
 * Runs functions over a stream of batches of rows, which are laid out by the [[RudfLayoutExec]] below it, and gives columns.
 * [[RudfColumnarRule]] puts the other operator there.
 */
private[spark] trait RudfStreamExec extends UnaryExecNode {

  protected def udfs: Seq[PythonUDF]

  /** What goes to Python of the child's rows, and what is told of it. */
  protected def plan: EvaluationPlan

  /** The columns that are laid out: those for Python, and behind them those that pass by. */
  protected def laidOut(plan: EvaluationPlan): Seq[Expression] = plan.inputs

  /** How results become columns of the output. */
  protected def results(plan: EvaluationPlan): StreamResults

  /** Spark's own operator over rows, for partitions whose executor cannot run the functions. */
  protected def stock(rows: SparkPlan): SparkPlan

  // Where rows have to lie, and in which order, Spark's operator knows. Its classes for that differ between versions.
  override def requiredChildDistribution: Seq[Distribution] = stock(child).requiredChildDistribution
  override def requiredChildOrdering: Seq[Seq[SortOrder]] = stock(child).requiredChildOrdering

  override def outputPartitioning: Partitioning = child.outputPartitioning
  override def supportsColumnar: Boolean = true
  override lazy val metrics: Map[String, SQLMetric] = EvaluationMetrics.create(sparkContext)
  override def simpleString(maxFields: Int): String = s"${super.simpleString(maxFields)} worker=process"

  private def layoutExec: RudfLayoutExec =
    RudfLayoutExec.below(child).getOrElse(throw new IllegalStateException(s"rudf: nothing lays rows out for $nodeName"))

  @transient private lazy val evaluationPlan = plan

  /** This node over rows, which are laid out below it. */
  private[spark] def laidOutFrom(rows: SparkPlan): SparkPlan = withNewChildren(Seq(RudfLayoutExec(
    laidOut(evaluationPlan), evaluationPlan.inputs.length, evaluationPlan.maxRows, evaluationPlan.maxBytes, rows)))

  override protected def doExecute(): RDD[InternalRow] =
    throw new IllegalStateException("rudf: this operator gives columns")

  override protected def doExecuteColumnar(): RDD[ColumnarBatch] = {
    val (layout, run, columns) = (layoutExec.layout, TaskRunner(evaluationPlan, metrics, udfs), results(evaluationPlan))
    val below = layoutExec.child
    val stockRows = stock(if (below.supportsColumnar) ColumnarToRowExec(below) else below)
    new RudfOrStockRDD[InternalRow, ColumnarBatch](child.execute(), RowToColumnarExec(stockRows).executeColumnar(),
      () => run.openOrTellWhy(), (session, rows, _) => {
        val (iterator, task) = layout.inTask(session)(rows())
        columns.of(run.pipeline(session, new LaidOutSource(task, iterator), columns.pairs))
      })
  }
}

/** Makes the batches of an operator's output. */
private[spark] trait StreamResults extends Serializable {
  /** Whether each result belongs to a batch that was laid out. */
  def pairs: Boolean

  /** A batch is valid until the next one is asked for. */
  def of(pipeline: ResultPipeline): Iterator[ColumnarBatch]
}

/**
 * Results that are all of the output.
 *
 * @param plain how many come as columns, where the others are the fields of one more column
 */
private[spark] final class WholeResults(output: Seq[Attribute], plain: Option[Int]) extends StreamResults {
  private val (columns, fields) = output.splitAt(plain.getOrElse(output.length))
  private val rowType = StructType(fields.map(a => StructField(a.name, a.dataType, a.nullable)))

  override def pairs: Boolean = false

  override def of(pipeline: ResultPipeline): Iterator[ColumnarBatch] =
    Iterator.continually(pipeline.next()).takeWhile(_.isDefined).map { found =>
      val results = found.get._2
      new ColumnarBatch(vectors(results), results.rows.toInt)
    }

  private def vectors(results: EvaluatedBatch): Array[ColumnVector] = {
    val first: Seq[ColumnVector] = RudfVectors.results(results, columns)
    if (plain.isEmpty) first.toArray
    else {
      val rows = new RudfColumnVector(rowType, results.descriptors + columns.length.toLong * BatchLayout.DESCRIPTOR_BYTES, 0L)
        .ownedBy(results)
      (first ++ rowType.indices.map(i => rows.getChild(i): ColumnVector)).toArray
    }
  }
}
