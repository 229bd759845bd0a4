package org.rudf.spark;

/**
 * How a record batch lies in memory: the constants of {@code rust/segment/src/layout.rs}, where the format is
 * described. A test compares the two.
 */
final class BatchLayout {
  private BatchLayout() {}

  /** First word of every batch: the bytes {@code RUDFBAT1}. */
  static final long MAGIC = 0x3154414246445552L;

  /** Alignment of every buffer, in bytes. */
  static final int ALIGNMENT = 64;

  static final int HEADER_BYTES = 4 * 8;
  static final int ROWS = 8;
  static final int COLUMNS = 16;

  static final int DESCRIPTOR_BYTES = 12 * 8;
  // Byte offsets of a descriptor's fields.
  static final int NULL_COUNT = 0;
  static final int FIRST_ROW = 8;
  static final int OFFSET_WIDTH = 16;
  static final int VALIDITY = 24;
  static final int VALIDITY_LENGTH = 32;
  static final int OFFSETS = 40;
  static final int OFFSETS_LENGTH = 48;
  static final int VALUES = 56;
  static final int VALUES_LENGTH = 64;
  static final int CHILDREN = 72;
  static final int CHILD_COUNT = 80;
  static final int COLUMN_ROWS = 88;

  static long align(long position) {
    return (position + ALIGNMENT - 1) & -ALIGNMENT;
  }
}
