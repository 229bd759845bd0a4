package org.rudf.spark;

import java.util.function.LongFunction;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.SpecializedGetters;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.catalyst.util.MapData;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.Decimal;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.CalendarInterval;
import org.apache.spark.unsafe.types.UTF8String;
import org.apache.spark.unsafe.types.VariantVal;

/**
 * Lays batches out in segments a row at a time: the code that Spark generates for the rows' stage calls it with each
 * value, so that no row is ever made.
 *
 * <p>Use, for each row: {@code put…} once for each column, then {@link #endRow}; where that says that the batch is full,
 * {@link #takeBatch}. Public because generated classes live in a package of Spark's.
 */
public final class RowBatchWriter extends ValueBuffers {
  /** A column of strings is full here, so that one more value of any usual size can be addressed by 32 bits. */
  private static final long FULL_BYTES = 1L << 30;

  private final long maxBytes;
  private final long fixedRowBytes;
  /** {@code segment.address + fixed[column]}. */
  private final long[] values;
  /** Rows of the batch that are complete. */
  private int row;
  /** Bytes of strings and binaries in all columns. */
  private long variableBytes;
  /** Whether one column of strings has reached {@link #FULL_BYTES}. */
  private boolean columnFull;
  private boolean begun;

  RowBatchWriter(LongFunction<Segment> acquire, ColumnForm[] forms, int visibleColumns, int maxRows, long maxBytes) {
    super(acquire, forms, visibleColumns, maxRows);
    this.maxBytes = maxBytes;
    values = new long[columnCount];
    long perRow = 0;
    for (ColumnForm form : forms) {
      perRow += form.kind.hasOffsets() ? 4 : Math.max(form.kind.width, 1);
    }
    fixedRowBytes = perRow;
  }

  /** Makes sure that there is a batch to put values into; called before the first value of each row. */
  public void beginRow() {
    if (!begun) {
      begun = true;
      row = 0;
      variableBytes = 0;
      columnFull = false;
      begin();
      findValues();
    }
  }

  private void findValues() {
    for (int column = 0; column < values.length; column++) {
      values[column] = segment.address + fixed[column];
    }
  }

  public void putNull(int column) {
    if (forms[column].children.length > 0) {
      writeNull(column, row);
      return;
    }
    if (!hasNulls[column]) {
      // All rows are valid but those that say otherwise.
      hasNulls[column] = true;
      Platform.setMemory(null, segment.address + validity[column], (rowCapacity + 7) / 8, (byte) 0xff);
    }
    putBit(segment.address + validity[column], row, false);
    if (kinds[column] == ColumnKind.VARIABLE) {
      Platform.putInt(null, values[column] + (row + 1) * 4L, (int) bytesLength[column]);
    }
  }

  public void putBoolean(int column, boolean value) {
    putBit(values[column], row, value);
  }

  public void putByte(int column, byte value) {
    Platform.putByte(null, values[column] + row, value);
  }

  public void putShort(int column, short value) {
    Platform.putShort(null, values[column] + row * 2L, value);
  }

  public void putInt(int column, int value) {
    Platform.putInt(null, values[column] + row * 4L, value);
  }

  public void putLong(int column, long value) {
    Platform.putLong(null, values[column] + row * 8L, value);
  }

  public void putFloat(int column, float value) {
    Platform.putFloat(null, values[column] + row * 4L, value);
  }

  public void putDouble(int column, double value) {
    Platform.putDouble(null, values[column] + row * 8L, value);
  }

  public void putString(int column, UTF8String value) {
    putVariable(column, value.getBaseObject(), value.getBaseOffset(), value.numBytes());
  }

  public void putBinary(int column, byte[] value) {
    putVariable(column, value, Platform.BYTE_ARRAY_OFFSET, value.length);
  }

  public void putDecimal(int column, Decimal value) {
    markValid(column, row);
    writeDecimal(column, row, value);
  }

  public void putArray(int column, ArrayData value) {
    long before = bytesBelow(column);
    markValid(column, row);
    writeArray(column, row, value);
    countBelow(column, before);
  }

  public void putMap(int column, MapData value) {
    long before = bytesBelow(column);
    markValid(column, row);
    writeMap(column, row, value);
    countBelow(column, before);
  }

  public void putStruct(int column, InternalRow value) {
    long before = bytesBelow(column);
    markValid(column, row);
    writeStruct(column, row, value);
    countBelow(column, before);
  }

  public void putInterval(int column, CalendarInterval value) {
    markValid(column, row);
    writeInterval(column, row, value);
  }

  public void putVariant(int column, VariantVal value) {
    long before = bytesBelow(column);
    markValid(column, row);
    writeVariant(column, row, value);
    countBelow(column, before);
  }

  /** Puts whatever value stands at {@code ordinal} of a row. */
  void put(int column, SpecializedGetters from, int ordinal) {
    if (kinds[column] == ColumnKind.NULL || from.isNullAt(ordinal)) {
      putNull(column);
      return;
    }
    switch (kinds[column]) {
      case BOOLEAN:
        putBoolean(column, from.getBoolean(ordinal));
        break;
      case BYTE:
        putByte(column, from.getByte(ordinal));
        break;
      case SHORT:
        putShort(column, from.getShort(ordinal));
        break;
      case INT:
        putInt(column, from.getInt(ordinal));
        break;
      case LONG:
        putLong(column, from.getLong(ordinal));
        break;
      case FLOAT:
        putFloat(column, from.getFloat(ordinal));
        break;
      case DOUBLE:
        putDouble(column, from.getDouble(ordinal));
        break;
      case VARIABLE:
        if (forms[column].type.equals(DataTypes.BinaryType)) {
          putBinary(column, from.getBinary(ordinal));
        } else {
          putString(column, from.getUTF8String(ordinal));
        }
        break;
      default:
        long before = bytesBelow(column);
        write(column, row, from, ordinal);
        countBelow(column, before);
    }
  }

  private void countBelow(int column, long before) {
    if (values.length > 0 && values[0] != segment.address + fixed[0]) {
      findValues();
    }
    long below = bytesBelow(column);
    variableBytes += below - before;
    columnFull |= below >= FULL_BYTES;
  }

  private void putVariable(int column, Object base, long offset, int size) {
    long length = bytesLength[column];
    if (length + size > bytesCapacity[column]) {
      reserve(column, size);
      findValues();
    }
    Platform.copyMemory(base, offset, null, segment.address + bytes[column] + length, size);
    bytesLength[column] = length + size;
    variableBytes += size;
    columnFull |= length + size >= FULL_BYTES;
    Platform.putInt(null, values[column] + (row + 1) * 4L, (int) (length + size));
  }

  /** Ends a row; says whether the batch is full with it. */
  public boolean endRow() {
    row++;
    return row == rowCapacity || columnFull || row * fixedRowBytes + variableBytes >= maxBytes;
  }

  /** Rows that no batch has been taken with. */
  public int rows() {
    return begun ? row : 0;
  }

  /** The batch so far, of {@link #rows} rows; the next row starts another. */
  Segment takeBatch() {
    begun = false;
    return finish(row);
  }

  @Override
  void abandon() {
    begun = false;
    super.abandon();
  }
}
