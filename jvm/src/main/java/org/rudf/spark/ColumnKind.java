package org.rudf.spark;

import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;

/** The physical forms in which columns lie in a batch; several Spark types share one. */
enum ColumnKind {
  /** One bit a row. */
  BOOLEAN(0),
  BYTE(1),
  SHORT(2),
  /** Also dates: days since 1970-01-01. */
  INT(4),
  /** Also timestamps: microseconds since 1970-01-01 UTC. */
  LONG(8),
  FLOAT(4),
  DOUBLE(8),
  /** Strings and binaries: 32-bit offsets into bytes. */
  VARIABLE(0);

  /** Bytes of one value; 0 where that is not a whole fixed number. */
  final int width;

  ColumnKind(int width) {
    this.width = width;
  }

  /** The form of a Spark type, or null where rudf leaves the type to Spark. */
  static ColumnKind of(DataType type) {
    if (type.equals(DataTypes.BooleanType)) return BOOLEAN;
    if (type.equals(DataTypes.ByteType)) return BYTE;
    if (type.equals(DataTypes.ShortType)) return SHORT;
    if (type.equals(DataTypes.IntegerType) || type.equals(DataTypes.DateType)) return INT;
    if (type.equals(DataTypes.LongType) || type.equals(DataTypes.TimestampType)) return LONG;
    if (type.equals(DataTypes.FloatType)) return FLOAT;
    if (type.equals(DataTypes.DoubleType)) return DOUBLE;
    // Only the default collation: others compare by rules that belong to Spark.
    if (type.equals(DataTypes.StringType) || type.equals(DataTypes.BinaryType)) return VARIABLE;
    return null;
  }

  /** Bytes that the values of {@code rows} rows take; for {@link #VARIABLE} the offsets. */
  long fixedBytes(long rows) {
    switch (this) {
      case BOOLEAN:
        return (rows + 7) / 8;
      case VARIABLE:
        return (rows + 1) * 4;
      default:
        return rows * width;
    }
  }
}
