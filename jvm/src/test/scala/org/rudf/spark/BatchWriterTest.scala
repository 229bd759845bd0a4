package org.rudf.spark

import java.nio.charset.StandardCharsets.UTF_8

import scala.collection.mutable.ArrayBuffer
import scala.util.Random

import org.junit.{After, Test}
import org.junit.Assert.{assertArrayEquals, assertEquals, assertFalse, assertTrue}

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.rudftest.SparkTestAccess
import org.apache.spark.sql.catalyst.expressions.UnsafeProjection
import org.apache.spark.sql.catalyst.util.{ArrayBasedMapData, ArrayData, GenericArrayData, MapData}
import org.apache.spark.sql.execution.vectorized.{ConstantColumnVector, OffHeapColumnVector, OnHeapColumnVector, WritableColumnVector}
import org.apache.spark.sql.types._
import org.apache.spark.sql.vectorized.{ColumnVector, ColumnarArray, ColumnarBatch}
import org.apache.spark.unsafe.Platform
import org.apache.spark.unsafe.types.{CalendarInterval, UTF8String}

/** A batch that is written is read back as it was, whatever it was written from. */
class BatchWriterTest {
  private val types: Seq[DataType] = Seq(BooleanType, ByteType, ShortType, IntegerType, DateType, LongType, TimestampType,
    FloatType, DoubleType, StringType, BinaryType, NullType, TimestampNTZType, DayTimeIntervalType(), YearMonthIntervalType(),
    StringType("UNICODE"), DecimalType(5, 2), DecimalType(18, 0), DecimalType(38, 18), CalendarIntervalType,
    ArrayType(LongType), ArrayType(StringType), ArrayType(ArrayType(DecimalType(20, 5))), ArrayType(BooleanType),
    MapType(StringType, ArrayType(IntegerType)), StructType(Nil), new StructType().add("a", IntegerType).add("b", DecimalType(9, 3)),
    new StructType().add("s", StringType).add("m", MapType(LongType, new StructType().add("x", DoubleType).add("y", NullType))),
    ArrayType(new StructType().add("i", CalendarIntervalType).add("l", ArrayType(BinaryType))))
  /** Those that Spark itself can put into its vectors. */
  private val vectorTypes = types.filterNot(t => t != NullType && t.sql.contains("VOID"))
  private val memory = ArrayBuffer.empty[Long]
  private val vectors = ArrayBuffer.empty[ColumnVector]

  @After def free(): Unit = {
    memory.foreach(Platform.freeMemory)
    vectors.foreach(_.close())
  }

  private def acquire(capacity: Long): Segment = {
    val raw = Platform.allocateMemory(capacity + 64)
    memory += raw
    // As dirty as a segment that was used before.
    Platform.setMemory(null, raw, capacity + 64, 0x5a.toByte)
    Segment.borrowed(BatchLayout.align(raw), capacity)
  }

  private def writer(types: Seq[DataType], rows: Int) =
    new BatchWriter(acquire(_), types.map(ColumnForm.of).toArray, types.length, rows)

  private def value(dataType: DataType, random: Random): Any = dataType match {
    case BooleanType => random.nextBoolean()
    case ByteType => random.nextInt().toByte
    case ShortType => random.nextInt().toShort
    case IntegerType | DateType | _: YearMonthIntervalType => random.nextInt()
    case LongType | TimestampType | TimestampNTZType | _: DayTimeIntervalType => random.nextLong()
    case FloatType => if (random.nextInt(10) == 0) Float.NaN else random.nextFloat()
    case DoubleType => if (random.nextInt(10) == 0) -0.0 else random.nextDouble()
    case NullType => null
    case d: DecimalType =>
      val digits = BigInt(random.nextInt(120), random) % BigInt(10).pow(d.precision)
      Decimal(BigDecimal(if (random.nextBoolean()) digits else -digits, d.scale), d.precision, d.scale)
    case CalendarIntervalType => new CalendarInterval(random.nextInt(), random.nextInt(), random.nextLong())
    case ArrayType(element, _) => new GenericArrayData(Array.fill[Any](random.nextInt(4))(sometimes(element, random)))
    case MapType(key, element, _) =>
      val size = random.nextInt(4)
      new ArrayBasedMapData(new GenericArrayData(Array.fill[Any](size)(value(key, random))),
        new GenericArrayData(Array.fill[Any](size)(sometimes(element, random))))
    case StructType(fields) => InternalRow.fromSeq(fields.map(f => sometimes(f.dataType, random)).toSeq)
    case _: StringType => UTF8String.fromString(random.alphanumeric.take(random.nextInt(60)).mkString + "é")
    case _ => Array.fill(random.nextInt(60))(random.nextInt().toByte)
  }

