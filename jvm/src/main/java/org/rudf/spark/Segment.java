package org.rudf.spark;

/** Memory of the native side that holds one batch. Java lets go of it with {@link #close}, exactly once. */
final class Segment implements AutoCloseable {
  private long handle;
  /** First byte, aligned to a page. */
  final long address;
  final long capacity;

  private Segment(long handle, long address, long capacity) {
    this.handle = handle;
    this.address = address;
    this.capacity = capacity;
  }

  /** Memory of at least {@code capacity} bytes for the next batch of a session. */
  static Segment acquire(long session, long capacity) {
    long handle = RudfNative.acquireSegment(session, capacity);
    return new Segment(handle, RudfNative.segmentAddress(handle), RudfNative.segmentCapacity(handle));
  }

  /** Memory that somebody else owns: closing it does nothing. */
  static Segment borrowed(long address, long capacity) {
    return new Segment(0, address, capacity);
  }

  long handle() {
    return handle;
  }

  @Override
  public void close() {
    long released = handle;
    handle = 0;
    if (released != 0) {
      RudfNative.releaseSegment(released);
    }
  }
}
