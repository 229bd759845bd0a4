package org.rudf.spark;

import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.lang.ref.Reference;
import java.util.Map;
import java.util.WeakHashMap;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.api.python.PythonBroadcast;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.util.TaskCompletionListener;

/**
 * The files that hold the pickled values of broadcast variables, on the executor that asks, as Python reads them.
 *
 * <p>Where Spark encrypts its files, a value is decrypted once into a file in memory, which has no name that others could
 * open, and lives for as long as Spark keeps the variable here, or a task uses it.
 */
final class BroadcastFiles {
  private static final Map<PythonBroadcast, String> DECRYPTED = new WeakHashMap<>();

  private BroadcastFiles() {}

  /** The path of a variable's file. A task that asks may read it until its end. */
  static String pathOf(Broadcast<?> broadcast) {
    PythonBroadcast value = (PythonBroadcast) broadcast.value();
    if (!SparkEnv.get().conf().getBoolean("spark.io.encryption.enabled", false)) {
      return value.path();
    }
    TaskContext task = TaskContext.get();
    if (task != null) {
      task.addTaskCompletionListener((TaskCompletionListener) ended -> Reference.reachabilityFence(value));
    }
    synchronized (DECRYPTED) {
      return DECRYPTED.computeIfAbsent(value, BroadcastFiles::decrypt);
    }
  }

  private static String decrypt(PythonBroadcast value) {
    long file = RudfNative.createFile();
    try (InputStream encrypted = SparkAccess.decrypted(new FileInputStream(value.path()));
        OutputStream out = new FileOutputStream("/proc/self/fd/" + file)) {
      encrypted.transferTo(out);
    } catch (IOException e) {
      RudfNative.closeFile(file);
      throw new UncheckedIOException("rudf: a broadcast variable cannot be decrypted", e);
    }
    Unreachable.then(value, () -> RudfNative.closeFile(file));
    return "/proc/" + ProcessHandle.current().pid() + "/fd/" + file;
  }
}
