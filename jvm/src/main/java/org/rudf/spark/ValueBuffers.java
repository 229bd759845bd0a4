package org.rudf.spark;

import java.math.BigInteger;
import java.util.function.LongFunction;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.SpecializedGetters;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.catalyst.util.MapData;
import org.apache.spark.sql.types.CalendarIntervalType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.Decimal;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.types.VariantType;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.CalendarInterval;
import org.apache.spark.unsafe.types.UTF8String;
import org.apache.spark.unsafe.types.VariantVal;

/** Buffers that any value of Spark's can be written to, one after another: nested ones with all that is in them. */
abstract class ValueBuffers extends ColumnBuffers {
  ValueBuffers(LongFunction<Segment> acquire, ColumnForm[] columns, int visibleColumns, int rowCapacity) {
    super(acquire, columns, visibleColumns, rowCapacity);
  }

  /** Writes a null, in every column that the value would have been in. */
  void writeNull(int column, int row) {
    ColumnKind kind = kinds[column];
    if (kind == ColumnKind.NULL) {
      return;
    }
    startValidity(column, row);
    putBit(segment.address + validity[column], row, false);
    writeNothing(column, row);
  }

  /** Writes what a null row holds beside the bit that says so. */
  private void writeNothing(int column, int row) {
    switch (kinds[column]) {
      case VARIABLE:
        putOffset(column, row + 1, bytesLength[column]);
        break;
      case LIST:
      case MAP:
        putOffset(column, row + 1, elements[firstChild[column]]);
        break;
      case STRUCT:
        for (int i = 0; i < forms[column].children.length; i++) {
          writeNull(firstChild[column] + i, row);
        }
        break;
      case BOOLEAN:
        putBit(segment.address + fixed[column], row, false);
        break;
      default:
        Platform.setMemory(null, segment.address + fixed[column] + (long) row * kinds[column].width,
            kinds[column].width, (byte) 0);
    }
  }

  /** Writes the value at {@code ordinal} of a row or an array. */
  void write(int column, int row, SpecializedGetters from, int ordinal) {
    if (kinds[column] == ColumnKind.NULL || from.isNullAt(ordinal)) {
      writeNull(column, row);
      return;
    }
    markValid(column, row);
    long to = segment.address + fixed[column];
    switch (kinds[column]) {
      case BOOLEAN:
        putBit(to, row, from.getBoolean(ordinal));
        break;
      case BYTE:
        Platform.putByte(null, to + row, from.getByte(ordinal));
        break;
      case SHORT:
        Platform.putShort(null, to + row * 2L, from.getShort(ordinal));
        break;
      case INT:
        Platform.putInt(null, to + row * 4L, from.getInt(ordinal));
        break;
      case LONG:
        Platform.putLong(null, to + row * 8L, from.getLong(ordinal));
        break;
      case FLOAT:
        Platform.putFloat(null, to + row * 4L, from.getFloat(ordinal));
        break;
      case DOUBLE:
        Platform.putDouble(null, to + row * 8L, from.getDouble(ordinal));
        break;
      case DECIMAL:
        DecimalType decimal = (DecimalType) forms[column].type;
        writeDecimal(column, row, from.getDecimal(ordinal, decimal.precision(), decimal.scale()));
        break;
      case VARIABLE:
        if (forms[column].type.equals(DataTypes.BinaryType)) {
          byte[] value = from.getBinary(ordinal);
          writeBytes(column, row, value, Platform.BYTE_ARRAY_OFFSET, value.length);
        } else {
          UTF8String value = from.getUTF8String(ordinal);
          writeBytes(column, row, value.getBaseObject(), value.getBaseOffset(), value.numBytes());
        }
        break;
      case LIST:
        writeArray(column, row, from.getArray(ordinal));
        break;
      case MAP:
        writeMap(column, row, from.getMap(ordinal));
        break;
      default:
        writeStructAt(column, row, from, ordinal);
    }
  }

  private void writeStructAt(int column, int row, SpecializedGetters from, int ordinal) {
    if (forms[column].type instanceof VariantType) {
      writeVariant(column, row, from.getVariant(ordinal));
    } else if (forms[column].type instanceof CalendarIntervalType) {
      writeInterval(column, row, from.getInterval(ordinal));
    } else {
      writeStruct(column, row, from.getStruct(ordinal, ((StructType) forms[column].type).length()));
    }
  }

  void markValid(int column, int row) {
    if (hasNulls[column]) {
      putBit(segment.address + validity[column], row, true);
    }
  }

