package org.rudf.spark

import scala.util.Try

import org.apache.spark.{SparkConf, SparkEnv, TaskContext}
import org.apache.spark.network.util.JavaUtils
import org.apache.spark.sql.internal.SQLConf

/** The confs of rudf, and those of Spark that change what a UDF sees. */
object RudfConf {
  /** Off: every function runs on Spark's own path. Can be set while a session runs. */
  val Enabled = "spark.rudf.enabled"
  /** Whose functions rudf runs: `all`, `rudf-only` (those of `@rudf`) or `none`. Can be set while a session runs. */
  val Takeover = "spark.rudf.takeover"
  /** Which kinds of functions rudf runs, with commas between: PySpark's eval types, or names as [[Kinds.named]] has them. */
  val TakeoverKinds = "spark.rudf.takeover.kinds"
  /** The `python` to run; otherwise the one that the function was made for (`PYSPARK_PYTHON`). */
  val Python = "spark.rudf.python"
  /** Directory to unpack the native libraries into; otherwise the JVM's temporary directory. */
  val UnpackDirectory = "spark.rudf.unpack.dir"
  /** Batches that may be laid out or under way in Python at once, for one task. */
  val BatchesInFlight = "spark.rudf.batchesInFlight"

  /** Bytes of memory that the batches of one task may take at once; one batch may always be under way. */
  val BytesInFlight = "spark.rudf.bytesInFlight"

  /** `process`, `embedded` or `auto`; see [[WorkerKind]]. Can be set while a session runs. */
  val Worker = "spark.rudf.worker"
  /**
   * Longest time of a function for one batch, where it has none of its own; then its worker process is ended and the task
   * fails. 0 is without end.
   */
  val Timeout = "spark.rudf.timeout"
  /** Directory on executors where a batch is kept that a function fails on or a worker dies with; none without it. */
  val CrashKeep = "spark.rudf.crash.keep"
  /** Worker processes that may wait for their next task, for each Python. */
  val MostIdleWorkers = "spark.rudf.worker.maxIdle"
  /** Whether a worker process unpickles a function once, for all tasks that it runs. */
  val ReuseFunctions = "spark.rudf.worker.reuseFunctions"
  /** After how long without a task a worker process ends. */
  val IdleTime = "spark.rudf.worker.idleTimeout"

  def isEnabled(conf: SQLConf): Boolean = conf.getConfString(Enabled, "true").trim.equalsIgnoreCase("true")

  /** `all`, `rudf-only` or `none`. */
  def takeover(conf: SQLConf): String = conf.getConfString(Takeover, "all").trim.toLowerCase match {
    case known @ ("all" | "rudf-only" | "none") => known
    case other => throw new IllegalArgumentException(s"$Takeover is `$other`, and has to be all, rudf-only or none")
  }

  /** The eval types that rudf may run; none where all. */
  def takeoverKinds(conf: SQLConf): Option[Set[Int]] = {
    val names = conf.getConfString(TakeoverKinds, "").split(',').map(_.trim).filter(_.nonEmpty)
    if (names.isEmpty) None
    else Some(names.toSet.flatMap((name: String) => Kinds.named.getOrElse(name, Try(Set(name.toInt)).getOrElse(
      throw new IllegalArgumentException(
        s"$TakeoverKinds names `$name`, and knows ${Kinds.named.keys.toSeq.sorted.mkString(", ")} and PySpark's eval types")))))
  }

  def batchesInFlight(conf: SQLConf): Int =
    Try(conf.getConfString(BatchesInFlight, "3").trim.toInt).filter(_ > 0).getOrElse(
      throw new IllegalArgumentException(
        s"$BatchesInFlight is `${conf.getConfString(BatchesInFlight)}`, and has to be a whole number from 1 up"))

  def bytesInFlight(conf: SQLConf): Long =
    Try(JavaUtils.byteStringAsBytes(conf.getConfString(BytesInFlight, "256m").trim)).filter(_ > 0).getOrElse(
      throw new IllegalArgumentException(
        s"$BytesInFlight is `${conf.getConfString(BytesInFlight)}`, and has to be a size such as 64m"))

