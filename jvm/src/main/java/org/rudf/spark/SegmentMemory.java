package org.rudf.spark;

import org.apache.spark.TaskContext;
import org.apache.spark.memory.MemoryConsumer;
import org.apache.spark.memory.TaskMemoryManager;

/**
 * The segments that a task fills, as Spark's memory manager knows them: operators that can spill make room for them, and
 * what they take is seen where Spark shows a task's memory.
 *
 * <p>They do not lie in the heap; where Spark manages no memory outside of it (spark.memory.offHeap.enabled), they count
 * as if they did. Batches cannot be spilled: few are under way at once, and each is as small as its conf says. A task that
 * is granted less than a batch takes goes on with this one batch, as it would in PySpark, whose batches nobody counts.
 */
final class SegmentMemory extends MemoryConsumer {
  /** Bytes of the segments that the task has, granted or not. */
  private long held;
  private long peak;

  private SegmentMemory(TaskMemoryManager manager) {
    super(manager, manager.pageSizeBytes(), manager.getTungstenMemoryMode());
  }

  /** For the task that this thread runs; null where it runs none. */
  static SegmentMemory ofTask() {
    TaskContext context = TaskContext.get();
    return context == null ? null : new SegmentMemory(context.taskMemoryManager());
  }

  /** Takes up to {@code bytes}; returns how many were granted, which have to be given back. */
  long take(long bytes) {
    return bytes == 0 ? 0 : acquireMemory(bytes);
  }

  /** Counts a segment. */
  void add(long capacity) {
    held += capacity;
    noteResults(0);
  }

  /** Counts a segment no more. */
  void remove(long capacity, long granted) {
    held -= capacity;
    giveBack(granted);
  }

  void giveBack(long granted) {
    freeMemory(granted);
  }

  /** Notes that there are so many bytes of results beside the segments. */
  void noteResults(long bytes) {
    peak = Math.max(peak, held + bytes);
  }

  /** Most bytes of segments and results that there were at once. */
  long peak() {
    return peak;
  }

  @Override
  public long spill(long size, MemoryConsumer trigger) {
    return 0;
  }
}
