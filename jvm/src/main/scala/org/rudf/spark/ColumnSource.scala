package org.rudf.spark

import org.apache.spark.sql.vectorized.ColumnarBatch

/**
 * Lays the child's batches out, in bulk, and puts small ones together.
 *
 * @param positions for each column of the segment its position in the child's batches
 */
private[spark] final class ColumnSource(
    plan: EvaluationPlan, columns: SegmentColumns, positions: Array[Int], session: WorkerSession, batches: Iterator[ColumnarBatch])
    extends BatchSource {
  private val forms = columns.forms
  /** Columns whose values differ in size first: they decide how many rows fit. */
  private val appendOrder: Array[Int] =
    forms.indices.toArray.sortBy(c => !forms(c).kind.hasOffsets && forms(c).kind != ColumnKind.STRUCT)
  private val writer = new BatchWriter(session.acquire(_), forms, columns.visible, plan.maxRows)
  /** The child's batch that is being read, and how far. */
  private var source: ColumnarBatch = _
  private var read = 0

  override def next(): Option[LaidOutBatch] =
    if (!hasMore) None
    else {
      writer.begin()
      try {
        var rows = 0
        var full = false
        while (!full && rows < plan.maxRows && hasMore) {
          val wanted = math.min(plan.maxRows - rows, source.numRows - read)
          // A batch of the child that would be torn apart starts the next one, unless it is too large anyway.
          if (rows > 0 && wanted < source.numRows - read) full = true
          else {
            val appended = append(wanted, rows)
            full = appended < wanted || writer.bytesUsed(rows + appended) >= plan.maxBytes
            rows += appended
            read += appended
          }
        }
        Some(new LaidOutBatch(writer.finish(rows), writer.length, rows, writer.visibleBytes(rows)))
      } catch {
        case error: Throwable =>
          writer.abandon()
          throw error
      }
    }

  private def hasMore: Boolean = {
    while ((source == null || read == source.numRows) && batches.hasNext) {
      source = batches.next()
      read = 0
    }
    source != null && read < source.numRows
  }

  /** Appends up to `wanted` rows to every column, and says how many it were. */
  private def append(wanted: Int, row: Int): Int = {
    var count = wanted
    var i = 0
    while (i < appendOrder.length) {
      val column = appendOrder(i)
      val budget = math.max(plan.maxBytes - writer.bytesUsed(row), 0L)
      val appended = writer.append(column, source.column(positions(column)), read, count, row, budget)
      if (appended < count) {
        count = appended
        var j = 0
        while (j < i) {
          writer.truncate(appendOrder(j), row + count)
          j += 1
        }
      }
      i += 1
    }
    count
  }
}
