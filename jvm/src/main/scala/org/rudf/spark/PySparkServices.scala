package org.rudf.spark

import java.util.Base64

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.ObjectMapper
import com.fasterxml.jackson.databind.node.ObjectNode

import org.apache.spark.TaskContext
import org.apache.spark.util.CollectionAccumulator

/**
 * What functions have of PySpark beside their arguments, on its way to a worker process and back; `rudf.worker.services`
 * is the other end.
 *
 * @param accumulator collects what functions add to accumulators; null where there are none (a Connect server)
 */
private[spark] final class PySparkServices(accumulator: CollectionAccumulator[Array[Byte]]) extends Serializable {

  /** The part `services` of a session message. */
  def describe(context: TaskContext): ObjectNode = {
    val services = PySparkServices.Json.createObjectNode()
    if (context != null) {
      val task = services.putObject("task_context")
      task.put("stageId", context.stageId()).put("partitionId", context.partitionId())
        .put("attemptNumber", context.attemptNumber()).put("taskAttemptId", context.taskAttemptId())
        .put("cpus", context.cpus()).put("cpuAmount", SparkAccess.cpuAmount(context))
      val resources = task.putObject("resources")
      context.resourcesJMap().asScala.foreach { case (name, resource) =>
        val entry = resources.putObject(name).put("name", resource.name)
        val addresses = entry.putArray("addresses")
        resource.addresses.foreach(a => addresses.add(a))
      }
      val properties = task.putObject("localProperties")
      SparkAccess.localProperties(context).asScala.foreach { case (key, value) => properties.put(key, value) }
    }
    services
  }

  /** Takes what a session has told at its end. */
  def collect(told: String): Unit = if (accumulator != null) {
    val updates = PySparkServices.Json.readTree(told).path("accumulators").elements()
    updates.asScala.foreach(update => accumulator.add(Base64.getDecoder.decode(update.asText())))
  }
}

private object PySparkServices {
  private val Json = new ObjectMapper()
}
