package org.rudf.spark

import org.apache.spark.unsafe.Platform

/** Bytes on their way to the native side and back. */
private[spark] object NativeBytes {

  /** Runs `body` with the address and length of a copy of `bytes` outside the heap. */
  def lend[T](bytes: Array[Byte])(body: (Long, Long) => T): T = {
    val address = Platform.allocateMemory(math.max(bytes.length, 1).toLong)
    try {
      Platform.copyMemory(bytes, Platform.BYTE_ARRAY_OFFSET, null, address, bytes.length.toLong)
      body(address, bytes.length.toLong)
    } finally Platform.freeMemory(address)
  }

  /** Fills the first `size` of `bytes` from an address. */
  def copyFrom(address: Long, bytes: Array[Byte], size: Int): Unit =
    Platform.copyMemory(null, address, bytes, Platform.BYTE_ARRAY_OFFSET, size.toLong)

  /** Copies the first `size` of `bytes` to an address. */
  def copyTo(bytes: Array[Byte], address: Long, size: Int): Unit =
    Platform.copyMemory(bytes, Platform.BYTE_ARRAY_OFFSET, null, address, size.toLong)

  /** The text behind a text handle, which is released. */
  def takeText(handle: Long): String =
    try {
      val bytes = new Array[Byte](RudfNative.textLength(handle).toInt)
      copyFrom(RudfNative.textAddress(handle), bytes, bytes.length)
      new String(bytes, java.nio.charset.StandardCharsets.UTF_8)
    } finally RudfNative.releaseText(handle)
}
