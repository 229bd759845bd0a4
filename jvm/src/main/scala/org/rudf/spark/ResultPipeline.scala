package org.rudf.spark

import org.apache.spark.TaskContext

/** Gives batches with their results. A batch and its results stay valid until the next call of `next`. */
private[spark] trait ResultPipeline extends AutoCloseable {
  def next(): Option[(LaidOutBatch, EvaluatedBatch)]
}

/**
 * What pipelines over a session have in common: what the consumer reads, waiting, and the end.
 *
 * @param atEnd takes what the session tells when the last results have been taken
 */
private[spark] abstract class SessionPipeline(session: WorkerSession, source: BatchSource, context: TaskContext,
    metrics: EvaluationMetrics, atEnd: String => Unit) extends ResultPipeline {

  /** What the consumer reads: results, and the batch that they belong to where they belong to one. */
  private var current: Option[(Option[LaidOutBatch], EvaluatedBatch)] = None
  private var closed = false
  private var finished = false

  /** The next results, if there are any. Called when those before have been released. */
  protected def advance(): Option[(Option[LaidOutBatch], EvaluatedBatch)]

  /** Whether the functions are at something, or may be, that nobody waits for once this is closed. */
  protected def isAtWork: Boolean

  /** Closes the batches whose results have not come. */
  protected def releaseWaiting(): Unit

  protected final def isClosed: Boolean = closed

  override final def next(): Option[(LaidOutBatch, EvaluatedBatch)] = {
    releaseCurrent()
    if (!closed && !finished) {
      current = advance()
      // Whoever closes this while a batch is laid out has closed everything but this.
      if (closed) releaseCurrent()
      else if (current.isEmpty) finish()
    }
    current.map { case (batch, results) => (batch.orNull, results) }
  }

  /** Lays out the next batch and hands it to the functions, if there is one. */
  protected final def submitNext(): Option[LaidOutBatch] = {
    val start = System.nanoTime()
    val batch = source.next()
    batch.foreach { batch =>
      session.submit(batch.segment, batch.length)
      metrics.batches += 1
      metrics.bytesSent += batch.length
    }
    metrics.layoutTime += System.nanoTime() - start
    batch
  }

  protected final def awaitResults(): EvaluatedBatch = {
    val start = System.nanoTime()
    val results = Polling.until(context)(session.take(Polling.Millis))
    metrics.waitTime += System.nanoTime() - start
    results
  }

  private def finish(): Unit = {
    finished = true
    atEnd(Polling.until(context)(session.finish(Polling.Millis)))
  }

  private def releaseCurrent(): Unit = {
    current.foreach { case (batch, results) =>
      results.close()
      batch.foreach(_.close())
    }
    current = None
  }

  override final def close(): Unit = if (!closed) {
    closed = true
    // Whatever still runs computes for nobody. Where the task has had enough, the worker gets the time to come to an end;
    // where it was killed, it may be that the function never does.
    if (isAtWork && SparkAccess.isInterrupted(context)) session.interrupt()
    session.close()
    releaseCurrent()
    releaseWaiting()
  }
}

/** Waits for Python without losing sight of the task. */
private[spark] object Polling {
  /** How long to wait before looking whether the task has been killed. */
  val Millis = 100L

  /** Asks again and again until there is an answer or the task has been killed. */
  def until[T](context: TaskContext)(ask: => Option[T]): T = {
    var answer = ask
    while (answer.isEmpty) {
      SparkAccess.checkKilled(context)
      answer = ask
    }
    answer.get
  }
}
