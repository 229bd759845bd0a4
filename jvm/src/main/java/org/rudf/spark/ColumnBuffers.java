package org.rudf.spark;

import java.util.function.LongFunction;
import org.apache.spark.unsafe.Platform;

/**
 * The buffers of one batch in a segment, and what is written around them: header and descriptors.
 *
 * <p>The layout is that of {@link BatchLayout}. Positions are kept relative to the segment, so that a batch that turns
 * out larger than its segment can move to a larger one.
 */
abstract class ColumnBuffers {
  /** What a column of strings is given at first, a row; it grows as needed. */
  private static final int VARIABLE_BYTES_GUESS = 16;

  private final LongFunction<Segment> acquire;
  final ColumnKind[] kinds;
  /** How many of the columns, from the first, the header counts: the rest pass by and are not for Python. */
  private final int visibleColumns;
  final int rowCapacity;

  Segment segment;
  /** End of what is placed so far. */
  private long tail;
  final long[] validity;
  final boolean[] hasNulls;
  /** Fixed-width values, bits, or offsets. */
  final long[] fixed;
  final long[] bytes;
  final long[] bytesLength;
  final long[] bytesCapacity;

  ColumnBuffers(LongFunction<Segment> acquire, ColumnKind[] kinds, int visibleColumns, int rowCapacity) {
    this.acquire = acquire;
    this.kinds = kinds;
    this.visibleColumns = visibleColumns;
    this.rowCapacity = rowCapacity;
    validity = new long[kinds.length];
    hasNulls = new boolean[kinds.length];
    fixed = new long[kinds.length];
    bytes = new long[kinds.length];
    bytesLength = new long[kinds.length];
    bytesCapacity = new long[kinds.length];
  }

  /** Starts a batch in a segment of its own. */
  void begin() {
    tail = BatchLayout.align(BatchLayout.HEADER_BYTES + (long) kinds.length * BatchLayout.DESCRIPTOR_BYTES);
    for (int column = 0; column < kinds.length; column++) {
      validity[column] = place((rowCapacity + 7) / 8);
      fixed[column] = place(kinds[column].fixedBytes(rowCapacity));
      hasNulls[column] = false;
      boolean variable = kinds[column] == ColumnKind.VARIABLE;
      bytesLength[column] = 0;
      bytesCapacity[column] = variable ? (long) rowCapacity * VARIABLE_BYTES_GUESS : 0;
      bytes[column] = variable ? place(bytesCapacity[column]) : 0;
    }
    segment = acquire.apply(tail);
    for (int column = 0; column < kinds.length; column++) {
      if (kinds[column] == ColumnKind.VARIABLE) {
        Platform.putInt(null, segment.address + fixed[column], 0);
      }
    }
  }

  private long place(long length) {
    long position = tail;
    tail = BatchLayout.align(tail + length);
    return position;
  }

  /** Bytes of strings and binaries in the batch so far, and of fixed-width values for that many rows. */
  long bytesUsed(int rows) {
    long used = 0;
    for (int column = 0; column < kinds.length; column++) {
      used += kinds[column].fixedBytes(rows) + bytesLength[column];
    }
    return used;
  }

  /** From the first null on a column has a bitmap; the rows before it are valid. */
  void startValidity(int column, int row) {
    if (!hasNulls[column]) {
      hasNulls[column] = true;
      setValid(column, 0, row);
    }
  }

  void setValid(int column, int from, int to) {
    long bitmap = segment.address + validity[column];
    int row = from;
    for (; row < to && (row & 7) != 0; row++) {
      putBit(bitmap, row, true);
    }
    int wholeBytes = (to - row) / 8;
    if (wholeBytes > 0) {
      Platform.setMemory(null, bitmap + row / 8, wholeBytes, (byte) 0xff);
      row += wholeBytes * 8;
    }
    for (; row < to; row++) {
      putBit(bitmap, row, true);
    }
  }

