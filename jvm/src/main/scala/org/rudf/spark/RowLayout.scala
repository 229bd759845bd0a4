package org.rudf.spark

import java.util.UUID

import scala.collection.mutable

import org.apache.spark.TaskContext

/**
 * How rows become columns of a segment, for the tasks of one operator.
 *
 * The batches that a task lays out do not travel through the iterator of rows between the two operators (a row cannot
 * hold them): they wait in the task's [[RowLayoutTask]], and each row of the iterator stands for one of them.
 *
 * @param forms          columns of a batch
 * @param visibleColumns how many of them, from the first, are for Python; the others pass by
 */
private[spark] final class RowLayout(
    val forms: Array[ColumnForm], visibleColumns: Int, maxRows: Int, maxBytes: Long) extends Serializable {

  /** Tells this layout on an executor from the others of a task: functions over functions have one each. */
  private val id = UUID.randomUUID()

  /** Runs `body`, which makes the iterator of rows, and returns it with what the rows stand for. */
  def inTask[T](session: WorkerSession)(body: => T): (T, RowLayoutTask) = {
    val task = new RowLayoutTask(new RowBatchWriter(session.acquire(_), forms, visibleColumns, maxRows, maxBytes))
    Option(TaskContext.get()).foreach(_.addTaskCompletionListener[Unit](_ => task.close()))
    val tasks = RowLayout.tasks.get()
    val outer = tasks.put(id, task)
    try (body, task)
    finally outer.fold(tasks.remove(id))(tasks.put(id, _))
  }

  /** The task whose iterator is being made. Called by generated code when it is initialised. */
  def task(): RowLayoutTask = RowLayout.tasks.get().getOrElse(id,
    throw new IllegalStateException("rudf: rows are laid out outside of the operator that wants them"))
}

private object RowLayout {
  /** By layout; only filled while iterators are made. */
  private val tasks = ThreadLocal.withInitial(() => mutable.Map.empty[UUID, RowLayoutTask])
}

/** The batches of one task, from the generated code that fills them to the operator that hands them to Python. */
private[spark] final class RowLayoutTask(val writer: RowBatchWriter) extends AutoCloseable {
  private val finished = mutable.Queue.empty[LaidOutBatch]

  /** Ends the batch that the writer has begun. */
  def endBatch(): Unit = {
    val rows = writer.rows
    finished.enqueue(new LaidOutBatch(writer.takeBatch(), writer.length, rows, writer.visibleBytes(rows)))
  }

  /** The oldest batch that has not been polled. */
  def poll(): Option[LaidOutBatch] = if (finished.isEmpty) None else Some(finished.dequeue())

  override def close(): Unit = {
    writer.abandon()
    finished.foreach(_.segment.close())
    finished.clear()
  }
}
