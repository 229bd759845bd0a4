package org.rudf.spark;

/**
 * The native methods of {@code librudf_jvm.so}. Only longs cross: addresses, lengths in bytes and handles.
 *
 * <p>A handle stands for something that the native side owns until the matching {@code close} or {@code release}
 * method is called, exactly once. Methods throw {@link RudfNativeException}; those with nothing to return give 0.
 */
final class RudfNative {
  private RudfNative() {}

  /** Version of batch layout, session message and worker interface that the library was built with. */
  static native long protocolVersion();

  /** Starts the embedded interpreter from a JSON configuration in memory; returns a host, which is never released. */
  static native long startEmbedded(long config, long length);

  /**
   * Starts a fork server from a JSON configuration in memory, without waiting for it; returns a host, which is never
   * released.
   */
  static native long startProcess(long config, long length);

  /** A text handle: one line of JSON about the Python that the host runs. */
  static native long describeHost(long host);

  /** Ends processes that run for the host; sessions that are open go on to their ends. The handle stays valid. */
  static native long stopHost(long host);

  /**
   * Opens a session from an encoded session message, which is copied, without waiting for its functions to be unpickled;
   * returns a session.
   */
  static native long openSession(long host, long message, long length);

  /** 1 when the functions have been unpickled, 0 where that takes longer than the timeout. Asked before anything else. */
  static native long awaitOpened(long session, long timeoutMillis);

  /** Ends a session. Batches and results that are still referred to live on. */
  static native long closeSession(long session);

  /** Asks the function that the session runs to stop; close the session afterwards. */
  static native long interruptSession(long session);

  /** Memory for one batch of at least {@code capacity} bytes; returns a segment. */
  static native long acquireSegment(long session, long capacity);

  static native long segmentAddress(long segment);

  static native long segmentCapacity(long segment);

  /** Lets go of a segment; its memory is used again when Python has let go too. */
  static native long releaseSegment(long segment);

  /** Hands the first {@code length} bytes of a segment to the session. Nobody writes to them afterwards. */
  static native long submit(long session, long segment, long length);

  /** Asks a stream for results without a batch; where {@code end} is 1, says that there are no more batches. */
  static native long ask(long session, long end);

  /** The result of the oldest batch not taken yet, or 0 where it is not there within the timeout. */
  static native long take(long session, long timeoutMillis);

  /**
   * A text handle: what the session tells, as JSON, when all results have been taken; 0 where it is not there within the
   * timeout.
   */
  static native long finish(long session, long timeoutMillis);

  static native long resultRows(long result);

  /** Of a stream: twice the batches that its functions have begun, and 1 more where they are at their end. */
  static native long resultTaken(long result);

  /** Bytes of the results. */
  static native long resultBytes(long result);

  /** Nanoseconds that Python was at work since the results before. */
  static native long resultNanos(long result);

  /** Address of one column descriptor a function (see {@link BatchLayout}), valid until the result is released. */
  static native long resultColumns(long result);

  static native long releaseResult(long result);

  static native long textAddress(long text);

  static native long textLength(long text);

  static native long releaseText(long text);

  /** A file in memory that no path leads to, but those of this process's descriptors; returns the descriptor. */
  static native long createFile();

  /** Closes such a file. Who has opened it goes on. */
  static native long closeFile(long file);
}