  private def sometimes(dataType: DataType, random: Random): Any = if (random.nextInt(4) == 0) null else value(dataType, random)

  private def rows(count: Int, types: Seq[DataType], nullsOutOfTen: Int, random: Random): Seq[Seq[Any]] =
    Seq.fill(count)(types.map(t => if (random.nextInt(10) < nullsOutOfTen) null else value(t, random)))

  private def read(vector: ColumnVector, row: Int): Any =
    if (vector.isNullAt(row)) null
    else vector.dataType match {
      case BooleanType => vector.getBoolean(row)
      case ByteType => vector.getByte(row)
      case ShortType => vector.getShort(row)
      case IntegerType | DateType | _: YearMonthIntervalType => vector.getInt(row)
      case LongType | TimestampType | TimestampNTZType | _: DayTimeIntervalType => vector.getLong(row)
      case FloatType => java.lang.Float.floatToRawIntBits(vector.getFloat(row))
      case DoubleType => java.lang.Double.doubleToRawLongBits(vector.getDouble(row))
      case _: StringType => vector.getUTF8String(row).toString
      case BinaryType => vector.getBinary(row).toSeq
      case other => bytes(other, new ColumnarArray(vector, row, 1).get(0, other))
    }

  /** What Spark's own rows hold of a value: equal for equal values, also of nested types. */
  private def bytes(dataType: DataType, value: Any): Seq[Byte] =
    projections.getOrElseUpdate(dataType, UnsafeProjection.create(Array(dataType))).apply(InternalRow(value)).getBytes.toSeq

  private val projections = scala.collection.mutable.Map.empty[DataType, UnsafeProjection]

  private def comparable(dataType: DataType, value: Any): Any = value match {
    case _: Decimal | _: CalendarInterval | _: ArrayData | _: MapData | _: InternalRow => bytes(dataType, value)
    case f: Float => java.lang.Float.floatToRawIntBits(f)
    case d: Double => java.lang.Double.doubleToRawLongBits(d)
    case s: UTF8String => s.toString
    case b: Array[Byte] => b.toSeq
    case other => other
  }

  private def assertHolds(segment: Segment, types: Seq[DataType], expected: Seq[Seq[Any]]): Unit =
    types.zipWithIndex.foreach { case (dataType, column) =>
      val vector = new RudfColumnVector(dataType, ColumnBuffers.descriptor(segment.address, column), segment.address)
      val nulls = expected.count(_(column) == null)
      assertEquals(s"nulls of $dataType", nulls, vector.numNulls)
      assertEquals(nulls > 0, vector.hasNull)
      expected.zipWithIndex.foreach { case (row, i) =>
        assertEquals(s"$dataType in row $i", comparable(dataType, row(column)), read(vector, i))
      }
    }

  private def nested(dataType: DataType): Boolean = dataType match {
    case _: DecimalType | _: ArrayType | _: MapType | _: StructType | CalendarIntervalType => true
    case _ => false
  }

  private def vector(dataType: DataType, values: Seq[Any], offHeap: Boolean): WritableColumnVector = {
    val result =
      if (offHeap) new OffHeapColumnVector(math.max(values.length, 1), dataType)
      else new OnHeapColumnVector(math.max(values.length, 1), dataType)
    vectors += result
    if (nested(dataType)) SparkTestAccess.fill(result, dataType, values)
    else values.zipWithIndex.foreach {
      case (null, i) => result.putNull(i)
      case (v: Boolean, i) => result.putBoolean(i, v)
      case (v: Byte, i) => result.putByte(i, v)
      case (v: Short, i) => result.putShort(i, v)
      case (v: Int, i) => result.putInt(i, v)
      case (v: Long, i) => result.putLong(i, v)
      case (v: Float, i) => result.putFloat(i, v)
      case (v: Double, i) => result.putDouble(i, v)
      case (v: UTF8String, i) => result.putByteArray(i, v.getBytes)
      case (v: Array[Byte], i) => result.putByteArray(i, v)
      case (other, _) => throw new IllegalArgumentException(other.toString)
    }
    result
  }

  @Test def rowsComeBackFromThePageTheyWereCopiedTo(): Unit =
    for (count <- Seq(1, 7, 8, 9, 63, 64, 65, 1000); nulls <- Seq(0, 3, 10)) {
      val expected = rows(count, types, nulls, new Random(count * 11 + nulls))
      val projection = UnsafeProjection.create(types.toArray)
      val page = new RowPage(types.length)
      expected.foreach(r => page.add(projection(InternalRow.fromSeq(r))))
      val batch = writer(types, 1000)
      batch.begin()
      types.indices.foreach(c => batch.append(c, page, c))
      assertHolds(batch.finish(count), types, expected)
    }

