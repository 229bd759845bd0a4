package org.rudf.spark

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.node.ObjectNode

import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeSet, Expression, PythonUDF, PythonUDTF}
import org.apache.spark.sql.execution.SparkPlan
import org.apache.spark.sql.execution.python.{ArrowEvalPythonUDTFExec, BatchEvalPythonUDTFExec}

/**
 * Runs a table function for each row, in place of Spark's `ArrowEvalPythonUDTFExec` and `BatchEvalPythonUDTFExec`. The output is the columns of the child
 * that are wanted, which go to Python and come back with each of their rows' results, and the function's columns.
 */
case class RudfTableExec(udtf: PythonUDTF, requiredChildOutput: Seq[Attribute], resultAttrs: Seq[Attribute], child: SparkPlan)
    extends RudfStreamExec {

  override def output: Seq[Attribute] = requiredChildOutput ++ resultAttrs
  override def producedAttributes: AttributeSet = AttributeSet(resultAttrs)
  override protected def udfs: Seq[PythonUDF] = Seq(Tables.function(udtf))

  override protected def plan: EvaluationPlan = EvaluationPlan(udfs, udtf.evalType, conf, requiredChildOutput, inputs =>
    Some(StreamSpec.table(inputs, requiredChildOutput.length, Tables.describe(udtf, inputs), isPickled, conf)))

  private def isPickled: Boolean = udtf.evalType == EvalType.Table

  override protected def results(plan: EvaluationPlan): StreamResults =
    if (isPickled) new PickledRows(output, requiredChildOutput.length)
    else new WholeResults(output, Some(requiredChildOutput.length))

  override protected def stock(rows: SparkPlan): SparkPlan = Tables.stock(udtf, requiredChildOutput, resultAttrs, rows)

  override protected def withNewChildInternal(newChild: SparkPlan): RudfTableExec = copy(child = newChild)
}

/**
 * What PySpark's worker is told of a table function.
 *
 * @param partitionColumns columns of its table argument that partition it
 * @param analyzed         the pickled result of its `analyze`
 * @param tables           which of its arguments are tables
 * @param inputTypes       of all that goes to Python, as JSON
 */
private[spark] final case class TableSpec(name: String, returnType: String, partitionColumns: Seq[Int],
    analyzed: Option[Array[Byte]], tables: Seq[Int], inputTypes: Seq[String]) {

  /** @param keys how many columns, from the first, come back before the results */
  def write(node: ObjectNode, keys: Int): Unit = {
    node.put("name", name).put("return_type", returnType).put("keys", keys)
    val (columns, types, arguments) = (node.putArray("partition_columns"), node.putArray("types"), node.putArray("tables"))
    partitionColumns.foreach(i => columns.add(i))
    inputTypes.foreach(t => types.add(t))
    tables.foreach(i => arguments.add(i))
    analyzed.foreach(node.put("analyzed", _))
  }
}

private[spark] object Tables {
  /** Spark's own operator for table functions. */
  def stock(udtf: PythonUDTF, requiredChildOutput: Seq[Attribute], resultAttrs: Seq[Attribute], rows: SparkPlan): SparkPlan =
    if (udtf.evalType == EvalType.Table) BatchEvalPythonUDTFExec(udtf, requiredChildOutput, resultAttrs, rows)
    else ArrowEvalPythonUDTFExec(udtf, requiredChildOutput, resultAttrs, rows, udtf.evalType)

  /** The function as those that sessions know. */
  def function(udtf: PythonUDTF): PythonUDF = PythonUDF(udtf.name, udtf.func, udtf.elementSchema, udtf.children,
    udtf.evalType, udtf.udfDeterministic, udtf.resultId)

  def describe(udtf: PythonUDTF, inputs: Seq[Expression]): TableSpec = TableSpec(udtf.name, udtf.elementSchema.json,
    udtf.pythonUDTFPartitionColumnIndexes.fold(Seq.empty[Int])(_.partitionChildIndexes), udtf.pickledAnalyzeResult,
    SparkAccess.tableArguments(udtf).asScala.map(_.intValue).toSeq, inputs.map(_.dataType.json))
}
