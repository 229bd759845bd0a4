package org.rudf.spark

import org.junit.Test
import org.junit.Assert.assertEquals

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{BoundReference, GenericInternalRow, UnsafeProjection}
import org.apache.spark.sql.types.{DataType, DoubleType, IntegerType, StringType, StructType}
import org.apache.spark.unsafe.types.UTF8String

/** Rows that begin a group, as generated code tells them and as the expression does by itself. */
class GroupStartTest {

  private def starts(types: Seq[DataType], rows: Seq[Any]*): Seq[Boolean] = {
    val keys = types.zipWithIndex.map { case (kind, i) => BoundReference(i, kind, nullable = true) }
    // Rows are used again, as those of Spark's operators are.
    val row = new GenericInternalRow(types.length)
    def each[T](of: InternalRow => T): Seq[T] = rows.map { values =>
      values.zipWithIndex.foreach { case (value, i) => row(i) = value }
      of(row)
    }
    val told = each(interpretedOver(keys))
    assertEquals(told, each(generatedOver(keys)))
    told
  }

  @Test def theFirstRowAndRowsOfOtherKeysBeginGroups(): Unit = {
    assertEquals(Seq(true, false, true, true, false, true),
      starts(Seq(IntegerType), Seq(1), Seq(1), Seq(2), Seq(null), Seq(null), Seq(0)))
    assertEquals(Seq(true, false, false), starts(Nil, Nil, Nil, Nil))
    assertEquals(Seq(true, true, false, true),
      starts(Seq(IntegerType, IntegerType), Seq(1, 1), Seq(1, 2), Seq(1, 2), Seq(2, 2)))
  }

  @Test def keysAreEqualWhereTheySortEqually(): Unit = assertEquals(Seq(true, false, true, false, true),
    starts(Seq(DoubleType), Seq(-0.0), Seq(0.0), Seq(Double.NaN), Seq(Double.NaN), Seq(1.0)))

  @Test def keysAreKeptWhereTheRowTheyCameWithIsUsedAgain(): Unit = {
    val bytes = "aa".getBytes
    val text = UTF8String.fromBytes(bytes)
    val keys = Seq(BoundReference(0, StringType, nullable = true))
    for (starts <- Seq(interpretedOver(keys), generatedOver(keys))) {
      bytes(0) = 'a'
      assertEquals(true, starts(InternalRow(text)))
      assertEquals(false, starts(InternalRow(text)))
      bytes(0) = 'b'
      assertEquals(true, starts(InternalRow(text)))
    }
  }

  private def interpretedOver(keys: Seq[BoundReference]): InternalRow => Boolean = {
    val start = GroupStart(keys)
    row => start.eval(row).asInstanceOf[Boolean]
  }

  private def generatedOver(keys: Seq[BoundReference]): InternalRow => Boolean = {
    val projection = UnsafeProjection.create(Seq(GroupStart(keys)))
    row => projection(row).getBoolean(0)
  }

  @Test def structsAreKeysToo(): Unit = {
    val kind = new StructType().add("a", IntegerType).add("b", StringType)
    val (one, other) = (InternalRow(1, UTF8String.fromString("x")), InternalRow(1, null))
    assertEquals(Seq(true, false, true, true), starts(Seq(kind), Seq(one), Seq(one.copy()), Seq(other), Seq(null)))
  }
}
