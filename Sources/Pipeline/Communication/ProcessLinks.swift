import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The ends of links between processes: NCCL's between GPUs, TCP otherwise.
enum ProcessLinks {
  /// MINFERENCE_PROCESS_LINKS=tcp keeps to TCP.
  static var keepsToHost: Bool {
    getenv("MINFERENCE_PROCESS_LINKS").map { String(cString: $0) } == "tcp"
  }

  /// Numbers that a stranger does not know.
  static func makeToken() -> [UInt8] { (0..<16).map { _ in UInt8.random(in: 0...255) } }

  static func makeOutlet(
    _ identifier: [UInt8], isHost: Bool, backend: any Backend, address: String, port: Int
  ) throws -> any TensorOutlet {
    guard isHost else { return try linking(backend).makeOutlet(identifier) }
    let connection = try Connection(host: address, port: port, seconds: 30)
    try connection.send(Message("link", bytes: identifier))
    return HostOutlet(connection, backend: backend)
  }

  static func makeInlet(
    _ identifier: [UInt8], isHost: Bool, backend: any Backend, listener: Listener
  ) throws -> any TensorInlet {
    guard isHost else { return try linking(backend).makeInlet(identifier) }
    for _ in 0..<150 {
      guard let (connection, _) = try listener.accept(milliseconds: 200) else { continue }
      guard let hello = try? connection.receive(), hello.kind == "link",
        hello.bytes == identifier
      else { continue }
      return try HostInlet(connection, backend: backend)
    }
    throw PipelineError.connection(to: "the stage before", reason: "no sign of it in 30 s")
  }

  private static func linking(_ backend: any Backend) throws -> any ProcessLinkingBackend {
    guard let linking = backend as? any ProcessLinkingBackend else {
      throw ComputeError.unavailable(
        what: "links between processes on the device \(backend.name)", remedy: Remedy(use: .gpu))
    }
    return linking
  }

  /// Bytes in hexadecimal digits.
  static func text(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  static func bytes(_ text: String) -> [UInt8] {
    let digits = Array(text.utf8)
    return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
      UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
    }
  }
}
