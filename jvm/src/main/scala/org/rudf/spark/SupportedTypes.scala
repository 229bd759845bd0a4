package org.rudf.spark

import scala.math.Ordering.Implicits._

import org.apache.spark.sql.types._

/** Which types arguments and results of functions may have. Columns that pass by may have any that has a [[ColumnForm]]. */
private[spark] object SupportedTypes {

  /** The end of a sentence that says why values of a type are not given to functions or taken from them, if so. */
  def refusal(dataType: DataType): Option[String] = dataType match {
    case BooleanType | ByteType | ShortType | IntegerType | LongType | FloatType | DoubleType | StringType | BinaryType |
        DateType | TimestampType => None
    case _ if !hasConverters => Some(s"has the type ${dataType.sql}, for which rudf needs Spark 4.3 or newer")
    case ArrayType(element, _) => refusal(element)
    case MapType(key, value, _) => refusal(key).orElse(refusal(value))
    case StructType(fields) if fields.map(_.name).distinct.length < fields.length =>
      Some(s"has a struct with two fields of the same name (${dataType.sql})")
    case StructType(fields) => fields.iterator.flatMap(f => refusal(f.dataType)).nextOption()
    // PySpark's own converters make these, or its errors say that they cannot be.
    case _: YearMonthIntervalType | _: CalendarIntervalType | _: VariantType | _: UserDefinedType[_] => unsupported(dataType)
    case _ if ColumnForm.of(dataType) == null => unsupported(dataType)
    case _ => None
  }

  /** The same of the results of pickled functions, which Spark makes columns of. */
  def pickledRefusal(dataType: DataType): Option[String] =
    if (dataType != NullType && holds(dataType)(_ == NullType)) unsupported(dataType) else None

  /**
   * The same of results whose Arrow type Spark checks: every TIME comes back with six digits there, and one that was
   * declared with fewer is an error of Spark's.
   */
  def checkedRefusal(dataType: DataType): Option[String] =
    if (holds(dataType)(t => t.typeName.startsWith("time(") && t.typeName != "time(6)")) unsupported(dataType) else None

  private def holds(dataType: DataType)(is: DataType => Boolean): Boolean = is(dataType) || (dataType match {
    case ArrayType(element, _) => holds(element)(is)
    case MapType(key, value, _) => holds(key)(is) || holds(value)(is)
    case StructType(fields) => fields.exists(f => holds(f.dataType)(is))
    case _ => false
  })

  /** Whether this release of PySpark converts these types as rudf does: older ones went by pandas for some kinds. */
  lazy val hasConverters: Boolean = {
    val numbers = org.apache.spark.SPARK_VERSION.split('.').map(_.takeWhile(_.isDigit)).filter(_.nonEmpty).map(_.toInt)
    numbers.take(2).toSeq >= Seq(4, 3)
  }

  private def unsupported(dataType: DataType): Option[String] = Some(s"has the type ${dataType.sql}")
}
