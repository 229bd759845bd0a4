package org.rudf.spark

import org.apache.spark.{BarrierTaskContext, SparkEnv, TaskContext}
import org.apache.spark.broadcast.Broadcast
import org.apache.spark.sql.catalyst.expressions.{Attribute, Expression, NamedArgumentExpression, PythonUDF}
import org.apache.spark.sql.internal.SQLConf
import org.apache.spark.sql.types.DataType

import scala.collection.mutable
import scala.jdk.CollectionConverters._

/**
 * What the tasks of one operator have to know about its functions; made on the driver and sent along.
 *
 * @param inputs expressions whose values are handed to Python, without repetitions
 */
final class EvaluationPlan private (
    val evalType: Int,
    @transient val inputs: Seq[Expression],
    inputTypes: Seq[DataType],
    functions: Seq[FunctionSpec],
    pythonExec: String,
    pythonVersion: String,
    includes: Seq[String],
    broadcasts: Seq[Broadcast[_]],
    services: PySparkServices,
    settings: Map[String, Any],
    stream: Option[StreamSpec],
    timeout: Double,
    crashKeep: Option[String],
    hostConf: RudfConf.HostConf,
    /** Rows of a batch at most. */
    val maxRows: Int,
    /** Bytes of a batch after which it ends. */
    val maxBytes: Long,
    val batchesInFlight: Int,
    /** Bytes of all batches under way. */
    val bytesInFlight: Long)
    extends Serializable {

  /** Opens a session for the task that calls this, or says why this process cannot run the functions. */
  def open(): Either[String, WorkerSession] = TaskContext.get() match {
    case _: BarrierTaskContext => Left("the task is one of a barrier stage, whose services PySpark's own workers have")
    case null => WorkerHosts.forPython(pythonExec, hostConf).flatMap(_.open(message()))
    case task => WorkerHosts.forPython(pythonExec, hostConf.inTask(task)).flatMap(_.open(message()))
  }

  private def inProcess: Boolean = hostConf.worker == WorkerKind.Process

  /** Whether the functions take an iterator of batches and give one. */
  def isStream: Boolean = stream.isDefined

  /** Takes what a session told at its end. */
  def collect(told: String): Unit = services.collect(told)

  private def message(): Array[Byte] = {
    val root = WorkerEnvironment.filesRoot(hostConf.environment)
    SessionMessage.encode(evalType, inputTypes, functions, pythonVersion, settings,
      root +: includes.map(root + java.io.File.separator + _), Some(root),
      broadcasts.map(b => b.id -> BroadcastFiles.pathOf(b)),
      if (inProcess) Some(services.describe(TaskContext.get())) else None, timeout, crashKeep.map(_ -> label), stream)
  }

  /** Tells the files of tasks apart. */
  private def label: String = Option(TaskContext.get()).fold("task") { task =>
    s"${SparkEnv.get.conf.get("spark.app.id", "app")}-stage${task.stageId()}-partition${task.partitionId()}-task${task.taskAttemptId()}"
  }
}

object EvaluationPlan {
  /** Rows of a batch where Spark's conf sets no limit: enough to make the cost of a batch small. */
  private val UnlimitedRows = 64 * 1024

  /** Rows of a batch at most, whatever the conf says: each batch reserves memory for all that it may have. */
  private val MostRows = 1 << 20

  /**
   * Of groups, which functions do not get as the batches lie: that many rows where the conf is not less than Spark's default, and
   * so many bytes. Python's conversions are shared by all groups of a batch.
   */
  private val RowsOfGroups = 32 * 1024
  private val BytesOfGroups = 16L << 20
  private val DefaultRows = SQLConf.ARROW_EXECUTION_MAX_RECORDS_PER_BATCH.defaultValue.getOrElse(10000)

  /** For functions that are called with their arguments. */
  def apply(udfs: Seq[PythonUDF], evalType: Int, conf: SQLConf): EvaluationPlan =
    apply(udfs, evalType, conf, Nil, inputs =>
      if (Kinds.streams.contains(evalType)) Some(StreamSpec.columns(inputs, conf)) else None)

  /** For functions that are called with whole rows: of `columns`. */
  def ofRows(udf: PythonUDF, conf: SQLConf, columns: Seq[Expression], stream: StreamSpec): EvaluationPlan =
    apply(Seq(udf), udf.evalType, conf, columns, _ => Some(stream), withArguments = false)

