package org.rudf.spark;

import java.util.function.LongFunction;
import org.apache.spark.unsafe.Platform;

/**
 * The buffers of one batch in a segment, and what is written around them: header and descriptors.
 *
 * <p>The layout is that of {@link BatchLayout}. Positions are kept relative to the segment, so that a batch that turns
 * out larger than its segment can move to a larger one. Columns are numbered from 0; the children of nested ones have
 * the numbers behind them, those of one parent in a row.
 */
abstract class ColumnBuffers {
  /** What a column of strings is given at first, a row; it grows as needed. */
  private static final int VARIABLE_BYTES_GUESS = 16;
  /** Rows that a child of arrays or maps is given at first, for each row of theirs; it grows as needed. */
  private static final int ELEMENTS_GUESS = 2;

  private final LongFunction<Segment> acquire;
  /** How many columns are no children. */
  final int columnCount;
  final ColumnForm[] forms;
  final ColumnKind[] kinds;
  /** Of a nested column the number of its first child. */
  final int[] firstChild;
  /** Whether a column is below an array or a map: how many rows it has is then not known beforehand. */
  private final boolean[] isElement;
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
  /** Rows that there is room for. */
  final int[] capacity;
  /** Rows of the children of arrays and maps, and of what is below those. */
  final int[] elements;

  ColumnBuffers(LongFunction<Segment> acquire, ColumnForm[] columns, int visibleColumns, int rowCapacity) {
    this.acquire = acquire;
    this.visibleColumns = visibleColumns;
    this.rowCapacity = rowCapacity;
    columnCount = columns.length;
    int count = 0;
    for (ColumnForm form : columns) {
      count += form.count();
    }
    forms = new ColumnForm[count];
    kinds = new ColumnKind[count];
    firstChild = new int[count];
    isElement = new boolean[count];
    number(columns);
    validity = new long[count];
    hasNulls = new boolean[count];
    fixed = new long[count];
    bytes = new long[count];
    bytesLength = new long[count];
    bytesCapacity = new long[count];
    capacity = new int[count];
    elements = new int[count];
  }

  private void number(ColumnForm[] columns) {
    System.arraycopy(columns, 0, forms, 0, columns.length);
    int next = columns.length;
    for (int column = 0; column < forms.length; column++) {
      ColumnForm form = forms[column];
      kinds[column] = form.kind;
      firstChild[column] = next;
      for (ColumnForm child : form.children) {
        isElement[next] = isElement[column] || form.kind != ColumnKind.STRUCT;
        forms[next++] = child;
      }
    }
  }

  /** Starts a batch in a segment of its own. */
  void begin() {
    tail = BatchLayout.align(BatchLayout.HEADER_BYTES + (long) kinds.length * BatchLayout.DESCRIPTOR_BYTES);
    for (int column = 0; column < kinds.length; column++) {
      ColumnKind kind = kinds[column];
      int rows = isElement[column] ? (int) Math.min((long) rowCapacity * ELEMENTS_GUESS, 1 << 16) : rowCapacity;
      capacity[column] = rows;
      elements[column] = 0;
      validity[column] = place((rows + 7) / 8);
      fixed[column] = place(kind.fixedBytes(rows));
      hasNulls[column] = false;
      boolean variable = kind == ColumnKind.VARIABLE;
      bytesLength[column] = 0;
      bytesCapacity[column] = variable ? (long) rows * VARIABLE_BYTES_GUESS : 0;
      bytes[column] = variable ? place(bytesCapacity[column]) : 0;
    }
    segment = acquire.apply(tail);
    for (int column = 0; column < kinds.length; column++) {
      if (kinds[column].hasOffsets()) {
        Platform.putInt(null, segment.address + fixed[column], 0);
      }
    }
  }

  private long place(long length) {
    long position = tail;
    tail = BatchLayout.align(tail + length);
    return position;
  }

  /** Bytes of everything whose size the number of rows does not tell, and of fixed-width values for that many rows. */
  long bytesUsed(int rows) {
    long used = 0;
    for (int column = 0; column < kinds.length; column++) {
      used += kinds[column].fixedBytes(isElement[column] ? elements[column] : rows) + bytesLength[column];
    }
    return used;
  }

