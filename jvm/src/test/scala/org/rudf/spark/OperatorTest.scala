package org.rudf.spark

import java.io.File
import java.nio.file.Files

import scala.sys.process.Process

import org.junit.{AfterClass, Assume, BeforeClass, Test}
import org.junit.Assert.{assertEquals, assertFalse, assertTrue}

import org.apache.spark.{SparkEnv, SparkFiles}
import org.apache.spark.rudftest.SparkTestAccess
import org.apache.spark.sql.{Column, DataFrame, Row, SparkSession}
import org.apache.spark.sql.functions.{col, expr}

/** The operator on a local session, with functions that the project's own Python has pickled and sealed. */
object OperatorTest {
  private var spark: SparkSession = _
  private val python = System.getProperty("rudf.test.python")
  private lazy val directory = Files.createTempDirectory("rudf-operator-test").toFile

  @BeforeClass def start(): Unit = {
    Assume.assumeTrue("the virtual environment is there", new File(python).canExecute)
    spark = SparkSession.builder().master("local[2]").appName("operator")
      .config("spark.ui.enabled", "false")
      .config("spark.plugins", classOf[RudfPlugin].getName)
      .config("spark.rudf.python", python)
      .config("spark.sql.shuffle.partitions", "3")
      // What a task does not give back of the memory that it was given fails it.
      .config("spark.unsafe.exceptionOnMemoryLeak", "true")
      .config("spark.sql.warehouse.dir", new File(directory, "warehouse").getPath)
      .getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
  }

  @AfterClass def stop(): Unit = if (spark != null) spark.stop()

