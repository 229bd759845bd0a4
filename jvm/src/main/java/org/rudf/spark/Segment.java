package org.rudf.spark;

/** Memory of the native side that holds one batch. Java lets go of it with {@link #close}, exactly once. */
final class Segment implements AutoCloseable {
  private long handle;
  /** First byte, aligned to a page. */
  final long address;
  final long capacity;

  /** What the segment is accounted with; null where that is nothing. */
  private final SegmentMemory memory;

  private Segment(long handle, long address, long capacity, SegmentMemory memory) {
    this.handle = handle;
    this.address = address;
    this.capacity = capacity;
    this.memory = memory;
  }

  /**
   * Memory of at least {@code capacity} bytes for the next batch of a session.
   *
   * @param memory is asked first; null where there is no task
   */
  static Segment acquire(long session, long capacity, SegmentMemory memory) {
    if (memory == null) {
      long handle = RudfNative.acquireSegment(session, capacity);
      return new Segment(handle, RudfNative.segmentAddress(handle), RudfNative.segmentCapacity(handle), null);
    }
    memory.take(capacity);
    long taken = capacity;
    long handle = 0;
    try {
      handle = RudfNative.acquireSegment(session, capacity);
      long larger = RudfNative.segmentCapacity(handle) - capacity;
      memory.take(larger);
      taken += larger;
      return new Segment(handle, RudfNative.segmentAddress(handle), taken, memory);
    } catch (RuntimeException | Error failure) {
      memory.giveBack(taken);
      if (handle != 0) {
        RudfNative.releaseSegment(handle);
      }
      throw failure;
    }
  }

  /** Memory that somebody else owns: closing it does nothing. */
  static Segment borrowed(long address, long capacity) {
    return new Segment(0, address, capacity, null);
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
      if (memory != null) {
        memory.giveBack(capacity);
      }
    }
  }
}
