package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.{Add, DateAdd, DateAddYMInterval, DecimalAddNoOverflowCheck, Descending, Expression}
import org.apache.spark.sql.catalyst.expressions.{ExtractANSIIntervalDays, Literal, NullsLast, SortOrder, TimestampAddYMInterval, TryEval}
import org.apache.spark.sql.catalyst.expressions.UnaryMinus
import org.apache.spark.sql.types.{ByteType, CalendarIntervalType, DataType, DateType, DayTimeIntervalType, DecimalType, DoubleType, FloatType}
import org.apache.spark.sql.types.{IntegerType, LongType, ShortType, TimestampNTZType, TimestampType, YearMonthIntervalType}
import org.apache.spark.sql.vectorized.ColumnarBatch

/**
 * A frame of the rows whose order is at most so far from that of the row: `RANGE BETWEEN 5 PRECEDING AND 3 FOLLOWING`.
 *
 * @param lower distance of the lower bound; none where it is at none
 */
private[spark] final case class RangeDistances(order: SortOrder, lower: Option[Expression], upper: Option[Expression])

private[spark] object RangeDistances {

  /** The frame, or a sentence that says why it is not taken. */
  def of(order: Seq[SortOrder], lower: Option[Expression], upper: Option[Expression], timeZone: String): Either[String, RangeDistances] =
    order match {
      case Seq(one) =>
        (lower ++ upper).map(RangeBound.of(one, _, timeZone)).collectFirst { case Left(why) => why }
          .toLeft(RangeDistances(one, lower, upper))
      case _ => Left("the frame of a window is of values at a distance, in several orders")
    }
}

/** A bound of a frame: where it lies for each row, in terms of the order's values. */
private[spark] object RangeBound {

  /**
   * The value at a distance from the order's, as Spark computes it (`WindowEvaluatorFactoryBase.createBoundOrdering`), or
   * a sentence that says why it is not computed here.
   */
  def of(order: SortOrder, distance: Expression, timeZone: String): Either[String, Expression] =
    from(order, order.child, distance, timeZone)

  /** The same, from another value than the order's. */
  def from(order: SortOrder, value: Expression, distance: Expression, timeZone: String): Either[String, Expression] = {
    val offset = if (order.direction == Descending) new UnaryMinus(distance) else distance
    (value.dataType, offset.dataType) match {
      case (DateType, IntegerType) => Right(DateAdd(value, offset))
      case (DateType, _: YearMonthIntervalType) => Right(DateAddYMInterval(value, offset))
      case (DateType, DayTimeIntervalType(DayTimeIntervalType.DAY, DayTimeIntervalType.DAY)) =>
        Right(DateAdd(value, ExtractANSIIntervalDays(offset)))
      case (TimestampType | TimestampNTZType, CalendarIntervalType | _: DayTimeIntervalType) =>
        Right(SparkAccess.timestampAddInterval(value, offset, timeZone))
      case (TimestampType | TimestampNTZType, _: YearMonthIntervalType) => Right(TimestampAddYMInterval(value, offset, Some(timeZone)))
      case (ours: DecimalType, theirs: DecimalType) => decimal(value, ours, offset, theirs)
      case (ByteType | ShortType | IntegerType | LongType | FloatType | DoubleType | _: DayTimeIntervalType, same)
          if same == value.dataType => Right(new Add(value, offset))
      case (ours, theirs) => Left(s"the frame of a window is of values of ${ours.sql} at a distance of ${theirs.sql}")
    }
  }

  /** A type that holds each sum; Spark's own values may have more digits than their type. */
  private def decimal(value: Expression, ours: DecimalType, offset: Expression, theirs: DecimalType): Either[String, Expression] = {
    val digits = math.max(ours.precision - ours.scale, theirs.precision - theirs.scale) + 1 + ours.scale
    if (theirs.scale > ours.scale || digits > DecimalType.MAX_PRECISION) {
      Left(s"the frame of a window is of values of ${ours.sql} at a distance of ${theirs.sql}, whose sum no decimal holds")
    } else Right(DecimalAddNoOverflowCheck(value, offset, DecimalType(digits, ours.scale)))
  }
}

/** A bound that a worker needs and that cannot be computed, because the value is too close to the end of its type. */
private[spark] final class BoundOverflow(val column: Int, val value: Long)
    extends RuntimeException(s"rudf: a bound of a window's frame cannot be computed from $value")

/**
 * The columns that tell the bounds of an operator's frames: the order's values, and for each bound where it lies. It is
 * null where it cannot be computed: that is an error only where Spark would have come to compute it.
 *
 * @param first the number of the first of them, among all that go to Python
 */
private[spark] final class RangeColumns(frames: Seq[RangeDistances], timeZone: String, val first: Int) extends Serializable {
  private val order = frames.headOption.map(_.order)
  private val distances = frames.flatMap(frame => frame.lower ++ frame.upper).distinct

  private def bound(distance: Expression, value: Option[Expression] = None): Expression = {
    val sorted = order.get
    RangeBound.from(sorted, value.getOrElse(sorted.child), distance, timeZone)
      .fold(why => throw new IllegalStateException(s"rudf: $why"), identity)
  }

  def expressions: Seq[Expression] = order.map(_.child).toSeq ++ distances.map(distance => TryEval(bound(distance)))

  /** What the worker is told of a frame. */
  def told(frame: RangeDistances): FrameColumns = FrameColumns(first, frame.lower.map(columnOf), frame.upper.map(columnOf),
    frame.order.direction == Descending, frame.order.nullOrdering == NullsLast)

  private def columnOf(distance: Expression): Int = first + 1 + distances.indexOf(distance)

  /** Results whose errors are those that Spark has for bounds which cannot be computed. */
  def guarded(results: StreamResults): StreamResults = if (order.isEmpty) results else new GuardedResults(results, this)

  /** Computes the bound again, which fails as in Spark. */
  def fail(overflow: BoundOverflow): Nothing = {
    val value = Literal(RangeColumns.internal(overflow.value, order.get.dataType), order.get.dataType)
    bound(distances(overflow.column - first - 1), Some(value)).eval()
    throw overflow
  }
}

private object RangeColumns {
  private def internal(value: Long, dataType: DataType): Any = dataType match {
    case ByteType => value.toByte
    case ShortType => value.toShort
    case IntegerType | DateType => value.toInt
    case _ => value
  }
}

private final class GuardedResults(results: StreamResults, columns: RangeColumns) extends StreamResults {
  override def pairs: Boolean = results.pairs

  override def of(pipeline: ResultPipeline): Iterator[ColumnarBatch] = {
    val batches = results.of(pipeline)
    new Iterator[ColumnarBatch] {
      override def hasNext: Boolean = guarded(batches.hasNext)
      override def next(): ColumnarBatch = guarded(batches.next())
    }
  }

  private def guarded[T](body: => T): T = try body catch { case overflow: BoundOverflow => columns.fail(overflow) }
}
