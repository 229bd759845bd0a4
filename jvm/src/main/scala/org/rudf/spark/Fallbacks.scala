package org.rudf.spark

import java.util.concurrent.ConcurrentHashMap

import scala.util.control.NonFatal

import org.slf4j.LoggerFactory

import org.apache.spark.api.plugin.PluginContext

/** Tells, once for each reason, why functions run on Spark's own path: in this process's log and in the driver's. */
object Fallbacks {
  private val log = LoggerFactory.getLogger(getClass)
  private val told = ConcurrentHashMap.newKeySet[String]()
  @volatile private var plugin: Option[PluginContext] = None

  private[spark] def connect(context: PluginContext): Unit = plugin = Some(context)

  /** At run time, on an executor. */
  def tell(functions: String, why: String): Unit = {
    val sentence = s"rudf: left to Spark ($functions) because $why"
    if (told.add(sentence)) {
      log.warn(sentence)
      plugin.filter(_.executorID() != "driver").foreach { context =>
        try context.send(FallbackMessage(context.executorID(), sentence))
        // Nothing that goes wrong here may fail the task; the sentence stands in this log.
        catch { case NonFatal(error) => log.info(s"rudf: the driver could not be told: $error") }
      }
    }
  }

  /** At planning, on the driver. */
  def tellPlanned(functions: String, why: String): Unit = {
    val sentence = s"rudf: left to Spark ($functions) because $why"
    if (told.add(sentence)) log.warn(sentence)
  }

  /** What an executor told, on the driver. */
  private[spark] def heard(message: FallbackMessage): Unit =
    log.warn(s"${message.sentence} [executor ${message.executor}]")
}

/** From an executor to the driver. */
final case class FallbackMessage(executor: String, sentence: String)
