package org.rudf.spark

import java.io.ByteArrayOutputStream
import java.nio.{ByteBuffer, ByteOrder}

import com.fasterxml.jackson.databind.ObjectMapper
import com.fasterxml.jackson.databind.node.ObjectNode

import org.apache.spark.sql.types.DataType

/** One argument of a function: an input column, by position or by keyword. */
final case class ArgumentSpec(column: Int, name: Option[String])

/**
 * One output column.
 *
 * @param chain pickled functions, innermost first
 * @param timeout longest time for one batch, in seconds, where the function has one of its own
 */
final case class FunctionSpec(name: String, resultType: DataType, chain: Seq[Array[Byte]], arguments: Seq[ArgumentSpec],
    timeout: Option[Double] = None)

/** Encodes the session message that `rust/segment/src/message.rs` describes. */
object SessionMessage {
  /** The version of `rust/segment` that this file follows. */
  val ProtocolVersion = 4
  private val Json = new ObjectMapper()

  /**
   * @param settings    Spark confs by the names of the message
   * @param pythonPath  entries for `sys.path`
   * @param sparkFiles  root directory of SparkFiles on this executor
   * @param broadcasts  id and local file of each broadcast variable
   * @param services    what functions have of PySpark, as [[PySparkServices]] describes it
   * @param timeoutSeconds longest time of a function for one batch, where it has none of its own; 0 is without end
   * @param keep        directory to keep batches in that fail, and what tells this task's files apart
   * @param stream      for functions that take an iterator of batches and give one
   */
  def encode(
      evalType: Int,
      inputs: Seq[DataType],
      functions: Seq[FunctionSpec],
      pythonVersion: String,
      settings: Map[String, Any],
      pythonPath: Seq[String],
      sparkFiles: Option[String],
      broadcasts: Seq[(Long, String)],
      services: Option[ObjectNode],
      timeoutSeconds: Double,
      keep: Option[(String, String)] = None,
      stream: Option[StreamSpec] = None): Array[Byte] = {
    val document = Json.createObjectNode()
    document.put("protocol", ProtocolVersion).put("eval_type", evalType).put("python_version", pythonVersion)
    val types = document.putArray("inputs")
    inputs.foreach(t => types.add(Json.readTree(t.json)))
    val blobs = new ByteArrayOutputStream()
    val list = document.putArray("functions")
    functions.foreach(f => writeFunction(list.addObject(), f, blobs))
    val confs = document.putObject("settings")
    settings.foreach {
      case (name, value: Boolean) => confs.put(name, value)
      case (name, value) => confs.put(name, value.toString)
    }
    val paths = document.putArray("python_path")
    pythonPath.foreach(p => paths.add(p))
    sparkFiles.foreach(document.put("spark_files", _))
    val variables = document.putArray("broadcasts")
    broadcasts.foreach { case (id, file) => variables.addArray().add(id).add(file) }
    services.foreach(document.set[ObjectNode]("services", _))
    document.put("timeout_seconds", timeoutSeconds)
    stream.foreach { spec =>
      spec.write(document.putObject("stream"))
      val returned = document.putArray("returned")
      spec.returned.foreach(column => returned.add(column))
    }
    keep.foreach { case (directory, label) => document.putObject("keep").put("directory", directory).put("label", label) }
    frame(Json.writeValueAsBytes(document), blobs.toByteArray)
  }

  private def writeFunction(node: ObjectNode, function: FunctionSpec, blobs: ByteArrayOutputStream): Unit = {
    node.put("name", function.name)
    node.set[ObjectNode]("result_type", Json.readTree(function.resultType.json))
    function.timeout.foreach(node.put("timeout_seconds", _))
    val chain = node.putArray("chain")
    function.chain.foreach { bytes =>
      chain.addObject().put("offset", blobs.size).put("length", bytes.length)
      blobs.writeBytes(bytes)
    }
    val arguments = node.putArray("arguments")
    function.arguments.foreach { argument =>
      val entry = arguments.addObject().put("column", argument.column)
      argument.name.foreach(entry.put("name", _))
    }
  }

  private def frame(json: Array[Byte], blobs: Array[Byte]): Array[Byte] =
    ByteBuffer.allocate(4 + json.length + blobs.length).order(ByteOrder.LITTLE_ENDIAN)
      .putInt(json.length).put(json).put(blobs).array()
}
