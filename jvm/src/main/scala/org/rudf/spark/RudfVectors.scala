package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.Attribute
import org.apache.spark.sql.types.DataType

/** Vectors over batches and results. */
private[spark] object RudfVectors {

  /** One vector a function, over the results' own memory. */
  def results(batch: EvaluatedBatch, attributes: Seq[Attribute]): Seq[RudfColumnVector] =
    attributes.zipWithIndex.map { case (attribute, i) => result(batch, i, attribute.dataType) }

  /** A column of the results, over their own memory. */
  def result(batch: EvaluatedBatch, column: Int, dataType: DataType): RudfColumnVector =
    new RudfColumnVector(dataType, batch.descriptors + column.toLong * BatchLayout.DESCRIPTOR_BYTES, 0L).ownedBy(batch)

  /** A column of a batch that has been laid out. */
  def column(batch: LaidOutBatch, column: Int, attribute: Attribute): RudfColumnVector =
    new RudfColumnVector(attribute.dataType, ColumnBuffers.descriptor(batch.segment.address, column), batch.segment.address)
      .ownedBy(batch.segment)
}
