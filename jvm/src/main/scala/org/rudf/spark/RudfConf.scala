package org.rudf.spark

import scala.util.Try

import org.apache.spark.SparkConf
import org.apache.spark.sql.internal.SQLConf

/** The confs of rudf, and those of Spark that change what a UDF sees. */
object RudfConf {
  /** Off: every function runs on Spark's own path. Can be set while a session runs. */
  val Enabled = "spark.rudf.enabled"
  /** The `python` to embed; otherwise the one that the function was made for (`PYSPARK_PYTHON`). */
  val Python = "spark.rudf.python"
  /** Directory to unpack the native libraries into; otherwise the JVM's temporary directory. */
  val UnpackDirectory = "spark.rudf.unpack.dir"
  /** Batches that may be laid out or under way in Python at once, for one task. */
  val BatchesInFlight = "spark.rudf.batchesInFlight"

  def isEnabled(conf: SQLConf): Boolean = conf.getConfString(Enabled, "true").trim.equalsIgnoreCase("true")

  def batchesInFlight(conf: SQLConf): Int =
    Try(conf.getConfString(BatchesInFlight, "3").trim.toInt).filter(_ > 0).getOrElse(
      throw new IllegalArgumentException(
        s"$BatchesInFlight is `${conf.getConfString(BatchesInFlight)}`, and has to be a whole number from 1 up"))

  /** What the host needs of the application's confs. */
  final case class HostConf(python: Option[String], unpackDirectory: Option[String])

  def hostConf(conf: SparkConf): HostConf = HostConf(conf.getOption(Python), conf.getOption(UnpackDirectory))

  /** Settings of the session message, by its names. */
  def settings(conf: SQLConf): Map[String, Any] = Map(
    "session_time_zone" -> conf.sessionLocalTimeZone,
    "safe_cast" -> flag(conf, "spark.sql.execution.pandas.convertToArrowArraySafely", default = false),
    "binary_as_bytes" -> flag(conf, "spark.sql.execution.pyspark.binaryAsBytes", default = false),
    "int_to_decimal" -> flag(conf, "spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled", default = false),
    "prefer_int_ext_dtype" -> flag(conf, "spark.sql.execution.pythonUDF.pandas.preferIntExtensionDtype", default = false),
    "large_var_types" -> flag(conf, "spark.sql.execution.arrow.useLargeVarTypes", default = false),
    "simplified_traceback" -> flag(conf, "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled", default = true),
    "hide_traceback" -> flag(conf, "spark.sql.execution.pyspark.udf.hideTraceback.enabled", default = false),
    "traceback_with_locals" -> flag(conf, "spark.sql.execution.pyspark.udf.tracebackWithLocals.enabled", default = false)
  )

  /**
   * A conf of Spark's with the default that this version of Spark gives it; `default` is for versions that do not know
   * the conf, where the behaviour that it switches on does not exist yet.
   */
  def flag(conf: SQLConf, name: String, default: Boolean): Boolean =
    Try(conf.getConfString(name)).map(_.trim.equalsIgnoreCase("true")).getOrElse(default)
}
