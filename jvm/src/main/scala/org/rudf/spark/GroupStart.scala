package org.rudf.spark

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.catalyst.expressions.codegen.{CodeGenerator, CodegenContext, ExprCode, FalseLiteral}
import org.apache.spark.sql.catalyst.expressions.codegen.Block._
import org.apache.spark.sql.catalyst.util.TypeUtils
import org.apache.spark.sql.types.{BooleanType, DataType}

/**
 * Whether a row begins a group, of rows that are sorted by the groups' keys: whether it is the first, or has other keys
 * than the row before. Keys are equal where they sort equally, as in Spark's `GroupedIterator`: so are NaNs, and 0.0 and -0.0.
 *
 * It remembers the keys of the group, so an instance belongs to one iterator.
 */
private[spark] final case class GroupStart(keys: Seq[Expression]) extends Expression {
  override def children: Seq[Expression] = keys
  override def dataType: DataType = BooleanType
  override def nullable: Boolean = false
  override def foldable: Boolean = false
  override lazy val deterministic: Boolean = false

  @transient private lazy val orderings = keys.map(key => TypeUtils.getInterpretedOrdering(key.dataType)).toArray
  @transient private lazy val group = new Array[Any](keys.length)
  @transient private var begun = false

  override def eval(row: InternalRow): Any = {
    val values = keys.map(_.eval(row))
    val starts = !begun || values.indices.exists(i => differ(i, values(i)))
    if (starts) {
      begun = true
      values.indices.foreach(i => group(i) = InternalRow.copyValue(values(i)))
    }
    starts
  }

  private def differ(key: Int, value: Any): Boolean =
    if (value == null || group(key) == null) value != group(key) else orderings(key).compare(value, group(key)) != 0

  override protected def doGenCode(context: CodegenContext, result: ExprCode): ExprCode = {
    val begun = context.addMutableState(CodeGenerator.JAVA_BOOLEAN, "groupHasBegun")
    val evaluated = keys.map(key => new Key(context, key))
    val start = result.value
    result.copy(isNull = FalseLiteral, code = code"""
      ${evaluated.map(_.value.code).foldLeft(code"")(_ + _)}
      boolean $start = !$begun${evaluated.map(key => s" || ${key.differs}").mkString};
      if ($start) {
        $begun = true;
        ${evaluated.map(_.remember).mkString("\n")}
      }""")
  }

  /** One of the keys in generated code. */
  private final class Key(context: CodegenContext, key: Expression) {
    private val javaType = CodeGenerator.javaType(key.dataType)
    private val (isNull, remembered) =
      (context.addMutableState(CodeGenerator.JAVA_BOOLEAN, "groupKeyIsNull"), context.addMutableState(javaType, "groupKey"))
    val value: ExprCode = key.genCode(context)

    def differs: String =
      s"(${value.isNull} != $isNull || (!$isNull && ${context.genComp(key.dataType, value.value, remembered)} != 0))"

    def remember: String = s"$isNull = ${value.isNull};\nif (!$isNull) {\n  $remembered = $copied;\n}"

    /** Values may lie in memory that the next row takes. */
    private def copied: String =
      if (CodeGenerator.isPrimitiveType(key.dataType)) value.value.toString
      else s"($javaType) ${InternalRow.getClass.getName.stripSuffix("$")}.copyValue(${value.value})"
  }

  override protected def withNewChildrenInternal(newChildren: IndexedSeq[Expression]): GroupStart = copy(keys = newChildren)
}
