package org.rudf.spark

import scala.collection.mutable

import org.apache.spark.TaskContext

/**
 * Hands batches to functions that take an iterator of them, and gives what comes out, however many that are.
 *
 * @param depth how many batches may wait for the functions at once
 * @param bytes how much memory the batches may take that wait for the functions or for their results, if they are more
 *              than one. Where functions read ahead, batches beyond that wait in files
 * @param pairs whether each result belongs to one batch, in order: then batches are kept until their results come
 */
private[spark] final class StreamPipeline(
    session: WorkerSession, source: BatchSource, depth: Int, bytes: Long, context: TaskContext, metrics: EvaluationMetrics,
    atEnd: String => Unit, pairs: Boolean)
    extends SessionPipeline(session, source, context, metrics, atEnd) {

  /** Batches that the functions have not begun. */
  private val unread = mutable.Queue.empty[LaidOutBatch]
  private val waiting = new WaitingBatches(session, bytes, context)
  private var largest = 0L
  private var taken = 0L
  /** Messages that have not been answered. */
  private var asked = 0L
  private var begun = false
  private var exhausted = false
  private var ended = false

  override protected def advance(): Option[(Option[LaidOutBatch], EvaluatedBatch)] = {
    var found: Option[EvaluatedBatch] = None
    while (!isClosed && found.isEmpty && !(ended && asked == 0)) {
      ask()
      found = receive()
    }
    found.map { results =>
      val batch = if (pairs) Some(waiting.dequeue()) else None
      // The worker goes on while these results are used.
      if (!isClosed) ask()
      (batch, results)
    }
  }

  /** Sees to it that the worker has batches to work on, and an answer to give. */
  private def ask(): Unit = {
    while (!ended && !exhausted && hasRoom) layOut()
    if (!ended && asked == 0) ask(end = false)
  }

  private def ask(end: Boolean): Unit = {
    begun = true
    session.ask(end)
    asked += 1
  }

  private def hasRoom: Boolean = unread.isEmpty ||
    (unread.size < depth && unread.forall(_.isGranted) &&
      unread.iterator.map(_.bytes).sum + waiting.bytesInMemory + largest <= bytes)

  private def layOut(): Unit = submitNext() match {
    case None =>
      exhausted = true
      ask(end = true)
    case Some(batch) =>
      begun = true
      asked += 1
      largest = math.max(largest, batch.bytes)
      unread.enqueue(batch)
  }

  private def receive(): Option[EvaluatedBatch] = {
    val results = awaitResults()
    asked -= 1
    ended ||= results.isLast
    // What comes after the end counts no batches.
    while (taken < results.batchesTaken) {
      taken += 1
      val batch = unread.dequeue()
      if (pairs) waiting.enqueue(batch) else batch.close()
    }
    if (results.rows == 0) {
      results.close()
      None
    } else Some(results)
  }

  override protected def isAtWork: Boolean = begun && !ended

  override protected def releaseWaiting(): Unit = {
    unread.foreach(_.close())
    unread.clear()
    waiting.close()
  }
}
