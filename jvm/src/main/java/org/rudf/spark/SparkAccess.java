package org.rudf.spark;

import java.lang.reflect.Constructor;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.function.Consumer;
import org.apache.spark.JobArtifactSet;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.TaskKilledException;
import org.apache.spark.api.python.PythonFunction;
import org.apache.spark.api.python.PythonUtils;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.NamedExpression;
import org.apache.spark.sql.catalyst.expressions.PythonUDTF;
import org.apache.spark.sql.catalyst.expressions.SortOrder;
import org.apache.spark.sql.catalyst.expressions.aggregate.AggregateExpression;
import org.apache.spark.sql.catalyst.util.CharVarcharUtils;
import org.apache.spark.sql.execution.RowToColumnConverter;
import org.apache.spark.sql.execution.SparkPlan;
import org.apache.spark.sql.execution.vectorized.WritableColumnVector;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.SchemaUtils;
import org.apache.spark.util.CollectionAccumulator;
import scala.Option;
import scala.collection.immutable.ArraySeq;
import scala.collection.immutable.Map;
import scala.collection.immutable.Seq;
import scala.math.BigDecimal;

/**
 * Members of Spark that are public in its class files though Scala hides them from other packages, and the one class
 * whose constructor differs between the versions that the jar serves.
 */
final class SparkAccess {
  private static final String MESSAGE = "An exception was thrown from the Python worker";

  private SparkAccess() {}

