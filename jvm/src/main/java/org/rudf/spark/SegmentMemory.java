package org.rudf.spark;

import java.util.Map;
import org.apache.spark.TaskContext;
import org.apache.spark.memory.MemoryConsumer;
import org.apache.spark.memory.SparkOutOfMemoryError;
import org.apache.spark.memory.TaskMemoryManager;

/**
 * The segments that a task fills, as Spark's memory manager knows them: operators that can spill make room for them, and
 * what they take is seen where Spark shows a task's memory.
 *
 * <p>They do not lie in the heap; where Spark manages no memory outside of it (spark.memory.offHeap.enabled), they count
 * as if they did. Batches cannot be spilled: few are under way at once, and each is as small as its conf says.
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

  /** Takes {@code bytes}, or fails as Spark's operators do. */
  void take(long bytes) {
    long granted = acquireMemory(bytes);
    if (granted < bytes) {
      freeMemory(granted);
      throw new SparkOutOfMemoryError("UNABLE_TO_ACQUIRE_MEMORY",
          Map.of("requestedBytes", Long.toString(bytes), "receivedBytes", Long.toString(granted)));
    }
  }

  void giveBack(long bytes) {
    freeMemory(bytes);
  }

  @Override
  public long spill(long size, MemoryConsumer trigger) {
    return 0;
  }
}
