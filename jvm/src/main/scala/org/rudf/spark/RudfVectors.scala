package org.rudf.spark

import org.apache.spark.sql.catalyst.expressions.Attribute

/** Vectors over batches and results. */
private[spark] object RudfVectors {

  /** One vector a function, over the results' own memory. */
  def results(batch: EvaluatedBatch, attributes: Seq[Attribute]): Seq[RudfColumnVector] =
    attributes.zipWithIndex.map { case (attribute, i) =>
      new RudfColumnVector(attribute.dataType, batch.descriptors + i.toLong * BatchLayout.DESCRIPTOR_BYTES, 0L).ownedBy(batch)
    }

  /** A column of a batch that has been laid out. */
  def column(batch: LaidOutBatch, column: Int, attribute: Attribute): RudfColumnVector =
    new RudfColumnVector(attribute.dataType, ColumnBuffers.descriptor(batch.segment.address, column), batch.segment.address)
      .ownedBy(batch.segment)
}
