package org.rudf.spark

import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, BoundReference, Expression, SortOrder, UnsafeProjection, UnsafeRow}
import org.apache.spark.sql.catalyst.expressions.codegen.{CodegenContext, ExprCode}
import org.apache.spark.sql.catalyst.plans.physical.Partitioning
import org.apache.spark.sql.execution.{CodegenSupport, SparkPlan, UnaryExecNode, WholeStageCodegenExec}
import org.apache.spark.sql.types.{BinaryType, CalendarIntervalType, VariantType}

/**
 * Lays rows out as the columns of a segment, for the [[RudfEvalExec]] above it.
 *
 * It ends the child's generated code: each value goes from a local variable of that code into its column, and no row is
 * made. What it hands up are not the child's rows: each row, whose content means nothing, stands for one batch that the
 * task's [[RowLayoutTask]] holds.
 *
 * @param columns values of each column, over the child's output
 * @param visible how many columns, from the first, are for Python
 */
case class RudfLayoutExec(columns: Seq[Expression], visible: Int, maxRows: Int, maxBytes: Long, child: SparkPlan)
    extends UnaryExecNode with CodegenSupport {

  override def output: Seq[Attribute] = child.output
  override def outputPartitioning: Partitioning = child.outputPartitioning
  override def outputOrdering: Seq[SortOrder] = child.outputOrdering
  override def simpleString(maxFields: Int): String = s"$nodeName ${columns.take(maxFields).mkString("[", ", ", "]")}"

  @transient private[spark] lazy val layout = new RowLayout(columns.map(c => ColumnForm.of(c.dataType)).toArray, visible, maxRows, maxBytes)

  private def bound: Seq[Expression] = columns.map(_.transform {
    case attribute: Attribute =>
      val ordinal = child.output.indexWhere(_.exprId == attribute.exprId)
      BoundReference(ordinal, attribute.dataType, attribute.nullable)
  })

  // Code generation (see Spark's WholeStageCodegenExec for the protocol).

  private var task: String = _
  private var writer: String = _
  private var marker: String = _

  override def inputRDDs(): Seq[RDD[InternalRow]] = child.asInstanceOf[CodegenSupport].inputRDDs()

  /** All of the child's columns are stored, so all are wanted. */
  override def usedInputs: org.apache.spark.sql.catalyst.expressions.AttributeSet = child.outputSet

  /** The rows handed up have no content that could be overwritten. */
  override def needCopyResult: Boolean = false

  override protected def doProduce(context: CodegenContext): String = {
    val layoutReference = context.addReferenceObj("layout", layout, classOf[RowLayout].getName)
    task = context.addMutableState(classOf[RowLayoutTask].getName, "layoutTask", v => s"$v = $layoutReference.task();", forceInline = true)
    writer = context.addMutableState(classOf[RowBatchWriter].getName, "batchWriter", v => s"$v = $task.writer();", forceInline = true)
    marker = context.addMutableState(classOf[UnsafeRow].getName, "batchMarker", v => s"$v = new ${classOf[UnsafeRow].getName}(0);", forceInline = true)
    val exhausted = context.addMutableState("boolean", "rowsExhausted", forceInline = true)
    // The child's code returns where a batch has to be taken first, and arrives at its end when there are no more rows; or
    // where methods of its own have returned for a batch, as those of the sides of a union do.
    s"""
       |if (!$exhausted) {
       |  ${child.asInstanceOf[CodegenSupport].produce(context, this)}
       |  if (shouldStop()) return;
       |  $exhausted = true;
       |  if ($writer.rows() > 0) {
       |    ${endBatch(context)}
       |  }
       |}
     """.stripMargin
  }

  override def doConsume(context: CodegenContext, input: Seq[ExprCode], row: ExprCode): String = {
    context.currentVars = input
    val puts = bound.zipWithIndex.map { case (expression, column) => put(expression, column, expression.genCode(context)) }
    s"""
       |$writer.beginRow();
       |${puts.mkString("\n")}
       |if ($writer.endRow()) {
       |  ${endBatch(context)}
       |}
     """.stripMargin
  }

  private def put(expression: Expression, column: Int, value: ExprCode): String = {
    val method = RudfLayoutExec.method(ColumnForm.of(expression.dataType))
    if (method == "Null") return s"${value.code}\n$writer.putNull($column);"
    val store = s"$writer.put$method($column, ${value.value});"
    if (!expression.nullable) s"${value.code}\n$store"
    else s"${value.code}\nif (${value.isNull}) {\n  $writer.putNull($column);\n} else {\n  $store\n}"
  }

  private def endBatch(context: CodegenContext): String = s"$task.endBatch();\n${consume(context, null, marker)}"

  /** Where no code is generated: the conf says so, or there are too many columns. */
  override protected def doExecute(): RDD[InternalRow] = {
    val (layout, expressions) = (this.layout, bound)
    child.execute().mapPartitionsWithIndex { (partition, rows) =>
      val projection = UnsafeProjection.create(expressions)
      projection.initialize(partition)
      new LaidOutRows(layout.task(), rows.map(projection(_)), layout.forms)
    }
  }

  override protected def withNewChildInternal(newChild: SparkPlan): RudfLayoutExec = copy(child = newChild)
}

