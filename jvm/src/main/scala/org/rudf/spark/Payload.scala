package org.rudf.spark

import java.nio.{ByteBuffer, ByteOrder}
import java.nio.charset.StandardCharsets.{ISO_8859_1, UTF_8}
import java.security.MessageDigest

import scala.util.Try

import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}

/**
 * What `rudf.payload.seal` put behind the pickle of a function decorated with `@rudf`.
 *
 * A pickle ends at its STOP opcode, so readers that know nothing of rudf ignore what follows: a JSON document, its
 * length as a little-endian 32-bit number, and eight bytes of magic.
 *
 * @param pythonVersion `major.minor` of the Python that pickled it
 * @param name          name of the function
 * @param timeout       its longest time for one batch, in seconds, where it has one of its own
 */
final case class Payload(pythonVersion: String, name: String, timeout: Option[Double] = None)

object Payload {
  private val Magic: Array[Byte] = "RUDF\u0001\r\n\u0000".getBytes(ISO_8859_1)
  private val TrailerBytes = 4 + Magic.length
  private val Json = new ObjectMapper()

  /** The sealed payload in a UDF's command; none where the command is not rudf's. */
  def unseal(command: Array[Byte]): Option[Either[String, Payload]] =
    if (!command.endsWith(Magic) || command.length < TrailerBytes) None
    else Some(document(command).toRight("its payload is damaged: the seal cannot be read").flatMap(check(command, _)))

  /** Whether a command ends as those of rudf do. */
  def hasSeal(command: Array[Byte]): Boolean = command.endsWith(Magic)

  private def documentLength(command: Array[Byte]): Int =
    ByteBuffer.wrap(command, command.length - TrailerBytes, 4).order(ByteOrder.LITTLE_ENDIAN).getInt

  private def document(command: Array[Byte]): Option[JsonNode] = {
    val length = documentLength(command)
    val start = command.length - TrailerBytes - length
    if (length < 0 || start < 0) None
    else Try(Json.readTree(command, start, length)).toOption.filter(_.isObject)
  }

  private def check(command: Array[Byte], document: JsonNode): Either[String, Payload] = {
    val pickled = command.length - TrailerBytes - documentLength(command)
    val digest = MessageDigest.getInstance("SHA-256")
    digest.update(command, 0, pickled)
    val sha256 = digest.digest().map(b => f"${b & 0xff}%02x").mkString
    if (document.path("sha256").asText() != sha256) Left("its payload is damaged: the checksum does not match")
    else {
      val timeout = Option(document.get("timeout")).filter(_.isNumber).map(_.asDouble())
      Right(Payload(document.path("python").asText(), document.path("name").asText(), timeout))
    }
  }

  /**
   * Names in a pickled function that only a PySpark worker process gives their full meaning; looked for as text,
   * because names stand in a pickle as text.
   */
  def neededService(command: Array[Byte]): Option[String] = {
    val text = new String(command, ISO_8859_1)
    Seq(
      "_deserialize_accumulator" -> "an accumulator",
      "BarrierTaskContext" -> "the barrier context",
      "TaskContext" -> "the task context"
    ).collectFirst { case (name, service) if text.contains(name) => service }
  }

  /** UTF-8 bytes of a text. */
  private[spark] def utf8(text: String): Array[Byte] = text.getBytes(UTF_8)
}
