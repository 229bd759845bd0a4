package org.rudf.spark

import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeSet, PythonUDF}
import org.apache.spark.sql.catalyst.plans.physical.Partitioning
import org.apache.spark.sql.execution.{ColumnarToRowExec, RowToColumnarExec, SparkPlan, UnaryExecNode, WholeStageCodegenExec}
import org.apache.spark.sql.execution.metric.SQLMetric
import org.apache.spark.sql.execution.python.{MapInArrowExec, MapInPandasExec}
import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.vectorized.{ColumnVector, ColumnarBatch}

/**
 * Runs the function of `mapInPandas` or `mapInArrow` over the batches of each partition, in place of Spark's
 * `MapInPandasExec` and `MapInArrowExec`. Rows are laid out by the [[RudfLayoutExec]] below it; what comes out are columns.
 */
case class RudfMapExec(udf: PythonUDF, override val output: Seq[Attribute], child: SparkPlan) extends UnaryExecNode {

  override def producedAttributes: AttributeSet = AttributeSet(output)
  override def outputPartitioning: Partitioning = child.outputPartitioning
  override def supportsColumnar: Boolean = true
  override lazy val metrics: Map[String, SQLMetric] = EvaluationMetrics.create(sparkContext)
  override def simpleString(maxFields: Int): String = s"${super.simpleString(maxFields)} worker=process"

  private def input: Seq[Attribute] = layoutBelow.fold(child)(_.child).output

  @transient private lazy val evaluationPlan = {
    val columns = input
    EvaluationPlan(Seq(udf), udf.evalType, conf, columns, _ => Some(StreamSpec.rows(columns, conf)))
  }

  private[spark] def laidOutFrom(rows: SparkPlan): RudfMapExec =
    copy(child = RudfLayoutExec(rows.output, rows.output.length, evaluationPlan.maxRows, evaluationPlan.maxBytes, rows))

  private def layoutBelow: Option[RudfLayoutExec] = child match {
    case layout: RudfLayoutExec => Some(layout)
    case WholeStageCodegenExec(layout: RudfLayoutExec) => Some(layout)
    case _ => None
  }

  private def layoutExec: RudfLayoutExec =
    layoutBelow.getOrElse(throw new IllegalStateException("rudf: nothing lays rows out for mapInPandas or mapInArrow"))

  /** Spark's own operator, for partitions whose executor cannot run the function. */
  @transient private lazy val stock: SparkPlan = {
    val below = layoutExec.child
    val rows = if (below.supportsColumnar) ColumnarToRowExec(below) else below
    if (udf.evalType == EvalType.MapPandas) MapInPandasExec(udf, output, rows, false, None)
    else MapInArrowExec(udf, output, rows, false, None)
  }

  override protected def doExecute(): RDD[InternalRow] =
    throw new IllegalStateException("rudf: this operator gives columns")

  override protected def doExecuteColumnar(): RDD[ColumnarBatch] = {
    val (layout, run, columns) = (layoutExec.layout, TaskRunner(evaluationPlan, metrics, Seq(udf)), new ResultColumns(output))
    new RudfOrStockRDD[InternalRow, ColumnarBatch](child.execute(), RowToColumnarExec(stock).executeColumnar(),
      () => run.openOrTellWhy(), (session, rows, _) => {
        val (iterator, task) = layout.inTask(session)(rows())
        columns.of(run.pipeline(session, new LaidOutSource(task, iterator), pairs = false))
      })
  }

  override protected def withNewChildInternal(newChild: SparkPlan): RudfMapExec = copy(child = newChild)
}

/** Batches of a stream's results, where a result is a row of several columns. */
private[spark] final class ResultColumns(output: Seq[Attribute]) extends Serializable {
  private val rowType = StructType(output.map(a => org.apache.spark.sql.types.StructField(a.name, a.dataType, a.nullable)))

  def of(pipeline: ResultPipeline): Iterator[ColumnarBatch] =
    Iterator.continually(pipeline.next()).takeWhile(_.isDefined).map { found =>
      val results = found.get._2
      val rows = new RudfColumnVector(rowType, results.descriptors, 0L)
      val vectors: Array[ColumnVector] = rowType.indices.map(i => rows.getChild(i): ColumnVector).toArray
      new ColumnarBatch(vectors, results.rows.toInt)
    }
}