  /** A function that Python has pickled; sealed as `@rudf` does it, or as a stock `udf` would be. */
  def udf(definition: String, returnType: String, evalType: Int = 101, seal: Boolean = true): Seq[Column] => Column = {
    val target = File.createTempFile("command", ".pickle", directory)
    val script =
      s"""import datetime, sys
         |from rudf.pickle import dumps
         |from rudf.payload import seal
         |from pyspark.sql.types import _parse_datatype_json_string as parse
         |__name__ = "__main__"
         |$definition
         |pickled = dumps((f, parse('${org.apache.spark.sql.types.DataType.fromDDL(returnType).json}')))
         |open("$target", "wb").write(${if (seal) "seal(pickled, 'f')" else "pickled"})
         |""".stripMargin
    val version = Process(Seq(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")).!!.trim
    assertEquals(0, Process(Seq(python, "-c", script)).!)
    val command = Files.readAllBytes(target.toPath)
    val function = SparkTestAccess.pythonFunction(command, python, version, spark.sparkContext)
    columns => SparkTestAccess.pythonUdf("f", function, returnType, evalType, columns)
  }
}

class OperatorTest {
  import OperatorTest.udf

  private def spark: SparkSession = SparkSession.active
  private def plan(frame: DataFrame): String = frame.queryExecution.executedPlan.toString

  private def parquet(name: String, frame: DataFrame): DataFrame = {
    val path = Files.createTempDirectory(name).toString
    frame.write.mode("overwrite").parquet(path)
    spark.read.parquet(path)
  }

  @Test def aColumnarChildGivesColumnsAndPassesTheOthersBy(): Unit = {
    val twice = udf("f = lambda v: None if v is None else v * 2", "bigint")
    val data = parquet("columnar", spark.range(0, 20000, 1, 3)
      .selectExpr("id", "concat('s', id) as s", "if(id % 3 = 0, null, id) as n", "id % 2 = 0 as b"))
    val frame = data.select(col("*"), twice(Seq(col("n"))).as("t"))
    assertTrue(plan(frame), plan(frame).contains("RudfEval"))
    assertTrue(plan(frame), plan(frame).indexOf("ColumnarToRow") < plan(frame).indexOf("RudfEval"))
    val wrong = frame.where("not (t <=> n * 2) or s != concat('s', id) or b != (id % 2 = 0)").count()
    assertEquals(0L, wrong)
    assertEquals(20000L, frame.count())
  }

  /** The layout that the plan of a query has below its function. */
  private def layouts(frame: DataFrame): Int = plan(frame).linesIterator.count(_.contains("RudfLayout"))

  @Test def rowsAreLaidOutByGeneratedCodeAndComeBackAsColumns(): Unit = {
    val show = udf("f = lambda *v: repr(v)", "string")
    val columns = Seq("id % 2 = 0 as bo", "cast(id as tinyint) as ti", "cast(id as smallint) as si", "cast(id as int) as i", "id",
      "cast(id as float) / 3 as fl", "cast(id as double) / 7 as d", "concat('s', id) as s", "cast(concat('b', id) as binary) as bi",
      "date_add(date'2000-01-01', cast(id as int)) as da", "timestamp_micros(id * 1000001) as t")
    val names = Seq("bo", "ti", "si", "i", "id", "fl", "d", "s", "bi", "da", "t")
    for (nulls <- Seq(false, true); generate <- Seq("true", "false")) {
      spark.conf.set("spark.sql.codegen.wholeStage", generate)
      try {
        val data = spark.range(0, 100, 1, 2).selectExpr(columns: _*)
        val rows = if (!nulls) data
          else data.selectExpr(names.map(n => if (n == "id") n else s"if(id % 3 = 0, null, $n) as $n"): _*)
        val frame = rows.select(col("*"), show(names.map(col)).as("shown"))
        assertEquals(plan(frame), 1, layouts(frame))
        assertEquals(rows.collect().toSeq, frame.drop("shown").collect().toSeq)
        spark.conf.set(RudfConf.Enabled, "false")
        val stock = rows.select(col("*"), show(names.map(col)).as("shown"))
        assertEquals(0, layouts(stock))
        val expected = stock.collect().toSeq
        spark.conf.unset(RudfConf.Enabled)
        assertEquals(expected, frame.collect().toSeq)
      } finally {
        spark.conf.unset("spark.sql.codegen.wholeStage")
        spark.conf.unset(RudfConf.Enabled)
      }
    }
  }

  @Test def sessionsWithArtifactsHaveModulesFilesAndWorkersOfTheirOwn(): Unit = {
    val definition = "def f(v):\n    import os, own_module\n    from pyspark import SparkFiles\n" +
      "    return own_module.name + str(os.path.samefile(os.getcwd(), SparkFiles.getRootDirectory()))"
    val sessions = Seq("one", "two").map { name =>
      val session = spark.newSession()
      SparkTestAccess.isolateArtifacts(session)
      val folder = new File(SparkFiles.getRootDirectory(), SparkTestAccess.artifacts(session)).toPath
      Files.createDirectories(folder)
      Files.write(folder.resolve("own_module.py"), s"name = '$name'\n".getBytes)
      session
    }
    val names = (sessions ++ sessions).map { session =>
      val frame = session.range(1).select(udf(definition, "string")(Seq(col("id"))))
      assertTrue(plan(frame), plan(frame).contains("RudfEval"))
      frame.first().getString(0)
    }
    assertEquals(Seq("oneTrue", "twoTrue", "oneTrue", "twoTrue"), names)
  }

  @Test def confsOfPySparksWorkersAreKept(): Unit = {
    val conf = SparkEnv.get.conf
    val frame = () => spark.range(3).select(udf("f = lambda v: v", "bigint")(Seq(col("id"))))
    assertEquals(64, RudfConf.hostConf(conf, WorkerKind.Process, Map.empty).mostIdle)
    try {
      spark.conf.set(RudfConf.Worker, "embedded")
      conf.set(RudfConf.ReuseWorkers, "false")
      assertTrue(plan(frame()), plan(frame()).contains("worker=process (spark.python.worker.reuse is false)"))
      assertEquals(0, RudfConf.hostConf(conf, WorkerKind.Process, Map.empty).mostIdle)
      for (module <- RudfConf.WorkerModules) {
        conf.set(module, "of.somebody.elses")
        val left = plan(frame())
        assertTrue(left, left.contains(s"rudf: left to Spark because workers are of another module ($module)"))
        conf.remove(module)
      }
    } finally {
      spark.conf.unset(RudfConf.Worker)
      (RudfConf.ReuseWorkers +: RudfConf.WorkerModules).foreach(name => conf.remove(name))
    }
  }

  @Test def inputsThatAreExpressionsAreComputedWhereRowsAreLaidOut(): Unit = {
    val add = udf("f = lambda a, b: a + b", "bigint")
    for (data <- Seq(spark.range(0, 1000, 1, 2).toDF(), parquet("expressions", spark.range(0, 1000, 1, 2).toDF()))) {
      val frame = data.select(col("id"), add(Seq(expr("id * 2"), expr("monotonically_increasing_id() * 0 + 1"))).as("v"))
      assertEquals(plan(frame), 1, layouts(frame))
      assertEquals(0L, frame.where("v != id * 2 + 1").count())
    }
  }

  @Test def rowsOfEveryKindOfStageAreLaidOut(): Unit = {
    val twice = udf("f = lambda v: v * 2", "bigint")
    val keyed = spark.range(0, 5000, 1, 2).selectExpr("id", "id % 7 as k")
    val few = spark.range(0, 7, 1, 1).selectExpr("id as k", "id * 10 as w")
    val stages = Map(
      "aggregate" -> keyed.groupBy("k").count().selectExpr("k as id"),
      "sort" -> keyed.orderBy(col("id").desc).select("id"),
      "broadcast join" -> keyed.join(org.apache.spark.sql.functions.broadcast(few), "k").selectExpr("id"),
      "sort merge join" -> keyed.hint("merge").join(few.hint("merge"), "k").selectExpr("id"),
      "exploded" -> keyed.selectExpr("explode(sequence(id, id + 3)) as id"),
      "limited" -> keyed.select("id").limit(100),
      "union" -> keyed.select("id").union(few.selectExpr("w as id")),
      "full join of hashes" -> keyed.hint("shuffle_hash").join(few.hint("shuffle_hash"), Seq("k"), "full").selectExpr("id"),
      "full join of sorted" -> keyed.hint("merge").join(few.hint("merge"), Seq("k"), "full").selectExpr("id"),
      "anti join" -> keyed.join(few.where("k < 3"), Seq("k"), "anti").select("id"),
      "nested loops" -> keyed.where("id < 500").join(org.apache.spark.sql.functions.broadcast(few), expr("id > w")).select("id"),
      "rollup" -> keyed.rollup("k", "id").count().where("id is not null").select("id"),
      "distinct" -> keyed.select("id").union(keyed.select("id")).distinct(),
      "sampled" -> keyed.sample(withReplacement = true, 0.9, 7).select("id"),
      "local" -> spark.sql("select * from values (1L), (2L), (null) as t(id)").where("id is not null"))
    // Batches that end in the midst of whatever the stage does.
    for ((name, rows) <- stages; records <- Seq("10000", "7")) try {
      spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)
      val frame = rows.select(col("id"), twice(Seq(col("id"))).as("t"))
      val got = frame.collect().map(r => (r.getLong(0), r.getLong(1))).toSeq
      // Stages that adapt show their transitions once they have run.
      assertTrue(s"$name: ${plan(frame)}", layouts(frame) >= 1)
      assertEquals(s"$name, $records", rows.count(), got.length.toLong)
      assertTrue(name, got.forall { case (id, t) => t == 2 * id })
    } finally spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
  }

  @Test def functionsOverFunctionsHaveALayoutEach(): Unit = {
    val twice = udf("f = lambda v: v * 2", "bigint")
    val frame = spark.range(0, 30000, 1, 2).select(col("id"), twice(Seq(col("id"))).as("t"))
      .select(col("id"), col("t"), twice(Seq(expr("t + 1"))).as("u"))
    assertEquals(plan(frame), 2, layouts(frame))
    assertEquals(30000, frame.collect().count(r => r.getLong(1) == 2 * r.getLong(0) && r.getLong(2) == 2 * (r.getLong(1) + 1)))
    assertEquals(3, frame.limit(3).collect().length)
  }

  @Test def aHundredColumnsAndMoreAreLaidOutWithoutGeneratedCode(): Unit = {
    val sum = udf("f = lambda *v: sum(v)", "bigint")
    val names = (0 until 150).map(i => s"id + $i as c$i")
    val frame = spark.range(0, 500, 1, 2).selectExpr("id" +: names: _*)
      .select(col("id"), col("c149"), sum((0 until 150).map(i => col(s"c$i"))).as("s"))
    assertEquals(plan(frame), 1, layouts(frame))
    assertEquals(0L, frame.where("s != 150 * id + 11175 or c149 != id + 149").count())
  }

  @Test def aRowChildKeepsColumnsOfAnyType(): Unit = {
    val upper = udf("f = lambda s: s.upper()", "string")
    val frame = spark.range(0, 1000, 1, 2)
      .selectExpr("id", "array(id) as a", "named_struct('x', id) as st", "cast(id as decimal(20,3)) as d", "concat('s', id) as s")
      .select(col("*"), upper(Seq(col("s"))).as("u"))
    assertTrue(plan(frame).contains("RudfEval"))
    assertEquals(0L, frame.where("u != concat('S', id) or a[0] != id or st.x != id or d != id").count())
  }

  @Test def sealedAndOtherFunctionsOfOneNodeArePlannedApartWhereTheConfSaysSo(): Unit = {
    val ours = udf("f = lambda v: v + 1", "bigint")
    val stock = udf("f = lambda v: v + 1", "bigint", seal = false)
    Seq("all" -> false, "rudf-only" -> true, "none" -> true).foreach { case (takeover, sparks) =>
      spark.conf.set(RudfConf.Takeover, takeover)
      try {
        val frame = spark.range(3).select(ours(Seq(col("id"))).as("a"), stock(Seq(col("id"))).as("b"))
        assertEquals(plan(frame), sparks, plan(frame).contains("ArrowEvalPython"))
        assertEquals(plan(frame), takeover != "none", plan(frame).contains("RudfEval"))
        assertEquals(Seq(Row(1, 1), Row(2, 2), Row(3, 3)), frame.collect().toSeq)
      } finally spark.conf.unset(RudfConf.Takeover)
    }
  }

  @Test def aFunctionOfAnUnsupportedTypeStaysWithSparkAndExplainSaysWhy(): Unit = {
    val two = udf("f = lambda v: 2", "int")
    val frame = spark.range(3).select(two(Seq(expr("parse_json('[1]')"))).as("n"))
    assertFalse(plan(frame).contains("RudfEval"))
    assertTrue(plan(frame), plan(frame).contains("rudf: left to Spark because `f`: an argument has the type VARIANT"))
    assertEquals(Seq(2, 2, 2), frame.collect().map(_.getInt(0)).toSeq)
    val same = spark.range(3).select(two(Seq(expr("array(named_struct('a', id, 'a', id))"))).as("n"))
    assertTrue(plan(same), plan(same).contains("an argument has a struct with two fields of the same name"))
  }

  @Test def aDamagedPayloadIsNotRun(): Unit = {
    val command = "pickle".getBytes ++ """{"sha256": "00", "python": "3.11", "name": "f"}""".getBytes
    val seal = java.nio.ByteBuffer.allocate(12).order(java.nio.ByteOrder.LITTLE_ENDIAN).putInt(command.length - 6)
      .put("RUDF\u0001\r\n\u0000".getBytes("ISO-8859-1")).array()
    assertEquals(Some(Left("its payload is damaged: the checksum does not match")), Payload.unseal(command ++ seal))
    assertEquals(None, Payload.unseal(command))
    assertEquals(Some(Left("its payload is damaged: the seal cannot be read")), Payload.unseal(seal))
  }

  @Test def switchingOffTakesEffectAtOnce(): Unit = {
    val twice = udf("f = lambda v: v * 2", "bigint")
    spark.conf.set(RudfConf.Enabled, "false")
    try {
      val off = spark.range(3).select(twice(Seq(col("id"))))
      assertTrue(plan(off), plan(off).contains("left to Spark because spark.rudf.enabled is false"))
    } finally spark.conf.unset(RudfConf.Enabled)
    assertTrue(plan(spark.range(3).select(twice(Seq(col("id"))))).contains("RudfEval"))
  }

  @Test def batchesAreAsLargeAsTheConfSays(): Unit = {
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    try {
      val lengths = udf("import pyarrow as pa\ndef f(v):\n    import pyarrow as pa\n    return pa.array([len(v)] * len(v))", "bigint", 250)
      val data = parquet("batches", spark.range(0, 20, 1, 1).toDF())
      for (child <- Seq(data, data.where("id >= 0"))) {
        val sizes = child.select(lengths(Seq(col("id"))).as("n")).collect().map(_.getLong(0)).toSeq
        assertEquals(Seq.fill(14)(7L) ++ Seq.fill(6)(6L), sizes)
      }
    } finally spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
  }

  @Test def bytesUnderWayAreBoundedAndCountAsMemoryOfTheTask(): Unit = {
    val length = udf("f = lambda s: len(s)", "int")
    spark.conf.set(RudfConf.BytesInFlight, "256k")
    try {
      val frame = spark.range(0, 2000, 1, 1).select(length(Seq(expr("repeat('x', 1000 + cast(id % 7 as int))"))).as("n"))
      assertEquals(0L, frame.where("n < 1000 or n > 1006").count())
      val rows = frame.collect()
      assertEquals(2000, rows.length)
      val node = frame.queryExecution.executedPlan.collectFirst { case n: RudfEvalExec => n }.get
      // Each batch ends after as many bytes as may be under way at once: no fewer than this.
      assertTrue(node.metrics("numBatches").value.toString, node.metrics("numBatches").value >= 7)
    } finally spark.conf.unset(RudfConf.BytesInFlight)
    spark.conf.set(RudfConf.BytesInFlight, "none")
    try {
      val error = intercept(spark.range(1).select(length(Seq(expr("'x'")))).collect())
      assertTrue(error, error.contains(RudfConf.BytesInFlight))
    } finally spark.conf.unset(RudfConf.BytesInFlight)
  }

  @Test def batchesThatWaitForFunctionsWhichReadAheadSpill(): Unit = {
    val ahead = udf("def f(batches):\n    yield from [batch + 1 for batch in batches]", "bigint", 204)
    val spilled = new java.util.concurrent.atomic.AtomicLong
    val listener = new org.apache.spark.scheduler.SparkListener {
      override def onTaskEnd(end: org.apache.spark.scheduler.SparkListenerTaskEnd): Unit = {
        spilled.addAndGet(end.taskMetrics.diskBytesSpilled)
        ()
      }
    }
    spark.sparkContext.addSparkListener(listener)
    spark.conf.set(RudfConf.BytesInFlight, "512k")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")
    try {
      val rows = spark.range(0, 50000, 1, 1).selectExpr("id", "concat('s', id) as s", "if(id % 3 = 0, null, array(id)) as a")
      val data = parquet("ahead", rows)
      for (child <- Seq(spark.createDataFrame(rows.rdd, rows.schema), data)) {
        spilled.set(0)
        val frame = child.select(col("*"), ahead(Seq(col("id"))).as("v"))
        assertTrue(plan(frame), plan(frame).contains("RudfEval"))
        assertEquals(50000L, frame.where(
          "v = id + 1 and s = concat('s', v - 1) and a <=> if((v - 1) % 3 = 0, null, array(v - 1))").count())
        SparkTestAccess.waitForListeners(spark.sparkContext)
        assertTrue(s"$spilled", spilled.get > (1 << 20))
        // Whoever has enough leaves no file either.
        assertEquals(2, frame.limit(2).collect().length)
      }
      assertEquals(Nil, SparkTestAccess.temporaryFiles())
    } finally {
      spark.conf.unset(RudfConf.BytesInFlight)
      spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
      spark.sparkContext.removeSparkListener(listener)
    }
  }

  /** Rows wait in pages where a column that passes by has a type that no segment holds. */
  @Test def rowsThatWaitForFunctionsWhichReadAheadStayWhatTheyAre(): Unit = {
    val ahead = udf("def f(batches):\n    yield from [batch + 1 for batch in batches]", "bigint", 204)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
    try {
      for (bytes <- Seq("64m", "16k")) {
        spark.conf.set(RudfConf.BytesInFlight, bytes)
        val point = "unhex(concat('0101000000', repeat('0', 32)))"
        val frame = spark.range(0, 5000, 1, 1).selectExpr("id", "id * 2 as w", s"st_geomfromwkb($point) as g").repartition(1)
          .select(col("*"), ahead(Seq(col("id"))).as("v"))
        assertTrue(plan(frame), plan(frame).contains("RudfEval") && layouts(frame) == 0)
        assertEquals(bytes, 0L, frame.selectExpr("id", "w", "v", "hex(st_asbinary(g)) as g")
          .where("v != id + 1 or w != (v - 1) * 2 or g != concat('0101000000', repeat('0', 32))").count())
      }
    } finally {
      spark.conf.unset(RudfConf.BytesInFlight)
      spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    }
  }

  private def intercept(body: => Any): String =
    try { body; "nothing was thrown" }
    catch { case error: Exception => error.toString + Option(error.getCause).getOrElse("") }

  @Test def metricsCountWhatGoesToPythonAndComesBackOnBothHosts(): Unit = {
    import EvaluationMetrics._
    val twice = udf("import time\ndef f(v):\n    if v % 10000 == 0:\n        time.sleep(0.01)\n    return v * 2", "bigint")
    for (worker <- Seq("process", "embedded")) {
      spark.conf.set(RudfConf.Worker, worker)
      try {
        val frame = spark.range(0, 25000, 1, 1).selectExpr("id", "concat('passes by ', id) as s").select(col("s"), twice(Seq(col("id"))).as("t"))
        assertEquals(25000L, frame.queryExecution.executedPlan.execute().count())
        val node = frame.queryExecution.executedPlan.collectFirst { case n: RudfEvalExec => n }.get
        val counted = node.metrics.map { case (name, metric) => name -> metric.value }
        def isIn(name: String, from: Long, to: Long): Unit =
          assertTrue(s"$worker: $name = ${counted(name)}", counted(name) >= from && counted(name) <= to)
        for ((name, value) <- Seq(RowsSent -> 25000L, RowsReceived -> 25000L, Batches -> 3L, LeftToSpark -> 0L,
            BytesSent -> 8L * 25000)) {
          assertEquals(s"$worker: $name", value, counted(name))
        }
        isIn(BytesReceived, 8L * 25000, 9L * 25000)
        isIn(PythonTime, 30L * 1000 * 1000, counted(TotalTime))
        isIn(WaitTime, 1, counted(TotalTime))
        isIn(LayoutTime, 1, counted(TotalTime))
        isIn(BootTime, 1, counted(TotalTime) - counted(InitTime))
        isIn(InitTime, 1, counted(TotalTime))
        // A batch has both columns. Segments of queries before are used again, which may be larger than this one's batches.
        isIn(Peak, (8L + 16) * 10000, RudfConf.bytesInFlight(spark.sessionState.conf))
      } finally spark.conf.unset(RudfConf.Worker)
    }
  }

  @Test def aQueryThatHasEnoughRowsCountsWhatItTook(): Unit = {
    val twice = udf("f = lambda v: v * 2", "bigint")
    val frame = spark.range(0, 100000, 1, 1).select(twice(Seq(col("id"))).as("t")).limit(5)
    assertEquals(5, frame.collect().length)
    val node = frame.queryExecution.executedPlan.collectFirst { case n: RudfEvalExec => n }.get
    for (name <- Seq("pythonNumRowsReceived", "pythonProcessingTime", "pythonTotalTime", "pythonDataReceived")) {
      assertTrue(name, node.metrics(name).value > 0)
    }
  }
}