  @Test def vectorsOfEveryMakeComeBackAlsoWhenPutTogetherFromSlices(): Unit =
    for (offHeap <- Seq(false, true); nulls <- Seq(0, 3, 10)) {
      val random = new Random(nulls)
      val first = rows(37, vectorTypes, nulls, random)
      val second = rows(100, vectorTypes, 0, random)
      val third = rows(64, vectorTypes, nulls, random)
      val batch = writer(vectorTypes, 300)
      batch.begin()
      var row = 0
      // All of the first, the second without its first five rows, the third.
      for ((part, from) <- Seq(first -> 0, second -> 5, third -> 0)) {
        vectorTypes.indices.foreach { c =>
          val count = batch.append(c, vector(vectorTypes(c), part.map(_(c)), offHeap), from, part.length - from, row, Long.MaxValue)
          assertEquals(part.length - from, count)
        }
        row += part.length - from
      }
      assertHolds(batch.finish(row), vectorTypes, first ++ second.drop(5) ++ third)
    }

  @Test def aConstantVectorIsWrittenOutForEachRow(): Unit = {
    val batch = writer(Seq(StringType, IntegerType), 10)
    val text = new ConstantColumnVector(10, StringType)
    text.setUtf8String(UTF8String.fromString("x"))
    val none = new ConstantColumnVector(10, IntegerType)
    none.setNull()
    batch.begin()
    batch.append(0, text, 0, 10, 0, Long.MaxValue)
    batch.append(1, none, 0, 10, 0, Long.MaxValue)
    assertHolds(batch.finish(10), Seq(StringType, IntegerType), Seq.fill(10)(Seq(UTF8String.fromString("x"), null)))
  }

  @Test def stringsLargerThanTheSegmentMoveTheBatchToALargerOne(): Unit = {
    val long = UTF8String.fromString("0123456789" * 100000)
    val expected = Seq(Seq[Any](1L, long), Seq[Any](null, UTF8String.EMPTY_UTF8), Seq[Any](3L, long))
    val columns = Seq(LongType, StringType)
    val projection = UnsafeProjection.create(columns.toArray[DataType])
    val page = new RowPage(2)
    expected.foreach(r => page.add(projection(InternalRow.fromSeq(r))))
    val batch = writer(columns, 16)
    batch.begin()
    columns.indices.foreach(c => batch.append(c, page, c))
    assertHolds(batch.finish(3), columns, expected)
    assertTrue(batch.length >= 2000000)
  }

  @Test def aBudgetOfBytesEndsABatchButNotBeforeItsFirstRow(): Unit = {
    val texts = Seq.fill(10)(UTF8String.fromString("x" * 100))
    val batch = writer(Seq(StringType), 10)
    batch.begin()
    assertEquals(3, batch.append(0, vector(StringType, texts, offHeap = false), 0, 10, 0, 350))
    batch.truncate(0, 2)
    assertEquals(0, batch.append(0, vector(StringType, texts, offHeap = false), 0, 10, 2, 50))
    assertHolds(batch.finish(2), Seq(StringType), texts.take(2).map(Seq(_)))
    val tiny = writer(Seq(StringType), 10)
    tiny.begin()
    assertEquals(1, tiny.append(0, vector(StringType, texts, offHeap = false), 0, 10, 0, 0))
    tiny.finish(1)
  }

  @Test def bytesThatAreNoUtf8StayAsTheyAre(): Unit = {
    val bytes = Array[Byte](-1, 0, 65, -128)
    val batch = writer(Seq(StringType), 4)
    batch.begin()
    batch.append(0, vector(StringType, Seq(UTF8String.fromBytes(bytes)), offHeap = false), 0, 1, 0, Long.MaxValue)
    val segment = batch.finish(1)
    val read = new RudfColumnVector(StringType, ColumnBuffers.descriptor(segment.address, 0), segment.address)
    assertArrayEquals(bytes, read.getUTF8String(0).getBytes)
  }

  @Test def headerAndAlignmentAreThoseOfTheNativeSide(): Unit = {
    val batch = writer(types, 10)
    batch.begin()
    val segment = batch.finish(0)
    val magic = new Array[Byte](8)
    Platform.copyMemory(null, segment.address, magic, Platform.BYTE_ARRAY_OFFSET, 8)
    assertEquals("RUDFBAT1", new String(magic, UTF_8))
    assertEquals(0L, Platform.getLong(null, segment.address + BatchLayout.ROWS))
    assertEquals(types.length.toLong, Platform.getLong(null, segment.address + BatchLayout.COLUMNS))
    types.indices.foreach { c =>
      val at = ColumnBuffers.descriptor(segment.address, c)
      Seq(BatchLayout.OFFSETS, BatchLayout.VALUES).foreach { field =>
        assertEquals(0L, Platform.getLong(null, at + field) % BatchLayout.ALIGNMENT)
      }
    }
  }

