package org.rudf.spark

import org.apache.spark.SparkContext
import org.apache.spark.sql.execution.metric.{SQLMetric, SQLMetrics}

/**
 * What tasks count; the driver shows the sums with the operator. What PySpark's operators count as well has PySpark's
 * names and words (`PythonSQLMetrics`), and times in nanoseconds in place of milliseconds.
 *
 * @param metrics of the operator, by name
 */
private[spark] final class EvaluationMetrics(metrics: Map[String, SQLMetric]) extends Serializable {
  import EvaluationMetrics._

  val rowsSent: SQLMetric = metrics(RowsSent)
  val rowsReceived: SQLMetric = metrics(RowsReceived)
  val batches: SQLMetric = metrics(Batches)
  val bytesSent: SQLMetric = metrics(BytesSent)
  val bytesReceived: SQLMetric = metrics(BytesReceived)
  val layoutTime: SQLMetric = metrics(LayoutTime)
  val waitTime: SQLMetric = metrics(WaitTime)
  val pythonTime: SQLMetric = metrics(PythonTime)
  val totalTime: SQLMetric = metrics(TotalTime)
  val leftToSpark: SQLMetric = metrics(LeftToSpark)
  private val bootTime = metrics(BootTime)
  private val initTime = metrics(InitTime)
  private val peak = metrics(Peak)

  /** Counts a session that took `nanos` to open, of which its worker loaded functions for `initNanos`. */
  def countOpened(nanos: Long, initNanos: Long): Unit = {
    bootTime += nanos - initNanos
    initTime += initNanos
    totalTime += nanos
  }

  /** Of the sessions of one task, one after another, the largest peak counts. */
  def notePeak(bytes: Long): Unit = if (bytes > peak.value) peak.set(bytes)
}

private[spark] object EvaluationMetrics {
  val RowsSent = "numRowsSent"
  val RowsReceived = "pythonNumRowsReceived"
  val Batches = "numBatches"
  val BytesSent = "pythonDataSent"
  val BytesReceived = "pythonDataReceived"
  val LayoutTime = "layoutTime"
  val WaitTime = "waitTime"
  val PythonTime = "pythonProcessingTime"
  val BootTime = "pythonBootTime"
  val InitTime = "pythonInitTime"
  val TotalTime = "pythonTotalTime"
  val Peak = "peakSegmentBytes"
  val LeftToSpark = "partitionsLeftToSpark"

  /** The metrics of an operator, by the names that it gives them. */
  def create(context: SparkContext): Map[String, SQLMetric] =
    counts.map { case (name, text) => name -> SQLMetrics.createMetric(context, text) } ++
      sizes.map { case (name, text) => name -> SQLMetrics.createSizeMetric(context, text) } ++
      times.map { case (name, text) => name -> SQLMetrics.createNanoTimingMetric(context, text) }

  private val counts = Map(
    RowsReceived -> "number of output rows",
    RowsSent -> "number of rows sent to Python workers",
    Batches -> "number of batches",
    LeftToSpark -> "partitions left to Spark")

  private val sizes = Map(
    BytesSent -> "data sent to Python workers",
    BytesReceived -> "data returned from Python workers",
    Peak -> "peak memory of batches and results")

  private val times = Map(
    LayoutTime -> "time to lay out batches, child included",
    WaitTime -> "time waiting for Python",
    PythonTime -> "time to execute Python code",
    BootTime -> "time to start Python workers",
    InitTime -> "time to initialize Python workers",
    TotalTime -> "time to run Python workers")
}
