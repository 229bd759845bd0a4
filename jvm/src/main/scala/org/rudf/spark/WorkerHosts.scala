package org.rudf.spark

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Paths}

import scala.collection.mutable
import scala.jdk.CollectionConverters._
import scala.util.control.NonFatal

import com.fasterxml.jackson.databind.ObjectMapper
import org.slf4j.LoggerFactory

import org.apache.spark.SparkConf

/** The hosts of this process: one a Python, a kind of worker, and its environment; each is started when it is first asked
 * for, and what cannot be started then is not tried again. */
object WorkerHosts {
  private val log = LoggerFactory.getLogger(getClass)
  private val Json = new ObjectMapper()
  private val hosts = mutable.Map.empty[HostKey, Either[String, WorkerHost]]

  /** What one host serves. The environment is the worker processes'; the embedded interpreter has this process's. */
  private final case class HostKey(worker: WorkerKind, python: String, environment: Map[String, String])

  /**
   * The host for functions made for `pythonExec`, or a sentence that says why this process has none.
   *
   * The Python is, in this order: the conf `spark.rudf.python`; the one that PySpark was told to use (`PYSPARK_PYTHON`
   * or its conf, which comes with the function); the active virtual environment; `python3` on the `PATH`.
   */
  def forPython(pythonExec: String, conf: RudfConf.HostConf): Either[String, WorkerHost] = synchronized {
    val key = keyOf(pythonExec, conf)
    hosts.getOrElseUpdate(key, {
      val host = start(key.python, conf)
      host.left.foreach(why => log.warn(s"rudf: this process leaves Python functions to Spark: $why"))
      host
    })
  }

  private def keyOf(pythonExec: String, conf: RudfConf.HostConf): HostKey = HostKey(conf.worker,
    conf.python.getOrElse(resolve(pythonExec)), if (conf.worker == WorkerKind.Process) conf.environment else Map.empty)

  /** Tries whether a host can be started before anybody asks for it. It may be that it can be later. */
  private def tryEarly(pythonExec: String, conf: RudfConf.HostConf): Unit = synchronized {
    val key = keyOf(pythonExec, conf)
    if (!hosts.contains(key)) start(key.python, conf) match {
      case Left(why) => log.info(s"rudf: Python was not started early: $why")
      case started => hosts(key) = started
    }
  }

  /** Starts, in the background, what the first function will most likely want, so that its query does not wait for it. */
  private[spark] def startEarly(conf: SparkConf): Unit =
    if (conf.get(RudfConf.Enabled, "true").trim.equalsIgnoreCase("true") && conf.get(RudfConf.Worker, "auto") != "embedded") {
      val python = conf.getOption("spark.pyspark.python").orElse(sys.env.get("PYSPARK_PYTHON")).getOrElse("python3")
      val start: Runnable = () =>
        try tryEarly(python, RudfConf.hostConf(conf, WorkerKind.Process, WorkerEnvironment.expected(conf)))
        // Whoever asks for it meets the same, and tells, if the Python does not come with an archive that is added later.
        catch { case NonFatal(error) => log.info(s"rudf: Python was not started early: $error") }
      val thread = new Thread(start, "rudf-start")
      thread.setDaemon(true)
      thread.start()
    }

  /** Ends all worker processes: the application has ended, and this process may go on. */
  private[spark] def stop(): Unit = synchronized {
    hosts.values.foreach(_.foreach(_.stop()))
    // The next application starts what it needs; there can be only one embedded interpreter, which stays.
    hosts.filterInPlace((key, _) => key.worker == WorkerKind.Embedded)
    ()
  }

  /** PySpark says `python3` where nobody told it anything. */
  private def resolve(pythonExec: String): String =
    if (pythonExec != "python3") pythonExec
    else Option(System.getenv("VIRTUAL_ENV")).filter(_.nonEmpty).map(_ + "/bin/python").getOrElse(pythonExec)

  private def start(python: String, conf: RudfConf.HostConf): Either[String, WorkerHost] = {
    val host = NativeLibrary.load(NativeLibrary.candidateDirectories(conf.unpackDirectory)).flatMap { unpacked =>
      try {
        Right(about(conf.worker match {
          case WorkerKind.Process => startProcess(python, conf, unpacked)
          case WorkerKind.Embedded => startEmbedded(python, unpacked)
        }))
      } catch {
        case error: RudfNativeException => Left(error.getMessage)
        case error: IOException => Left(s"the folder of a session's artifacts cannot be made: $error")
      }
    }
    host.foreach(started => log.info(s"rudf: ${conf.worker} ${started.executable} (Python ${started.pythonVersion})"))
    host
  }

  private def startEmbedded(python: String, unpacked: NativeLibrary.Unpacked): Long = {
    val config = Json.createObjectNode()
    config.put("python", python)
    config.put("package_directory", unpacked.packageDirectory)
    config.put("native_module", unpacked.nativeModule)
    val path = config.putArray("python_path")
    SparkAccess.sparkPythonPath().split(java.io.File.pathSeparator).filter(_.nonEmpty).foreach(p => path.add(p))
    NativeBytes.lend(Json.writeValueAsString(config).getBytes(UTF_8))(RudfNative.startEmbedded)
  }

  private def startProcess(python: String, conf: RudfConf.HostConf, unpacked: NativeLibrary.Unpacked): Long = {
    val config = Json.createObjectNode()
    config.put("python", python)
    config.put("package_directory", unpacked.packageDirectory)
    config.put("most_idle", conf.mostIdle)
    config.put("idle_seconds", conf.idleSeconds)
    WorkerEnvironment.ofSession(conf.environment).foreach { directory =>
      Files.createDirectories(Paths.get(directory))
      config.put("directory", directory)
    }
    val environment = config.putObject("environment")
    WorkerEnvironment.onExecutor(conf.environment).foreach { case (name, value) => environment.put(name, value) }
    NativeBytes.lend(Json.writeValueAsString(config).getBytes(UTF_8))(RudfNative.startProcess)
  }

  private def about(handle: Long): WorkerHost = {
    val about = Json.readTree(NativeBytes.takeText(RudfNative.describeHost(handle)))
    val packages = about.path("packages").fields().asScala.filter(_.getValue.asBoolean()).map(_.getKey).toSet
    new WorkerHost(handle, about.path("executable").asText(), about.path("version").asText(), packages)
  }
}
