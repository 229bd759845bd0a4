package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeSet, PythonUDF}
import org.apache.spark.sql.execution.SparkPlan
import org.apache.spark.sql.execution.python.{FlatMapGroupsInArrowExec, FlatMapGroupsInPandasExec}

/**
 * Runs the function of `applyInPandas` or `applyInArrow` over each group of rows, in place of Spark's
 * `FlatMapGroupsInPandasExec` and `FlatMapGroupsInArrowExec`. Batches are filled with as many groups as they hold; a column
 * marks where groups begin.
 *
 * @param grouping the keys, which are the first columns of the child, and may be among the others again
 */
case class RudfGroupsExec(grouping: Seq[Attribute], udf: PythonUDF, override val output: Seq[Attribute], child: SparkPlan)
    extends RudfStreamExec {

  override def producedAttributes: AttributeSet = AttributeSet(output)
  override protected def udfs: Seq[PythonUDF] = Seq(udf)

  override protected def plan: EvaluationPlan = {
    val (columns, numbers) = Groups.columns(grouping, child.output)
    EvaluationPlan.ofRows(udf, conf, columns :+ GroupStart(grouping), StreamSpec.groups(columns, numbers, isArrow, conf))
  }

  private def isArrow: Boolean = !Kinds.pandas.contains(udf.evalType)

  override protected def results(plan: EvaluationPlan): StreamResults = new WholeResults(output, Some(0))

  override protected def stock(rows: SparkPlan): SparkPlan =
    if (isArrow) FlatMapGroupsInArrowExec(grouping, udf, output, rows)
    else FlatMapGroupsInPandasExec(grouping, udf, output, rows)

  override protected def withNewChildInternal(newChild: SparkPlan): RudfGroupsExec = copy(child = newChild)
}

private[spark] object Groups {

  /** The columns that go to Python, of an output that begins with the keys, which may be among the others again. */
  def columns(keys: Seq[Attribute], output: Seq[Attribute]): (Seq[Attribute], GroupColumns) = {
    val values = output.drop(keys.length)
    val others = keys.filterNot(key => values.exists(_.semanticEquals(key)))
    val columns = others ++ values
    columns -> GroupColumns(keys.map(key => columns.indexWhere(_.semanticEquals(key))), others.length until columns.length)
  }
}
