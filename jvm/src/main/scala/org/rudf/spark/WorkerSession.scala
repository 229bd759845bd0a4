package org.rudf.spark

import org.apache.spark.TaskContext

/**
 * Where Python runs: inside this process or in a worker process. Nothing above this class knows which.
 *
 * @param handle    the native host
 * @param executable the `python` that it is
 */
final class WorkerHost(handle: Long, val executable: String, val pythonVersion: String, packages: Set[String]) {

  /** Whether a Python package can be imported there. */
  def hasPackage(name: String): Boolean = packages.contains(name)

  /** Ends what is not in use; nothing can be opened afterwards. */
  private[spark] def stop(): Unit = {
    RudfNative.stopHost(handle)
    ()
  }

  /**
   * Opens a session.
   *
   * @return a sentence where this host cannot run the functions
   * @throws org.apache.spark.api.python.PythonException where one cannot be unpickled
   */
  def open(message: Array[Byte]): Either[String, WorkerSession] =
    try {
      val session = new WorkerSession(NativeBytes.lend(message)(RudfNative.openSession(handle, _, _)))
      try session.awaitOpened()
      catch {
        case error: Throwable =>
          session.close()
          throw error
      }
      Right(session)
    }
    catch {
      case error: RudfNativeException if error.kind == RudfNativeException.ENVIRONMENT => Left(error.getMessage)
    }
}

/** Failures of the user's functions as Spark's own exception, so that the driver shows them as it always does. */
private object PythonFailures {
  def rethrown[T](body: => T): T =
    try body
    catch {
      case error: RudfNativeException if error.kind == RudfNativeException.PYTHON =>
        throw StreamFailures.found(error.getMessage).getOrElse(SparkAccess.pythonException(error.getMessage))
    }
}

/** One operator's functions on one partition. Used by one thread; `close` may be called twice. */
final class WorkerSession(@volatile private var handle: Long) extends AutoCloseable {
  private val memory = SegmentMemory.ofTask()

  /**
   * Waits until the functions have been unpickled, or the task is killed.
   *
   * @throws org.apache.spark.api.python.PythonException where one cannot be unpickled
   */
  private[spark] def awaitOpened(): Unit = {
    val start = System.nanoTime()
    while (PythonFailures.rethrown(RudfNative.awaitOpened(handle, WorkerSession.PollMillis)) == 0) {
      Option(TaskContext.get()).foreach(SparkAccess.checkKilled(_))
    }
    openingNanos = System.nanoTime() - start
  }

  /** How long it took until the functions were unpickled. */
  private[spark] var openingNanos = 0L

  /** Most bytes of batches, and of the results that are taken, which there were at once. */
  private[spark] def peakBytes: Long = if (memory == null) 0L else memory.peak

  /** Memory for the next batch. */
  def acquire(capacity: Long): Segment = Segment.acquire(handle, capacity, memory)

  /** Hands a batch over. The segment still has to be closed by the caller, after its last use. */
  def submit(segment: Segment, length: Long): Unit = {
    RudfNative.submit(handle, segment.handle, length)
    ()
  }

  /** Asks a stream for results without a batch; with `end`, says that there are no more batches. */
  def ask(end: Boolean): Unit = {
    RudfNative.ask(handle, if (end) 1L else 0L)
    ()
  }

  /**
   * The oldest result, if it is there within the timeout.
   *
   * @throws org.apache.spark.api.python.PythonException where the function failed
   */
  def take(timeoutMillis: Long): Option[EvaluatedBatch] = {
    val result = PythonFailures.rethrown(RudfNative.take(handle, timeoutMillis))
    if (result == 0) None
    else {
      val results = new EvaluatedBatch(result)
      if (memory != null) memory.noteResults(results.bytes)
      Some(results)
    }
  }

  /**
   * What the session tells at its end, if it is there within the timeout. Asked when all results have been taken.
   *
   * @throws org.apache.spark.api.python.PythonException where an accumulator cannot be pickled
   */
  def finish(timeoutMillis: Long): Option[String] = {
    val told = PythonFailures.rethrown(RudfNative.finish(handle, timeoutMillis))
    if (told == 0) None else Some(NativeBytes.takeText(told))
  }

  /** Asks the running function to stop. */
  def interrupt(): Unit = if (handle != 0) RudfNative.interruptSession(handle)

  /** Ends the worker and keeps what another thread may be using. */
  private[spark] def abandon(): Unit = {
    interrupt()
    handle = 0
  }

  override def close(): Unit = if (handle != 0) {
    val closed = handle
    handle = 0
    RudfNative.closeSession(closed)
    ()
  }
}

private[spark] object WorkerSession {
  /** How long to wait before looking whether the task has been killed. */
  val PollMillis = 100L
}

/** The results of one batch, valid until closed. */
final class EvaluatedBatch(private var handle: Long) extends AutoCloseable {
  val rows: Long = RudfNative.resultRows(handle)

  val bytes: Long = RudfNative.resultBytes(handle)

  /** How long Python was at work since the results before. */
  def nanosInPython: Long = RudfNative.resultNanos(handle)

  private val taken = RudfNative.resultTaken(handle)

  /** Of a stream: how many batches its functions have begun. */
  def batchesTaken: Long = taken >> 1

  /** Of a stream: whether its functions are at their end. */
  def isLast: Boolean = (taken & 1) == 1

  /** Address of the first of one descriptor a function. */
  def descriptors: Long = RudfNative.resultColumns(handle)

  override def close(): Unit = if (handle != 0) {
    val released = handle
    handle = 0
    RudfNative.releaseResult(released)
    ()
  }

  /** Closes this when nobody can reach it any more: vectors over it hold on to it. */
  private[spark] def closeLater(): Unit = if (handle != 0) {
    val released = handle
    handle = 0
    Unreachable.then(this, () => RudfNative.releaseResult(released))
  }
}
