package org.rudf.spark

import java.util.concurrent.TimeUnit
import java.util.concurrent.locks.ReentrantLock

import org.slf4j.LoggerFactory

import org.apache.spark.{TaskContext, TaskKilledException}

/** Gives batches with their results. A batch and its results stay valid until the next call of `next`. */
private[spark] trait ResultPipeline extends AutoCloseable {
  def next(): Option[(LaidOutBatch, EvaluatedBatch)]
}

/**
 * What pipelines over a session have in common: what the consumer reads, waiting, and the end.
 *
 * The consumer may be a thread of its own (that which feeds the program of a `TRANSFORM`, for one), which is still at it
 * when the task ends and this is closed: then `close` waits until it is out of `next`, and what it reads outlives both.
 *
 * @param atEnd takes what the session tells when the last results have been taken
 */
private[spark] abstract class SessionPipeline(session: WorkerSession, source: BatchSource, context: TaskContext,
    metrics: EvaluationMetrics, atEnd: String => Unit) extends ResultPipeline {

  /** Held by whoever is in `next` or `close`. */
  private val lock = new ReentrantLock()
  /** What the consumer reads: results, and the batch that they belong to where they belong to one. */
  private var current: Option[(Option[LaidOutBatch], EvaluatedBatch)] = None
  private var consumer: Thread = _
  @volatile private var closed = false
  private var finished = false
  private val start = System.nanoTime()
  private var counted = false

  /** The next results, if there are any. Called when those before have been released. */
  protected def advance(): Option[(Option[LaidOutBatch], EvaluatedBatch)]

  /** Whether the functions are at something, or may be, that nobody waits for once this is closed. */
  protected def isAtWork: Boolean

  /** Closes the batches whose results have not come. */
  protected def releaseWaiting(): Unit

  protected final def isClosed: Boolean = closed

  override final def next(): Option[(LaidOutBatch, EvaluatedBatch)] = {
    lock.lock()
    try {
      consumer = Thread.currentThread()
      releaseCurrent()
      if (!closed && !finished) {
        current = advance()
        // Whoever closes this while a batch is laid out has closed everything but this.
        if (closed) releaseCurrent()
        else if (current.isEmpty) finish()
      }
      current.map { case (batch, results) => (batch.orNull, results) }
    } finally lock.unlock()
  }

  /** Lays out the next batch and hands it to the functions, if there is one. */
  protected final def submitNext(): Option[LaidOutBatch] = {
    val start = System.nanoTime()
    val batch = source.next()
    batch.foreach { batch =>
      session.submit(batch.segment, batch.length)
      metrics.batches += 1
      metrics.rowsSent += batch.rows.toLong
      metrics.bytesSent += batch.sent
    }
    metrics.layoutTime += System.nanoTime() - start
    batch
  }

  protected final def awaitResults(): EvaluatedBatch = {
    val start = System.nanoTime()
    val results = poll(session.take(Polling.Millis))
    metrics.waitTime += System.nanoTime() - start
    metrics.rowsReceived += results.rows
    metrics.bytesReceived += results.bytes
    metrics.pythonTime += results.nanosInPython
    results
  }

  private def finish(): Unit = {
    finished = true
    atEnd(poll(session.finish(Polling.Millis)))
    countWhole()
  }

  /** Counts what there is one of for each session, when it has done its work or is given up. */
  private def countWhole(): Unit = if (!counted) {
    counted = true
    metrics.totalTime += System.nanoTime() - start
    metrics.notePeak(session.peakBytes)
  }

  private def poll[T](ask: => Option[T]): T = Polling.until(context) {
    if (closed || context.isCompleted()) throw new TaskKilledException("the task has ended")
    ask
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
    if (SessionPipeline.lockInTime(lock)) {
      try closeAll() finally lock.unlock()
    } else {
      // It waits for something else than the worker. What it uses must stay.
      SessionPipeline.log.warn("rudf: a thread still reads results of a task that has ended; its session is not closed")
      session.abandon()
    }
  }

  private def closeAll(): Unit = {
    countWhole()
    // Whatever still runs computes for nobody. Where the task has had enough, the worker gets the time to come to an end;
    // where it was killed, it may be that the function never does.
    if (isAtWork && SparkAccess.isInterrupted(context)) session.interrupt()
    session.close()
    if (consumer == null || consumer.eq(Thread.currentThread())) releaseCurrent()
    else {
      current.foreach { case (batch, results) =>
        results.closeLater()
        batch.foreach(_.segment.closeLater())
      }
      current = None
    }
    releaseWaiting()
  }
}

private object SessionPipeline {
  private val log = LoggerFactory.getLogger(classOf[SessionPipeline])

  /** How long a thread may take to leave `next` when the task has ended. */
  private val Patience = TimeUnit.SECONDS.toNanos(10)

  /** Takes a lock, if it comes free in time. The interrupt by which Spark kills a task keeps no session from being closed. */
  private def lockInTime(lock: ReentrantLock): Boolean = {
    val end = System.nanoTime() + Patience
    var interrupted = false
    var locked: Option[Boolean] = None
    while (locked.isEmpty) {
      try locked = Some(lock.tryLock(end - System.nanoTime(), TimeUnit.NANOSECONDS))
      catch { case _: InterruptedException => interrupted = true }
    }
    if (interrupted) Thread.currentThread().interrupt()
    locked.get
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
