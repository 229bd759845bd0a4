package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.Attribute
import org.apache.spark.sql.vectorized.{ColumnVector, ColumnarBatch}

/**
 * Columns in, columns out. Spark's readers use their vectors again for the next batch, so every column is copied into
 * the segment: the inputs, which Python reads there, and behind them the columns that only pass by. In exchange several
 * batches can be under way, and small ones are put together.
 *
 * @param inputPositions positions in `childOutput` of the functions' inputs
 */
private[spark] final class ColumnarEvaluation(plan: EvaluationPlan, inputPositions: Seq[Int], childOutput: Seq[Attribute],
    resultAttrs: Seq[Attribute]) extends Serializable {

  /** For each column of the segment its position in the child's batches. */
  private val positions: Array[Int] = (inputPositions ++ childOutput.indices.diff(inputPositions)).toArray
  private val kinds: Array[ColumnKind] = positions.map(p => ColumnKind.of(childOutput(p).dataType))
  /** Columns of strings first: they decide how many rows fit. */
  private val appendOrder: Array[Int] = kinds.indices.toArray.sortBy(c => kinds(c) != ColumnKind.VARIABLE)

  def evaluate(session: WorkerSession, batches: Iterator[ColumnarBatch], pipelineOf: BatchSource => BatchPipeline)
      : Iterator[ColumnarBatch] = {
    val pipeline = pipelineOf(new ColumnSource(session, batches))
    Iterator.continually(pipeline.next()).takeWhile(_.isDefined).map(_.get).map { case (batch, results) =>
      val vectors = new Array[ColumnVector](childOutput.length + resultAttrs.length)
      positions.indices.foreach(c => vectors(positions(c)) = RudfVectors.column(batch, c, childOutput(positions(c))))
      RudfVectors.results(results, resultAttrs).copyToArray(vectors, childOutput.length)
      new ColumnarBatch(vectors, batch.rows)
    }
  }

  private final class ColumnSource(session: WorkerSession, batches: Iterator[ColumnarBatch]) extends BatchSource {
    private val writer = new BatchWriter(session.acquire(_), kinds, inputPositions.length, plan.maxRows)
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
          Some(new LaidOutBatch(writer.finish(rows), writer.length, rows, None))
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
}
