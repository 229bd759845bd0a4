package org.rudf.spark;

import java.lang.ref.Cleaner;

/** What is done when an object cannot be reached any more. */
final class Unreachable {
  private static final Cleaner CLEANER = Cleaner.create();

  private Unreachable() {}

  /** @param release does not refer to {@code owner} */
  static void then(Object owner, Runnable release) {
    CLEANER.register(owner, release);
  }
}
