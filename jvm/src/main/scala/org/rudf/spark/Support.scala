package org.rudf.spark

import org.apache.spark.{SparkConf, SparkEnv}
import org.apache.spark.sql.catalyst.expressions.PythonUDF
import org.apache.spark.sql.internal.SQLConf

/** PySpark's numbers for the kinds of functions (`pyspark.util.PythonEvalType`) that rudf runs. */
private[spark] object EvalType {
  /** `udf`, a row at a time, over Arrow. */
  val ArrowBatched = 101
  /** `pandas_udf`, Series to Series. */
  val ScalarPandas = 200
  /** `arrow_udf`, Array to Array. */
  val ScalarArrow = 250
}

/**
 * A function of rudf's.
 *
 * @param refusal why its commands are not run, if they are not
 */
private[spark] final case class Sealed(udf: PythonUDF, refusal: Option[String])

/** Which functions rudf takes, and why it does not take the others. */
private[spark] object Support {

  /**
   * What is to be known of a function that was decorated with `@rudf`, and all functions that it is chained to: a
   * sentence that says why its commands cannot be trusted, if there is one. None where it is not rudf's.
   */
  def unseal(udf: PythonUDF): Option[Sealed] = {
    val commands = EvaluationPlan.chain(udf).map(link => SparkAccess.command(link.func))
    val seals = commands.map(Payload.unseal)
    if (seals.exists(_.isEmpty)) None
    else {
      Some(Sealed(udf, seals.flatten.collectFirst { case Left(why) => why }))
    }
  }

  /** A sentence that says why sealed functions are left to Spark, or none where rudf takes them all. */
  def refusal(functions: Seq[Sealed], evalType: Int, conf: SQLConf): Option[String] = {
    val udfs = functions.map(_.udf)
    val each = functions.iterator.flatMap(f => functionRefusal(f).map(why => s"`${f.udf.name}`: $why"))
    if (!RudfConf.isEnabled(conf)) Some(s"${RudfConf.Enabled} is false")
    else confRefusal(evalType, conf).orElse(each.nextOption()).orElse(differentPythons(udfs)).orElse(localRefusal(udfs, evalType, conf))
  }

  private def confRefusal(evalType: Int, conf: SQLConf): Option[String] = {
    if (!kinds.contains(evalType)) Some(s"functions of eval type $evalType are not supported yet")
    else if (conf.contains("spark.sql.pyspark.udf.profiler")) Some("a profiler is on (spark.sql.pyspark.udf.profiler)")
    else if (RudfConf.flag(conf, "spark.sql.pyspark.worker.logging.enabled", default = false)) {
      Some("worker logging is on (spark.sql.pyspark.worker.logging.enabled)")
    } else if (evalType == EvalType.ArrowBatched &&
        RudfConf.flag(conf, "spark.sql.legacy.execution.pythonUDF.pandas.conversion.enabled", default = false)) {
      Some("the legacy pandas conversion is on (spark.sql.legacy.execution.pythonUDF.pandas.conversion.enabled)")
    } else if (evalType == EvalType.ScalarPandas &&
        !RudfConf.flag(conf, "spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName", default = true)) {
      Some("columns of data frames go by position (spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName)")
    } else if (conf.contains("spark.sql.execution.pythonUDF.arrow.concurrency.level")) {
      Some("rows are evaluated by several threads (spark.sql.execution.pythonUDF.arrow.concurrency.level)")
    } else if (RudfConf.flag(conf, "spark.sql.execution.arrow.useLargeVarTypes", default = false)) {
      Some("large Arrow types are on (spark.sql.execution.arrow.useLargeVarTypes)")
    } else None
  }

  private val kinds = Set(EvalType.ArrowBatched, EvalType.ScalarPandas, EvalType.ScalarArrow)

  private def functionRefusal(function: Sealed): Option[String] = {
    val chain = EvaluationPlan.chain(function.udf)
    function.refusal.orElse(typeRefusal(chain)).orElse(encryptedBroadcast(chain))
  }

  private def typeRefusal(chain: Seq[PythonUDF]): Option[String] =
    chain.head.children.iterator.map(_.dataType).flatMap(t => SupportedTypes.refusal(t).map("an argument " + _)).nextOption()
      .orElse(SupportedTypes.refusal(chain.last.dataType).map("its result " + _))

  private def encryptedBroadcast(chain: Seq[PythonUDF]): Option[String] = {
    val uses = chain.exists(link => !SparkAccess.broadcasts(link.func).isEmpty)
    val encrypted = sparkConf.exists(_.getBoolean("spark.io.encryption.enabled", defaultValue = false))
    if (uses && encrypted) Some("it uses a broadcast variable and I/O encryption is on") else None
  }

  private def differentPythons(udfs: Seq[PythonUDF]): Option[String] = {
    val pythons = udfs.flatMap(EvaluationPlan.chain(_)).map(u => SparkAccess.pythonExec(u.func) -> SparkAccess.pythonVersion(u.func))
    if (pythons.distinct.size > 1) Some(s"its functions want different Pythons (${pythons.map(_._1).distinct.mkString(", ")})")
    else None
  }

  /** In local mode the tasks run in this very process: what would stop them is known now. */
  private def localRefusal(udfs: Seq[PythonUDF], evalType: Int, conf: SQLConf): Option[String] =
    sparkConf.filter(_.get("spark.master", "").matches("local(\\[.*\\])?")).flatMap { _ =>
      val function = udfs.head.func
      WorkerHosts.forPython(SparkAccess.pythonExec(function), EvaluationPlan.hostConf(udfs, evalType, conf)) match {
        case Left(why) => Some(why)
        case Right(host) =>
          val version = SparkAccess.pythonVersion(function)
          if (!host.pythonVersion.startsWith(version + ".")) {
            Some(s"it was pickled by Python $version and ${host.executable} is Python ${host.pythonVersion}")
          } else requiredPackages(evalType).find(!host.hasPackage(_)).map(p => s"${host.executable} has no $p")
      }
    }

  private def requiredPackages(evalType: Int): Seq[String] =
    if (evalType == EvalType.ArrowBatched) Nil
    else if (evalType == EvalType.ScalarPandas) Seq("pyarrow", "pandas")
    else Seq("pyarrow")

  private def sparkConf: Option[SparkConf] = Option(SparkEnv.get).map(_.conf)
}
