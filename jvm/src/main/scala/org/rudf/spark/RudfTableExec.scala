package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeSet, PythonUDF, PythonUDTF}
import org.apache.spark.sql.execution.SparkPlan
import org.apache.spark.sql.execution.python.ArrowEvalPythonUDTFExec

/**
 * Runs a table function for each row, in place of Spark's `ArrowEvalPythonUDTFExec`. The output is the columns of the child
 * that are wanted, which go to Python and come back with each of their rows' results, and the function's columns.
 */
case class RudfTableExec(udtf: PythonUDTF, requiredChildOutput: Seq[Attribute], resultAttrs: Seq[Attribute], child: SparkPlan)
    extends RudfStreamExec {

  override def output: Seq[Attribute] = requiredChildOutput ++ resultAttrs
  override def producedAttributes: AttributeSet = AttributeSet(resultAttrs)
  override protected def udfs: Seq[PythonUDF] = Seq(Tables.function(udtf))

  override protected def plan: EvaluationPlan = EvaluationPlan(udfs, udtf.evalType, conf, requiredChildOutput, inputs =>
    Some(StreamSpec.table(inputs, requiredChildOutput.length, Tables.describe(udtf), conf)))

  override protected def results(plan: EvaluationPlan): StreamResults = new WholeResults(output, Some(requiredChildOutput.length))

  override protected def stock(rows: SparkPlan): SparkPlan =
    ArrowEvalPythonUDTFExec(udtf, requiredChildOutput, resultAttrs, rows, udtf.evalType)

  override protected def withNewChildInternal(newChild: SparkPlan): RudfTableExec = copy(child = newChild)
}

/**
 * What PySpark's worker is told of a table function.
 *
 * @param partitionColumns columns of its table argument that partition it
 * @param analyzed         the pickled result of its `analyze`
 */
private[spark] final case class TableSpec(
    name: String, returnType: String, partitionColumns: Seq[Int], analyzed: Option[Array[Byte]])

private[spark] object Tables {
  /** The function as those that sessions know. */
  def function(udtf: PythonUDTF): PythonUDF = PythonUDF(udtf.name, udtf.func, udtf.elementSchema, udtf.children,
    udtf.evalType, udtf.udfDeterministic, udtf.resultId)

  def describe(udtf: PythonUDTF): TableSpec = TableSpec(udtf.name, udtf.elementSchema.json,
    udtf.pythonUDTFPartitionColumnIndexes.fold(Seq.empty[Int])(_.partitionChildIndexes), udtf.pickledAnalyzeResult)
}