  static void putBit(long bitmap, int index, boolean value) {
    long address = bitmap + (index >> 3);
    int mask = 1 << (index & 7);
    int old = Platform.getByte(null, address);
    Platform.putByte(null, address, (byte) (value ? old | mask : old & ~mask));
  }

  void putOffset(int column, int row, long offset) {
    Platform.putInt(null, segment.address + fixed[column] + row * 4L, (int) offset);
  }

  /** Makes room for {@code more} bytes in a column of strings. */
  void reserve(int column, long more) {
    long need = bytesLength[column] + more;
    if (need <= bytesCapacity[column]) {
      return;
    }
    long capacity = Math.max(need, bytesCapacity[column] * 2);
    long position = place(capacity);
    ensureSegment();
    Platform.copyMemory(null, segment.address + bytes[column], null, segment.address + position, bytesLength[column]);
    bytes[column] = position;
    bytesCapacity[column] = capacity;
  }

  /** Moves the batch to a larger segment where {@link #tail} is beyond the end of this one. */
  private void ensureSegment() {
    if (tail <= segment.capacity) {
      return;
    }
    Segment larger = acquire.apply(Math.max(tail, segment.capacity * 2));
    Platform.copyMemory(null, segment.address, null, larger.address, segment.capacity);
    segment.close();
    segment = larger;
  }

  /** Ends the batch: writes header and descriptors, and gives the segment to the caller. */
  Segment finish(int rows) {
    long base = segment.address;
    Platform.putLong(null, base, BatchLayout.MAGIC);
    Platform.putLong(null, base + BatchLayout.ROWS, rows);
    Platform.putLong(null, base + BatchLayout.COLUMNS, visibleColumns);
    Platform.putLong(null, base + BatchLayout.COLUMNS + 8, 0);
    for (int column = 0; column < kinds.length; column++) {
      long at = descriptor(base, column);
      Platform.setMemory(null, at, BatchLayout.DESCRIPTOR_BYTES, (byte) 0);
      if (hasNulls[column]) {
        Platform.putLong(null, at + BatchLayout.NULL_COUNT, rows - countBits(base + validity[column], rows));
        Platform.putLong(null, at + BatchLayout.VALIDITY, validity[column]);
        Platform.putLong(null, at + BatchLayout.VALIDITY_LENGTH, (rows + 7) / 8);
      }
      boolean variable = kinds[column] == ColumnKind.VARIABLE;
      long fixedLength = kinds[column].fixedBytes(rows);
      if (variable) {
        Platform.putLong(null, at + BatchLayout.OFFSET_WIDTH, 4);
        Platform.putLong(null, at + BatchLayout.OFFSETS, fixed[column]);
        Platform.putLong(null, at + BatchLayout.OFFSETS_LENGTH, fixedLength);
      }
      Platform.putLong(null, at + BatchLayout.VALUES, variable ? bytes[column] : fixed[column]);
      Platform.putLong(null, at + BatchLayout.VALUES_LENGTH, variable ? bytesLength[column] : fixedLength);
    }
    Segment finished = segment;
    segment = null;
    return finished;
  }

  /** Bytes of the batch that {@link #finish} has just ended. */
  long length() {
    return tail;
  }

  /** Gives up a batch that was begun. */
  void abandon() {
    if (segment != null) {
      segment.close();
      segment = null;
    }
  }

  /** Address of a column's descriptor in a batch at {@code base}. */
  static long descriptor(long base, int column) {
    return base + BatchLayout.HEADER_BYTES + (long) column * BatchLayout.DESCRIPTOR_BYTES;
  }

  private static long countBits(long bitmap, int rows) {
    long count = 0;
    int row = 0;
    for (; row + 64 <= rows; row += 64) {
      count += Long.bitCount(Platform.getLong(null, bitmap + row / 8));
    }
    for (; row < rows; row++) {
      count += Platform.getByte(null, bitmap + (row >> 3)) >> (row & 7) & 1;
    }
    return count;
  }
}
