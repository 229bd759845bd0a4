package org.rudf.spark

import org.apache.spark.rdd.RDD
import org.apache.spark.resource.ResourceProfile
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeSet, PythonUDF}
import org.apache.spark.sql.execution.SparkPlan
import org.apache.spark.sql.execution.python.{MapInArrowExec, MapInPandasExec}
import org.apache.spark.sql.vectorized.ColumnarBatch

/**
 * Runs the function of `mapInPandas` or `mapInArrow` over the batches of each partition, in place of Spark's
 * `MapInPandasExec` and `MapInArrowExec`.
 *
 * @param profile what its stage wants of executors and tasks, if it was given any
 */
case class RudfMapExec(udf: PythonUDF, override val output: Seq[Attribute], profile: Option[ResourceProfile], child: SparkPlan)
    extends RudfStreamExec {

  override def producedAttributes: AttributeSet = AttributeSet(output)
  override protected def udfs: Seq[PythonUDF] = Seq(udf)

  override protected def plan: EvaluationPlan =
    EvaluationPlan.ofRows(udf, conf, child.output, StreamSpec.rows(child.output, conf))

  override protected def results(plan: EvaluationPlan): StreamResults = new WholeResults(output, Some(0))

  override protected def doExecuteColumnar(): RDD[ColumnarBatch] = {
    val batches = super.doExecuteColumnar()
    profile.fold(batches)(batches.withResources)
  }

  override protected def stock(rows: SparkPlan): SparkPlan =
    if (udf.evalType == EvalType.MapPandas) MapInPandasExec(udf, output, rows, false, None)
    else MapInArrowExec(udf, output, rows, false, None)

  override protected def withNewChildInternal(newChild: SparkPlan): RudfMapExec = copy(child = newChild)
}
