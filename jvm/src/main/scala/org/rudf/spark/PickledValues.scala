package org.rudf.spark

import net.razorvine.pickle.Unpickler

import org.apache.spark.sql.execution.python.EvaluatePython
import org.apache.spark.sql.types.DataType

/**
 * Spark's own conversion of what PySpark's workers pickle, which is how results of pickled functions become values.
 *
 * @param types of the values
 */
private[spark] final class PickledValues(types: Seq[DataType]) {
  EvaluatePython.registerPicklers()
  private val unpickler = new Unpickler

  /** A conversion for each type. */
  val conversions: Array[Any => Any] = types.map(EvaluatePython.makeFromJava).toArray

  /** The values of a pickled list. */
  def unpickle(pickle: Array[Byte]): java.util.Iterator[_] =
    unpickler.loads(pickle).asInstanceOf[java.util.ArrayList[_]].iterator()
}
