package org.rudf.spark

import org.apache.spark.resource.ResourceProfile
import org.apache.spark.sql.catalyst.expressions.{Attribute, Expression, NamedExpression, PythonUDF, PythonUDTF, SortOrder, WindowFunctionType}
import org.apache.spark.sql.catalyst.expressions.aggregate.AggregateExpression
import org.apache.spark.sql.catalyst.planning.{PhysicalAggregation, PhysicalWindow}
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.execution.{ProjectExec, SparkPlan, SparkStrategy}
import org.apache.spark.sql.execution.python._
import org.apache.spark.sql.internal.SQLConf

/**
 * Plans rudf's operators for Python functions, and Spark's own, with the reason, where rudf cannot run them. Which
 * functions those are `spark.rudf.takeover` says; others are left alone, and where both stand in one node, it is planned
 * as two.
 */
object RudfStrategy extends SparkStrategy {

  override def apply(logical: LogicalPlan): Seq[SparkPlan] = logical match {
    case node @ ArrowEvalPython(udfs, resultAttrs, child, evalType) => scalar(node, udfs, resultAttrs, child, evalType).toSeq
    case node @ BatchEvalPython(udfs, resultAttrs, child) => scalar(node, udfs, resultAttrs, child, EvalType.Batched).toSeq
    case MapInPandas(function, output, child, isBarrier, profile) =>
      map(function, output, child, isBarrier, profile)(
        MapInPandasExec(function, output, _, isBarrier, profile)).toSeq
    case MapInArrow(function, output, child, isBarrier, profile) =>
      map(function, output, child, isBarrier, profile)(
        MapInArrowExec(function, output, _, isBarrier, profile)).toSeq
    case FlatMapGroupsInPandas(grouping, function: PythonUDF, output, child) =>
      groups(grouping, function, output, child)(FlatMapGroupsInPandasExec(grouping, function, output, _)).toSeq
    case FlatMapGroupsInArrow(grouping, function: PythonUDF, output, child) =>
      groups(grouping, function, output, child)(FlatMapGroupsInArrowExec(grouping, function, output, _)).toSeq
    case FlatMapCoGroupsInPandas(leftKeys, rightKeys, function: PythonUDF, output, left, right) =>
      cogroups(leftKeys, rightKeys, function, output, left, right)(FlatMapCoGroupsInPandasExec(_, _, function, output, _, _)).toSeq
    case FlatMapCoGroupsInArrow(leftKeys, rightKeys, function: PythonUDF, output, left, right) =>
      cogroups(leftKeys, rightKeys, function, output, left, right)(FlatMapCoGroupsInArrowExec(_, _, function, output, _, _)).toSeq
    case ArrowEvalPythonUDTF(udtf, requiredChildOutput, resultAttrs, child, _) =>
      table(udtf, requiredChildOutput, resultAttrs, child).toSeq
    case BatchEvalPythonUDTF(udtf, requiredChildOutput, resultAttrs, child) =>
      table(udtf, requiredChildOutput, resultAttrs, child).toSeq
    case PhysicalWindow(WindowFunctionType.Python, expressions, partitionSpec, orderSpec, child) =>
      windows(expressions, partitionSpec, orderSpec, child).toSeq
    case aggregation: Aggregate if !aggregation.isStreaming => aggregates(aggregation).toSeq
    case _ => Nil
  }

  private def scalar(node: LogicalPlan, udfs: Seq[PythonUDF], resultAttrs: Seq[Attribute], child: LogicalPlan,
      evalType: Int): Option[SparkPlan] = {
    val conf = SQLConf.get
    val (ours, others) = udfs.zip(resultAttrs).partitionMap { case (udf, attribute) =>
      Support.candidate(udf, conf).map(_ -> attribute).toLeft(udf -> attribute)
    }
    if (ours.isEmpty) None
    else {
      val below =
        if (others.isEmpty) planLater(child)
        else RudfEvalExec.stock(others.map(_._1), others.map(_._2), planLater(child), evalType)
      // What one function alone is refused for does not keep its neighbours.
      val (refused, taken) = ours.partition(f => Support.functionRefusal(f._1).isDefined)
      val planned = Seq(refused, taken).filter(_.nonEmpty).foldLeft(below)((plan, functions) =>
        planOurs(functions.map(_._1), functions.map(_._2), plan, evalType, passingBy(child, evalType)))
      Some(if (planned.output == node.output) planned else ProjectExec(node.output, planned))
    }
  }

  /** Batches of a stream wait for their results in columns, so all that passes by needs a form. */
  private def passingBy(child: LogicalPlan, evalType: Int): Option[String] =
    if (!Kinds.streams.contains(evalType)) None
    else child.output.find(a => ColumnForm.of(a.dataType) == null).map(a => s"a column that passes by has the type ${a.dataType.sql}")

  private def planOurs(functions: Seq[Candidate], resultAttrs: Seq[Attribute], child: SparkPlan, evalType: Int,
      refusal: Option[String]): SparkPlan = {
    val udfs = functions.map(_.udf)
    Support.refusal(functions, evalType, SQLConf.get).orElse(refusal) match {
      case None => RudfEvalExec(udfs, resultAttrs, child, evalType)
      case Some(why) => left(udfs, why, RudfEvalExec.stock(udfs, resultAttrs, child, evalType))
    }
  }

