package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.{Alias, Attribute, AttributeSet, Expression, NamedExpression, PythonUDAF, PythonUDF, SessionWindow}
import org.apache.spark.sql.catalyst.expressions.aggregate.AggregateExpression
import org.apache.spark.sql.execution.SparkPlan

/**
 * Computes Python aggregates of each group, in place of Spark's `ArrowAggregatePythonExec`. The output is the keys of a
 * group, which go to Python and come back with the results of their group, and the results.
 */
case class RudfAggregateExec(grouping: Seq[NamedExpression], aggregates: Seq[AggregateExpression], child: SparkPlan)
    extends RudfStreamExec {

  override def output: Seq[Attribute] = grouping.map(_.toAttribute) ++ aggregates.map(_.resultAttribute)

  override def producedAttributes: AttributeSet = AttributeSet(output)
  override protected def udfs: Seq[PythonUDF] = aggregates.flatMap(Aggregates.function)

  override protected def plan: EvaluationPlan = {
    val keys = grouping.map(Aggregates.value)
    EvaluationPlan(udfs, udfs.head.evalType, conf, keys, inputs => Some(StreamSpec.aggregates(inputs, keys.length, conf)),
      last = Seq(GroupStart(keys)))
  }

  override protected def results(plan: EvaluationPlan): StreamResults = new WholeResults(output, None)

  override protected def stock(rows: SparkPlan): SparkPlan =
    SparkAccess.aggregateExec(grouping, aggregates, output, rows, udfs.head.evalType).getOrElse(
      throw new IllegalStateException("rudf: this version of Spark has no operator for Python aggregates"))

  override protected def withNewChildInternal(newChild: SparkPlan): RudfAggregateExec = copy(child = newChild)
}

private[spark] object Aggregates {
  /** The Python function of an aggregate, if it has one. */
  def function(aggregate: AggregateExpression): Option[PythonUDF] = aggregate.aggregateFunction match {
    case udf: PythonUDAF =>
      Some(PythonUDF(udf.name, udf.func, udf.dataType, udf.children, udf.evalType, udf.udfDeterministic, udf.resultId))
    case _ => None
  }

  /** What is computed of a row, without its new name. */
  def value(expression: NamedExpression): Expression = expression match {
    case Alias(value, _) => value
    case other => other
  }

  /** A sentence that says why aggregates are left to Spark, if so. */
  def refusal(grouping: Seq[NamedExpression], aggregates: Seq[AggregateExpression]): Option[String] =
    if (aggregates.exists(a => a.isDistinct || a.filter.isDefined)) Some("an aggregate is DISTINCT or has a FILTER")
    else if (grouping.exists(_.metadata.contains(SessionWindow.marker))) Some("it groups by session windows")
    else Support.keysRefusal(grouping.map(_.toAttribute))
}