  /** The pickled function; not to be written to. */
  static byte[] command(PythonFunction function) {
    Seq<Object> command = function.command();
    // What PySpark hands over; the loop below boxes every byte.
    if (command instanceof ArraySeq.ofByte) {
      return ((ArraySeq.ofByte) command).unsafeArray();
    }
    byte[] bytes = new byte[command.length()];
    scala.collection.Iterator<Object> each = command.iterator();
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (Byte) each.next();
    }
    return bytes;
  }

  static String pythonExec(PythonFunction function) {
    return function.pythonExec();
  }

  static String pythonVersion(PythonFunction function) {
    return function.pythonVer();
  }

  static List<String> pythonIncludes(PythonFunction function) {
    return function.pythonIncludes();
  }

  /** Environment variables that the driver wants set for the function's Python. */
  static java.util.Map<String, String> environment(PythonFunction function) {
    return function.envVars();
  }

  /** Names the artifacts of the session that a query is planned for; none where all sessions share files and modules. */
  static Option<String> artifacts() {
    return JobArtifactSet.getCurrentJobArtifactState().map(state -> state.uuid());
  }

  /** The folders in which Spark keeps its temporary files on this executor. */
  static java.io.File[] localDirectories() {
    return SparkEnv.get().blockManager().diskBlockManager().localDirs();
  }

  /** A new file in one of these folders, for what does not fit into memory. Whoever asks deletes it. */
  static java.io.File temporaryFile() {
    return SparkEnv.get().blockManager().diskBlockManager().createTempLocalBlock()._2();
  }

  /** What is written to a temporary file, encrypted where the application says so. */
  static java.io.OutputStream encrypted(java.io.OutputStream file) {
    return SparkEnv.get().serializerManager().wrapForEncryption(file);
  }

  static java.io.InputStream decrypted(java.io.InputStream file) {
    return SparkEnv.get().serializerManager().wrapForEncryption(file);
  }

  /** Notes that a task has written to a file what took {@code memory} bytes. */
  static void countSpill(TaskContext context, long memory, long disk) {
    if (context != null) {
      context.taskMetrics().incMemoryBytesSpilled(memory);
      context.taskMetrics().incDiskBytesSpilled(disk);
    }
  }

  static List<? extends Broadcast<?>> broadcasts(PythonFunction function) {
    return function.broadcastVars();
  }

  /** Collects what a function's accumulators were given; none in a Connect server. */
  static CollectionAccumulator<byte[]> accumulator(PythonFunction function) {
    return function.accumulator();
  }

  static Properties localProperties(TaskContext context) {
    return context.getLocalProperties();
  }

  /** The exact, possibly fractional, cores of a task: Spark 4.3 tells them. */
  static String cpuAmount(TaskContext context) {
    try {
      BigDecimal amount = (BigDecimal) TaskContext.class.getMethod("cpuAmount").invoke(context);
      return amount.bigDecimal().stripTrailingZeros().toPlainString();
    } catch (ReflectiveOperationException e) {
      return Integer.toString(context.cpus());
    }
  }

  /** Where Spark's own Python files lie, as it tells its workers in {@code PYTHONPATH}. */
  static String sparkPythonPath() {
    return PythonUtils.sparkPythonPath();
  }

  static boolean isInterrupted(TaskContext context) {
    return context != null && context.isInterrupted();
  }

  /** Throws where the task has been killed. */
  static void checkKilled(TaskContext context) {
    if (context != null && context.isInterrupted()) {
      throw new TaskKilledException(context.getKillReason().getOrElse(() -> "unknown reason"));
    }
  }

  /** The type of vectors that {@link #rowAppender} fills: it knows neither lengths nor collations of strings. */
  static DataType storedType(DataType type) {
    return SchemaUtils.replaceCollatedStringWithString(CharVarcharUtils.replaceCharVarcharWithString(type));
  }

  /** What appends rows of a schema to vectors. */
  static Consumer<InternalRow> rowAppender(StructType schema, WritableColumnVector[] vectors) {
    RowToColumnConverter converter = new RowToColumnConverter(schema);
    return row -> converter.convert(row, vectors);
  }

  /** Which arguments of a table function are tables; none before Spark 4.1, which does not tell. */
  static List<Integer> tableArguments(PythonUDTF function) {
    List<Integer> tables = new ArrayList<>();
    try {
      Option<?> told = (Option<?>) PythonUDTF.class.getMethod("tableArguments").invoke(function);
      if (told.isDefined()) {
        Seq<?> flags = (Seq<?>) told.get();
        for (int i = 0; i < flags.length(); i++) {
          if ((Boolean) flags.apply(i)) {
            tables.add(i);
          }
        }
      }
    } catch (ReflectiveOperationException e) {
      // An older Spark, without functions of arrays.
    }
    return tables;
  }

  /** Spark's operator for Python aggregates, where it has the form of Spark 4.1 and later. */
  static Option<SparkPlan> aggregateExec(Seq<NamedExpression> grouping, Seq<AggregateExpression> aggregates,
      Seq<? extends NamedExpression> results, SparkPlan child, int evalType) {
    return operator("ArrowAggregatePythonExec", grouping, aggregates, results, child, evalType);
  }

  /** Spark's operator for Python aggregates over windows, where it has the form of Spark 4.1 and later. */
  static Option<SparkPlan> windowExec(Seq<NamedExpression> expressions, Seq<Expression> partitionSpec,
      Seq<SortOrder> orderSpec, SparkPlan child, int evalType) {
    return operator("ArrowWindowPythonExec", expressions, partitionSpec, orderSpec, child, evalType);
  }

  private static Option<SparkPlan> operator(String name, Seq<?> first, Seq<?> second, Seq<?> third, SparkPlan child,
      int evalType) {
    try {
      Object operator = Class.forName("org.apache.spark.sql.execution.python." + name)
          .getConstructor(Seq.class, Seq.class, Seq.class, SparkPlan.class, int.class)
          .newInstance(first, second, third, child, evalType);
      return Option.apply((SparkPlan) operator);
    } catch (ReflectiveOperationException e) {
      return Option.empty();
    }
  }

  /** A timestamp at an interval from another; Spark 4.1 gave the expression another name. */
  static Expression timestampAddInterval(Expression timestamp, Expression interval, String timeZone) {
    for (String name : new String[] {"TimestampAddInterval", "TimeAdd"}) {
      try {
        return (Expression) Class.forName("org.apache.spark.sql.catalyst.expressions." + name)
            .getConstructor(Expression.class, Expression.class, Option.class)
            .newInstance(timestamp, interval, Option.apply(timeZone));
      } catch (ReflectiveOperationException e) {
        // Another version of Spark.
      }
    }
    throw new IllegalStateException("rudf: this version of Spark adds intervals to timestamps by another expression");
  }

  /** Spark's error for columns of other types than the function declares. */
  static Throwable typeMismatch(String operation, Seq<DataType> declared, Seq<DataType> actual)
      throws ReflectiveOperationException {
    // Since Spark 4.1.
    Object errors = Class.forName("org.apache.spark.sql.errors.QueryExecutionErrors$").getField("MODULE$").get(null);
    java.lang.reflect.Method method =
        errors.getClass().getMethod("arrowDataTypeMismatchError", String.class, Seq.class, Seq.class);
    return (Throwable) method.invoke(errors, operation, declared, actual);
  }

  /** What Spark throws where a column of one type is read as another. */
  static Throwable unsupportedCall(String method) throws ReflectiveOperationException {
    Map<String, String> parameters =
        new Map.Map2<>("methodName", method, "className",
            "org.apache.spark.sql.vectorized.ArrowColumnVector$ArrowVectorAccessor");
    return (Throwable) Class.forName("org.apache.spark.SparkUnsupportedOperationException")
        .getConstructor(String.class, Map.class)
        .newInstance("UNSUPPORTED_CALL.WITHOUT_SUGGESTION", parameters);
  }

  /**
   * Spark's own exception for a failed Python function, as its Python runner makes it: with a traceback alone up to
   * Spark 4.1, with an error class from 4.2 on.
   */
  static RuntimeException pythonException(String traceback) {
    RuntimeException exception = makePythonException(traceback);
    // PySpark up to 4.1 takes a PythonException for a UDF's only where a class of this package is in its stack.
    StackTraceElement[] here = new Throwable().getStackTrace();
    StackTraceElement[] stack = java.util.Arrays.copyOf(here, here.length + 1);
    stack[here.length] =
        new StackTraceElement("org.apache.spark.sql.execution.python.ArrowEvalPythonExec", "evaluatedByRudf", null, -1);
    exception.setStackTrace(stack);
    return exception;
  }

  private static RuntimeException makePythonException(String traceback) {
    String name = "org.apache.spark.api.python.PythonException";
    try {
      for (Constructor<?> constructor : Class.forName(name).getConstructors()) {
        Class<?>[] types = constructor.getParameterTypes();
        if (types.length == 2) {
          return (RuntimeException) constructor.newInstance(traceback, null);
        }
        if (types.length == 5 && types[1] == Map.class) {
          Map<String, String> parameters = new Map.Map2<>("msg", MESSAGE, "traceback", traceback);
          Object noContext = java.lang.reflect.Array.newInstance(types[3].getComponentType(), 0);
          return (RuntimeException) constructor.newInstance("PYTHON_EXCEPTION", parameters, null, noContext, "");
        }
      }
    } catch (ReflectiveOperationException e) {
      return new RuntimeException(MESSAGE + ":\n" + traceback, e);
    }
    return new RuntimeException(MESSAGE + ":\n" + traceback);
  }
}
