package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.{Alias, Attribute, AttributeSet, CurrentRow, Expression, NamedExpression, PythonUDF}
import org.apache.spark.sql.catalyst.expressions.{RangeFrame, RowFrame, SortOrder, SpecifiedWindowFrame, UnboundedFollowing}
import org.apache.spark.sql.catalyst.expressions.{UnboundedPreceding, WindowExpression, WindowSpecDefinition}
import org.apache.spark.sql.catalyst.expressions.aggregate.AggregateExpression
import org.apache.spark.sql.execution.SparkPlan

/**
 * One function over a window.
 *
 * @param attribute the column of its results
 */
private[spark] final case class WindowFunctionSpec(udf: PythonUDF, attribute: Attribute, frame: WindowFrameSpec)

/**
 * The rows of a frame, from `lower` to `upper`: distances from the current row, in rows, or, where the frame is one of values,
 * 0 for all rows of its order. None is without bound.
 */
private[spark] final case class WindowFrameSpec(rows: Boolean, lower: Option[Int], upper: Option[Int])

/**
 * Computes Python aggregates over windows, in place of Spark's `ArrowWindowPythonExec`. The output is the child's columns,
 * which pass by, followed by the results.
 *
 * @param windows what Spark's operator computes: a name for each function over a window
 */
case class RudfWindowExec(windows: Seq[NamedExpression], partitionSpec: Seq[Expression], orderSpec: Seq[SortOrder],
    child: SparkPlan) extends RudfStreamExec {

  @transient private lazy val functions = Windows.functions(windows).fold(why => throw new IllegalStateException(why), identity)

  private def attributes: Seq[Attribute] = functions.map(_.attribute)

  override def output: Seq[Attribute] = child.output ++ attributes
  override def producedAttributes: AttributeSet = AttributeSet(attributes)
  override def outputOrdering: Seq[SortOrder] = child.outputOrdering
  override protected def udfs: Seq[PythonUDF] = functions.map(_.udf)

  override protected def plan: EvaluationPlan = {
    val marks = Seq(GroupStart(partitionSpec ++ orderSpec.map(_.child)), GroupStart(partitionSpec))
    EvaluationPlan(udfs, Windows.evalType(udfs.head), conf, Nil,
      inputs => Some(StreamSpec.windows(inputs, functions.map(_.frame), conf)), last = marks)
  }

  override protected def laidOut(plan: EvaluationPlan): Seq[Expression] = columns(plan).expressions

  override protected def results(plan: EvaluationPlan): StreamResults = columns(plan)

  private def columns(plan: EvaluationPlan) = new SegmentColumns(plan.inputs, child.output, new ScalarResults(attributes, plan.evalType))

  override protected def stock(rows: SparkPlan): SparkPlan =
    SparkAccess.windowExec(windows, partitionSpec, orderSpec, rows, Windows.evalType(udfs.head)).getOrElse(
      throw new IllegalStateException("rudf: this version of Spark has no operator for Python windows"))

  override protected def withNewChildInternal(newChild: SparkPlan): RudfWindowExec = copy(child = newChild)
}

private[spark] object Windows {

  /** Functions in the order in which they stand in the expressions, or a sentence that says why they are not taken. */
  def functions(expressions: Seq[NamedExpression]): Either[String, Seq[WindowFunctionSpec]] = {
    val found = expressions.map {
      case alias @ Alias(WindowExpression(function: AggregateExpression, definition), _) =>
        for {
          udf <- Aggregates.function(function).toRight("a window has a function that is not Python's")
          frame <- frame(definition)
        } yield WindowFunctionSpec(udf, alias.toAttribute, frame)
      case _ => Left("a window stands within an expression")
    }
    found.collectFirst { case Left(why) => Left(why) }.getOrElse(Right(found.flatMap(_.toOption)))
  }

  /** What the worker is told: PySpark has numbers of their own for aggregates over windows. */
  def evalType(udf: PythonUDF): Int =
    if (udf.evalType == EvalType.GroupedAggregateArrow) EvalType.WindowArrow else EvalType.WindowPandas

  private def frame(definition: WindowSpecDefinition): Either[String, WindowFrameSpec] = definition.frameSpecification match {
    case SpecifiedWindowFrame(RowFrame, lower, upper) =>
      for (from <- bound(lower); to <- bound(upper)) yield WindowFrameSpec(rows = true, from, to)
    case SpecifiedWindowFrame(RangeFrame, lower @ (UnboundedPreceding | CurrentRow), upper @ (UnboundedFollowing | CurrentRow)) =>
      for (from <- bound(lower); to <- bound(upper)) yield WindowFrameSpec(rows = false, from, to)
    case other => Left(s"the frame of a window is ${other.sql}, of values at a distance")
  }

  private def bound(boundary: Expression): Either[String, Option[Int]] = boundary match {
    case UnboundedPreceding | UnboundedFollowing => Right(None)
    case CurrentRow => Right(Some(0))
    case distance if distance.foldable => distance.eval() match {
      case rows: Int => Right(Some(rows))
      case other => Left(s"the frame of a window is bounded by $other")
    }
    case other => Left(s"the frame of a window is bounded by ${other.sql}")
  }
}
