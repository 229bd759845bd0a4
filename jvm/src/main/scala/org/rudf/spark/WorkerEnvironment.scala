package org.rudf.spark

import java.io.File

import org.apache.spark.{SparkConf, SparkFiles, TaskContext}

/** Environment variables of worker processes: those that PySpark's workers have. */
private[spark] object WorkerEnvironment {

  /** The limit of a worker in MiB. */
  private val Memory = "PYSPARK_EXECUTOR_MEMORY_MB"

  /** Names a session's artifacts, which have a folder of that name. */
  private val Artifacts = "SPARK_JOB_ARTIFACT_UUID"

  /**
   * Variables that PySpark's own runner adds to a function's, in place, when it has run it in this process: they are not
   * the driver's, and functions with and without them want the same workers.
   */
  private val OfPySparksRunner = Set("SPARK_REUSE_WORKER", "SPARK_SIMPLIFIED_TRACEBACK", "SPARK_HIDE_TRACEBACK",
    "SPARK_TRACEBACK_WITH_LOCALS", "SPARK_AUTH_SOCKET_TIMEOUT", "SPARK_BUFFER_SIZE", "SPARK_LOCAL_DIRS",
    "PYTHON_FAULTHANDLER_DIR", "PYTHON_TRACEBACK_DUMP_INTERVAL_SECONDS", "PYTHON_DAEMON_KILL_WORKER_ON_FLUSH_FAILURE",
    "PYTHON_UDF_BATCH_SIZE", Artifacts, "SPARK_PYTHON_RUNTIME", "SPARK_PIPELINED_UDF",
    "SPARK_PIPELINED_UDF_QUEUE_DEPTH", "PYSPARK_SPARK_SESSION_UUID", Memory, "PYTHONPATH")

  /** What is known on the driver. Two functions with the same variables share workers. */
  def of(conf: SparkConf, function: Map[String, String]): Map[String, String] = {
    val threads = function.getOrElse("OMP_NUM_THREADS", conf.get("spark.task.cpus", "1"))
    val memory = conf.getOption("spark.executor.pyspark.memory").map { _ =>
      share(conf.getSizeAsMb("spark.executor.pyspark.memory"), conf.getInt("spark.executor.cores", 1))
    }
    function -- OfPySparksRunner ++ memory ++ SparkAccess.artifacts().map(Artifacts -> _) ++ Map("OMP_NUM_THREADS" -> threads, "SPARK_PYTHON_RUNTIME" -> "PYTHON_WORKER")
  }

  /**
   * The same in a task, whose stage may have a resource profile: Spark tells its tasks what that says. PySpark 4.3 divides the
   * memory by how many tasks an executor runs at once, and before that by its cores.
   */
  def inTask(conf: SparkConf, driver: Map[String, String], task: TaskContext): Map[String, String] = {
    def told(name: String): Option[String] = Option(task.getLocalProperty(s"resource.$name"))
    val shares = told("maxTasksPerExecutor").orElse(told("executor.cores")).fold(conf.getInt("spark.executor.cores", 1))(_.toInt)
    val threads = if (conf.contains("spark.executorEnv.OMP_NUM_THREADS")) None else Some("OMP_NUM_THREADS" -> task.cpus().toString)
    driver - Memory ++ told("pyspark.memory").map(megabytes => share(megabytes.toLong, shares)) ++ threads
  }

  /** As PySpark does it: the limit is an executor's, and its workers share it. */
  private def share(megabytes: Long, shares: Int): (String, String) = Memory -> (megabytes / math.max(1, shares)).toString

  /** What functions of PySpark's will most likely want, known before there is a function. */
  def expected(conf: SparkConf): Map[String, String] = of(conf,
    conf.getAllWithPrefix("spark.executorEnv.").toMap + ("PYTHONHASHSEED" -> sys.env.getOrElse("PYTHONHASHSEED", "0")))

  /**
   * Where the files and modules lie that were added for functions, on the executor that asks. Where a session has artifacts
   * of its own, this is its folder, and the working directory of its workers, as in PySpark.
   */
  def filesRoot(environment: Map[String, String]): String =
    ofSession(environment).getOrElse(SparkFiles.getRootDirectory())

  /** The folder of a session's artifacts, if it has some. */
  def ofSession(environment: Map[String, String]): Option[String] =
    environment.get(Artifacts).map(name => new File(SparkFiles.getRootDirectory(), name).getAbsolutePath)

  /** The rest, which each executor knows of itself. */
  def onExecutor(environment: Map[String, String]): Map[String, String] = environment ++ Map(
    "PYTHONUNBUFFERED" -> "YES",
    "SPARK_LOCAL_DIRS" -> SparkAccess.localDirectories().map(_.getPath).mkString(","),
    "PYTHONPATH" -> (SparkAccess.sparkPythonPath().split(File.pathSeparator) ++
      sys.env.get("PYTHONPATH").toSeq.flatMap(_.split(File.pathSeparator))).filter(_.nonEmpty).distinct
      .mkString(File.pathSeparator))
}
