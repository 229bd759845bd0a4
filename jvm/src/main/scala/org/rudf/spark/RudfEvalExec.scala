package org.rudf.spark

import org.apache.spark.TaskContext
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeSet, PythonUDF, SortOrder}
import org.apache.spark.sql.catalyst.plans.physical.Partitioning
import org.apache.spark.sql.execution.{ColumnarToRowExec, RowToColumnarExec, SparkPlan, UnaryExecNode}
import org.apache.spark.sql.execution.metric.SQLMetric
import org.apache.spark.sql.execution.python.{ArrowEvalPythonExec, BatchEvalPythonExec}
import org.apache.spark.sql.vectorized.ColumnarBatch

/**
 * Evaluates scalar Python functions, iterator functions included, over record batches, in place of Spark's
 * `ArrowEvalPythonExec`, or `BatchEvalPythonExec`.
 *
 * The output is the child's columns followed by one column a function, the rows and their order are the child's. It gives
 * columns, and takes columns or, laid out by a [[RudfLayoutExec]] below it, rows; where a column that passes by has a
 * type that no segment holds, it takes and gives rows. A task whose executor cannot run the functions computes
 * its partition with Spark's own operator instead.
 */
case class RudfEvalExec(udfs: Seq[PythonUDF], resultAttrs: Seq[Attribute], child: SparkPlan, evalType: Int)
    extends UnaryExecNode {

  override def output: Seq[Attribute] = child.output ++ resultAttrs
  override def producedAttributes: AttributeSet = AttributeSet(resultAttrs)
  override def outputPartitioning: Partitioning = child.outputPartitioning
  override def outputOrdering: Seq[SortOrder] = child.outputOrdering

  override lazy val metrics: Map[String, SQLMetric] = EvaluationMetrics.create(sparkContext)

  @transient private lazy val (worker, whyWorker) = WorkerKind.of(udfs, evalType, conf)

  override def simpleString(maxFields: Int): String =
    s"${super.simpleString(maxFields)} worker=$worker${whyWorker.fold("")(why => s" ($why)")}"

  /**
   * Columns out, where every column has a form that a segment can hold. The child may give columns or rows: see
   * [[RudfColumnarRule]].
   */
  override def supportsColumnar: Boolean = child.output.forall(a => ColumnForm.of(a.dataType) != null)

  @transient private lazy val evaluationPlan = EvaluationPlan(udfs, evalType, conf)

  @transient private lazy val columns = new SegmentColumns(evaluationPlan.inputs, child.output, results)

  @transient private lazy val results = new ScalarResults(resultAttrs, evalType)

  /** Whether every input is one of the child's columns as it is. */
  private[spark] def inputsAreColumns: Boolean = positions.forall(_ >= 0)

  @transient private lazy val positions: Array[Int] =
    columns.expressions.map(EvaluationPlan.columnPosition(_, child.output).getOrElse(-1)).toArray

  /** This node over rows, which are laid out below it. */
  private[spark] def laidOutFrom(rows: SparkPlan): RudfEvalExec =
    copy(child = RudfLayoutExec(columns.expressions, columns.visible, evaluationPlan.maxRows, evaluationPlan.maxBytes, rows))

  private def layoutBelow: Option[RudfLayoutExec] = RudfLayoutExec.below(child)

  // No `vectorTypes`: a partition that is left to Spark comes in vectors of Spark's.

  /** Spark's own operator, for partitions whose executor cannot run the functions. */
  @transient private lazy val stock: SparkPlan = {
    val below = layoutBelow.fold(child)(_.child)
    RudfEvalExec.stock(udfs, resultAttrs, if (below.supportsColumnar) ColumnarToRowExec(below) else below, evalType)
  }

  /** Rows in and out: a column that passes by has no form in a segment. */
  override protected def doExecute(): RDD[InternalRow] = {
    val evaluation = new RowEvaluation(evaluationPlan, evaluationPlan.inputs, child.output, resultAttrs, results)
    val run = taskRunner
    new RudfOrStockRDD[InternalRow, InternalRow](child.execute(), stock.execute(), () => run.openOrTellWhy(),
      (session, rows, partition) => evaluation.evaluate(session, rows(), partition, run.pipeline(session, _)))
  }

  override protected def doExecuteColumnar(): RDD[ColumnarBatch] = {
    val (plan, columns, positions, run) = (evaluationPlan, this.columns, this.positions, taskRunner)
    val stockBatches = RowToColumnarExec(stock).executeColumnar()
    layoutBelow match {
      case Some(layoutExec) =>
        val layout = layoutExec.layout
        new RudfOrStockRDD[InternalRow, ColumnarBatch](child.execute(), stockBatches, () => run.openOrTellWhy(),
          (session, rows, _) => {
            val (iterator, task) = layout.inTask(session)(rows())
            columns.of(run.pipeline(session, new LaidOutSource(task, iterator)))
          })
      case None =>
        new RudfOrStockRDD[ColumnarBatch, ColumnarBatch](child.executeColumnar(), stockBatches, () => run.openOrTellWhy(),
          (session, batches, _) => columns.of(
            run.pipeline(session, new ColumnSource(plan, columns, positions, session, batches()))))
    }
  }

  private def taskRunner = TaskRunner(evaluationPlan, metrics, udfs)

  override protected def withNewChildInternal(newChild: SparkPlan): RudfEvalExec = copy(child = newChild)
}

private[spark] object RudfEvalExec {
  /** Spark's own operator for scalar functions. */
  def stock(udfs: Seq[PythonUDF], resultAttrs: Seq[Attribute], child: SparkPlan, evalType: Int): SparkPlan =
    if (evalType == EvalType.Batched) BatchEvalPythonExec(udfs, resultAttrs, child)
    else ArrowEvalPythonExec(udfs, resultAttrs, child, evalType)
}

private[spark] object TaskRunner {
  def apply(plan: EvaluationPlan, metrics: Map[String, SQLMetric], udfs: Seq[PythonUDF]): TaskRunner =
    new TaskRunner(plan, new EvaluationMetrics(metrics), udfs.map(_.name).mkString(", "))
}

/** What a task does before and around its batches. */
private[spark] final class TaskRunner(plan: EvaluationPlan, metrics: EvaluationMetrics, names: String) extends Serializable {

  /** A session, or none where this executor cannot run the functions: then the reason has been told. */
  def openOrTellWhy(): Option[WorkerSession] = {
    val start = System.nanoTime()
    plan.open() match {
      case Right(session) =>
        metrics.countOpened(System.nanoTime() - start, session.openingNanos)
        Some(session)
      case Left(why) =>
        metrics.leftToSpark += 1
        Fallbacks.tell(names, why)
        None
    }
  }

  /** A pipeline that ends with the task at the latest, whatever becomes of the task. */
  def pipeline(session: WorkerSession, source: BatchSource, pairs: Boolean = true): ResultPipeline = {
    val context = TaskContext.get()
    val pipeline =
      if (plan.isStream) {
        new StreamPipeline(session, source, plan.batchesInFlight, plan.bytesInFlight, context, metrics, plan.collect, pairs)
      }
      else new BatchPipeline(session, source, plan.batchesInFlight, plan.bytesInFlight, context, metrics, plan.collect)
    context.addTaskCompletionListener[Unit](_ => pipeline.close())
    pipeline
  }
}
