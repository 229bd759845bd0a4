package org.rudf.spark

import org.apache.spark.{SparkConf, SparkEnv}
import org.apache.spark.sql.catalyst.expressions.{Attribute, Expression, PythonUDF}
import org.apache.spark.sql.internal.SQLConf

/**
 * A function that rudf may run.
 *
 * @param isSealed whether it was decorated with `@rudf`
 * @param refusal  why its commands are not run, if they are not
 */
private[spark] final case class Candidate(udf: PythonUDF, isSealed: Boolean, refusal: Option[String])

/** Which functions rudf takes, and why it does not take the others. */
private[spark] object Support {

  /**
   * What is to be known of a function that was decorated with `@rudf`, and all functions that it is chained to: a
   * sentence that says why its commands cannot be trusted, if there is one. None where it is not rudf's.
   */
  def candidate(udf: PythonUDF, conf: SQLConf): Option[Candidate] = {
    val seals = EvaluationPlan.chain(udf).map(link => Payload.unseal(SparkAccess.command(link.func)))
    val damage = seals.flatten.collectFirst { case Left(why) => why }
    if (seals.forall(_.isDefined)) Some(Candidate(udf, isSealed = true, damage))
    else if (RudfConf.isEnabled(conf) && RudfConf.takeover(conf) == "all") Some(Candidate(udf, isSealed = false, damage))
    else None
  }

  /** Whether all functions that a UDF is chained to were decorated with `@rudf`. */
  def isSealed(udf: PythonUDF): Boolean =
    EvaluationPlan.chain(udf).forall(link => Payload.hasSeal(SparkAccess.command(link.func)))

  /** A sentence that says why functions are left to Spark, or none where rudf takes them all. */
  def refusal(functions: Seq[Candidate], evalType: Int, conf: SQLConf): Option[String] = {
    val udfs = functions.map(_.udf)
    val each = functions.iterator.flatMap(f => functionRefusal(f).map(why => s"`${f.udf.name}`: $why"))
    nodeRefusal(evalType, conf).orElse(each.nextOption()).orElse(differentPythons(udfs)).orElse(localRefusal(udfs, evalType, conf))
  }

  /** A sentence that says why no function of a kind is taken, if so. */
  private def nodeRefusal(evalType: Int, conf: SQLConf): Option[String] = {
    val kinds = RudfConf.takeoverKinds(conf)
    if (!RudfConf.isEnabled(conf)) Some(s"${RudfConf.Enabled} is false")
    else if (RudfConf.takeover(conf) == "none") Some(s"${RudfConf.Takeover} is none")
    else if (kinds.exists(!_.contains(evalType))) Some(s"${RudfConf.TakeoverKinds} does not name ${Kinds.describe(evalType)}")
    else confRefusal(evalType, conf).orElse(workerModule(conf))
  }

  private def confRefusal(evalType: Int, conf: SQLConf): Option[String] = {
    if (!Kinds.supported.contains(evalType)) Some(s"${Kinds.describe(evalType)} are not supported")
    else if (Kinds.streams.contains(evalType) && !SupportedTypes.hasConverters) {
      Some(s"${Kinds.describe(evalType)} need Spark 4.3 or newer")
    }
    else if (conf.contains("spark.sql.pyspark.udf.profiler")) Some("a profiler is on (spark.sql.pyspark.udf.profiler)")
    else if (RudfConf.flag(conf, "spark.sql.pyspark.worker.logging.enabled", default = false)) {
      Some("worker logging is on (spark.sql.pyspark.worker.logging.enabled)")
    } else if (RudfConf.ofPySparksWorkers(conf, "tracebackDumpIntervalSeconds").exists(_ != "0")) {
      Some("workers are to write down where they are (spark.sql.execution.pyspark.udf.tracebackDumpIntervalSeconds)")
    } else if ((evalType == EvalType.ArrowBatched || evalType == EvalType.ArrowTable) &&
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

  /** Workers of somebody else's do what rudf's do not: measure coverage, for one. Who names rudf's conf wants rudf's. */
  private def workerModule(conf: SQLConf): Option[String] = if (conf.contains(RudfConf.Takeover)) None
    else RudfConf.WorkerModules.find(name => sparkConf.exists(_.contains(name))).map(name => s"workers are of another module ($name)")

  /** A sentence that says why a function is left to Spark, whatever its neighbours are. */
  def functionRefusal(function: Candidate): Option[String] = {
    val chain = EvaluationPlan.chain(function.udf)
    function.refusal.orElse(typeRefusal(chain))
  }

  private def typeRefusal(chain: Seq[PythonUDF]): Option[String] =
    chain.head.children.iterator.map(_.dataType).flatMap(t => SupportedTypes.refusal(t).map("an argument " + _)).nextOption()
      .orElse(resultRefusal(chain.last).map("its result " + _))

  private def resultRefusal(udf: PythonUDF): Option[String] = SupportedTypes.refusal(udf.dataType)
    .orElse(if (Kinds.pickled.contains(udf.evalType)) SupportedTypes.pickledRefusal(udf.dataType) else None)
    .orElse(if (Kinds.checked.contains(udf.evalType)) SupportedTypes.checkedRefusal(udf.dataType) else None)

  /** A sentence that says why whole rows are not handed to a function or taken from one, if so. */
  def rowsRefusal(input: Seq[Attribute], output: Seq[Attribute]): Option[String] = {
    if (input.isEmpty || output.isEmpty) Some("it takes or gives rows without columns")
    else if (input.map(_.name).distinct.length < input.length) Some("two of its columns have the same name")
    else if (output.map(_.name).distinct.length < output.length) Some("two columns of its results have the same name")
    else typesRefusal(input, "its column").orElse(typesRefusal(output, "the column"))
  }

  /** A sentence that says why columns do not come back beside the results of their rows, if so. */
  def columnsRefusal(columns: Seq[Attribute]): Option[String] = typesRefusal(columns, "the column")

  /** A sentence that says why groups are not made by some keys, if so. */
  def keysRefusal(keys: Seq[Expression]): Option[String] =
    keys.iterator.flatMap(key => SupportedTypes.refusal(key.dataType).map(why => s"its key `${key.sql}` $why")).nextOption()

  private def typesRefusal(attributes: Seq[Attribute], what: String): Option[String] =
    attributes.iterator.flatMap(a => SupportedTypes.refusal(a.dataType).map(why => s"$what `${a.name}` $why")).nextOption()

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
    if (Kinds.rows.contains(evalType)) Nil
    else if (Kinds.pandas.contains(evalType)) Seq("pyarrow", "pandas")
    else Seq("pyarrow")

  private def sparkConf: Option[SparkConf] = Option(SparkEnv.get).map(_.conf)
}
