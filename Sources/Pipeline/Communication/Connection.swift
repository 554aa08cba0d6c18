import CSystemCalls
import Compute
import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A message between two processes: fields, and bytes beside them.
struct Message: Sendable {
  var fields: [(String, JSONValue)]
  var bytes: [UInt8] = []

  init(_ kind: String, _ fields: [(String, JSONValue)] = [], bytes: [UInt8] = []) {
    self.fields = [("kind", .string(kind))] + fields
    self.bytes = bytes
  }

  init(fields: JSONValue, bytes: [UInt8]) {
    if case .object(let members) = fields {
      self.fields = members.map { ($0.key, $0.value) }
    } else {
      self.fields = []
    }
    self.bytes = bytes
  }

  subscript(name: String) -> JSONValue? { fields.first { $0.0 == name }?.1 }

  var kind: String { self["kind"]?.text ?? "" }

  /// - Throws: ``PipelineError/malformedMessage(detail:)`` without such a number.
  func int(_ name: String) throws -> Int {
    guard let value = self[name]?.int else {
      throw PipelineError.malformedMessage(detail: "\(kind) has no number \(name)")
    }
    return value
  }

  func flag(_ name: String) -> Bool { self[name] == .boolean(true) }
}

/// A TCP connection that carries messages. Any thread may send; one receives.
final class Connection: @unchecked Sendable {
  // Unchecked: the descriptor is closed when nobody holds the connection any longer.
  private let descriptor: Int32
  private let sending = Monitor(())

  /// Silence after which the other side counts as lost.
  static let silence = 10_000

  init(descriptor: Int32) {
    self.descriptor = descriptor
    _ = csystem_set_receive_timeout(descriptor, Int32(Self.silence))
  }

  deinit { csystem_close(descriptor) }

  /// Connects, and tries again while nobody listens there yet.
  ///
  /// - Throws: ``PipelineError/connection(to:reason:)`` after so many seconds.
  convenience init(host: String, port: Int, seconds: Double) throws {
    let deadline = csystem_monotonic_seconds() + seconds
    var status = csystem_connect(host, Int32(port))
    while status < 0, csystem_monotonic_seconds() < deadline {
      csystem_sleep_milliseconds(50)
      status = csystem_connect(host, Int32(port))
    }
    guard status >= 0 else {
      throw PipelineError.connection(
        to: "\(host):\(port)", reason: String(cString: strerror(-status)))
    }
    self.init(descriptor: status)
  }

  /// - Throws: ``Closed``.
  func send(_ message: Message) throws {
    let header = Array(JSONValue.object(message.fields).serialized().utf8)
    var sizes = [UInt64(header.count).littleEndian, UInt64(message.bytes.count).littleEndian]
    let status = sending.withLock { _ -> Int32 in
      var status = csystem_send_all(descriptor, &sizes, 16)
      if status == 0 { status = csystem_send_all(descriptor, header, header.count) }
      if status == 0, !message.bytes.isEmpty {
        status = csystem_send_all(descriptor, message.bytes, message.bytes.count)
      }
      return status
    }
    guard status == 0 else { throw Closed(code: status) }
  }

  /// - Throws: ``Closed``; ``PipelineError/malformedMessage(detail:)``.
  func receive() throws -> Message {
    var sizes: [UInt64] = [0, 0]
    try receive(into: &sizes, 16)
    let (header, count) = (UInt64(littleEndian: sizes[0]), UInt64(littleEndian: sizes[1]))
    guard header <= 64 << 20, count <= 1 << 40 else {
      throw PipelineError.malformedMessage(detail: "it has \(header) bytes of fields")
    }
    let fields = try receive(Int(header))
    let bytes = try receive(Int(count))
    do {
      return Message(fields: try JSONValue(parsing: fields), bytes: bytes)
    } catch {
      throw PipelineError.malformedMessage(detail: "its fields are no JSON")
    }
  }

  private func receive(_ count: Int) throws -> [UInt8] {
    guard count > 0 else { return [] }
    var status: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      status = csystem_receive_all(descriptor, buffer.baseAddress, count)
      initialized = status == 0 ? count : 0
    }
    guard status == 0 else { throw Closed(code: status) }
    return bytes
  }

  private func receive(into target: UnsafeMutableRawPointer, _ count: Int) throws {
    let status = csystem_receive_all(descriptor, target, count)
    guard status == 0 else { throw Closed(code: status) }
  }

  /// From now on silence is no loss: nobody sends unless there is something to send.
  func waitForever() { _ = csystem_set_receive_timeout(descriptor, 0) }

  /// From now on silence is a loss.
  func expectNoise() { _ = csystem_set_receive_timeout(descriptor, Int32(Self.silence)) }

  /// Lets those who wait for it go on.
  func close() { csystem_shutdown(descriptor) }

  /// The other side has gone, or is silent.
  struct Closed: Error, CustomStringConvertible {
    let code: Int32

    var description: String {
      switch code {
      case ECONNRESET, EPIPE: "its connection has closed"
      case ETIMEDOUT: "nothing was heard of it for \(Connection.silence / 1000) s"
      default: String(cString: strerror(code))
      }
    }
  }
}

/// Where other processes connect.
final class Listener: Sendable {
  let port: Int
  private let descriptor: Int32

  /// - Parameter port: 0 for any free one.
  /// - Throws: ``PipelineError/connection(to:reason:)`` where it is taken.
  init(port: Int) throws {
    var bound: Int32 = 0
    descriptor = csystem_listen(Int32(port), &bound)
    guard descriptor >= 0 else {
      throw PipelineError.connection(
        to: "port \(port)", reason: String(cString: strerror(-descriptor)))
    }
    self.port = Int(bound)
  }

  deinit { csystem_close(descriptor) }

  /// The next connection and the address that it comes from; nil after so long.
  ///
  /// - Throws: ``PipelineError/connection(to:reason:)``.
  func accept(milliseconds: Int) throws -> (connection: Connection, address: String)? {
    var peer = [CChar](repeating: 0, count: 64)
    let status = csystem_accept(descriptor, Int32(milliseconds), &peer, peer.count)
    if status == -ETIMEDOUT { return nil }
    guard status >= 0 else {
      throw PipelineError.connection(
        to: "port \(port)", reason: String(cString: strerror(-status)))
    }
    return (
      Connection(descriptor: status),
      String(decoding: peer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    )
  }
}
