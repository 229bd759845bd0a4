package org.rudf.spark;

import java.math.BigDecimal;
import java.math.BigInteger;
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
 * <p>Whoever made it keeps the memory until the batch after this one has been asked for, as Spark's own columnar readers
 * do. It holds on to the memory's owner, for readers that a task has left behind.
 */
public final class RudfColumnVector extends ColumnVector {
  private final ColumnKind kind;
  private final int nullCount;
  private final long rows;
  /** Address of the validity bitmap, 0 where no row is null. */
  private final long validity;
  /** Row 0 of this vector is this bit of the bitmaps. */
  private final long firstRow;
  /** Address of row 0's value (not for booleans, which are bits from {@code values}). */
  private final long values;
  /** Address of row 0's offset, or 0. */
  private final long offsets;
  private final boolean wideOffsets;
  /** What offsets must not go beyond: bytes, or rows of the child. */
  private final long end;
  private final RudfColumnVector[] children;
  /** Has the memory; null where that is told nobody. */
  private Object owner;

  /**
   * Reads the column that a descriptor describes.
   *
   * @param type its Spark type, one that has a {@link ColumnForm}
   * @param descriptor address of the descriptor
   * @param base what the descriptor's positions are relative to; 0 where they are addresses
   */
  RudfColumnVector(DataType type, long descriptor, long base) {
    this(type, ColumnForm.of(type), descriptor, base);
  }

  private RudfColumnVector(DataType type, ColumnForm form, long descriptor, long base) {
    super(type);
    kind = form.kind;
    rows = word(descriptor, BatchLayout.COLUMN_ROWS);
    firstRow = word(descriptor, BatchLayout.FIRST_ROW);
    nullCount = kind == ColumnKind.NULL ? (int) rows : (int) word(descriptor, BatchLayout.NULL_COUNT);
    validity = nullCount == 0 || kind == ColumnKind.NULL ? 0 : position(descriptor, BatchLayout.VALIDITY, base);
    long offsetWidth = word(descriptor, BatchLayout.OFFSET_WIDTH);
    wideOffsets = offsetWidth == 8;
    long firstOffset = position(descriptor, BatchLayout.OFFSETS, base);
    offsets = firstOffset == 0 ? 0 : firstOffset + firstRow * offsetWidth;
    values = position(descriptor, BatchLayout.VALUES, base) + firstRow * kind.width;
    children = children(form, descriptor, base);
    boolean overChild = kind == ColumnKind.LIST || kind == ColumnKind.MAP;
    end = overChild ? children[0].rows : word(descriptor, BatchLayout.VALUES_LENGTH);
    check(form, descriptor, offsetWidth);
  }

  /** Keeps {@code owner} reachable for as long as this is, or a vector below it. */
  RudfColumnVector ownedBy(Object owner) {
    this.owner = owner;
    for (RudfColumnVector child : children) {
      child.ownedBy(owner);
    }
    return this;
  }

  private static RudfColumnVector[] children(ColumnForm form, long descriptor, long base) {
    RudfColumnVector[] children = new RudfColumnVector[form.children.length];
    long count = word(descriptor, BatchLayout.CHILD_COUNT);
    if (count != children.length) {
      throw new IllegalStateException(
          "rudf: a column of type " + form.type.sql() + " has " + count + " children instead of " + children.length);
    }
    for (int i = 0; i < children.length; i++) {
      long child = position(descriptor, BatchLayout.CHILDREN, base) + (long) i * BatchLayout.DESCRIPTOR_BYTES;
      children[i] = new RudfColumnVector(form.children[i].type, form.children[i], child, base);
    }
    return children;
  }

  /** Everything that can be said without looking at the values; offsets are checked when they are used. */
  private void check(ColumnForm form, long descriptor, long offsetWidth) {
    // Spark counts rows in 32 bits.
    boolean wrong = rows < 0 || firstRow < 0 || rows > Integer.MAX_VALUE || nullCount < 0 || nullCount > rows || (nullCount > 0 && kind != ColumnKind.NULL && validity == 0);
    if (kind.hasOffsets()) {
      long length = word(descriptor, BatchLayout.OFFSETS_LENGTH);
      wrong |= rows > 0 && (offsets == 0 || (offsetWidth != 4 && offsetWidth != 8) || length / offsetWidth <= firstRow + rows);
    } else if (kind == ColumnKind.STRUCT) {
      for (RudfColumnVector child : children) {
        wrong |= child.rows != rows;
      }
    } else {
      wrong |= word(descriptor, BatchLayout.VALUES_LENGTH) < kind.fixedBytes(firstRow + rows);
    }
    if (wrong) {
      throw new IllegalStateException("rudf: a column of type " + form.type.sql() + " is not what its descriptor says");
    }
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
   * user's code, can change at any time: whatever they are, nothing outside the column's bytes or its child is read.
   */
  private int length(long from, long to) {
    long length = to - from;
    if ((from | length | end - to) < 0 || length > Integer.MAX_VALUE) {
      throw outside(from, to);
    }
    return (int) length;
  }

  private IllegalStateException outside(long from, long to) {
    return to - from > Integer.MAX_VALUE && to <= end && from >= 0
        ? new IllegalStateException("a value of " + (to - from) + " bytes is more than a Spark value can hold")
        : new IllegalStateException("rudf: a column of a Python function's results is damaged (a value lies at " + from + ".."
            + to + " of " + end + "); a function that makes arrays of raw memory has to keep to Arrow's format");
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
    return validity == 0 ? kind == ColumnKind.NULL : !bit(validity, firstRow + row);
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
    if (isNullAt(row)) {
      return null;
    }
    long start = offset(row);
    return new ColumnarArray(children[0], (int) start, length(start, offset(row + 1L)));
  }

  @Override
  public ColumnarMap getMap(int row) {
    if (isNullAt(row)) {
      return null;
    }
    RudfColumnVector[] entries = children[0].children;
    long start = offset(row);
    return new ColumnarMap(entries[0], entries[1], (int) start, length(start, offset(row + 1L)));
  }

  @Override
  public Decimal getDecimal(int row, int precision, int scale) {
    if (isNullAt(row)) {
      return null;
    }
    long low = Platform.getLong(null, values + row * 16L);
    long high = Platform.getLong(null, values + row * 16L + 8);
    if (precision <= Decimal.MAX_LONG_DIGITS() && high == low >> 63 && Math.abs(low) < Decimal.POW_10()[precision]) {
      return Decimal.createUnsafe(low, precision, scale);
    }
    BigInteger unscaled = BigInteger.valueOf(high).shiftLeft(64).add(BigInteger.valueOf(low >>> 1).shiftLeft(1))
        .add(BigInteger.valueOf(low & 1));
    return Decimal.apply(new BigDecimal(unscaled, scale), precision, scale);
  }

  @Override
  public RudfColumnVector getChild(int ordinal) {
    return children[ordinal];
  }
}
