package org.rudf.spark

import java.io.File

import org.apache.spark.SparkConf

/** Environment variables of worker processes: those that PySpark's workers have. */
private[spark] object WorkerEnvironment {

  /**
   * Variables that PySpark's own runner adds to a function's, in place, when it has run it in this process: they are not
   * the driver's, and functions with and without them want the same workers.
   */
  private val OfPySparksRunner = Set("SPARK_REUSE_WORKER", "SPARK_SIMPLIFIED_TRACEBACK", "SPARK_HIDE_TRACEBACK",
    "SPARK_TRACEBACK_WITH_LOCALS", "SPARK_AUTH_SOCKET_TIMEOUT", "SPARK_BUFFER_SIZE", "SPARK_LOCAL_DIRS",
    "PYTHON_FAULTHANDLER_DIR", "PYTHON_TRACEBACK_DUMP_INTERVAL_SECONDS", "PYTHON_DAEMON_KILL_WORKER_ON_FLUSH_FAILURE",
    "PYTHON_UDF_BATCH_SIZE", "SPARK_JOB_ARTIFACT_UUID", "SPARK_PYTHON_RUNTIME", "SPARK_PIPELINED_UDF",
    "SPARK_PIPELINED_UDF_QUEUE_DEPTH", "PYSPARK_SPARK_SESSION_UUID", "PYSPARK_EXECUTOR_MEMORY_MB", "PYTHONPATH")

  /** What is known on the driver. Two functions with the same variables share workers. */
  def of(conf: SparkConf, function: Map[String, String]): Map[String, String] = {
    val threads = function.getOrElse("OMP_NUM_THREADS", conf.get("spark.task.cpus", "1"))
    // As PySpark does it: the limit is an executor's, and its cores share it.
    val memory = conf.getOption("spark.executor.pyspark.memory").map { _ =>
      val megabytes = conf.getSizeAsMb("spark.executor.pyspark.memory")
      "PYSPARK_EXECUTOR_MEMORY_MB" -> (megabytes / math.max(1, conf.getInt("spark.executor.cores", 1))).toString
    }
    function -- OfPySparksRunner ++ memory ++ Map("OMP_NUM_THREADS" -> threads, "SPARK_PYTHON_RUNTIME" -> "PYTHON_WORKER")
  }

  /** What functions of PySpark's will most likely want, known before there is a function. */
  def expected(conf: SparkConf): Map[String, String] = of(conf,
    conf.getAllWithPrefix("spark.executorEnv.").toMap + ("PYTHONHASHSEED" -> sys.env.getOrElse("PYTHONHASHSEED", "0")))

  /** The rest, which each executor knows of itself. */
  def onExecutor(environment: Map[String, String]): Map[String, String] = environment ++ Map(
    "PYTHONUNBUFFERED" -> "YES",
    "SPARK_LOCAL_DIRS" -> SparkAccess.localDirectories().map(_.getPath).mkString(","),
    "PYTHONPATH" -> (SparkAccess.sparkPythonPath().split(File.pathSeparator) ++
      sys.env.get("PYTHONPATH").toSeq.flatMap(_.split(File.pathSeparator))).filter(_.nonEmpty).distinct
      .mkString(File.pathSeparator))
}
