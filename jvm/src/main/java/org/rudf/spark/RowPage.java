package org.rudf.spark;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.Arrays;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.unsafe.Platform;

/**
 * Copies of the rows of one batch, back to back: they are laid out as columns from here, and wait here for their
 * results.
 */
final class RowPage {
  private final int fields;
  private byte[] data = new byte[64 * 1024];
  private int[] starts = new int[1024];
  private int rows;
  private int used;

  RowPage(int fields) {
    this.fields = fields;
  }

  void clear() {
    rows = 0;
    used = 0;
  }

  int rows() {
    return rows;
  }

  int bytesUsed() {
    return used;
  }

  byte[] data() {
    return data;
  }

  /** Where a row begins in {@link #data}. */
  int start(int row) {
    return starts[row];
  }

  int fields() {
    return fields;
  }

  int bitsetWidth() {
    return UnsafeRow.calculateBitSetWidthInBytes(fields);
  }

  /** Whether a row fits: a page cannot be larger than a Java array. */
  boolean fits(UnsafeRow row) {
    return (long) used + row.getSizeInBytes() <= Integer.MAX_VALUE - 16;
  }

  void add(UnsafeRow row) {
    int size = row.getSizeInBytes();
    if (size > data.length - used) {
      long wanted = Math.max((long) used + size, data.length * 2L);
      data = Arrays.copyOf(data, (int) Math.min(wanted, Integer.MAX_VALUE - 16));
    }
    if (rows == starts.length) {
      starts = Arrays.copyOf(starts, rows * 2);
    }
    Platform.copyMemory(row.getBaseObject(), row.getBaseOffset(), data, Platform.BYTE_ARRAY_OFFSET + used, size);
    starts[rows++] = used;
    used += size;
  }

  /** Points {@code row} at a copied row. */
  void point(UnsafeRow row, int index) {
    int end = index + 1 < rows ? starts[index + 1] : used;
    row.pointTo(data, Platform.BYTE_ARRAY_OFFSET + starts[index], end - starts[index]);
  }

  void write(DataOutputStream out) throws IOException {
    out.writeInt(rows);
    out.writeInt(used);
    for (int row = 0; row < rows; row++) {
      out.writeInt(starts[row]);
    }
    out.write(data, 0, used);
  }

  /** A page that {@link #write} has written. */
  static RowPage read(DataInputStream in, int fields) throws IOException {
    RowPage page = new RowPage(fields);
    page.rows = in.readInt();
    page.used = in.readInt();
    page.starts = new int[Math.max(page.rows, 1)];
    for (int row = 0; row < page.rows; row++) {
      page.starts[row] = in.readInt();
    }
    page.data = new byte[Math.max(page.used, 1)];
    in.readFully(page.data, 0, page.used);
    return page;
  }
}