  /** The same for one column and what is below it, without its own fixed-width values. */
  long bytesBelow(int column) {
    long used = bytesLength[column];
    for (int child = firstChild[column]; child < firstChild[column] + forms[column].children.length; child++) {
      used += bytesBelow(child) + kinds[child].fixedBytes(elements[child]);
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
    if (need > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          "rudf: the strings of a record batch would have " + need + " bytes, more than 32-bit offsets can address");
    }
    long larger = Math.max(need, bytesCapacity[column] * 2);
    bytes[column] = move(bytes[column], bytesLength[column], larger);
    bytesCapacity[column] = larger;
  }

  /** Makes room for {@code rows} rows in a child of arrays or maps. */
  void reserveRows(int column, long rows) {
    if (rows <= capacity[column]) {
      return;
    }
    if (rows > Integer.MAX_VALUE - 64) {
      throw new IllegalArgumentException(
          "rudf: the arrays of a record batch would have " + rows + " elements, more than 32-bit offsets can address");
    }
    int larger = (int) Math.min(Math.max(rows, capacity[column] * 2L), Integer.MAX_VALUE - 64);
    int old = capacity[column];
    validity[column] = move(validity[column], (old + 7) / 8, (larger + 7) / 8);
    fixed[column] = move(fixed[column], kinds[column].fixedBytes(old), kinds[column].fixedBytes(larger));
    capacity[column] = larger;
  }

  /** Gives a buffer another place, with room for {@code larger} bytes. */
  private long move(long from, long length, long larger) {
    long position = place(larger);
    ensureSegment();
    Platform.copyMemory(null, segment.address + from, null, segment.address + position, length);
    return position;
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
      describe(base, column, isElement[column] ? elements[column] : rows);
    }
    Segment finished = segment;
    segment = null;
    return finished;
  }

  private void describe(long base, int column, int rows) {
    long at = descriptor(base, column);
    ColumnKind kind = kinds[column];
    Platform.setMemory(null, at, BatchLayout.DESCRIPTOR_BYTES, (byte) 0);
    Platform.putLong(null, at + BatchLayout.COLUMN_ROWS, rows);
    if (kind == ColumnKind.NULL) {
      Platform.putLong(null, at + BatchLayout.CHILD_COUNT, 0);
      return;
    }
    if (hasNulls[column]) {
      Platform.putLong(null, at + BatchLayout.NULL_COUNT, rows - countBits(base + validity[column], rows));
      Platform.putLong(null, at + BatchLayout.VALIDITY, validity[column]);
      Platform.putLong(null, at + BatchLayout.VALIDITY_LENGTH, (rows + 7) / 8);
    }
    long fixedLength = kind.fixedBytes(rows);
    if (kind.hasOffsets()) {
      Platform.putLong(null, at + BatchLayout.OFFSET_WIDTH, 4);
      Platform.putLong(null, at + BatchLayout.OFFSETS, fixed[column]);
      Platform.putLong(null, at + BatchLayout.OFFSETS_LENGTH, fixedLength);
    }
    if (kind == ColumnKind.VARIABLE) {
      Platform.putLong(null, at + BatchLayout.VALUES, bytes[column]);
      Platform.putLong(null, at + BatchLayout.VALUES_LENGTH, bytesLength[column]);
    } else if (!kind.hasOffsets() && kind != ColumnKind.STRUCT) {
      Platform.putLong(null, at + BatchLayout.VALUES, fixed[column]);
      Platform.putLong(null, at + BatchLayout.VALUES_LENGTH, fixedLength);
    }
    int children = forms[column].children.length;
    if (children > 0) {
      Platform.putLong(null, at + BatchLayout.CHILDREN, descriptor(0, firstChild[column]));
      Platform.putLong(null, at + BatchLayout.CHILD_COUNT, children);
    }
  }

  /** Bytes of the batch that {@link #finish} has just ended. */
  long length() {
    return tail;
  }

  /** Bytes of that batch's values that are for Python. */
  long visibleBytes(int rows) {
    long used = 0;
    for (int column = 0; column < visibleColumns; column++) {
      used += kinds[column].fixedBytes(rows) + bytesBelow(column) + (hasNulls[column] ? (rows + 7) / 8 : 0);
    }
    return used;
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
