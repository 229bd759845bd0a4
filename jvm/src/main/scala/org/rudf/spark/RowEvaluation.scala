package org.rudf.spark

import scala.collection.mutable

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Alias, Attribute, Expression, JoinedRow, NamedExpression, UnsafeProjection, UnsafeRow}
import org.apache.spark.sql.vectorized.{ColumnVector, ColumnarBatch}

/**
 * Rows in, rows out: rows are copied, laid out as columns, and joined with their results.
 *
 * @param childOutput columns of the rows that come in
 * @param resultAttrs columns of the results
 * @param scalarResults what makes vectors of them
 */
private[spark] final class RowEvaluation(plan: EvaluationPlan, inputs: Seq[Expression], childOutput: Seq[Attribute],
    resultAttrs: Seq[Attribute], scalarResults: ScalarResults) extends Serializable {

  /** Inputs that are not plain columns are computed into columns behind the row. */
  private val computed: Seq[NamedExpression] = inputs.filter(EvaluationPlan.columnPosition(_, childOutput).isEmpty)
    .zipWithIndex.map { case (expression, i) => Alias(expression, s"_rudf_argument$i")() }
  private val pageSchema: Seq[Attribute] = childOutput ++ computed.map(_.toAttribute)
  private val ordinals: Seq[Int] = {
    var next = childOutput.length - 1
    inputs.map(EvaluationPlan.columnPosition(_, childOutput).getOrElse { next += 1; next })
  }
  private val forms: Array[ColumnForm] = inputs.map(i => ColumnForm.of(i.dataType)).toArray

  def evaluate(session: WorkerSession, rows: Iterator[InternalRow], partition: Int, pipelineOf: BatchSource => ResultPipeline)
      : Iterator[InternalRow] = {
    val pipeline = pipelineOf(new RowSource(session, rows, partition))
    pipelineRows(pipeline)
  }

  private def pipelineRows(pipeline: ResultPipeline): Iterator[InternalRow] = new Iterator[InternalRow] {
    private val join = UnsafeProjection.create(childOutput ++ resultAttrs, pageSchema ++ resultAttrs)
    private val waiting = new UnsafeRow(pageSchema.length)
    private val joined = new JoinedRow()
    private var page: RowPage = _
    private var results: ColumnarBatch = _
    private var row = 0
    private var rows = 0

    override def hasNext: Boolean = row < rows || advance()

    private def advance(): Boolean = pipeline.next() match {
      case None => false
      case Some((batch, evaluated)) =>
        page = batch.page.get
        results = new ColumnarBatch(scalarResults.vectors(evaluated).toArray[ColumnVector], batch.rows)
        row = 0
        rows = batch.rows
        rows > 0 || advance()
    }

    override def next(): InternalRow = {
      page.point(waiting, row)
      val result = results.getRow(row)
      row += 1
      join(joined(waiting, result))
    }
  }

  /** Copies rows into pages and lays the inputs out. A page is used again when its batch is done. */
  private final class RowSource(session: WorkerSession, rows: Iterator[InternalRow], partition: Int) extends BatchSource {
    private val toUnsafe: InternalRow => UnsafeRow =
      if (computed.nonEmpty) {
        val projection = UnsafeProjection.create(childOutput ++ computed, childOutput)
        projection.initialize(partition)
        row => projection(row)
      } else {
        lazy val projection = UnsafeProjection.create(childOutput, childOutput)
        ;{
          case row: UnsafeRow => row
          case row => projection(row)
        }
      }
    private val writer = new BatchWriter(session.acquire(_), forms, forms.length, plan.maxRows)
    private val free = mutable.Stack.empty[RowPage]
    /** A row that did not fit into the page before. */
    private var held: Option[UnsafeRow] = None

    override def next(): Option[LaidOutBatch] = {
      val page = if (free.isEmpty) new RowPage(pageSchema.length) else free.pop()
      fill(page)
      if (page.rows() == 0) None else Some(layOut(page))
    }

    private def fill(page: RowPage): Unit = {
      page.clear()
      held.foreach(page.add)
      held = None
      while (held.isEmpty && page.rows < plan.maxRows && page.bytesUsed < plan.maxBytes && rows.hasNext) {
        val row = toUnsafe(rows.next())
        if (page.fits(row)) page.add(row) else held = Some(row.copy())
      }
    }

    private def layOut(page: RowPage): LaidOutBatch = {
      writer.begin()
      try {
        var column = 0
        while (column < forms.length) {
          writer.append(column, page, ordinals(column))
          column += 1
        }
        new LaidOutBatch(writer.finish(page.rows), writer.length, page.rows, writer.visibleBytes(page.rows), Some(page), free.push(_): Unit)
      } catch {
        case error: Throwable =>
          writer.abandon()
          throw error
      }
    }
  }
}
