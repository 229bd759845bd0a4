package org.rudf.spark;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.CalendarIntervalType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.DayTimeIntervalType;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.types.UserDefinedType;
import org.apache.spark.sql.types.VariantType;
import org.apache.spark.sql.types.YearMonthIntervalType;

/** The physical form of a Spark type: a kind and, of nested types, the forms of the children. */
final class ColumnForm implements Serializable {
  private static final long serialVersionUID = 1L;

  final ColumnKind kind;
  /** The type whose values are written and read; of a user-defined type the one that it is stored as. */
  final DataType type;
  final ColumnForm[] children;

  private ColumnForm(ColumnKind kind, DataType type, ColumnForm... children) {
    this.kind = kind;
    this.type = type;
    this.children = children;
  }

  /** The form of a Spark type, or null where no segment holds it. */
  static ColumnForm of(DataType type) {
    if (type instanceof UserDefinedType) {
      return of(((UserDefinedType<?>) type).sqlType());
    }
    if (type instanceof ArrayType) {
      return nested(ColumnKind.LIST, type, ((ArrayType) type).elementType());
    }
    if (type instanceof MapType) {
      MapType map = (MapType) type;
      ColumnForm entries = nested(ColumnKind.STRUCT, DataTypes.NullType, map.keyType(), map.valueType());
      return entries == null ? null : new ColumnForm(ColumnKind.MAP, type, entries);
    }
    if (type instanceof StructType) {
      List<DataType> types = new ArrayList<>();
      for (StructField field : ((StructType) type).fields()) {
        types.add(field.dataType());
      }
      return nested(ColumnKind.STRUCT, type, types.toArray(new DataType[0]));
    }
    if (type instanceof VariantType) {
      return nested(ColumnKind.STRUCT, type, DataTypes.BinaryType, DataTypes.BinaryType);
    }
    if (type instanceof CalendarIntervalType) {
      return nested(ColumnKind.STRUCT, type, DataTypes.IntegerType, DataTypes.IntegerType, DataTypes.LongType);
    }
    ColumnKind kind = flat(type);
    return kind == null ? null : new ColumnForm(kind, type);
  }

  private static ColumnForm nested(ColumnKind kind, DataType type, DataType... children) {
    ColumnForm[] forms = new ColumnForm[children.length];
    for (int i = 0; i < forms.length; i++) {
      forms[i] = of(children[i]);
      if (forms[i] == null) {
        return null;
      }
    }
    return new ColumnForm(kind, type, forms);
  }

  private static ColumnKind flat(DataType type) {
    if (type.equals(DataTypes.NullType)) return ColumnKind.NULL;
    if (type.equals(DataTypes.BooleanType)) return ColumnKind.BOOLEAN;
    if (type.equals(DataTypes.ByteType)) return ColumnKind.BYTE;
    if (type.equals(DataTypes.ShortType)) return ColumnKind.SHORT;
    if (type.equals(DataTypes.IntegerType) || type.equals(DataTypes.DateType)) return ColumnKind.INT;
    if (type instanceof YearMonthIntervalType) return ColumnKind.INT;
    if (type.equals(DataTypes.LongType) || type.equals(DataTypes.TimestampType)) return ColumnKind.LONG;
    if (type.equals(DataTypes.TimestampNTZType) || type instanceof DayTimeIntervalType) return ColumnKind.LONG;
    if (isTime(type)) return ColumnKind.LONG;
    if (type.equals(DataTypes.FloatType)) return ColumnKind.FLOAT;
    if (type.equals(DataTypes.DoubleType)) return ColumnKind.DOUBLE;
    if (type instanceof DecimalType) return ColumnKind.DECIMAL;
    // Of any collation; CHAR and VARCHAR too.
    if (type instanceof StringType || type.equals(DataTypes.BinaryType)) return ColumnKind.VARIABLE;
    return null;
  }

  /** TIME, nanoseconds since midnight, which Spark has from 4.1 on. */
  private static boolean isTime(DataType type) {
    return type.getClass().getName().equals("org.apache.spark.sql.types.TimeType");
  }

  /** This form and those of all its children and theirs. */
  int count() {
    int count = 1;
    for (ColumnForm child : children) {
      count += child.count();
    }
    return count;
  }
}