  @Test def aBatchOfVectorsReadsAsRows(): Unit = {
    val expected = rows(20, vectorTypes, 3, new Random(5))
    val batch = writer(vectorTypes, 20)
    batch.begin()
    vectorTypes.indices.foreach(c => batch.append(c, vector(vectorTypes(c), expected.map(_(c)), offHeap = false), 0, 20, 0, Long.MaxValue))
    val segment = batch.finish(20)
    val columns = vectorTypes.indices.map { c =>
      new RudfColumnVector(vectorTypes(c), ColumnBuffers.descriptor(segment.address, c), segment.address): ColumnVector
    }
    val projection = UnsafeProjection.create(vectorTypes.toArray)
    val read = new ColumnarBatch(columns.toArray, 20)
    expected.zipWithIndex.foreach { case (row, i) =>
      assertEquals(projection(InternalRow.fromSeq(row)).copy(), projection(read.getRow(i)))
    }
    assertFalse(read.column(0).isNullAt(expected.indexWhere(_.head != null)))
  }

  private def rowWriter(types: Seq[DataType], maxRows: Int, maxBytes: Long = Long.MaxValue) =
    new RowBatchWriter(acquire(_), types.map(ColumnForm.of).toArray, types.length, maxRows, maxBytes)

  /** Puts a row in and says whether the batch is full. */
  private def put(writer: RowBatchWriter, row: Seq[Any]): Boolean = {
    writer.beginRow()
    row.zipWithIndex.foreach {
      case (null, c) => writer.putNull(c)
      case (v: Boolean, c) => writer.putBoolean(c, v)
      case (v: Byte, c) => writer.putByte(c, v)
      case (v: Short, c) => writer.putShort(c, v)
      case (v: Int, c) => writer.putInt(c, v)
      case (v: Long, c) => writer.putLong(c, v)
      case (v: Float, c) => writer.putFloat(c, v)
      case (v: Double, c) => writer.putDouble(c, v)
      case (v: UTF8String, c) => writer.putString(c, v)
      case (v: Array[Byte], c) => writer.putBinary(c, v)
      case (v: Decimal, c) => writer.putDecimal(c, v)
      case (v: CalendarInterval, c) => writer.putInterval(c, v)
      case (v: ArrayData, c) => writer.putArray(c, v)
      case (v: MapData, c) => writer.putMap(c, v)
      case (v: InternalRow, c) => writer.putStruct(c, v)
      case (other, _) => throw new IllegalArgumentException(other.toString)
    }
    writer.endRow()
  }

  @Test def valuesPutRowByRowComeBackBatchAfterBatch(): Unit =
    for (count <- Seq(1, 7, 8, 9, 63, 64, 65, 1000); nulls <- Seq(0, 3, 10)) {
      val writer = rowWriter(types, 1000)
      for (batch <- 1 to 2) {
        val expected = rows(count, types, nulls, new Random(count * 13 + nulls + batch))
        expected.zipWithIndex.foreach { case (row, i) => assertEquals(i == 999, put(writer, row)) }
        assertEquals(count, writer.rows)
        assertHolds(writer.takeBatch(), types, expected)
        assertEquals(0, writer.rows)
      }
    }

  @Test def rowsWithStringsLargerThanTheSegmentMoveTheBatch(): Unit = {
    val both = Seq(StringType, LongType, BinaryType)
    val expected = (0 until 100).map(i => Seq[Any](UTF8String.fromString("é" * (i * 50)), i.toLong, Array.fill(i * 70)(i.toByte)))
    val writer = rowWriter(both, 100)
    expected.foreach(put(writer, _))
    assertHolds(writer.takeBatch(), both, expected)
  }

  @Test def bytesEndABatchOfRowsButNotBeforeItsFirst(): Unit = {
    val writer = rowWriter(Seq(LongType, StringType), 1000, 1000L)
    assertTrue(put(writer, Seq(1L, UTF8String.fromString("x" * 2000))))
    writer.takeBatch()
    val full = (1 to 100).indexWhere(_ => put(writer, Seq(1L, UTF8String.fromString("x" * 88))))
    assertEquals("each row has 8 + 4 + 88 bytes", 9, full)
  }
}
