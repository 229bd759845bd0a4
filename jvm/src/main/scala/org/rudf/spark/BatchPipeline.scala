package org.rudf.spark

import scala.collection.mutable

import org.apache.spark.TaskContext

/**
 * Keeps several batches under way: while Python works on one, the task lays out the next ones.
 *
 * A batch and its results stay valid until the next call of `next`; `close` gives everything back, whenever it comes.
 *
 * @param depth how many batches may be under way
 * @param bytes how much memory they may take together, if they are more than one
 */
private[spark] final class BatchPipeline(
    session: WorkerSession, source: BatchSource, depth: Int, bytes: Long, context: TaskContext, metrics: EvaluationMetrics,
    atEnd: String => Unit)
    extends SessionPipeline(session, source, context, metrics, atEnd) {

  private val underWay = mutable.Queue.empty[LaidOutBatch]
  private var largest = 0L
  private var exhausted = false

  override protected def advance(): Option[(Option[LaidOutBatch], EvaluatedBatch)] = {
    while (!isClosed && !exhausted && hasRoom) layOut()
    if (isClosed || underWay.isEmpty) None
    else {
      val results = await(underWay.head)
      Some((Some(underWay.dequeue()), results))
    }
  }

  /** Whether one more batch, which may be as large as any before, can be under way. */
  private def hasRoom: Boolean = underWay.isEmpty ||
    (underWay.size < depth && underWay.forall(_.isGranted) && underWay.iterator.map(_.bytes).sum + largest <= bytes)

  private def layOut(): Unit = submitNext() match {
    case None => exhausted = true
    case Some(batch) =>
      underWay.enqueue(batch)
      largest = math.max(largest, batch.bytes)
  }

  private def await(batch: LaidOutBatch): EvaluatedBatch = {
    val results = awaitResults()
    if (results.rows != batch.rows) {
      results.close()
      throw new IllegalStateException(s"rudf: ${results.rows} results for ${batch.rows} rows")
    }
    results
  }

  override protected def isAtWork: Boolean = underWay.nonEmpty

  override protected def releaseWaiting(): Unit = {
    underWay.foreach(_.close())
    underWay.clear()
  }
}
