package org.rudf.spark

import org.apache.spark.sql.catalyst.rules.Rule
import org.apache.spark.sql.execution.{ColumnarRule, ColumnarToRowExec, RowToColumnarExec, SparkPlan}

/**
 * Puts [[RudfLayoutExec]] where Spark has put its own transition from rows to columns below a [[RudfEvalExec]], and where
 * an input is computed from the child's columns: code that Spark generates reads columns and computes. A [[RudfStreamExec]]
 * always has one, because batches of rows end where PySpark's do; a [[RudfCogroupsExec]] takes rows.
 */
private[spark] object RudfColumnarRule extends ColumnarRule {
  override def postColumnarTransitions: Rule[SparkPlan] = new Rule[SparkPlan] {
    override def apply(plan: SparkPlan): SparkPlan = plan.transformUp {
      case node: RudfStreamExec => node.child match {
        case RowToColumnarExec(rows) => node.laidOutFrom(rows)
        case columns if columns.supportsColumnar => node.laidOutFrom(ColumnarToRowExec(columns))
        case _ => node
      }
      case node: RudfCogroupsExec => node.mapChildren {
        case RowToColumnarExec(rows) => rows
        case columns if columns.supportsColumnar => ColumnarToRowExec(columns)
        case rows => rows
      }
      case node: RudfEvalExec if node.supportsColumnar => node.child match {
        case RowToColumnarExec(rows) => node.laidOutFrom(rows)
        case columns if columns.supportsColumnar && !node.inputsAreColumns => node.laidOutFrom(ColumnarToRowExec(columns))
        case _ => node
      }
    }
  }
}
