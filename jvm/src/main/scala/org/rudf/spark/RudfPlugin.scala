package org.rudf.spark

import java.util.{Collections, Map => JavaMap}

import org.slf4j.LoggerFactory

import org.apache.spark.SparkContext
import org.apache.spark.api.plugin.{DriverPlugin, ExecutorPlugin, PluginContext, SparkPlugin}

/** What `spark.plugins` names: puts the extensions in on the driver, and starts Python early on executors. */
final class RudfPlugin extends SparkPlugin {
  override def driverPlugin(): DriverPlugin = new RudfDriverPlugin
  override def executorPlugin(): ExecutorPlugin = new RudfExecutorPlugin
}

private[spark] final class RudfDriverPlugin extends DriverPlugin {
  private val Extensions = "spark.sql.extensions"

  override def init(context: SparkContext, plugin: PluginContext): JavaMap[String, String] = {
    val name = classOf[RudfExtensions].getName
    val others = plugin.conf().get(Extensions, "").split(',').map(_.trim).filter(e => e.nonEmpty && e != name)
    plugin.conf().set(Extensions, (others :+ name).mkString(","))
    Collections.emptyMap()
  }

  override def receive(message: Any): AnyRef = {
    message match {
      case fallback: FallbackMessage => Fallbacks.heard(fallback)
      case other => LoggerFactory.getLogger(getClass).warn(s"rudf: a message of no known kind: $other")
    }
    null
  }
}

private[spark] final class RudfExecutorPlugin extends ExecutorPlugin {
  override def init(context: PluginContext, extra: JavaMap[String, String]): Unit = {
    Fallbacks.connect(context)
    WorkerHosts.startEarly(context.conf())
  }

  override def shutdown(): Unit = WorkerHosts.stop()
}