  /** In seconds. Where it is not set, PySpark's time for idle workers is taken, if they are to be ended after it. */
  def timeout(conf: SQLConf): Double = Option(conf.getConfString(Timeout, null)) match {
    case Some(value) => seconds(Timeout, value)
    case None if ofPySparksWorkers(conf, "killOnIdleTimeout").exists(_.equalsIgnoreCase("true")) =>
      ofPySparksWorkers(conf, "idleTimeoutSeconds").fold(0.0)(seconds("idleTimeoutSeconds", _))
    case None => 0
  }

  /** A conf of PySpark's workers as it is set for the session, or else for the application. */
  def ofPySparksWorkers(conf: SQLConf, name: String): Option[String] =
    Option(conf.getConfString(s"spark.sql.execution.pyspark.udf.$name", null))
      .orElse(Option(SparkEnv.get).flatMap(_.conf.getOption(s"spark.python.worker.$name"))).map(_.trim)

  def crashKeep(conf: SQLConf): Option[String] = Option(conf.getConfString(CrashKeep, "").trim).filter(_.nonEmpty)

  private def seconds(name: String, value: String): Double =
    Try(value.trim.stripSuffix("s").toDouble).filter(_ >= 0).getOrElse(
      throw new IllegalArgumentException(s"$name is `$value`, and has to be a number of seconds"))

  /**
   * What the host needs of the application's confs.
   *
   * @param worker      where Python runs
   * @param environment variables that are set for worker processes
   */
  final case class HostConf(python: Option[String], unpackDirectory: Option[String], worker: WorkerKind,
      environment: Map[String, String], mostIdle: Int, idleSeconds: Long) {
    /** The same for a task, which knows what its stage's resource profile says. */
    def inTask(task: TaskContext): HostConf = copy(environment = WorkerEnvironment.inTask(SparkEnv.get.conf, environment, task))
  }

  /** @param functionEnvironment variables that came with the function */
  def hostConf(conf: SparkConf, worker: WorkerKind, functionEnvironment: Map[String, String]): HostConf = HostConf(
    conf.getOption(Python), conf.getOption(UnpackDirectory), worker, WorkerEnvironment.of(conf, functionEnvironment),
    if (reusesWorkers(conf)) mostIdle(conf) else 0, seconds(IdleTime, conf.get(IdleTime, "60")).toLong)

  private def mostIdle(conf: SparkConf): Int =
    Try(conf.get(MostIdleWorkers, "64").trim.toInt).filter(_ >= 0).getOrElse(
      throw new IllegalArgumentException(s"$MostIdleWorkers is `${conf.get(MostIdleWorkers)}`, and has to be a whole number"))

  /** PySpark's conf for its own workers: whether one serves one task after another. */
  val ReuseWorkers = "spark.python.worker.reuse"

  def reusesWorkers(conf: SparkConf): Boolean = conf.getBoolean(ReuseWorkers, defaultValue = true)

  /** Confs that make PySpark run workers of somebody else's. */
  val WorkerModules: Seq[String] = Seq("spark.python.daemon.module", "spark.python.worker.module")

  /** Settings of the session message, by its names. */
  def settings(conf: SQLConf): Map[String, Any] = Map(
    "session_time_zone" -> conf.sessionLocalTimeZone,
    "safe_cast" -> flag(conf, "spark.sql.execution.pandas.convertToArrowArraySafely", default = false),
    "binary_as_bytes" -> flag(conf, "spark.sql.execution.pyspark.binaryAsBytes", default = false),
    "int_to_decimal" -> flag(conf, "spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled", default = false),
    "prefer_int_ext_dtype" -> flag(conf, "spark.sql.execution.pythonUDF.pandas.preferIntExtensionDtype", default = false),
    "large_var_types" -> flag(conf, "spark.sql.execution.arrow.useLargeVarTypes", default = false),
    "simplified_traceback" -> flag(conf, "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled", default = true),
    "hide_traceback" -> flag(conf, "spark.sql.execution.pyspark.udf.hideTraceback.enabled", default = false),
    "traceback_with_locals" -> flag(conf, "spark.sql.execution.pyspark.udf.tracebackWithLocals.enabled", default = false),
    "reuse_functions" -> flag(conf, ReuseFunctions, default = true)
  )

  /**
   * A conf of Spark's with the default that this version of Spark gives it; `default` is for versions that do not know
   * the conf, where the behaviour that it switches on does not exist yet.
   */
  def flag(conf: SQLConf, name: String, default: Boolean): Boolean =
    Try(conf.getConfString(name)).map(_.trim.equalsIgnoreCase("true")).getOrElse(default)
}
