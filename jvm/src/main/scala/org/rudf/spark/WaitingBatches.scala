package org.rudf.spark

import java.io.{BufferedInputStream, BufferedOutputStream, DataInputStream, DataOutputStream, File, FileInputStream, FileOutputStream}

import scala.collection.mutable
import scala.util.Using

import org.apache.spark.TaskContext

/**
 * Batches that functions have begun, in order, until their results come: functions that read ahead may begin any number
 * of them. Those that there is no memory for wait in files, as Spark's rows do that wait for Python; the one whose results
 * come next is always in memory.
 *
 * @param bytes how much memory they may take, if they are more than one
 */
private[spark] final class WaitingBatches(session: WorkerSession, bytes: Long, context: TaskContext) extends AutoCloseable {
  private val waiting = mutable.Queue.empty[Either[SpilledBatch, LaidOutBatch]]
  private var inMemory = 0L

  /** Memory that is taken. */
  def bytesInMemory: Long = inMemory

  def enqueue(batch: LaidOutBatch): Unit =
    if (waiting.isEmpty || (batch.isGranted && inMemory + batch.bytes <= bytes)) {
      inMemory += batch.bytes
      waiting.enqueue(Right(batch))
    } else {
      val spilled = try SpilledBatch.write(batch, context) finally batch.close()
      waiting.enqueue(Left(spilled))
    }

  /** The oldest, which the caller has to close. */
  def dequeue(): LaidOutBatch = waiting.dequeue() match {
    case Right(batch) =>
      inMemory -= batch.bytes
      batch
    case Left(spilled) => try spilled.read(session) finally spilled.close()
  }

  override def close(): Unit = {
    waiting.foreach(_.fold(_.close(), _.close()))
    waiting.clear()
  }
}

/** A batch that waits in a file of its own, which is encrypted where Spark's are. */
private final class SpilledBatch(file: File, length: Long, rows: Int, hasPage: Boolean, pageFields: Int) extends AutoCloseable {

  def read(session: WorkerSession): LaidOutBatch =
    Using.resource(new DataInputStream(new BufferedInputStream(SparkAccess.decrypted(new FileInputStream(file))))) { in =>
      // Rows that wait in a page are all that is wanted of their batch.
      val page = if (hasPage) Some(RowPage.read(in, pageFields)) else None
      val segment = if (hasPage) Segment.borrowed(0L, 0L) else session.acquire(length)
      try {
        if (!hasPage) SpilledBatch.copyFrom(in, segment.address, length)
        new LaidOutBatch(segment, length, rows, sent = 0, page)
      } catch {
        case error: Throwable =>
          segment.close()
          throw error
      }
    }

  override def close(): Unit = {
    file.delete()
    ()
  }
}

private object SpilledBatch {
  private val ChunkBytes = 64 * 1024

  def write(batch: LaidOutBatch, context: TaskContext): SpilledBatch = {
    val file = SparkAccess.temporaryFile()
    try {
      Using.resource(new DataOutputStream(new BufferedOutputStream(SparkAccess.encrypted(new FileOutputStream(file))))) { out =>
        batch.page match {
          case Some(page) => page.write(out)
          case None => copyTo(out, batch.segment.address, batch.length)
        }
      }
      SparkAccess.countSpill(context, batch.bytes, file.length())
      new SpilledBatch(file, batch.length, batch.rows, batch.page.isDefined, batch.page.fold(0)(_.fields))
    } catch {
      case error: Throwable =>
        file.delete()
        throw error
    }
  }

  private def copyTo(out: DataOutputStream, address: Long, length: Long): Unit =
    inChunks(length)((chunk, at, size) => {
      NativeBytes.copyFrom(address + at, chunk, size)
      out.write(chunk, 0, size)
    })

  private def copyFrom(in: DataInputStream, address: Long, length: Long): Unit =
    inChunks(length)((chunk, at, size) => {
      in.readFully(chunk, 0, size)
      NativeBytes.copyTo(chunk, address + at, size)
    })

  private def inChunks(length: Long)(copy: (Array[Byte], Long, Int) => Unit): Unit = {
    val chunk = new Array[Byte](ChunkBytes)
    var at = 0L
    while (at < length) {
      val size = math.min(chunk.length.toLong, length - at).toInt
      copy(chunk, at, size)
      at += size
    }
  }
}
