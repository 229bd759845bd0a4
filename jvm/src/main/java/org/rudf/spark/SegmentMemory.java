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

  void giveBack(long bytes) {
    freeMemory(bytes);
  }

  @Override
  public long spill(long size, MemoryConsumer trigger) {
    return 0;
  }
}
