//! Whole jobs on real Spark.
