package org.rudf.spark

import scala.collection.mutable

import org.apache.spark.{SparkContext, TaskContext}
import org.apache.spark.sql.execution.metric.{SQLMetric, SQLMetrics}

/**
 * A batch that has been laid out.
 *
 * @param page the rows that wait for their results, where they do not wait in the segment itself
 */
private[spark] final class LaidOutBatch(val segment: Segment, val length: Long, val rows: Int, val page: Option[RowPage])

/** Lays out the next batch, if there is one. */
private[spark] trait BatchSource {
  def next(): Option[LaidOutBatch]
}

/** Counts what a task does; the driver shows the sums with the operator. */
private[spark] final case class EvaluationMetrics(
    rows: SQLMetric, batches: SQLMetric, bytesSent: SQLMetric, layoutTime: SQLMetric, waitTime: SQLMetric)

private[spark] object EvaluationMetrics {
  /** The metrics of an operator, by the names that it gives them. */
  def create(context: SparkContext): Map[String, SQLMetric] = Map(
    "numOutputRows" -> SQLMetrics.createMetric(context, "number of output rows"),
    "numBatches" -> SQLMetrics.createMetric(context, "number of batches"),
    "pythonDataSent" -> SQLMetrics.createSizeMetric(context, "data laid out for Python"),
    "layoutTime" -> SQLMetrics.createNanoTimingMetric(context, "time to lay out batches, child included"),
    "waitTime" -> SQLMetrics.createNanoTimingMetric(context, "time waiting for Python"),
    "partitionsLeftToSpark" -> SQLMetrics.createMetric(context, "partitions left to Spark"))

  def of(metrics: Map[String, SQLMetric]): EvaluationMetrics = EvaluationMetrics(metrics("numOutputRows"),
    metrics("numBatches"), metrics("pythonDataSent"), metrics("layoutTime"), metrics("waitTime"))
}

/**
 * Keeps several batches under way: while Python works on one, the task lays out the next ones.
 *
 * A batch and its results stay valid until the next call of `next`; `close` gives everything back, whenever it comes.
 *
 * @param depth how many batches may be under way
 * @param bytes how much memory they may take together, if they are more than one
 * @param atEnd takes what the session tells when the last results have been taken
 */
private[spark] final class BatchPipeline(
    session: WorkerSession, source: BatchSource, depth: Int, bytes: Long, context: TaskContext, metrics: EvaluationMetrics,
    atEnd: String => Unit)
    extends ResultPipeline {

  private val underWay = mutable.Queue.empty[LaidOutBatch]
  private var largest = 0L
  private var exhausted = false
  private var current: Option[(LaidOutBatch, EvaluatedBatch)] = None
  private var closed = false
  private var finished = false

  /** The next batch with its results. */
  override def next(): Option[(LaidOutBatch, EvaluatedBatch)] = {
    releaseCurrent()
    while (!closed && !exhausted && hasRoom) layOut()
    if (closed || finished) None
    else if (underWay.isEmpty) {
      finish()
      None
    } else {
      val results = await(underWay.head)
      current = Some((underWay.dequeue(), results))
      current
    }
  }

  /** Whether one more batch, which may be as large as any before, can be under way. */
  private def hasRoom: Boolean = underWay.isEmpty ||
    (underWay.size < depth && underWay.forall(_.segment.isGranted) &&
      underWay.iterator.map(_.segment.capacity).sum + largest <= bytes)

  private def layOut(): Unit = {
    val start = System.nanoTime()
    source.next() match {
      case None => exhausted = true
      case Some(batch) =>
        underWay.enqueue(batch)
        largest = math.max(largest, batch.segment.capacity)
        session.submit(batch.segment, batch.length)
        metrics.batches += 1
        metrics.rows += batch.rows.toLong
        metrics.bytesSent += batch.length
    }
    metrics.layoutTime += System.nanoTime() - start
  }

  private def await(batch: LaidOutBatch): EvaluatedBatch = {
    val start = System.nanoTime()
    val results = Polling.until(context)(session.take(Polling.Millis))
    metrics.waitTime += System.nanoTime() - start
    if (results.rows != batch.rows) {
      results.close()
      throw new IllegalStateException(s"rudf: ${results.rows} results for ${batch.rows} rows")
    }
    results
  }

  private def finish(): Unit = {
    finished = true
    atEnd(Polling.until(context)(session.finish(Polling.Millis)))
  }

  private def releaseCurrent(): Unit = {
    current.foreach { case (batch, results) =>
      results.close()
      batch.segment.close()
    }
    current = None
  }

  override def close(): Unit = if (!closed) {
    closed = true
    // Whatever still runs computes for nobody. Where the task has had enough, the worker gets the time to come to an end;
    // where it was killed, it may be that the function never does.
    if (underWay.nonEmpty && SparkAccess.isInterrupted(context)) session.interrupt()
    session.close()
    releaseCurrent()
    underWay.foreach(_.segment.close())
    underWay.clear()
  }
}
