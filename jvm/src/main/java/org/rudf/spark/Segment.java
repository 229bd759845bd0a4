package org.rudf.spark;

/** Memory of the native side that holds one batch. Java lets go of it with {@link #close}, exactly once. */
final class Segment implements AutoCloseable {
  private long handle;
  /** First byte, aligned to a page. */
  final long address;
  final long capacity;

  /** What the segment is accounted with; null where that is nothing. */
  private final SegmentMemory memory;
  private final long granted;

  private Segment(long handle, long address, long capacity, SegmentMemory memory, long granted) {
    this.handle = handle;
    this.address = address;
    this.capacity = capacity;
    this.memory = memory;
    this.granted = granted;
  }

  /**
   * Memory of at least {@code capacity} bytes for the next batch of a session.
   *
   * @param memory is asked first; null where there is no task
   */
  static Segment acquire(long session, long capacity, SegmentMemory memory) {
    long granted = memory == null ? 0 : memory.take(capacity);
    long handle = 0;
    try {
      handle = RudfNative.acquireSegment(session, capacity);
      long actual = RudfNative.segmentCapacity(handle);
      if (memory != null) {
        granted += memory.take(actual - capacity);
        memory.add(actual);
      }
      return new Segment(handle, RudfNative.segmentAddress(handle), actual, memory, granted);
    } catch (RuntimeException | Error failure) {
      if (memory != null) {
        memory.giveBack(granted);
      }
      if (handle != 0) {
        RudfNative.releaseSegment(handle);
      }
      throw failure;
    }
  }

  /** Memory that somebody else owns: closing it does nothing. */
  static Segment borrowed(long address, long capacity) {
    return new Segment(0, address, capacity, null, 0);
  }

  /** Whether Spark's memory manager had all that the segment takes. */
  boolean isGranted() {
    return memory == null || granted == capacity;
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
        memory.remove(capacity, granted);
      }
    }
  }

  /** Gives back what was accounted for, and the memory when nobody can reach this any more. */
  void closeLater() {
    long released = handle;
    handle = 0;
    if (released != 0) {
      if (memory != null) {
        memory.remove(capacity, granted);
      }
      Unreachable.then(this, () -> RudfNative.releaseSegment(released));
    }
  }
}
