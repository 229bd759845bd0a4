package org.rudf.spark

import org.apache.spark.sql.SparkSessionExtensions

/** Puts rudf's strategy in front of Spark's, and its columnar rule beside them; set by the plugin, or by hand as `spark.sql.extensions`. */
final class RudfExtensions extends (SparkSessionExtensions => Unit) {
  override def apply(extensions: SparkSessionExtensions): Unit = {
    extensions.injectPlannerStrategy(_ => RudfStrategy)
    extensions.injectColumnar(_ => RudfColumnarRule)
  }
}
