package org.rudf.spark

import scala.reflect.ClassTag

import org.apache.spark.{OneToOneDependency, Partition, TaskContext}
import org.apache.spark.rdd.RDD

/**
 * Computes each partition with rudf where the executor can, and with Spark's own operator where it cannot. Both are
 * computed from the same input, so the choice is free for each task.
 *
 * @param evaluate is given the session, what makes the iterator of the input, and the partition's index
 */
private[spark] final class RudfOrStockRDD[I, O: ClassTag](
    private var input: RDD[I],
    private var stock: RDD[O],
    open: () => Option[WorkerSession],
    evaluate: (WorkerSession, () => Iterator[I], Int) => Iterator[O])
    extends RDD[O](stock.sparkContext, Seq(new OneToOneDependency(input), new OneToOneDependency(stock))) {

  override protected def getPartitions: Array[Partition] =
    input.partitions.zip(stock.partitions).map { case (i, s) => new RudfOrStockPartition(i.index, i, s) }

  override protected def getPreferredLocations(split: Partition): Seq[String] =
    input.preferredLocations(split.asInstanceOf[RudfOrStockPartition].input)

  override def compute(split: Partition, context: TaskContext): Iterator[O] = {
    val partition = split.asInstanceOf[RudfOrStockPartition]
    open() match {
      case Some(session) =>
        // Until a pipeline takes the session over, and also if that never comes to be.
        context.addTaskCompletionListener[Unit](_ => session.close())
        evaluate(session, () => input.iterator(partition.input, context), partition.index)
      case None => stock.iterator(partition.stock, context)
    }
  }

  override def clearDependencies(): Unit = {
    super.clearDependencies()
    input = null
    stock = null
  }
}

/** The same partition of both inputs. */
private[spark] final class RudfOrStockPartition(override val index: Int, val input: Partition, val stock: Partition)
    extends Partition
