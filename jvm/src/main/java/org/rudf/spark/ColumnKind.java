package org.rudf.spark;

/** The physical forms in which columns lie in a batch; several Spark types share one (see {@link ColumnForm}). */
enum ColumnKind {
  /** Nothing but nulls: no buffers. */
  NULL(0),
  /** One bit a row. */
  BOOLEAN(0),
  BYTE(1),
  SHORT(2),
  INT(4),
  LONG(8),
  FLOAT(4),
  DOUBLE(8),
  /** 128-bit unscaled values. */
  DECIMAL(16),
  /** Strings and binaries: 32-bit offsets into bytes. */
  VARIABLE(0),
  /** Arrays: 32-bit offsets into the rows of the one child. */
  LIST(0),
  /** Maps: the same; the child is a struct of key and value. */
  MAP(0),
  /** Children of as many rows. */
  STRUCT(0);

  /** Bytes of one value; 0 where that is not a whole fixed number. */
  final int width;

  ColumnKind(int width) {
    this.width = width;
  }

  /** Whether there are offsets, into bytes or into rows of a child. */
  boolean hasOffsets() {
    return this == VARIABLE || this == LIST || this == MAP;
  }

  /** Bytes that the values, bits or offsets of {@code rows} rows take. */
  long fixedBytes(long rows) {
    if (this == BOOLEAN) {
      return (rows + 7) / 8;
    }
    return hasOffsets() ? (rows + 1) * 4 : rows * width;
  }
}
