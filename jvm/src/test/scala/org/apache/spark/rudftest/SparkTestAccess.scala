package org.apache.spark.rudftest

import java.util.{ArrayList, HashMap}

import org.apache.spark.{SparkContext, SparkEnv}
import org.apache.spark.api.python.{PythonFunction, SimplePythonFunction}
import org.apache.spark.broadcast.Broadcast
import org.apache.spark.sql.{Column, SparkSession}
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.execution.python.UserDefinedPythonFunction
import org.apache.spark.sql.execution.vectorized.WritableColumnVector
import org.apache.spark.sql.types.{DataType, StructType}

/** Makes Python functions as PySpark does through py4j; lies here because Scala hides the classes from other packages. */
object SparkTestAccess {
  def pythonFunction(command: Array[Byte], python: String, version: String, context: SparkContext): PythonFunction =
    SimplePythonFunction(command.toSeq, new HashMap[String, String](), new ArrayList[String](), python, version,
      new ArrayList[Broadcast[org.apache.spark.api.python.PythonBroadcast]](), context.collectionAccumulator[Array[Byte]])

  def pythonUdf(name: String, function: PythonFunction, returnType: String, evalType: Int, columns: Seq[Column]): Column =
    UserDefinedPythonFunction(name, function, DataType.fromDDL(returnType), evalType, udfDeterministic = true)(columns: _*)

  /** Appends values of any type to a vector, as Spark does where it makes columns of rows. */
  def fill(vector: WritableColumnVector, dataType: DataType, values: Seq[Any]): Unit = {
    val kind = Class.forName("org.apache.spark.sql.execution.RowToColumnConverter")
    val converter = kind.getConstructor(classOf[StructType]).newInstance(new StructType().add("c", dataType))
    val convert = kind.getMethod("convert", classOf[InternalRow], classOf[Array[WritableColumnVector]])
    values.foreach(value => convert.invoke(converter, InternalRow(value), Array(vector)))
  }

  /** Gives a session artifacts of its own, as a Connect server does. */
  def isolateArtifacts(session: SparkSession): Unit = session.conf.set("spark.sql.artifact.isolation.enabled", "true")

  /** Names the artifacts of such a session. */
  def artifacts(session: SparkSession): String = session.getClass.getMethod("sessionUUID").invoke(session).toString

  /** Lets listeners hear of what has happened. */
  def waitForListeners(context: SparkContext): Unit = context.listenerBus.waitUntilEmpty()

  /** Names of temporary files that tasks have made and nobody has deleted. */
  def temporaryFiles(): Seq[String] = SparkEnv.get.blockManager.diskBlockManager.getAllFiles().map(_.getName)
    .filter(_.startsWith("temp_local"))
}
