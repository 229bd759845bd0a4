package org.rudf.spark

import java.nio.charset.StandardCharsets.UTF_8

import scala.collection.mutable
import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.ObjectMapper
import org.slf4j.LoggerFactory

/** The hosts of this process, one a Python; each is started when it is first asked for, and so is each refusal. */
object WorkerHosts {
  private val log = LoggerFactory.getLogger(getClass)
  private val Json = new ObjectMapper()
  private val hosts = mutable.Map.empty[String, Either[String, WorkerHost]]

  /**
   * The host for functions made for `pythonExec`, or a sentence that says why this process has none.
   *
   * The Python is, in this order: the conf `spark.rudf.python`; the one that PySpark was told to use (`PYSPARK_PYTHON`
   * or its conf, which comes with the function); the active virtual environment; `python3` on the `PATH`.
   */
  def forPython(pythonExec: String, conf: RudfConf.HostConf): Either[String, WorkerHost] = synchronized {
    val python = conf.python.getOrElse(resolve(pythonExec))
    hosts.getOrElseUpdate(python, start(python, conf))
  }

  /** PySpark says `python3` where nobody told it anything. */
  private def resolve(pythonExec: String): String =
    if (pythonExec != "python3") pythonExec
    else Option(System.getenv("VIRTUAL_ENV")).filter(_.nonEmpty).map(_ + "/bin/python").getOrElse(pythonExec)

  private def start(python: String, conf: RudfConf.HostConf): Either[String, WorkerHost] = {
    val host = NativeLibrary.load(NativeLibrary.candidateDirectories(conf.unpackDirectory)).flatMap { unpacked =>
      try Right(startEmbedded(python, unpacked))
      catch { case error: RudfNativeException => Left(error.getMessage) }
    }
    host.left.foreach(why => log.warn(s"rudf: this process leaves Python functions to Spark: $why"))
    host
  }

  private def startEmbedded(python: String, unpacked: NativeLibrary.Unpacked): WorkerHost = {
    val config = Json.createObjectNode()
    config.put("python", python)
    config.put("package_directory", unpacked.packageDirectory)
    config.put("native_module", unpacked.nativeModule)
    val path = config.putArray("python_path")
    SparkAccess.sparkPythonPath().split(java.io.File.pathSeparator).filter(_.nonEmpty).foreach(p => path.add(p))
    val handle = NativeBytes.lend(Json.writeValueAsString(config).getBytes(UTF_8))(RudfNative.startEmbedded)
    val about = Json.readTree(NativeBytes.takeText(RudfNative.describeHost(handle)))
    val packages = about.path("packages").fields().asScala.filter(_.getValue.asBoolean()).map(_.getKey).toSet
    val host = new WorkerHost(handle, about.path("executable").asText(), about.path("version").asText(), packages)
    log.info(s"rudf: embedded ${host.executable} (Python ${host.pythonVersion})")
    host
  }
}