  void writeBytes(int column, int row, Object base, long offset, int size) {
    long length = bytesLength[column];
    reserve(column, size);
    Platform.copyMemory(base, offset, null, segment.address + bytes[column] + length, size);
    bytesLength[column] = length + size;
    putOffset(column, row + 1, length + size);
  }

  /** A value that the type cannot hold becomes null, as in Spark's own way to Arrow. */
  void writeDecimal(int column, int row, Decimal value) {
    DecimalType type = (DecimalType) forms[column].type;
    Decimal fitting = value.precision() == type.precision() && value.scale() == type.scale() ? value
        : value.toPrecision(type.precision(), type.scale(), Decimal.ROUND_HALF_UP(), true, null);
    if (fitting == null) {
      writeNull(column, row);
      return;
    }
    long to = segment.address + fixed[column] + row * 16L;
    if (type.precision() <= Decimal.MAX_LONG_DIGITS()) {
      putUnscaled(to, fitting.toUnscaledLong());
    } else {
      putUnscaled(to, fitting.toJavaBigDecimal().unscaledValue());
    }
  }

  static void putUnscaled(long to, long unscaled) {
    Platform.putLong(null, to, unscaled);
    Platform.putLong(null, to + 8, unscaled >> 63);
  }

  static void putUnscaled(long to, BigInteger unscaled) {
    Platform.putLong(null, to, unscaled.longValue());
    Platform.putLong(null, to + 8, unscaled.shiftRight(64).longValue());
  }

  void writeStruct(int column, int row, InternalRow value) {
    for (int i = 0; i < forms[column].children.length; i++) {
      write(firstChild[column] + i, row, value, i);
    }
  }

  void writeInterval(int column, int row, CalendarInterval value) {
    int child = firstChild[column];
    for (int i = 0; i < 3; i++) {
      markValid(child + i, row);
    }
    Platform.putInt(null, segment.address + fixed[child] + row * 4L, value.months);
    Platform.putInt(null, segment.address + fixed[child + 1] + row * 4L, value.days);
    Platform.putLong(null, segment.address + fixed[child + 2] + row * 8L, value.microseconds);
  }

  void writeVariant(int column, int row, VariantVal value) {
    int child = firstChild[column];
    markValid(child, row);
    markValid(child + 1, row);
    writeBytes(child, row, value.getValue(), Platform.BYTE_ARRAY_OFFSET, value.getValue().length);
    writeBytes(child + 1, row, value.getMetadata(), Platform.BYTE_ARRAY_OFFSET, value.getMetadata().length);
  }

  void writeArray(int column, int row, ArrayData value) {
    int child = firstChild[column];
    int first = grow(child, value.numElements());
    for (int i = 0; i < value.numElements(); i++) {
      write(child, first + i, value, i);
    }
    putOffset(column, row + 1, elements[child]);
  }

  void writeMap(int column, int row, MapData value) {
    int entries = firstChild[column];
    int first = grow(entries, value.numElements());
    int key = firstChild[entries];
    ArrayData keys = value.keyArray();
    ArrayData values = value.valueArray();
    for (int i = 0; i < value.numElements(); i++) {
      markValid(entries, first + i);
      write(key, first + i, keys, i);
      write(key + 1, first + i, values, i);
    }
    putOffset(column, row + 1, elements[entries]);
  }

  /** Gives a child {@code more} rows, and says which is the first. A struct's own children have as many. */
  int grow(int column, int more) {
    int first = elements[column];
    setElements(column, (long) first + more);
    return first;
  }

  private void setElements(int column, long rows) {
    reserveRows(column, rows);
    elements[column] = (int) rows;
    if (kinds[column] == ColumnKind.STRUCT) {
      for (int i = 0; i < forms[column].children.length; i++) {
        setElements(firstChild[column] + i, rows);
      }
    }
  }

  /** Drops what was written to a column beyond {@code rows} rows. */
  void truncate(int column, int rows) {
    switch (kinds[column]) {
      case VARIABLE:
        bytesLength[column] = offset(column, rows);
        break;
      case LIST:
      case MAP:
        int child = firstChild[column];
        int left = offset(column, rows);
        truncate(child, left);
        setElements(child, left);
        break;
      case STRUCT:
        for (int i = 0; i < forms[column].children.length; i++) {
          truncate(firstChild[column] + i, rows);
        }
        break;
      default:
    }
  }

  private int offset(int column, int row) {
    return Platform.getInt(null, segment.address + fixed[column] + row * 4L);
  }
}