  /**
   * @param columns       what goes to Python first, whether it is an argument or not
   * @param stream        what is told of a stream, of all that goes to Python
   * @param withArguments whether the functions are called with their arguments
   * @param last          what goes to Python behind all arguments
   */
  def apply(udfs: Seq[PythonUDF], evalType: Int, conf: SQLConf, columns: Seq[Expression],
      stream: Seq[Expression] => Option[StreamSpec], withArguments: Boolean = true,
      last: Seq[Expression] = Nil): EvaluationPlan = {
    val chains = udfs.map(chain)
    val arguments = chains.map(links => if (withArguments) links.head.children else Nil)
    val inputs = mutable.ArrayBuffer.from(columns)
    // What is not deterministic equals nothing, not even itself: each such argument is an input of its own.
    def columnOf(argument: Expression): Int = inputs.indexWhere(_.semanticEquals(argument)) match {
      case -1 =>
        inputs += argument
        inputs.length - 1
      case known => known
    }
    val functions = udfs.zip(chains).zip(arguments).map { case ((udf, links), args) =>
      FunctionSpec(udf.name, udf.dataType, links.map(l => SparkAccess.command(l.func)),
        args.map(a => ArgumentSpec(columnOf(value(a)), keyword(a))), timeout(udf))
    }
    inputs ++= last
    val first = udfs.head.func
    val all = chains.flatten.map(_.func)
    val spec = stream(inputs.toVector)
    val (maxRows, maxBytes) = limits(conf, spec.exists(_.groups.isDefined))
    new EvaluationPlan(
      evalType, inputs.toVector, inputs.map(_.dataType).toVector, functions, SparkAccess.pythonExec(first),
      SparkAccess.pythonVersion(first), all.flatMap(SparkAccess.pythonIncludes(_).asScala).distinct,
      all.flatMap(SparkAccess.broadcasts(_).asScala).distinctBy(_.id), new PySparkServices(SparkAccess.accumulator(first)),
      // What a task leaves in the globals of a function that PySpark pickled is gone with the task, as in PySpark.
      RudfConf.settings(conf) ++ (if (udfs.forall(Support.isSealed)) None else Some("reuse_functions" -> false)),
      spec,
      RudfConf.timeout(conf), RudfConf.crashKeep(conf), hostConf(udfs, evalType, conf),
      maxRows, maxBytes, RudfConf.batchesInFlight(conf), RudfConf.bytesInFlight(conf))
  }

  /** Rows of a batch at most, and the bytes after which it ends. */
  private def limits(conf: SQLConf, ofGroups: Boolean): (Int, Long) = {
    val (asked, askedBytes) = (conf.arrowMaxRecordsPerBatch, conf.arrowMaxBytesPerBatch)
    val rows = if (asked > 0) math.min(asked, MostRows) else UnlimitedRows
    val bytes = math.min(if (askedBytes > 0) askedBytes else Long.MaxValue, RudfConf.bytesInFlight(conf))
    if (ofGroups && rows >= DefaultRows) (math.max(rows, RowsOfGroups), math.min(bytes, BytesOfGroups)) else (rows, bytes)
  }

  /** The host that the functions of a node want. */
  def hostConf(udfs: Seq[PythonUDF], evalType: Int, conf: SQLConf): RudfConf.HostConf = {
    val worker = WorkerKind.of(udfs, evalType, conf)._1
    RudfConf.hostConf(SparkEnv.get.conf, worker, SparkAccess.environment(udfs.head.func).asScala.toMap)
  }

  /** `g(f(x))` is one expression whose only child is a function too; innermost first. */
  def chain(udf: PythonUDF): Seq[PythonUDF] = udf.children match {
    case Seq(inner: PythonUDF) => chain(inner) :+ udf
    case _ => Seq(udf)
  }

  /** The longest time that the decorator gives a function; functions over one another run as one, with the shortest. */
  def timeout(udf: PythonUDF): Option[Double] =
    chain(udf).flatMap(link => Payload.unseal(SparkAccess.command(link.func))).flatMap(_.toOption).flatMap(_.timeout).minOption

  private def value(argument: Expression): Expression = argument match {
    case NamedArgumentExpression(_, value) => value
    case other => other
  }

  private def keyword(argument: Expression): Option[String] = argument match {
    case NamedArgumentExpression(name, _) => Some(name)
    case _ => None
  }

  /** Position in `output` of an input that is a plain column; none where it is an expression. */
  def columnPosition(input: Expression, output: Seq[Attribute]): Option[Int] = input match {
    case attribute: Attribute => Some(output.indexWhere(_.exprId == attribute.exprId)).filter(_ >= 0)
    case _ => None
  }
}
