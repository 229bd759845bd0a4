package org.rudf.spark;

/** Memory of the native side that holds one batch. Java lets go of it with {@link #close}, exactly once. */
final class Segment implements AutoCloseable {
  private long handle;
  /** First byte, aligned to a page. */
  final long address;
  final long capacity;

  private Segment(long handle) {
    this.handle = handle;
    this.address = RudfNative.segmentAddress(handle);
    this.capacity = RudfNative.segmentCapacity(handle);
  }

  /** Memory of at least {@code capacity} bytes for the next batch of a session. */
  static Segment acquire(long session, long capacity) {
    return new Segment(RudfNative.acquireSegment(session, capacity));
  }

  long handle() {
    return handle;
  }

  @Override
  public void close() {
    long released = handle;
    handle = 0;
    RudfNative.releaseSegment(released);
  }
}
