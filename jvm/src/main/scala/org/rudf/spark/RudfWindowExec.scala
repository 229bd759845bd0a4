package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.{Alias, Attribute, AttributeSet, CurrentRow, Expression, NamedExpression, PythonUDF}
import org.apache.spark.sql.catalyst.expressions.{RangeFrame, RowFrame, SortOrder, SpecifiedWindowFrame, UnboundedFollowing}
import org.apache.spark.sql.catalyst.expressions.{UnboundedPreceding, WindowExpression, WindowSpecDefinition}
import org.apache.spark.sql.catalyst.expressions.aggregate.AggregateExpression
import org.apache.spark.sql.execution.SparkPlan
import org.apache.spark.sql.internal.SQLConf

/**
 * One function over a window.
 *
 * @param attribute the column of its results
 */
private[spark] final case class WindowFunctionSpec(udf: PythonUDF, attribute: Attribute, frame: WindowFrameSpec)

/**
 * The rows of a frame, from `lower` to `upper`: distances from the current row, in rows, or, where the frame is one of values,
 * 0 for all rows of its order. None is without bound.
 *
 * @param distances where a bound lies at a distance of values: what is 0 above then means these
 */
private[spark] final case class WindowFrameSpec(rows: Boolean, lower: Option[Int], upper: Option[Int],
    distances: Option[RangeDistances] = None)

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
    val bounds = rangeColumns(0).expressions
    EvaluationPlan(udfs, Windows.evalType(udfs.head), conf, Nil, inputs => {
      val columns = rangeColumns(firstBound(inputs))
      Some(StreamSpec.windows(inputs, functions.map(f => (f.frame, f.frame.distances.map(columns.told))), conf))
    }, last = bounds ++ marks)
  }

  private def rangeColumns(first: Int) =
    new RangeColumns(functions.flatMap(_.frame.distances), conf.sessionLocalTimeZone, first)

  /** The number of the first column that tells bounds, which are the last before two marks. */
  private def firstBound(inputs: Seq[Expression]): Int = inputs.length - 2 - rangeColumns(0).expressions.length

  override protected def laidOut(plan: EvaluationPlan): Seq[Expression] = columns(plan).expressions

  override protected def results(plan: EvaluationPlan): StreamResults =
    rangeColumns(firstBound(plan.inputs)).guarded(columns(plan))

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
    case SpecifiedWindowFrame(RangeFrame, lower, upper) =>
      val distances = Seq(lower, upper).map(Some(_).filter(isDistance))
      val frame = WindowFrameSpec(rows = false, Some(0).filter(_ => lower != UnboundedPreceding), Some(0).filter(_ => upper != UnboundedFollowing))
      if (distances.forall(_.isEmpty)) Right(frame)
      else RangeDistances.of(definition.orderSpec, distances.head, distances.last, SQLConf.get.sessionLocalTimeZone)
        .map(found => frame.copy(distances = Some(found)))
    case other => Left(s"the frame of a window is ${other.sql}")
  }

  private def isDistance(boundary: Expression): Boolean = boundary match {
    case UnboundedPreceding | UnboundedFollowing | CurrentRow => false
    case _ => true
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
