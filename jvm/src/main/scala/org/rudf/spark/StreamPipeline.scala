package org.rudf.spark

import scala.collection.mutable

import org.apache.spark.TaskContext

/** Gives batches with their results. A batch and its results stay valid until the next call of `next`. */
private[spark] trait ResultPipeline extends AutoCloseable {
  def next(): Option[(LaidOutBatch, EvaluatedBatch)]
}

/**
 * Hands batches to functions that take an iterator of them, and gives what comes out, however many that are.
 *
 * @param depth how many batches may wait for the functions at once
 * @param pairs whether each result belongs to one batch, in order: then batches are kept until their results come
 */
private[spark] final class StreamPipeline(
    session: WorkerSession, source: BatchSource, depth: Int, context: TaskContext, metrics: EvaluationMetrics,
    atEnd: String => Unit, pairs: Boolean)
    extends ResultPipeline {

  private val kept = mutable.Queue.empty[LaidOutBatch]
  private var current: Option[(LaidOutBatch, EvaluatedBatch)] = None
  private var sent = 0L
  private var taken = 0L
  /** Messages that have not been answered. */
  private var asked = 0L
  private var exhausted = false
  private var ended = false
  private var finished = false
  private var closed = false

  override def next(): Option[(LaidOutBatch, EvaluatedBatch)] = {
    releaseCurrent()
    while (!closed && current.isEmpty && !(ended && asked == 0)) {
      ask()
      receive()
    }
    if (current.isEmpty && !closed && !finished) finish()
    current
  }

  /** Sees to it that the worker has batches to work on, and an answer to give. */
  private def ask(): Unit = {
    while (!ended && !exhausted && sent - taken < depth) layOut()
    if (!ended && asked == 0) {
      session.ask(end = false)
      asked += 1
    }
  }

  private def layOut(): Unit = {
    val start = System.nanoTime()
    source.next() match {
      case None =>
        exhausted = true
        session.ask(end = true)
      case Some(batch) =>
        session.submit(batch.segment, batch.length)
        sent += 1
        metrics.batches += 1
        metrics.bytesSent += batch.length
        if (pairs) kept.enqueue(batch) else batch.segment.close()
    }
    asked += 1
    metrics.layoutTime += System.nanoTime() - start
  }

  private def receive(): Unit = {
    val start = System.nanoTime()
    val results = Polling.until(context)(session.take(Polling.Millis))
    metrics.waitTime += System.nanoTime() - start
    asked -= 1
    ended ||= results.isLast
    // What comes after the end counts no batches.
    taken = math.max(taken, results.batchesTaken)
    if (results.rows == 0) results.close()
    else {
      metrics.rows += results.rows
      current = Some((if (pairs) kept.dequeue() else null, results))
      // The worker goes on while these results are used.
      if (!closed) ask()
    }
  }

  private def finish(): Unit = {
    finished = true
    atEnd(Polling.until(context)(session.finish(Polling.Millis)))
  }

  private def releaseCurrent(): Unit = {
    current.foreach { case (batch, results) =>
      results.close()
      if (batch != null) batch.segment.close()
    }
    current = None
  }

  override def close(): Unit = if (!closed) {
    closed = true
    // Whatever still runs computes for nobody.
    if (!ended && sent + asked > 0) session.interrupt()
    session.close()
    releaseCurrent()
    kept.foreach(_.segment.close())
    kept.clear()
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