private[spark] object RudfLayoutExec {

  /** The layout that an operator has below it, whether its code is generated or not. */
  def below(child: SparkPlan): Option[RudfLayoutExec] = child match {
    case layout: RudfLayoutExec => Some(layout)
    case WholeStageCodegenExec(layout: RudfLayoutExec) => Some(layout)
    case _ => None
  }

  /** The part of the name of [[RowBatchWriter]]'s method. */
  private def method(form: ColumnForm): String = form.kind match {
    case ColumnKind.NULL => "Null"
    case ColumnKind.BOOLEAN => "Boolean"
    case ColumnKind.BYTE => "Byte"
    case ColumnKind.SHORT => "Short"
    case ColumnKind.INT => "Int"
    case ColumnKind.LONG => "Long"
    case ColumnKind.FLOAT => "Float"
    case ColumnKind.DOUBLE => "Double"
    case ColumnKind.DECIMAL => "Decimal"
    case ColumnKind.VARIABLE => if (form.`type` == BinaryType) "Binary" else "String"
    case ColumnKind.LIST => "Array"
    case ColumnKind.MAP => "Map"
    case ColumnKind.STRUCT => form.`type` match {
      case _: VariantType => "Variant"
      case CalendarIntervalType => "Interval"
      case _ => "Struct"
    }
  }
}

/** Lays rows out as they are asked for: one row, which stands for a batch, comes for the many that went into it. */
private[spark] abstract class LaidOut[R](task: RowLayoutTask, rows: Iterator[R]) extends Iterator[InternalRow] {
  private val marker = new UnsafeRow(0)
  protected val writer: RowBatchWriter = task.writer

  /** Writes all columns of a row. */
  protected def put(row: R): Unit

  override def hasNext: Boolean = rows.hasNext

  override def next(): InternalRow = {
    var full = false
    while (!full && rows.hasNext) {
      writer.beginRow()
      put(rows.next())
      full = writer.endRow()
    }
    task.endBatch()
    marker
  }
}

/** The same of rows that have all columns in their order. */
private[spark] final class LaidOutRows(task: RowLayoutTask, rows: Iterator[UnsafeRow], forms: Array[ColumnForm])
    extends LaidOut[UnsafeRow](task, rows) {

  override protected def put(row: UnsafeRow): Unit = {
    var column = 0
    while (column < forms.length) {
      writer.put(column, row, column)
      column += 1
    }
  }
}

/** Takes the batches out of a [[RowLayoutTask]], as the rows that stand for them come. */
private[spark] final class LaidOutSource(task: RowLayoutTask, rows: Iterator[InternalRow]) extends BatchSource {
  override def next(): Option[LaidOutBatch] = {
    var batch = task.poll()
    while (batch.isEmpty && rows.hasNext) {
      rows.next()
      batch = task.poll()
    }
    batch
  }
}
