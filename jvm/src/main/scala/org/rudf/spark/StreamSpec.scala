package org.rudf.spark

import scala.util.Try

import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}
import com.fasterxml.jackson.databind.node.ObjectNode

import org.apache.spark.sql.catalyst.expressions.{Attribute, Expression}
import org.apache.spark.sql.internal.SQLConf
import org.apache.spark.sql.types.DataType

/**
 * What `rudf.worker.streams` is told of a stream; the names are those of its `run`.
 *
 * @param output `struct`, `aligned`, `keyed`, `table` or `pickled`
 * @param groups where functions take groups of rows: then the last column marks the rows that begin one
 * @param table  of a table function
 * @param keys   how many columns, from the first, come back before the results
 */
private[spark] final case class StreamSpec(names: Seq[String], nullable: Seq[Boolean], asStruct: Boolean,
    conf: Map[String, String], output: String, groups: Option[GroupColumns] = None, table: Option[TableSpec] = None,
    keys: Int = 0) {

  /** The columns that come back before the results. */
  def returned: Seq[Int] = 0 until keys

  def write(node: ObjectNode): Unit = {
    val (columns, flags) = (node.putArray("names"), node.putArray("nullable"))
    names.foreach(name => columns.add(name))
    nullable.foreach(flag => flags.add(flag))
    node.put("struct", asStruct).put("output", output)
    groups.foreach(_.write(node.putObject("groups")))
    table.foreach(_.write(node.putObject("table"), keys))
    val confs = node.putObject("conf")
    conf.foreach { case (name, value) => confs.put(name, value) }
  }
}

/**
 * Columns, by number, that are the keys of groups, and those that functions get of each row.
 *
 * @param frames  of functions over windows, with the columns that tell bounds at a distance
 * @param cogroup of the other side of cogroups
 */
private[spark] final case class GroupColumns(keys: Seq[Int], values: Seq[Int], frames: Seq[(WindowFrameSpec, Option[FrameColumns])] = Nil,
    cogroup: Option[GroupColumns] = None) {

  def write(node: ObjectNode): Unit = {
    val (first, second, third) = (node.putArray("keys"), node.putArray("values"), node.putArray("frames"))
    keys.foreach(i => first.add(i))
    values.foreach(i => second.add(i))
    frames.foreach { case (frame, columns) =>
      val told = third.addObject().put("rows", frame.rows)
      frame.lower.foreach(told.put("lower", _))
      frame.upper.foreach(told.put("upper", _))
      columns.foreach(_.write(told.putObject("columns")))
    }
    cogroup.foreach(_.write(node.putObject("cogroup")))
  }
}

/** The columns, by number, of a frame's order and of its bounds that lie at a distance, and how the order sorts. */
private[spark] final case class FrameColumns(order: Int, lower: Option[Int], upper: Option[Int], descending: Boolean, nullsLast: Boolean) {

  def write(node: ObjectNode): Unit = {
    node.put("order", order).put("descending", descending).put("nulls_last", nullsLast)
    lower.foreach(node.put("lower", _))
    upper.foreach(node.put("upper", _))
  }
}

