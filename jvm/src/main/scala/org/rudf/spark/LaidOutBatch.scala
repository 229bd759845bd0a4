package org.rudf.spark

/**
 * A batch that has been laid out.
 *
 * @param sent     bytes of the values that are for Python
 * @param page     the rows that wait for their results, where they do not wait in the segment itself
 * @param giveBack takes the page when the batch is done
 */
private[spark] final class LaidOutBatch(val segment: Segment, val length: Long, val rows: Int, val sent: Long,
    val page: Option[RowPage] = None, giveBack: RowPage => Unit = _ => ()) extends AutoCloseable {

  /** Memory that the batch takes. */
  def bytes: Long = segment.capacity + page.fold(0L)(_.bytesUsed.toLong)

  /** Whether Spark's memory manager had all of it. */
  def isGranted: Boolean = segment.isGranted

  override def close(): Unit = {
    segment.close()
    page.foreach(giveBack)
  }
}

/** Lays out the next batch, if there is one. */
private[spark] trait BatchSource {
  def next(): Option[LaidOutBatch]
}
