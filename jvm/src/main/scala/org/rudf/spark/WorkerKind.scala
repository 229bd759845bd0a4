package org.rudf.spark

import org.apache.spark.{SparkConf, SparkEnv}
import org.apache.spark.sql.catalyst.expressions.PythonUDF
import org.apache.spark.sql.internal.SQLConf

/** Where Python runs. */
sealed abstract class WorkerKind(override val toString: String)

object WorkerKind {
  /** In a process of its own for each task. */
  case object Process extends WorkerKind("process")
  /** In this process, with one interpreter and its lock for all tasks. */
  case object Embedded extends WorkerKind("embedded")

  /**
   * The worker for the functions of a node, and the reason where it is another than the conf asks for.
   *
   * `auto` takes processes, which run in parallel, and die alone; but the embedded interpreter where neither counts much:
   * one task runs at a time, and its functions take whole columns. Functions that use what only means the same in a process
   * of their own always get one, and so do those with a longest time.
   */
  def of(udfs: Seq[PythonUDF], evalType: Int, conf: SQLConf): (WorkerKind, Option[String]) =
    asked(conf, SparkEnv.get.conf, evalType) match {
      case Embedded if Kinds.streams.contains(evalType) => Process -> streamReason(conf)
      case Embedded if !RudfConf.reusesWorkers(SparkEnv.get.conf) =>
        Process -> (if (isAuto(conf)) None else Some(s"${RudfConf.ReuseWorkers} is false"))
      case Embedded if SparkAccess.artifacts().isDefined =>
        Process -> (if (isAuto(conf)) None else Some("the session has artifacts of its own"))
      case Embedded if isAuto(conf) && !udfs.forall(Support.isSealed) => Process -> None
      case Embedded => timeoutOf(udfs, conf).orElse(serviceOf(udfs)).fold[(WorkerKind, Option[String])](Embedded -> None)(why => Process -> Some(why))
      case Process => Process -> None
    }

  /** What belongs to one process in PySpark stays in one: functions that were not made for rudf may rest on it. */
  private def isAuto(conf: SQLConf): Boolean = conf.getConfString(RudfConf.Worker, "auto").trim.equalsIgnoreCase("auto")

  private def streamReason(conf: SQLConf): Option[String] =
    if (isAuto(conf)) None else Some("functions that take iterators or groups run in processes")

  private[spark] def asked(conf: SQLConf, application: SparkConf, evalType: Int): WorkerKind =
    conf.getConfString(RudfConf.Worker, "auto").trim.toLowerCase match {
      case "process" => Process
      case "embedded" => Embedded
      case "auto" => if (!Kinds.rows.contains(evalType) && tasksAtOnce(application).contains(1)) Embedded else Process
      case other =>
        throw new IllegalArgumentException(s"${RudfConf.Worker} is `$other`, and has to be process, embedded or auto")
    }

  /** Only a process can be ended. */
  private def timeoutOf(udfs: Seq[PythonUDF], conf: SQLConf): Option[String] =
    udfs.find(EvaluationPlan.timeout(_).isDefined).map(udf => s"`${udf.name}` has a timeout")
      .orElse(if (RudfConf.timeout(conf) > 0) Some(s"${RudfConf.Timeout} is set") else None)

  private def serviceOf(udfs: Seq[PythonUDF]): Option[String] = {
    val found = for {
      udf <- udfs.iterator
      link <- EvaluationPlan.chain(udf)
      service <- Payload.neededService(SparkAccess.command(link.func))
    } yield s"`${link.name}` uses $service"
    found.nextOption()
  }

  private val Local = """local\[(\d+)(?:\s*,.*)?\]""".r
  private val LocalCluster = """local-cluster\[\s*\d+\s*,\s*(\d+)\s*,.*\]""".r

  /** How many tasks an executor runs at once; none where that is not known on the driver. */
  private[spark] def tasksAtOnce(conf: SparkConf): Option[Int] = {
    val cores = conf.get("spark.master", "") match {
      case "local" => Some(1)
      case Local(threads) => Some(threads.toInt)
      case LocalCluster(cores) => Some(cores.toInt)
      case _ => conf.getOption("spark.executor.cores").map(_.toInt)
    }
    cores.map(c => math.max(1, c / conf.getInt("spark.task.cpus", 1)))
  }
}
