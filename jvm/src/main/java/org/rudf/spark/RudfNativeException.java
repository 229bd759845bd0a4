package org.rudf.spark;

/** What the native library reports; thrown by every method of {@link RudfNative}. */
public final class RudfNativeException extends RuntimeException {
  /** The user's function failed: the message is its Python traceback. */
  public static final int PYTHON = 1;
  /** This executor cannot run the function; Spark's own path may. */
  public static final int ENVIRONMENT = 2;
  /** A defect in rudf, or a message or batch that breaks the protocol. */
  public static final int INTERNAL = 3;
  /** The worker process died, or was ended because it took too long. */
  public static final int CRASHED = 4;

  private final int kind;

  /** Called by the native library. */
  public RudfNativeException(int kind, String message) {
    super(message);
    this.kind = kind;
  }

  /** One of {@link #PYTHON}, {@link #ENVIRONMENT}, {@link #INTERNAL} and {@link #CRASHED}. */
  public int kind() {
    return kind;
  }
}
