package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.Attribute
import org.apache.spark.sql.catalyst.plans.logical.{ArrowEvalPython, LogicalPlan}
import org.apache.spark.sql.execution.{ProjectExec, SparkPlan, SparkStrategy}
import org.apache.spark.sql.execution.python.ArrowEvalPythonExec
import org.apache.spark.sql.internal.SQLConf

/**
 * Plans [[RudfEvalExec]] for functions decorated with `@rudf`, and Spark's own operator, with the reason, where rudf
 * cannot run them. Functions that are not rudf's are left alone; where both stand in one node, it is planned as two.
 */
object RudfStrategy extends SparkStrategy {

  override def apply(logical: LogicalPlan): Seq[SparkPlan] = logical match {
    case node @ ArrowEvalPython(udfs, resultAttrs, child, evalType) =>
      val (ours, others) = udfs.zip(resultAttrs).partitionMap { case (udf, attribute) =>
        Support.unseal(udf).map(_ -> attribute).toLeft(udf -> attribute)
      }
      if (ours.isEmpty) Nil
      else {
        val below =
          if (others.isEmpty) planLater(child)
          else ArrowEvalPythonExec(others.map(_._1), others.map(_._2), planLater(child), evalType)
        val planned = planOurs(ours.map(_._1), ours.map(_._2), below, evalType)
        (if (others.isEmpty) planned else ProjectExec(node.output, planned)) :: Nil
      }
    case _ => Nil
  }

  private def planOurs(functions: Seq[Sealed], resultAttrs: Seq[Attribute], child: SparkPlan, evalType: Int): SparkPlan = {
    val udfs = functions.map(_.udf)
    Support.refusal(functions, evalType, SQLConf.get) match {
      case None => RudfEvalExec(udfs, resultAttrs, child, evalType)
      case Some(why) =>
        Fallbacks.tellPlanned(udfs.map(_.name).mkString(", "), why)
        LeftToSparkExec(why, ArrowEvalPythonExec(udfs, resultAttrs, child, evalType))
    }
  }
}