  private def map(function: Expression, output: Seq[Attribute], child: LogicalPlan, isBarrier: Boolean,
      profile: Option[ResourceProfile])(stock: SparkPlan => SparkPlan): Option[SparkPlan] = function match {
    case udf: PythonUDF =>
      val barrier = if (isBarrier) Some("it runs in a barrier stage") else None
      single(udf, barrier.orElse(Support.rowsRefusal(child.output, output)))(
        RudfMapExec(udf, output, profile, planLater(child)))(stock(planLater(child)))
    case _ => None
  }

  private def groups(grouping: Seq[Attribute], udf: PythonUDF, output: Seq[Attribute], child: LogicalPlan)(
      stock: SparkPlan => SparkPlan): Option[SparkPlan] =
    single(udf, Support.rowsRefusal(child.output.drop(grouping.length), output).orElse(Support.keysRefusal(grouping)))(
      RudfGroupsExec(grouping, udf, output, planLater(child)))(stock(planLater(child)))

  private def cogroups(leftKeys: Int, rightKeys: Int, udf: PythonUDF, output: Seq[Attribute], left: LogicalPlan, right: LogicalPlan)(
      stock: (Seq[Attribute], Seq[Attribute], SparkPlan, SparkPlan) => SparkPlan): Option[SparkPlan] = {
    val (leftGroup, rightGroup) = (left.output.take(leftKeys), right.output.take(rightKeys))
    val refusal = Support.rowsRefusal(left.output.drop(leftKeys), output)
      .orElse(Support.rowsRefusal(right.output.drop(rightKeys), output)).orElse(Support.keysRefusal(leftGroup ++ rightGroup))
    single(udf, refusal)(RudfCogroupsExec(leftGroup, rightGroup, udf, output, planLater(left), planLater(right)))(
      stock(leftGroup, rightGroup, planLater(left), planLater(right)))
  }

  private def table(udtf: PythonUDTF, requiredChildOutput: Seq[Attribute], resultAttrs: Seq[Attribute], child: LogicalPlan)
      : Option[SparkPlan] =
    single(Tables.function(udtf), Support.columnsRefusal(requiredChildOutput))(
      RudfTableExec(udtf, requiredChildOutput, resultAttrs, planLater(child)))(
      Tables.stock(udtf, requiredChildOutput, resultAttrs, planLater(child)))

  /** rudf's operator for one function, or Spark's with the reason; none where the function is not for rudf. */
  private def single(udf: PythonUDF, special: => Option[String])(ours: => SparkPlan)(stock: => SparkPlan): Option[SparkPlan] =
    Support.candidate(udf, SQLConf.get).map { candidate =>
      Support.refusal(Seq(candidate), udf.evalType, SQLConf.get).orElse(special).fold(ours)(left(Seq(udf), _, stock))
    }

  private def windows(expressions: Seq[NamedExpression], partitionSpec: Seq[Expression], orderSpec: Seq[SortOrder],
      child: LogicalPlan): Option[SparkPlan] = {
    val conf = SQLConf.get
    val udfs = expressions.flatMap(_.collect { case aggregate: AggregateExpression => aggregate }).flatMap(Aggregates.function)
    val candidates = udfs.flatMap(Support.candidate(_, conf))
    if (udfs.isEmpty || candidates.length < udfs.length || udfs.map(_.evalType).distinct.length > 1) None
    else {
      val evalType = Windows.evalType(udfs.head)
      val refusal = Support.refusal(candidates, evalType, conf).orElse(Windows.functions(expressions).left.toOption)
        .orElse(Support.keysRefusal(partitionSpec ++ orderSpec.map(_.child))).orElse(passingBy(child, evalType))
      refusal match {
        case None =>
          Some(RudfWindowExec(expressions, partitionSpec, orderSpec, planLater(child)))
        case Some(why) =>
          SparkAccess.windowExec(expressions, partitionSpec, orderSpec, planLater(child), evalType).map(left(udfs, why, _))
      }
    }
  }

  /** Aggregates that are all Python's; others Spark refuses to put together with them. */
  private def aggregates(aggregation: Aggregate): Option[SparkPlan] = aggregation match {
    case PhysicalAggregation(grouping, found, resultExpressions, child) if found.nonEmpty =>
      val udfs = found.flatMap(Aggregates.function)
      val candidates = udfs.flatMap(Support.candidate(_, SQLConf.get))
      if (candidates.length < found.length || udfs.map(_.evalType).distinct.length > 1) None
      else Support.refusal(candidates, udfs.head.evalType, SQLConf.get).orElse(Aggregates.refusal(grouping, found)) match {
        case None => Some(ProjectExec(resultExpressions, RudfAggregateExec(grouping, found, planLater(child))))
        case Some(why) =>
          // Before 4.1 Spark's operator has another form, and Spark plans it.
          SparkAccess.aggregateExec(grouping, found, resultExpressions, planLater(child), udfs.head.evalType).map(left(udfs, why, _))
      }
    case _ => None
  }

  private def left(udfs: Seq[PythonUDF], why: String, stock: SparkPlan): SparkPlan = {
    Fallbacks.tellPlanned(udfs.map(_.name).mkString(", "), why)
    LeftToSparkExec(why, stock)
  }
}