private[spark] object StreamSpec {
  /** Confs that PySpark's worker knows (`pyspark.worker.RunnerConf`). */
  private val known = Seq(
    "spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName", "spark.sql.execution.arrow.useLargeVarTypes",
    "spark.sql.legacy.execution.pythonUDF.pandas.conversion.enabled",
    "spark.sql.execution.pythonUDF.mapInBatch.legacy.acceptAnyIterable.enabled", "spark.sql.execution.pyspark.binaryAsBytes",
    "spark.sql.execution.pandas.convertToArrowArraySafely", "spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled",
    "spark.sql.execution.pythonUDF.pandas.preferIntExtensionDtype", "spark.sql.execution.arrow.maxRecordsPerBatch",
    "spark.sql.execution.arrow.maxBytesPerBatch", "spark.sql.execution.arrow.pyspark.validateSchema.enabled")

  private def confs(conf: SQLConf): Map[String, String] =
    known.flatMap(name => Try(conf.getConfString(name)).toOption.map(name -> _)).toMap +
      ("spark.sql.session.timeZone" -> conf.sessionLocalTimeZone)

  /** Functions that are called with their arguments, which have no names of their own. */
  def columns(inputs: Seq[Expression], conf: SQLConf): StreamSpec =
    StreamSpec(inputs.indices.map(i => s"_$i"), inputs.map(_.nullable), asStruct = false, confs(conf), "aligned")

  /** Maps, which get whole rows and give whole rows. */
  def rows(attributes: Seq[Attribute], conf: SQLConf): StreamSpec =
    StreamSpec(attributes.map(_.name), attributes.map(_.nullable), asStruct = true, confs(conf), "struct")

  /** Maps over cogroups. The columns of either side are null in the rows of the other; the column before the last tells it. */
  def cogroups(attributes: Seq[Attribute], left: GroupColumns, right: GroupColumns, conf: SQLConf): StreamSpec =
    rows(attributes, conf).copy(asStruct = false, groups = Some(left.copy(cogroup = Some(right))))

  /** Maps over groups of rows. */
  def groups(attributes: Seq[Attribute], columns: GroupColumns, asStruct: Boolean, conf: SQLConf): StreamSpec =
    rows(attributes, conf).copy(asStruct = asStruct, groups = Some(columns))

  /** Aggregates over windows. The last columns mark rows of another order than the one before, and groups. */
  def windows(inputs: Seq[Expression], frames: Seq[(WindowFrameSpec, Option[FrameColumns])], conf: SQLConf): StreamSpec =
    columns(inputs.dropRight(2), conf).copy(groups = Some(GroupColumns(Nil, Nil, frames)))

  /** Aggregates, whose results come with the keys of their groups, which are the first columns. */
  def aggregates(inputs: Seq[Expression], keys: Int, conf: SQLConf): StreamSpec =
    columns(inputs.init, conf).copy(output = "keyed", groups = Some(GroupColumns(0 until keys, Nil)), keys = keys)

  /** Table functions, whose results come with the columns of their row that are wanted, which are the first. */
  def table(inputs: Seq[Expression], keys: Int, function: TableSpec, isPickled: Boolean, conf: SQLConf): StreamSpec =
    columns(inputs, conf).copy(output = if (isPickled) "pickled" else "table", table = Some(function), keys = keys)
}

/** Failures that Spark's JVM finds in PySpark's results, and that are found in the worker here. */
private[spark] object StreamFailures {
  private val Mismatch = "rudf.worker.outputs.ArrowTypeMismatch: "
  private val Overflow = "rudf.worker.ranges.BoundOverflow: "
  private val Json = new ObjectMapper()

  /** The failure that a worker tells, if it is one of these. */
  def found(text: String): Option[Throwable] =
    typeMismatch(text).orElse(told(text, Overflow)(node => new BoundOverflow(node.path("column").asInt(), node.path("value").asLong())))

  private def told[T](text: String, marker: String)(read: JsonNode => T): Option[T] =
    Option(text.indexOf(marker)).filter(_ >= 0).flatMap { at =>
      Try(read(Json.readTree(text.substring(at + marker.length).linesIterator.next()))).toOption
    }

  /** Spark's error for results of other types or fewer columns than declared, if that is what a worker tells. */
  private def typeMismatch(text: String): Option[Throwable] =
    told(text, Mismatch) { told =>
      def types(name: String): Seq[DataType] = {
        val list = told.path(name)
        (0 until list.size).map(i => DataType.fromJson(list.get(i).toString))
      }
      if (told.has("method")) {
        SparkAccess.unsupportedCall(told.path("method").asText())
      } else if (told.has("length")) {
        val length = told.path("length").asInt()
        new ArrayIndexOutOfBoundsException(s"Index $length out of bounds for length $length")
      } else SparkAccess.typeMismatch(told.path("operation").asText(), types("declared"), types("actual"))
    }
}
