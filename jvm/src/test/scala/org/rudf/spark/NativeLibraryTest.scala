package org.rudf.spark

import java.nio.file.{Files, Path}
import java.util.concurrent.{Callable, Executors}

import scala.jdk.CollectionConverters._

import org.junit.{Assume, Test}
import org.junit.Assert.{assertEquals, assertFalse, assertTrue}

/** Unpacking from the jar, where it works and where it does not. */
class NativeLibraryTest {
  private def scratch(): Path = Files.createTempDirectory("rudf-native-test")

  private def entries(directory: Path): Seq[String] = Files.list(directory).iterator().asScala.map(_.getFileName.toString).toSeq

  /** Some file system that refuses every file, also those of root. */
  private val refusing = "/proc/sys/kernel"

  @Test def whereNoDirectoryWillDoTheReasonNamesEach(): Unit = {
    Assume.assumeTrue("the jar has native libraries", getClass.getResource("/org/rudf/native/MANIFEST") != null)
    val file = Files.createTempFile("rudf", "file").toString
    val why = NativeLibrary.unpackFirst(Seq(file, refusing)).swap.getOrElse("it was unpacked")
    Seq(file, refusing, "spark.rudf.unpack.dir", "noexec").foreach(part => assertTrue(why, why.contains(part)))
  }

  @Test def aDirectoryThatRefusesIsPassedOver(): Unit = {
    val good = scratch()
    val unpacked = NativeLibrary.unpackFirst(Seq(refusing, good.toString)).fold(why => throw new AssertionError(why), identity)
    assertTrue(unpacked.directory.startsWith(good))
    assertTrue(Files.isRegularFile(unpacked.directory.resolve("librudf_jvm.so")))
  }

  @Test def executorsThatStartAtOnceShareOneCopy(): Unit = {
    val good = scratch()
    val pool = Executors.newFixedThreadPool(8)
    val all = try {
      val tasks = Seq.fill(8)(new Callable[NativeLibrary.Unpacked] {
        override def call(): NativeLibrary.Unpacked = NativeLibrary.unpackFirst(Seq(good.toString)).fold(why => throw new AssertionError(why), identity)
      })
      pool.invokeAll(tasks.asJava).asScala.map(_.get())
    } finally pool.shutdown()
    assertEquals(1, all.distinct.size)
    assertEquals(Seq(all.head.directory.getFileName.toString), entries(good))
  }

  @Test def aCopyThatWasTamperedWithIsNotUsed(): Unit = {
    val good = scratch()
    val first = NativeLibrary.unpackFirst(Seq(good.toString)).fold(why => throw new AssertionError(why), identity)
    Files.write(first.directory.resolve("librudf_jvm.so"), "not a library".getBytes)
    val second = NativeLibrary.unpackFirst(Seq(good.toString)).fold(why => throw new AssertionError(why), identity)
    assertFalse(second.directory == first.directory)
    assertTrue(Files.size(second.directory.resolve("librudf_jvm.so")) > 10000)
  }

  @Test def aFullFileSystemIsPassedOverAndLeftAsItWas(): Unit = {
    val full = scratch()
    Assume.assumeTrue("may mount", scala.util.Try(scala.sys.process.Process(Seq("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full.toString)).!).toOption.contains(0))
    try {
      val good = scratch()
      val unpacked = NativeLibrary.unpackFirst(Seq(full.toString, good.toString)).fold(why => throw new AssertionError(why), identity)
      assertTrue(unpacked.directory.startsWith(good))
      assertEquals(Nil, entries(full))
    } finally scala.sys.process.Process(Seq("umount", full.toString)).!
  }
}
