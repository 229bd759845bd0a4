package org.rudf.spark

/** PySpark's numbers for the kinds of functions (`pyspark.util.PythonEvalType`). */
private[spark] object EvalType {
  /** `udf`, a row at a time, pickled. */
  val Batched = 100
  /** `udf`, a row at a time, over Arrow. */
  val ArrowBatched = 101
  /** `pandas_udf`, Series to Series. */
  val ScalarPandas = 200
  val GroupedMapPandas = 201
  val GroupedAggregatePandas = 202
  val WindowPandas = 203
  val ScalarPandasIterator = 204
  val MapPandas = 205
  val CogroupedMapPandas = 206
  val MapArrow = 207
  val GroupedMapArrow = 209
  val CogroupedMapArrow = 210
  val GroupedMapArrowIterator = 215
  val GroupedMapPandasIterator = 216
  val GroupedAggregatePandasIterator = 217
  /** `arrow_udf`, Array to Array. */
  val ScalarArrow = 250
  val ScalarArrowIterator = 251
  val GroupedAggregateArrow = 252
  val WindowArrow = 253
  val GroupedAggregateArrowIterator = 254
  /** `udtf`, pickled. */
  val Table = 300
  /** `udtf` over Arrow. */
  val ArrowTable = 301
  /** `arrow_udtf`. */
  val TableOfArrays = 302
}

/** Which kinds there are, and what rudf does with them. */
private[spark] object Kinds {
  import EvalType._

  private val descriptions = Map(
    Batched -> "pickled functions of rows", ArrowBatched -> "functions of rows", ScalarPandas -> "pandas functions",
    ScalarPandasIterator -> "pandas iterator functions", ScalarArrow -> "Arrow functions",
    ScalarArrowIterator -> "Arrow iterator functions", MapPandas -> "functions of mapInPandas",
    MapArrow -> "functions of mapInArrow", GroupedMapPandas -> "functions of applyInPandas",
    GroupedMapPandasIterator -> "functions of applyInPandas over iterators", GroupedMapArrow -> "functions of applyInArrow",
    GroupedMapArrowIterator -> "functions of applyInArrow over iterators", GroupedAggregatePandas -> "pandas aggregates",
    GroupedAggregatePandasIterator -> "pandas aggregates over iterators", GroupedAggregateArrow -> "Arrow aggregates",
    GroupedAggregateArrowIterator -> "Arrow aggregates over iterators",
    WindowPandas -> "pandas functions over windows", WindowArrow -> "Arrow functions over windows",
    CogroupedMapPandas -> "functions of cogrouped applyInPandas",
    CogroupedMapArrow -> "functions of cogrouped applyInArrow", Table -> "pickled table functions", ArrowTable -> "table functions over Arrow",
    TableOfArrays -> "Arrow table functions", 208 -> "functions with state", 211 -> "functions with state", 212 -> "functions with state",
    213 -> "functions with state", 214 -> "functions with state")

  def describe(evalType: Int): String = s"${descriptions.getOrElse(evalType, "functions")} (eval type $evalType)"

  /** Run by PySpark's own code over a stream of batches. */
  val streams: Set[Int] = Set(ScalarPandasIterator, ScalarArrowIterator, MapPandas, MapArrow, GroupedMapPandas,
    GroupedMapPandasIterator, GroupedMapArrow, GroupedMapArrowIterator, GroupedAggregatePandas, GroupedAggregatePandasIterator,
    GroupedAggregateArrow, GroupedAggregateArrowIterator, WindowPandas, WindowArrow, CogroupedMapPandas, CogroupedMapArrow,
    Table, ArrowTable, TableOfArrays)

  val supported: Set[Int] = streams ++ Set(Batched, ArrowBatched, ScalarPandas, ScalarArrow)

  /** Whose results are pickles. */
  val pickled: Set[Int] = Set(Batched, Table)

  /** Of which Spark compares the Arrow type of results with the declared one. */
  val checked: Set[Int] = Set(ArrowBatched, ScalarPandas, ScalarPandasIterator, ScalarArrow, ScalarArrowIterator, ArrowTable, TableOfArrays)

  /** Called for every row, by a loop that is ours. */
  val rows: Set[Int] = Set(Batched, ArrowBatched)

  /** Those that need pandas. */
  val pandas: Set[Int] = Set(ScalarPandas, ScalarPandasIterator, MapPandas, GroupedMapPandas, GroupedMapPandasIterator,
    GroupedAggregatePandas, GroupedAggregatePandasIterator, WindowPandas, CogroupedMapPandas)

  /** The names of PySpark's that the conf knows. */
  val named: Map[String, Set[Int]] = Map(
    "udf" -> Set(Batched, ArrowBatched), "pandas_udf" -> Set(ScalarPandas, ScalarPandasIterator, GroupedAggregatePandas, WindowPandas,
      GroupedAggregatePandasIterator),
    "arrow_udf" -> Set(ScalarArrow, ScalarArrowIterator, GroupedAggregateArrow, WindowArrow,
      GroupedAggregateArrowIterator), "mapInPandas" -> Set(MapPandas),
    "mapInArrow" -> Set(MapArrow), "applyInPandas" -> Set(GroupedMapPandas, GroupedMapPandasIterator, CogroupedMapPandas),
    "applyInArrow" -> Set(GroupedMapArrow, GroupedMapArrowIterator, CogroupedMapArrow), "udtf" -> Set(Table, ArrowTable),
    "arrow_udtf" -> Set(TableOfArrays))
}
