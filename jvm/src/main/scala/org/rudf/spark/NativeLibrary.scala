package org.rudf.spark

import java.io.{File, IOException}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, LinkOption, Path, Paths, StandardCopyOption}
import java.nio.file.attribute.PosixFilePermissions
import java.security.MessageDigest

import scala.collection.mutable
import scala.io.Source
import scala.jdk.CollectionConverters._
import scala.util.Using

import org.slf4j.LoggerFactory

/**
 * Unpacks the native libraries and the Python package from the jar, and loads `librudf_jvm.so`.
 *
 * They go into a directory named by the hash of what is in it, so that all executors on a host that run the same build
 * share one copy and different builds do not meet. A directory appears at once and complete, by a rename. One that is
 * already there is used only if it belongs to this user alone and every file in it is what the jar says: the folder for
 * temporary files is open to others.
 */
object NativeLibrary {
  private val log = LoggerFactory.getLogger(getClass)
  private val Root = "/org/rudf/native/"
  private val Jni = "librudf_jvm.so"
  /** Where a second class loader finds that the first one has loaded the library: one process can load it once. */
  private val LoadedProperty = "rudf.native.loaded"

  /** Path and SHA-256 of every file in the jar that is to be unpacked. */
  private type Manifest = Seq[(String, String)]

  /** What was unpacked. */
  final case class Unpacked(directory: Path) {
    def packageDirectory: String = directory.resolve("python").toString
    def nativeModule: String = directory.resolve("python/rudf/_native.abi3.so").toString
  }

  private var loaded: Option[Either[String, Unpacked]] = None

  /** Loads the library once for this process; a failure says what was tried and is final. */
  def load(directories: Seq[String]): Either[String, Unpacked] = synchronized {
    if (loaded.isEmpty) loaded = Some(loadFirst(directories))
    loaded.get
  }

  private def loadFirst(directories: Seq[String]): Either[String, Unpacked] = {
    val other = System.getProperty(LoadedProperty)
    if (other != null) Left(s"another class loader of this process has already loaded $other")
    else firstOf(directories)(loadFrom)
  }

  /** Unpacks into the first of the directories that will have it; a failure names each with what went wrong there. */
  private[spark] def unpackFirst(directories: Seq[String]): Either[String, Unpacked] =
    firstOf(directories)((base, files) => Unpacked(unpack(base, files)))

  private def firstOf(directories: Seq[String])(attempt: (Path, Manifest) => Unpacked): Either[String, Unpacked] =
    manifest.flatMap { files =>
      val attempts = directories.distinct.iterator.map { directory =>
        try Right(attempt(Paths.get(directory), files))
        catch {
          // UnsatisfiedLinkError: a file system mounted noexec, or a C library that is too old.
          case error @ (_: IOException | _: LinkageError | _: RuntimeException) =>
            Left(s"$directory: ${error.getClass.getSimpleName}: ${error.getMessage}")
        }
      }
      val failed = mutable.ArrayBuffer.empty[String]
      attempts.map(_.left.map(failed += _)).collectFirst { case Right(unpacked) => unpacked }.toRight(
        s"rudf's native library cannot be loaded; tried ${failed.mkString("; ")}. " +
          "Set spark.rudf.unpack.dir to a directory that is writable and not mounted noexec")
    }

  private def loadFrom(base: Path, files: Manifest): Unpacked = {
    val unpacked = Unpacked(unpack(base, files))
    System.load(unpacked.directory.resolve(Jni).toString)
    val version = RudfNative.protocolVersion()
    if (version != SessionMessage.ProtocolVersion) {
      throw new IllegalStateException(s"the library speaks protocol $version, this jar ${SessionMessage.ProtocolVersion}")
    }
    System.setProperty(LoadedProperty, unpacked.directory.toString)
    log.info(s"rudf: native library loaded from ${unpacked.directory}")
    unpacked
  }

  private def manifest: Either[String, Manifest] = {
    val platform = s"${System.getProperty("os.name")} ${System.getProperty("os.arch")}"
    Option(getClass.getResourceAsStream(Root + "MANIFEST")) match {
      case None => Left("this rudf jar was built without native libraries")
      case Some(_) if platform != "Linux amd64" => Left(s"this rudf jar has native libraries for Linux amd64, not for $platform")
      case Some(stream) =>
        Right(Using.resource(Source.fromInputStream(stream, UTF_8.name)) {
          // As sha256sum writes it: hash, two spaces, path.
          _.getLines().filter(_.length > 66).map(line => line.drop(66) -> line.take(64)).toVector
        })
    }
  }

  private def unpack(base: Path, files: Manifest): Path = {
    val name = s"rudf-${System.getProperty("user.name")}-${hash(files.mkString("\n").getBytes(UTF_8)).take(16)}"
    val target = base.resolve(name)
    if (isIntact(target, files)) return target
    Files.createDirectories(base)
    val owner = PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"))
    val fresh = Files.createTempDirectory(base, s"$name.", owner)
    try files.foreach { case (path, _) => extract(path, fresh.resolve(path)) }
    catch {
      case error: IOException =>
        delete(fresh)
        throw error
    }
    try {
      Files.move(fresh, target, StandardCopyOption.ATOMIC_MOVE)
      target
    } catch {
      case _: IOException if isIntact(target, files) =>
        // Another executor on this host was faster.
        delete(fresh)
        target
      case _: IOException =>
        // Something of that name is there and is not ours to trust or to replace.
        sys.addShutdownHook(delete(fresh))
        fresh
    }
  }

  private def extract(path: String, to: Path): Unit = {
    Files.createDirectories(to.getParent)
    val resource = getClass.getResourceAsStream(Root + path)
    if (resource == null) throw new IOException(s"the jar lacks $path, which its manifest lists")
    Using.resource(resource)(Files.copy(_, to))
    ()
  }

  private def isIntact(directory: Path, files: Manifest): Boolean =
    Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS) &&
      Files.getOwner(directory).getName == System.getProperty("user.name") &&
      PosixFilePermissions.toString(Files.getPosixFilePermissions(directory)) == "rwx------" &&
      files.forall { case (path, expected) =>
        val file = directory.resolve(path)
        Files.isRegularFile(file) && hash(Files.readAllBytes(file)) == expected
      }

  private def hash(bytes: Array[Byte]): String =
    MessageDigest.getInstance("SHA-256").digest(bytes).map(b => f"${b & 0xff}%02x").mkString

  private def delete(directory: Path): Unit =
    if (Files.exists(directory)) {
      Using.resource(Files.walk(directory))(_.iterator().asScala.toList.reverse.foreach(Files.deleteIfExists(_)))
    }

  /** Directories to unpack into, likeliest first: the conf, the JVM's temporary directory, Spark's, the working directory. */
  def candidateDirectories(configured: Option[String]): Seq[String] =
    configured.toSeq ++ Seq(
      Option(System.getProperty("java.io.tmpdir")),
      Option(System.getenv("SPARK_LOCAL_DIRS")).map(_.split(',').head),
      Some(new File(".").getAbsoluteFile.getParent)
    ).flatten.filter(_.nonEmpty)
}
