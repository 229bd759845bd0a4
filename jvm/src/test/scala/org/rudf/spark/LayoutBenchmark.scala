package org.rudf.spark

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{UnsafeProjection, UnsafeRow}
import org.apache.spark.sql.types.{DataType, DoubleType, LongType, StringType}
import org.apache.spark.unsafe.Platform
import org.apache.spark.unsafe.types.UTF8String

/**
 * What it costs to make columns of rows of a long, a double and a string, in nanoseconds a row; `tools/bench-layout` runs it
 * and the reader in Rust (`rust/segment/examples/unsafe_rows.rs`), which reads the same bytes, and puts both together.
 */
object LayoutBenchmark {
  private val types = Array[DataType](LongType, DoubleType, StringType)
  private val Total = 1 << 21

  private var memory: Segment = _

  /** The same memory for each batch, as a pool gives it. */
  private def acquire(capacity: Long): Segment = {
    if (memory == null || memory.capacity < capacity) {
      memory = Segment.borrowed(BatchLayout.align(Platform.allocateMemory(capacity + 64)), capacity)
    }
    memory
  }

  private def median(rows: Int)(batch: => Unit): Double = {
    val batches = Total / rows
    val rounds = (1 to 9).map { _ =>
      val start = System.nanoTime()
      var i = 0
      while (i < batches) {
        batch
        i += 1
      }
      (System.nanoTime() - start).toDouble / (batches.toLong * rows)
    }
    rounds.drop(2).sorted.apply(3)
  }

  private val usual = Seq(32, 512, 8192)

  /** @param sizes rows of a batch */
  def main(sizes: Array[String]): Unit = (if (sizes.isEmpty) usual else sizes.map(_.toInt).toSeq).foreach { rows =>
    val longs = Array.tabulate(rows)(_.toLong)
    val doubles = longs.map(_ / 7.0)
    val strings = longs.map(i => UTF8String.fromString(s"name-${i % 100003}"))
    val project = UnsafeProjection.create(types)
    val unsafe: Array[UnsafeRow] = longs.indices.map(i => project(InternalRow(longs(i), doubles(i), strings(i))).copy()).toArray
    def writer() = new RowBatchWriter(acquire(_), types.map(ColumnForm.of), types.length, rows, Long.MaxValue)

    val generated = writer()
    val values = median(rows) {
      var i = 0
      while (i < rows) {
        generated.beginRow()
        generated.putLong(0, longs(i))
        generated.putDouble(1, doubles(i))
        generated.putString(2, strings(i))
        generated.endRow()
        i += 1
      }
      generated.takeBatch()
    }
    val reading = writer()
    val fromRows = median(rows) {
      var i = 0
      while (i < rows) {
        reading.beginRow()
        reading.putLong(0, unsafe(i).getLong(0))
        reading.putDouble(1, unsafe(i).getDouble(1))
        reading.putString(2, unsafe(i).getUTF8String(2))
        reading.endRow()
        i += 1
      }
      reading.takeBatch()
    }
    val bytes = unsafe.map(_.getSizeInBytes.toLong).sum
    val page = Platform.allocateMemory(bytes)
    val copied = median(rows) {
      var at = page
      var i = 0
      while (i < rows) {
        val row = unsafe(i)
        val size = row.getSizeInBytes
        Platform.copyMemory(row.getBaseObject, row.getBaseOffset, null, at, size.toLong)
        at += size
        i += 1
      }
    }
    Platform.freeMemory(page)
    println(f"$rows%d generated $values%.2f writer $fromRows%.2f copy $copied%.2f")
  }
}
