package org.rudf.spark;

import java.util.function.LongFunction;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.sql.execution.vectorized.WritableColumnVector;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.Decimal;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarArray;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * Lays one batch out in a segment, column by column, from Spark's vectors or from copied rows.
 *
 * <p>Use: {@link #begin}, any number of appends that bring each column to the same number of rows, {@link #finish}.
 */
final class BatchWriter extends ValueBuffers {
  BatchWriter(LongFunction<Segment> acquire, ColumnForm[] forms, int visibleColumns, int rowCapacity) {
    super(acquire, forms, visibleColumns, rowCapacity);
  }

  /**
   * Appends rows {@code from .. from + count} of a vector behind row {@code row} of a column.
   *
   * @param budget bytes of strings after which to stop, but not before the first row
   * @return how many rows were appended: less than {@code count} only where values differ in size
   */
  int append(int column, ColumnVector vector, int from, int count, int row, long budget) {
    switch (kinds[column]) {
      case NULL:
        return count;
      case LIST:
      case MAP:
        return appendNested(column, vector, from, count, row, budget);
      case STRUCT:
        // Fields could end at different rows: only a batch's rows are counted on.
        return isBulk(column) ? appendStruct(column, vector, from, count, row)
            : appendNested(column, vector, from, count, row, budget);
      default:
        return appendFlat(column, vector, from, count, row, budget);
    }
  }

  private int appendFlat(int column, ColumnVector vector, int from, int count, int row, long budget) {
    boolean nulls = vector.hasNull();
    if (nulls) {
      appendNulls(column, vector, from, count, row);
    } else if (hasNulls[column]) {
      setValid(column, row, row + count);
    }
    ColumnKind kind = kinds[column];
    if (kind == ColumnKind.VARIABLE) {
      return appendVariable(column, vector, from, count, row, budget);
    }
    if (kind == ColumnKind.BOOLEAN) {
      appendBooleans(column, vector, from, count, row, nulls);
    } else if (kind == ColumnKind.DECIMAL) {
      appendDecimals(column, vector, from, count, row);
    } else if (!nulls || vector instanceof WritableColumnVector) {
      // Whatever such a vector holds in a null row may be read.
      appendFixed(kind, vector, from, count, segment.address + fixed[column] + (long) row * kind.width);
    } else {
      appendFixedBetweenNulls(column, vector, from, count, row);
    }
    return count;
  }

  /** Whether all that a struct holds has a fixed width. */
  private boolean isBulk(int column) {
    for (int i = 0; i < forms[column].children.length; i++) {
      int child = firstChild[column] + i;
      if (kinds[child].hasOffsets() || (kinds[child] == ColumnKind.STRUCT && !isBulk(child))) {
        return false;
      }
    }
    return true;
  }

  private int appendStruct(int column, ColumnVector vector, int from, int count, int row) {
    boolean nulls = vector.hasNull();
    if (nulls) {
      appendNulls(column, vector, from, count, row);
    } else if (hasNulls[column]) {
      setValid(column, row, row + count);
    }
    for (int i = 0; i < forms[column].children.length; i++) {
      int child = firstChild[column] + i;
      if (nulls && !(vector instanceof WritableColumnVector)) {
        // What a field holds where the struct is null need not be readable.
        appendFields(child, vector, i, from, count, row);
      } else {
        append(child, vector.getChild(i), from, count, row, Long.MAX_VALUE);
      }
    }
    return count;
  }

  private void appendFields(int child, ColumnVector struct, int field, int from, int count, int row) {
    ColumnarArray values = new ColumnarArray(struct.getChild(field), from, count);
    for (int i = 0; i < count; i++) {
      if (struct.isNullAt(from + i)) {
        writeNull(child, row + i);
      } else {
        write(child, row + i, values, i);
      }
    }
  }

  /** A value at a time; elements of Spark's own vectors in bulk. */
  private int appendNested(int column, ColumnVector vector, int from, int count, int row, long budget) {
    ColumnarArray values = new ColumnarArray(vector, from, count);
    boolean lists = vector instanceof WritableColumnVector && kinds[column] == ColumnKind.LIST
        && !vector.dataType().equals(DataTypes.BinaryType) && isFixedWidth(kinds[firstChild[column]]);
    long start = bytesBelow(column);
    for (int i = 0; i < count; i++) {
      if (lists && !vector.isNullAt(from + i)) {
        markValid(column, row + i);
        appendElements(column, (WritableColumnVector) vector, from + i, row + i);
      } else {
        write(column, row + i, values, i);
      }
      if (bytesBelow(column) - start > budget && row + i > 0) {
        truncate(column, row + i);
        return i;
      }
    }
    return count;
  }

  private static boolean isFixedWidth(ColumnKind kind) {
    return kind.width > 0 || kind == ColumnKind.BOOLEAN;
  }

  private void appendElements(int column, WritableColumnVector vector, int from, int row) {
    int child = firstChild[column];
    int length = vector.getArrayLength(from);
    int first = grow(child, length);
    if (length > 0) {
      appendFlat(child, vector.arrayData(), vector.getArrayOffset(from), length, first, Long.MAX_VALUE);
    }
    putOffset(column, row + 1, elements[child]);
  }

  private void appendDecimals(int column, ColumnVector vector, int from, int count, int row) {
    DecimalType type = (DecimalType) forms[column].type;
    long to = segment.address + fixed[column] + row * 16L;
    if (vector instanceof WritableColumnVector && type.precision() <= Decimal.MAX_LONG_DIGITS()) {
      // Spark's vectors hold decimals as the smallest integers that hold the type.
      boolean ints = type.precision() <= Decimal.MAX_INT_DIGITS();
      for (int i = 0; i < count; i++) {
        if (!vector.isNullAt(from + i)) {
          putUnscaled(to + i * 16L, ints ? vector.getInt(from + i) : vector.getLong(from + i));
        }
      }
      return;
    }
    for (int i = 0; i < count; i++) {
      if (!vector.isNullAt(from + i)) {
        writeDecimal(column, row + i, vector.getDecimal(from + i, type.precision(), type.scale()));
      }
    }
  }

  private void appendNulls(int column, ColumnVector vector, int from, int count, int row) {
    startValidity(column, row);
    long bitmap = segment.address + validity[column];
    for (int i = 0; i < count; i++) {
      putBit(bitmap, row + i, !vector.isNullAt(from + i));
    }
  }

  private static void appendFixed(ColumnKind kind, ColumnVector vector, int from, int count, long to) {
    switch (kind) {
      case BYTE:
        Platform.copyMemory(vector.getBytes(from, count), Platform.BYTE_ARRAY_OFFSET, null, to, count);
        break;
      case SHORT:
        Platform.copyMemory(vector.getShorts(from, count), Platform.SHORT_ARRAY_OFFSET, null, to, count * 2L);
        break;
      case INT:
        Platform.copyMemory(vector.getInts(from, count), Platform.INT_ARRAY_OFFSET, null, to, count * 4L);
        break;
      case LONG:
        Platform.copyMemory(vector.getLongs(from, count), Platform.LONG_ARRAY_OFFSET, null, to, count * 8L);
        break;
      case FLOAT:
        Platform.copyMemory(vector.getFloats(from, count), Platform.FLOAT_ARRAY_OFFSET, null, to, count * 4L);
        break;
      case DOUBLE:
        Platform.copyMemory(vector.getDoubles(from, count), Platform.DOUBLE_ARRAY_OFFSET, null, to, count * 8L);
        break;
      default:
        throw new IllegalArgumentException(kind + " has no fixed width");
    }
  }

  /** For vectors that refuse to read a null row. A row at a time, which is slow, but so is such a vector. */
  private void appendFixedBetweenNulls(int column, ColumnVector vector, int from, int count, int row) {
    ColumnKind kind = kinds[column];
    long start = segment.address + fixed[column] + (long) row * kind.width;
    for (int i = 0; i < count; i++) {
      long to = start + (long) i * kind.width;
      if (vector.isNullAt(from + i)) {
        Platform.setMemory(null, to, kind.width, (byte) 0);
      } else {
        appendFixed(kind, vector, from + i, 1, to);
      }
    }
  }

  private void appendBooleans(int column, ColumnVector vector, int from, int count, int row, boolean nulls) {
    long bits = segment.address + fixed[column];
    for (int i = 0; i < count; i++) {
      putBit(bits, row + i, !(nulls && vector.isNullAt(from + i)) && vector.getBoolean(from + i));
    }
  }

  private int appendVariable(int column, ColumnVector vector, int from, int count, int row, long budget) {
    boolean strings = !forms[column].type.equals(DataTypes.BinaryType);
    boolean nulls = vector.hasNull();
    long stop = bytesLength[column] + Math.min(budget, Integer.MAX_VALUE - bytesLength[column]);
    for (int i = 0; i < count; i++) {
      long length = bytesLength[column];
      if (!(nulls && vector.isNullAt(from + i))) {
        if (strings) {
          UTF8String value = vector.getUTF8String(from + i);
          int size = value.numBytes();
          if (length + size > stop && row + i > 0) {
            return i;
          }
          reserve(column, size);
          Platform.copyMemory(value.getBaseObject(), value.getBaseOffset(), null,
              segment.address + bytes[column] + length, size);
          length += size;
        } else {
          byte[] value = vector.getBinary(from + i);
          if (length + value.length > stop && row + i > 0) {
            return i;
          }
          reserve(column, value.length);
          Platform.copyMemory(value, Platform.BYTE_ARRAY_OFFSET, null,
              segment.address + bytes[column] + length, value.length);
          length += value.length;
        }
        bytesLength[column] = length;
      }
      putOffset(column, row + i + 1, length);
    }
    return count;
  }

  /** Appends one column of copied rows: field {@code ordinal} of each row of the page, from row 0 of the batch. */
  void append(int column, RowPage page, int ordinal) {
    ColumnKind kind = kinds[column];
    if (kind == ColumnKind.NULL || kind == ColumnKind.DECIMAL || kind == ColumnKind.STRUCT
        || forms[column].children.length > 0) {
      UnsafeRow values = new UnsafeRow(page.fields());
      for (int row = 0; row < page.rows(); row++) {
        page.point(values, row);
        write(column, row, values, ordinal);
      }
      return;
    }
    byte[] data = page.data();
    int rows = page.rows();
    long nullWord = Platform.BYTE_ARRAY_OFFSET + (ordinal >> 6) * 8L;
    long nullMask = 1L << (ordinal & 63);
    long field = Platform.BYTE_ARRAY_OFFSET + page.bitsetWidth() + ordinal * 8L;
    appendRowNulls(column, page, nullWord, nullMask);
    long to = segment.address + fixed[column];
    switch (kind) {
      case BOOLEAN:
        for (int row = 0; row < rows; row++) {
          putBit(to, row, Platform.getBoolean(data, field + page.start(row)));
        }
        break;
      case BYTE:
        for (int row = 0; row < rows; row++) {
          Platform.putByte(null, to + row, Platform.getByte(data, field + page.start(row)));
        }
        break;
      case SHORT:
        for (int row = 0; row < rows; row++) {
          Platform.putShort(null, to + row * 2L, Platform.getShort(data, field + page.start(row)));
        }
        break;
      case INT:
      case FLOAT:
        for (int row = 0; row < rows; row++) {
          Platform.putInt(null, to + row * 4L, Platform.getInt(data, field + page.start(row)));
        }
        break;
      case LONG:
      case DOUBLE:
        for (int row = 0; row < rows; row++) {
          Platform.putLong(null, to + row * 8L, Platform.getLong(data, field + page.start(row)));
        }
        break;
      case VARIABLE:
        appendRowVariable(column, page, nullWord, nullMask, field);
        break;
      default:
        throw new IllegalArgumentException("unknown form " + kind);
    }
  }

  private void appendRowNulls(int column, RowPage page, long nullWord, long nullMask) {
    byte[] data = page.data();
    int rows = page.rows();
    for (int row = 0; row < rows; row++) {
      if ((Platform.getLong(data, nullWord + page.start(row)) & nullMask) != 0) {
        startValidity(column, row);
        putBit(segment.address + validity[column], row, false);
      } else if (hasNulls[column]) {
        putBit(segment.address + validity[column], row, true);
      }
    }
  }

  private void appendRowVariable(int column, RowPage page, long nullWord, long nullMask, long field) {
    byte[] data = page.data();
    int rows = page.rows();
    long length = 0;
    for (int row = 0; row < rows; row++) {
      long start = page.start(row);
      if ((Platform.getLong(data, nullWord + start) & nullMask) == 0) {
        long offsetAndSize = Platform.getLong(data, field + start);
        int size = (int) offsetAndSize;
        if (length + size > bytesCapacity[column]) {
          bytesLength[column] = length;
          reserve(column, size);
        }
        Platform.copyMemory(data, Platform.BYTE_ARRAY_OFFSET + start + (offsetAndSize >>> 32), null,
            segment.address + bytes[column] + length, size);
        length += size;
      }
      putOffset(column, row + 1, length);
    }
    bytesLength[column] = length;
  }
}
