package org.rudf.spark;

import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.Decimal;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarArray;
import org.apache.spark.sql.vectorized.ColumnarMap;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * A column in Arrow's format, read in place from raw memory.
 *
 * <p>It owns nothing: whoever made it keeps the memory until the batch after this one has been asked for, as Spark's
 * own columnar readers do.
 */
public final class RudfColumnVector extends ColumnVector {
  private final int nullCount;
  /** Address of the validity bitmap, 0 where no row is null. */
  private final long validity;
  /** Row 0 of this vector is this bit of the bitmaps. */
  private final long firstRow;
  /** Address of row 0's value (not for booleans, which are bits from {@code values}). */
  private final long values;
  /** Address of row 0's offset, or 0. */
  private final long offsets;
  private final boolean wideOffsets;
  /** Bytes that the offsets may point into. */
  private final long valuesLength;

  /**
   * Reads the column that a descriptor describes.
   *
   * @param type its Spark type, one that {@link ColumnKind} knows
   * @param descriptor address of the descriptor
   * @param base what the descriptor's positions are relative to; 0 where they are addresses
   */
  RudfColumnVector(DataType type, long descriptor, long base) {
    super(type);
    ColumnKind kind = ColumnKind.of(type);
    nullCount = (int) word(descriptor, BatchLayout.NULL_COUNT);
    firstRow = word(descriptor, BatchLayout.FIRST_ROW);
    validity = nullCount == 0 ? 0 : position(descriptor, BatchLayout.VALIDITY, base);
    long offsetWidth = word(descriptor, BatchLayout.OFFSET_WIDTH);
    wideOffsets = offsetWidth == 8;
    long firstOffset = position(descriptor, BatchLayout.OFFSETS, base);
    offsets = firstOffset == 0 ? 0 : firstOffset + firstRow * offsetWidth;
    values = position(descriptor, BatchLayout.VALUES, base) + firstRow * kind.width;
    valuesLength = word(descriptor, BatchLayout.VALUES_LENGTH);
  }

  private static long word(long descriptor, int field) {
    return Platform.getLong(null, descriptor + field);
  }

  private static long position(long descriptor, int field, long base) {
    long position = word(descriptor, field);
    return position == 0 ? 0 : base + position;
  }

  private static boolean bit(long bitmap, long index) {
    return (Platform.getByte(null, bitmap + (index >> 3)) >> (index & 7) & 1) != 0;
  }

  private long offset(long row) {
    return wideOffsets
        ? Platform.getLong(null, offsets + row * 8)
        : Platform.getInt(null, offsets + row * 4);
  }

  /**
   * The length of a value whose offsets have been read, once. They may lie in memory that a worker process, and so the
   * user's code, can change at any time: whatever they are, nothing outside the column's bytes is read.
   */
  private int length(long start, long end) {
    long length = end - start;
    if ((start | length | valuesLength - end) < 0 || length > Integer.MAX_VALUE) {
      throw outside(start, end);
    }
    return (int) length;
  }

  private IllegalStateException outside(long start, long end) {
    return new IllegalStateException(
        "a value lies at bytes " + start + " to " + end + " of a column that has " + valuesLength + ", or has more bytes than a Spark value can hold");
  }

  @Override
  public void close() {}

  @Override
  public boolean hasNull() {
    return nullCount > 0;
  }

  @Override
  public int numNulls() {
    return nullCount;
  }

  @Override
  public boolean isNullAt(int row) {
    return validity != 0 && !bit(validity, firstRow + row);
  }

  @Override
  public boolean getBoolean(int row) {
    return bit(values, firstRow + row);
  }

  @Override
  public byte getByte(int row) {
    return Platform.getByte(null, values + row);
  }

  @Override
  public short getShort(int row) {
    return Platform.getShort(null, values + row * 2L);
  }

  @Override
  public int getInt(int row) {
    return Platform.getInt(null, values + row * 4L);
  }

  @Override
  public long getLong(int row) {
    return Platform.getLong(null, values + row * 8L);
  }

  @Override
  public float getFloat(int row) {
    return Platform.getFloat(null, values + row * 4L);
  }

  @Override
  public double getDouble(int row) {
    return Platform.getDouble(null, values + row * 8L);
  }

  @Override
  public UTF8String getUTF8String(int row) {
    if (isNullAt(row)) {
      return null;
    }
    long start = offset(row);
    return UTF8String.fromAddress(null, values + start, length(start, offset(row + 1L)));
  }

  @Override
  public byte[] getBinary(int row) {
    if (isNullAt(row)) {
      return null;
    }
    long start = offset(row);
    byte[] bytes = new byte[length(start, offset(row + 1L))];
    Platform.copyMemory(null, values + start, bytes, Platform.BYTE_ARRAY_OFFSET, bytes.length);
    return bytes;
  }

  @Override
  public ColumnarArray getArray(int row) {
    throw unsupported();
  }

  @Override
  public ColumnarMap getMap(int row) {
    throw unsupported();
  }

  @Override
  public Decimal getDecimal(int row, int precision, int scale) {
    throw unsupported();
  }

  @Override
  public ColumnVector getChild(int ordinal) {
    throw unsupported();
  }

  private UnsupportedOperationException unsupported() {
    return new UnsupportedOperationException("a column of type " + dataType().sql() + " is not in this form");
  }
}
